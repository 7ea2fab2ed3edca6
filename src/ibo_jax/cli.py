"""The command `ibo-jax`: tune a problem by name, and look at what a study found.

Exit status: 0 when done, 1 if no evaluation succeeded, 2 on bad input, 130 on Ctrl-C (143 on SIGTERM) with everything
saved.
"""

import argparse
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from ibo_jax.study.result import Result

__all__ = ["main"]

BAD_INPUT, INTERRUPTED, TERMINATED = 2, 130, 143
METHODS = (
    "ibo (default), es, es-is, fabolas, fabolas-is, mtbo, ei, random; from Optuna: grid, tpe, gp, hyperband, bohb; "
    "during one training: hypernet-global, hypernet-local, stn, value-function"
)
DATA = {"digits": "embedded"} | {
    name: f"{name} of TensorFlow Datasets, below $TFDS_DATA_DIR" for name in ("mnist", "cifar10", "cifar100")
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status.

    Examples:
        >>> main(["tune", "forrester", "--method", "random", "--evaluations", "0"])
        2
    """
    chosen = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return chosen.run(chosen)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has seen enough; a study has not
        sys.stderr.close()
        return INTERRUPTED if chosen.run is _tune else 0


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    """Leave as on Ctrl-C: the running evaluation is given back."""
    raise SystemExit(TERMINATED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("ibo-jax", description="Importance-based Bayesian optimisation of networks.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('ibo_jax')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    tune = commands.add_parser("tune", help="tune a problem; the same command resumes")
    tune.add_argument("problem", metavar="PROBLEM", help="a name listed by `ibo-jax problems`")
    tune.add_argument("--method", default="ibo", help=METHODS)
    tune.add_argument(
        "--evaluations",
        type=int,
        metavar="N",
        help="total number, across restarts (of epochs for methods within one training); default: the problem's",
    )
    tune.add_argument("--seconds", type=float, metavar="S", help="wall time, across restarts")
    tune.add_argument("--seed", type=int, default=0, metavar="K", help="seed of all randomness; default 0")
    tune.add_argument("--scale", default="cpu", help="smoke, cpu (default), gpu (three problems only), paper")
    tune.add_argument("--parallel", type=int, default=1, metavar="Q", help="workers, one process each; default 1")
    tune.add_argument("--cost", default="seconds", help="seconds (default), or work: the same in every run")
    tune.add_argument(
        "--protocol", default="default", help="default, paper (Algorithm 1 to the letter), scripts (the authors' code)"
    )
    tune.add_argument("--out", metavar="DIR", help="default: runs/PROBLEM-METHOD-SEED")
    tune.set_defaults(run=_tune)

    problems = commands.add_parser("problems", help="list the problems")
    problems.set_defaults(run=_problems)

    show = commands.add_parser("show", help="show the trials of a study and its answer")
    show.add_argument("directory", type=_folder, metavar="DIR")
    show.set_defaults(run=_show)

    report = commands.add_parser("report", help="write the report.html of a study, even while it runs")
    report.add_argument("directory", type=_folder, metavar="DIR")
    report.set_defaults(run=_report)
    return parser


def _folder(text: str) -> Path:
    """A study's folder, given itself or by a file in it."""
    path = Path(text).expanduser()
    return path.parent if path.is_file() else path


def _tune(chosen: argparse.Namespace) -> int:
    import optuna

    from ibo_jax import bilevel
    from ibo_jax.problems import catalogue
    from ibo_jax.study import descent
    from ibo_jax.study.cache import enable_compilation_cache
    from ibo_jax.study.checks import check_cost
    from ibo_jax.study.parallel import check_parallel
    from ibo_jax.study.search import prepare
    from ibo_jax.study.tune import run

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    enable_compilation_cache()
    named = f"runs/{chosen.problem}-{chosen.method}-{chosen.seed}" if chosen.out is None else chosen.out
    directory = Path(named).expanduser()
    budget: dict[str, Any] = {"seconds": chosen.seconds, "seed": chosen.seed, "storage": named}
    try:
        check_parallel(chosen.parallel, chosen.method, directory)
        problem = catalogue.problem(chosen.problem, scale=chosen.scale, protocol=chosen.protocol)
        if chosen.method in bilevel.NAMES:
            check_cost(chosen.cost)
            ready = descent.prepare(problem, chosen.method, epochs=chosen.evaluations, **budget)
            start: Callable[[], Result] = partial(descent.run, ready)
        else:
            settings = {"cost": chosen.cost, "protocol": chosen.protocol}
            search = prepare(problem, chosen.method, evaluations=chosen.evaluations, **budget, **settings)
            start = partial(run, search, chosen.parallel)
    except (ValueError, OSError) as error:
        return _refuse(error)
    try:
        result = start()
    except KeyboardInterrupt:
        print(f"\ninterrupted; {_saved(directory)}, the same command resumes", file=sys.stderr)
        return INTERRUPTED
    _print_answer(result, directory)
    return 0 if result.hyperparameters is not None else 1


def _print_answer(result: "Result", directory: Path) -> None:
    from ibo_jax.study.progress import number

    facts = {
        **{f"  {name}": value for name, value in (result.hyperparameters or {}).items()},
        "validation error": result.validation_error,
        "predicted error": result.predicted_error,
        "test error": result.test_error,
        "test error as trained": result.test_error_as_trained,
        "warning": result.message,
        **_files(directory),
        "report": directory / "report.html",
    }
    for name, fact in facts.items():
        if fact is not None and fact != "":
            print(f"{name:<22} {number(fact)}")


def _is_descent(directory: Path) -> bool:
    """Whether the folder holds one training of a gradient-based tuner, not a study of many."""
    from ibo_jax.study import checkpoint

    return (directory / checkpoint.FILE).exists()


def _saved(directory: Path) -> str:
    from ibo_jax.study import descent

    if _is_descent(directory):
        return f"{len(descent.read(directory)[0])} epochs are saved in {directory}"
    return f"everything is saved in {directory}" if (directory / "study.db").exists() else "nothing is saved yet"


def _files(directory: Path) -> dict[str, Any]:
    rows = {"rows": directory / "rows.jsonl"}
    if _is_descent(directory):
        return {"checkpoint": directory / "checkpoint.msgpack"} | rows
    study = directory / "study.db"
    return {"study": f"{study} (optuna-dashboard {shlex.quote(f'sqlite:///{study}')})"} | rows


def _problems(chosen: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table

    from ibo_jax.problems import catalogue

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("name", no_wrap=True)
    table.add_column("what is tuned, and how long a study takes at scale cpu")
    table.add_column("data")
    for name in catalogue.names():
        table.add_row(name, catalogue.describe(name), DATA.get(name.partition("-")[0], "none, it is a function"))
    Console().print(table)
    return 0


def _show(chosen: argparse.Namespace) -> int:
    from rich.console import Console

    from ibo_jax.study import rows
    from ibo_jax.study.progress import best_error, table
    from ibo_jax.study.result import ERRORS, Result

    if _is_descent(chosen.directory):
        return _show_descent(chosen.directory)
    try:
        found, summary = rows.read(chosen.directory), rows.summary(chosen.directory)
    except (ValueError, OSError) as error:
        return _refuse(error)
    title = f"{summary['problem']}, {summary['method']}, seed {summary['seed']}"
    Console().print(table(found, summary["fidelity"]["name"], title=title, best=best_error(found)))
    if "slots" not in summary:
        print(f"not finished: {len(found)} of {summary['evaluations'] or '?'} trials")
        return 0
    errors = {name: summary.get(name) for name in ERRORS}
    answer = Result(summary["best"], **errors, rows=found, directory=chosen.directory, message=summary["message"])
    _print_answer(answer, chosen.directory)
    return 0


def _show_descent(directory: Path) -> int:
    from ibo_jax.study import descent
    from ibo_jax.study.result import Result

    try:
        found, summary = descent.read(directory)
    except (ValueError, OSError) as error:
        return _refuse(error)
    print(f"{summary['problem']}, {summary['method']}, seed {summary['seed']}")
    descent.Lines(None)(found)
    if "best" not in summary:
        print(f"not finished: {len(found)} epochs")
        return 0
    errors = (summary["validation_error"], summary["test_error"])
    _print_answer(Result(summary["best"], None, *errors, None, found, directory, summary["message"]), directory)
    return 0


def _report(chosen: argparse.Namespace) -> int:
    from ibo_jax.study import descent_report, report

    try:
        print((descent_report if _is_descent(chosen.directory) else report).write_report(chosen.directory))
    except (ValueError, OSError) as error:
        return _refuse(error)
    return 0


def _refuse(error: Exception) -> int:
    if isinstance(error, OSError) and error.strerror:
        error = ValueError(f"expected to work in {error.filename}, got: {error.strerror}; choose another folder")
    print(f"ibo-jax: {error}", file=sys.stderr)
    return BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
