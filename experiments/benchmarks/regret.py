"""Regret against cost on synthetic problems; every method and every peer starts from the same initial points.

    python -m experiments.benchmarks.regret hartmann6 --method ibo ei botorch-mes --seeds 32
    python -m experiments.benchmarks.regret hartmann6 --table

Appends one row per step to `regret.jsonl` and skips seeds that are finished there. The budget is in the problem's cost
units and does not count the initial design. Row `step` contains what the method believed after `step` evaluations
beyond the design: the regret at the target of its recommendation (any x) and of its incumbent (the evaluated x of
lowest predicted mean), the cost spent by then, and the fidelity that it chose next.
"""

import argparse
import contextlib
import itertools
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from scipy.stats import binom
from scipy.stats import t as student_t

from experiments.benchmarks import peers
from experiments.common import rows
from experiments.common.figures import save
from ibo_jax import methods
from ibo_jax.methods.initial import initial_design
from ibo_jax.observations import Observations, append, empty
from ibo_jax.problems.synthetic import SYNTHETIC, cost, value

BUDGETS = {"hartmann6": 121.0, "branin": 16.0, "forrester": 8.0,
           "currin": 16.0, "borehole": 22.0, "wing-weight": 22.0, "branin-steps": 16.0}  # fmt: skip
FRACTIONS = (0.25, 0.5, 0.75, 1.0)
REGRETS = ("regret_recommendation", "regret_incumbent")
BASELINE = "ei"
COLOURS = dict(zip((*methods.NAMES, *peers.PEERS), (*plt.get_cmap("tab10").colors, *plt.get_cmap("Dark2").colors),
                   strict=False))  # fmt: skip


def run(problem: str, method: str, seed: int, budget: float) -> Iterator[dict[str, Any]]:
    """One search to the end of the budget, yielding a row after each evaluation; all randomness follows from `seed`."""
    space, fidelity = SYNTHETIC[problem].space, SYNTHETIC[problem].fidelity
    key_design, key_search = jax.random.split(jax.random.key(seed))
    observations = empty(space.dimension)
    design = (peers.PEERS if method in peers.PEERS else methods.METHODS)[method].design
    x_initial, s_initial = initial_design(
        key_design, SYNTHETIC[problem].initial, space.dimension, fidelity, design or "random"
    )
    spent, state = 0.0, None
    for x, s in zip(x_initial, s_initial, strict=True):
        if design is None:  # the peer may spend what the design of `ibo` costs
            spent -= float(cost(problem, float(s)))
        else:
            observations = _observe(problem, observations, x, float(s))
    with suggesting(problem, method, x_initial if design is None else None) as suggest:
        for step in itertools.count():
            start = time.perf_counter()
            suggestion, state = suggest(jax.random.fold_in(key_search, step), observations, state)
            seconds = time.perf_counter() - start
            price = float(cost(problem, suggestion.fidelity))
            last = spent + price > budget
            yield {
                "step": step,
                "cost": round(spent, 6),
                **judged(problem, suggestion),
                "next_fidelity": round(suggestion.fidelity, 6),
                "next_reason": suggestion.reason,
                "suggest_seconds": round(seconds, 4),
                "warning": suggestion.warning,
                "last": last,
            }
            if last:
                return
            observations = _observe(problem, observations, suggestion.x, suggestion.fidelity)
            spent += price


def suggesting(problem: str, method: str, initial: np.ndarray | None = None) -> contextlib.AbstractContextManager[Any]:
    """A method or a peer as one function; `initial` for a peer that evaluates the initial design itself."""
    if method in peers.PEERS:
        return peers.suggesting(method, float(cost(problem, 0.0)), initial=initial)
    return contextlib.nullcontext(methods.make(method, SYNTHETIC[problem].fidelity))


def _observe(problem: str, observations: Observations, x: np.ndarray, s: float) -> Observations:
    return append(observations, x, s, float(value(problem, x, s)), math.log(float(cost(problem, s))))


def judged(problem: str, suggestion: Any) -> dict[str, float]:
    """Regrets, at the target, of what a method would answer now."""
    optimum = SYNTHETIC[problem].optimum
    assert optimum is not None
    return {
        "regret_recommendation": float(value(problem, suggestion.recommendation)) - optimum,
        "regret_incumbent": float(value(problem, suggestion.incumbent)) - optimum,
    }


Curve = dict[str, np.ndarray]  # columns of one finished search, by step
Curves = dict[str, dict[int, Curve]]  # by method and seed


def load(path: Path, problem: str) -> Curves:
    """Finished searches of a problem; of one that was started again, the last run counts."""
    steps: dict[tuple[str, int], dict[int, dict[str, Any]]] = {}
    for row in rows.read(path):
        if row.get("problem") == problem and "step" in row:
            search = steps.setdefault((row["method"], row["seed"]), {})
            if row["step"] == 0:
                search.clear()
            search[row["step"]] = row
    curves: Curves = {}
    for (method, seed), by_step in sorted(steps.items()):
        if any(row["last"] for row in by_step.values()):
            ordered = [by_step[step] for step in sorted(by_step)]
            columns = ("cost", "next_fidelity", "suggest_seconds", *REGRETS)
            curves.setdefault(method, {})[seed] = {c: np.array([row[c] for row in ordered]) for c in columns}
    return curves


def failures(path: Path, problem: str) -> dict[str, list[str]]:
    """Error messages of searches that never finished, by method."""
    said: dict[tuple[str, int], str] = {}
    for row in rows.read(path):
        if row.get("problem") == problem and "failed" in row:
            said[row["method"], row["seed"]] = row["failed"]
        elif row.get("problem") == problem and row["last"]:
            said.pop((row["method"], row["seed"]), None)
    return {method: [words for (other, _), words in said.items() if other == method] for method, _ in said}


def at(curve: Curve, column: str, spent: float) -> float:
    """The column at the last step whose cost is at most `spent`."""
    return float(curve[column][np.searchsorted(curve["cost"], spent, side="right") - 1])


def table(curves: Curves, budget: float) -> str:
    """Medians and quartiles of the regret at fractions of the budget, and paired differences from the baseline."""
    lines = ["| method (seeds) | regret of | " + " | ".join(f"{f:g} of the budget" for f in FRACTIONS)
             + " | 95 % interval of the last median |", "|---|---|---|" + "---|" * len(FRACTIONS)]  # fmt: skip
    for method, column in itertools.product(curves, REGRETS):
        samples = [[at(curve, column, f * budget) for curve in curves[method].values()] for f in FRACTIONS]
        cells = ["{1:.3g} [{0:.3g}, {2:.3g}]".format(*np.quantile(sample, (0.25, 0.5, 0.75))) for sample in samples]
        cells.append("{:.3g} to {:.3g}".format(*median_interval(samples[-1])))
        lines.append(f"| {method} ({len(curves[method])}) | {column.split('_')[1]} | " + " | ".join(cells) + " |")
    lines += ["", f"Paired difference from {BASELINE}: mean +- standard error (95 % upper bound)", ""]
    for method, column in itertools.product(curves, REGRETS):
        shared = sorted(curves[method].keys() & curves.get(BASELINE, {}).keys())
        if method == BASELINE or len(shared) < 2:
            continue
        cells = [
            upper_bound([at(curves[method][k], column, f * budget) - at(curves[BASELINE][k], column, f * budget)
                         for k in shared])
            for f in FRACTIONS
        ]  # fmt: skip
        lines.append(f"{method} - {BASELINE} ({len(shared)}), {column.split('_')[1]}: " + ", ".join(cells))
    lines += ["", "| method | evaluations | fidelity chosen, mean | share at the target | suggestion, median seconds |",
              "|---|---|---|---|---|"]  # fmt: skip
    for method, runs in curves.items():
        fidelity = np.concatenate([curve["next_fidelity"][:-1] for curve in runs.values()])
        seconds = np.concatenate([curve["suggest_seconds"][1:] for curve in runs.values()])
        count = np.median([len(curve["cost"]) - 1 for curve in runs.values()])
        lines.append(f"| {method} | {count:g} | {fidelity.mean():.2f} | {np.mean(fidelity >= 0.999):.2f} | "
                     f"{np.median(seconds):.3f} |")  # fmt: skip
    return "\n".join(lines)


def median_interval(sample: list[float]) -> tuple[float, float]:
    """An interval of at least 95 % for the median, whatever the distribution: two order statistics of the sample."""
    ordered = sorted(sample)
    rank = max(int(binom.ppf(0.025, len(ordered), 0.5)), 1)
    return ordered[rank - 1], ordered[-rank]


def upper_bound(differences: list[float]) -> str:
    """Mean, standard error and one-sided 95 % bound by Student's t, as text."""
    mean, error = np.mean(differences), np.std(differences, ddof=1) / np.sqrt(len(differences))
    return f"{mean:+.3g} +- {error:.2g} ({mean + student_t.ppf(0.95, len(differences) - 1) * error:+.3g})"


def figure(curves: Curves, problem: str, budget: float, path: Path) -> None:
    """Median regret of the recommendation against cost; with quartiles for IBO and the lowest of the others."""
    grid = np.linspace(0.0, budget, 200)
    samples = {method: np.array([[at(curve, REGRETS[0], spent) for spent in grid] for curve in runs.values()])
               for method, runs in curves.items()}  # fmt: skip
    others = {method: np.median(sample[:, -1]) for method, sample in samples.items() if method != "ibo"}
    with axes_of_regret(problem, "cost after the initial design", path) as axes:
        for method, sample in samples.items():
            quartiles = method in ("ibo", min(others, key=others.__getitem__, default=""))
            draw(axes, grid, sample, COLOURS[method], f"{method} ({len(sample)} seeds)", quartiles=quartiles)


@contextlib.contextmanager
def axes_of_regret(title: str, x: str, path: Path) -> Iterator[Axes]:
    """Axes to draw on; the figure is saved afterwards."""
    figure, axes = plt.subplots(figsize=(7.6, 4.0), layout="constrained")
    yield axes
    axes.set(xlabel=x, ylabel="regret at the target", yscale="log", title=title)
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))  # beside, where it hides no curve
    save(figure, path)
    plt.close(figure)


def draw(axes: Axes, x: np.ndarray, sample: np.ndarray, colour: Any, label: str, *, quartiles: bool = True) -> None:
    """The median and the quartiles of a sample with one row per seed."""
    low, median, high = np.quantile(np.maximum(sample, 1e-8), (0.25, 0.5, 0.75), axis=0)
    axes.plot(x, median, color=colour, label=label)
    if quartiles:
        axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problem", choices=sorted(BUDGETS))
    parser.add_argument("--method", nargs="+", default=[], choices=(*methods.NAMES, *peers.PEERS))
    parser.add_argument("--seeds", type=int, default=32)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--rows", type=Path, default=Path(__file__).with_name("regret.jsonl"))
    parser.add_argument("--table", action="store_true", help="print the table and draw the figure of stored rows")
    arguments = parser.parse_args()
    problem, budget = arguments.problem, BUDGETS[arguments.problem]
    finished = load(arguments.rows, problem)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    cells = itertools.product(seeds, arguments.method)  # seed by seed: an interrupted comparison is still paired
    missing = [(seed, method) for seed, method in cells if seed not in finished.get(method, {})]
    if missing:
        rows.append(arguments.rows, {"machine": rows.machine(), "problem": None})
    for seed, method in missing:
        cell = {"problem": problem, "method": method, "seed": seed}
        try:
            for row in run(problem, method, seed, budget):
                rows.append(arguments.rows, cell | row)
        except FileNotFoundError as error:  # the peers are not installed
            parser.error(str(error))
        except RuntimeError as error:  # a peer that fails is a result too
            failure = cell | {"failed": str(error).partition("\n")[0][:200]}
            rows.append(arguments.rows, failure)
            print(failure, flush=True)
            continue
        print(f"{problem} {method} seed {seed}: {row['step']} evaluations, "
              f"regret {row['regret_recommendation']:.3g}", flush=True)  # fmt: skip
    if arguments.table and (curves := load(arguments.rows, problem)):
        print(table(curves, budget))
        for method, said in failures(arguments.rows, problem).items():
            print(f"{method}: {len(said)} searches failed, the last with: {said[-1]}")
        figure(curves, problem, budget, arguments.rows.with_name(f"regret-{problem}.svg"))


if __name__ == "__main__":
    main()
