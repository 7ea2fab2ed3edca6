"""One self-contained page of a study: the answer, the figures, every trial. No request leaves the page."""

import html
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from string import Template

import numpy as np
from matplotlib.figure import Figure

from ibo_jax.study import figures, rows
from ibo_jax.study.figures import Axis, Series
from ibo_jax.study.page import Row, captioned, column, duration, fill
from ibo_jax.study.progress import number

__all__ = ["axes_of", "page", "write_report"]

PARTS = {"cost_seconds": "training", "compile_seconds": "compiling", "suggest_seconds": "suggesting"}


def write_report(directory: Path) -> Path:
    """Write `report.html` beside the study in `directory`; works on a running or interrupted study too.

    Returns:
        The path of the page.
    """
    path = Path(directory) / "report.html"
    path.write_text(page(rows.read(directory), rows.summary(directory)), encoding="utf-8")
    return path


def page(trials: Sequence[Row], summary: Row) -> str:
    """The page as HTML.

    Args:
        trials: rows of the study, in any order and state.
        summary: what was asked for, and the answer as far as there is one.
    """
    trials = sorted(trials, key=lambda row: row["number"])
    return fill(
        summary,
        subtitle=_subtitle(trials, summary),
        answer=_answer(trials, summary),
        best=_best(trials, summary),
        warnings=_warnings(trials, summary),
        figures=_figures(trials, summary),
        rows="Trials",
        table=_table(trials, summary),
        footer=_footer(summary),
    )


def _figures(trials: Sequence[Row], summary: Row) -> str:
    drawn = {name: captioned(draw(trials, summary), *words) for name, (draw, *words) in FIGURES.items()}
    return LAYOUT.substitute(drawn)


def _log(summary: Row) -> bool:
    return summary.get("transform") == "log"


def _fidelity_name(summary: Row) -> str:
    name = summary["fidelity"]["name"]
    return "B / b" if name == "presample_ratio" else name


def _axes(trials: Sequence[Row], summary: Row) -> tuple[dict[str, Series], list[Axis]]:
    """What was chosen, by name, the fidelity last."""
    values, axes = axes_of(trials, summary)
    name, bounds = _fidelity_name(summary), summary["fidelity"]
    values[name] = column(trials, "fidelity")
    return values, [*axes, Axis(name, bounds["low"], bounds["high"], integer=bool(bounds["integer"]))]


def axes_of(trials: Sequence[Row], summary: Row) -> tuple[dict[str, Series], list[Axis]]:
    """The hyperparameters of the rows by name, and how they are drawn."""
    values, axes = {}, []
    for name, bounds in summary["space"].items():
        chosen = [row["hyperparameters"][name] for row in trials]
        if choices := bounds.get("choices"):
            values[name] = np.array([choices.index(value) for value in chosen], float)
            axes.append(Axis(name, 0, len(choices) - 1, choices=tuple(map(str, choices))))
        else:
            values[name] = np.array(chosen, float)
            whole = bounds.get("type") == "Integer"  # bounds of a real dimension may be written as whole numbers too
            low, high = float(bounds["low"]), float(bounds["high"])  # whole ones may exceed 64 bits
            axes.append(Axis(name, low, high, bool(bounds.get("log")), integer=whole))
    return values, axes


def _shown_number(row: Row) -> int:
    """A trial's number as people see it: slots count from 0, people from 1."""
    return int(row["number"]) + 1


def _numbers(trials: Sequence[Row]) -> Series:
    return np.array([_shown_number(row) for row in trials], np.float64)


def _errors(trials: Sequence[Row], summary: Row) -> Figure:
    return figures.errors_over_time(
        column(trials, "elapsed_seconds"),
        _numbers(trials),
        column(trials, "error"),
        column(trials, "predicted_error"),
        column(trials, "fidelity"),
        [row["state"] for row in trials],
        log=_log(summary),
        fidelity_name=_fidelity_name(summary),
    )


def _choices(trials: Sequence[Row], summary: Row) -> Figure:
    values, axes = _axes(trials, summary)
    return figures.choices_over_time(_numbers(trials), values, axes, [row["reason"] or "" for row in trials])


def _parallel(trials: Sequence[Row], summary: Row) -> Figure:
    return figures.parallel_coordinates(*_axes(trials, summary), column(trials, "error"), log=_log(summary))


def _prediction(trials: Sequence[Row], summary: Row) -> Figure | None:
    mean, sd = column(trials, "predicted_objective"), column(trials, "predicted_sd")
    if not np.isfinite(mean + column(trials, "error")).any():
        return None
    scale: Callable[[Series], Series] = np.exp if _log(summary) else np.asarray
    return figures.predicted_against_observed(
        scale(mean),
        column(trials, "error"),
        scale(mean - sd),
        scale(mean + sd),
        column(trials, "fidelity"),
        log=_log(summary),
        label="error" if _log(summary) else "objective",
        fidelity_name=_fidelity_name(summary),
    )


def _cost(trials: Sequence[Row], summary: Row) -> Figure | None:
    predicted, measured = np.exp(column(trials, "predicted_log_cost")), column(trials, f"cost_{summary['cost']}")
    if not (np.isfinite(predicted) & (measured > 0)).any():
        return None
    unit = {"seconds": "cost in seconds", "work": "cost in operations"}[summary["cost"]]
    return figures.predicted_against_observed(
        predicted,
        measured,
        predicted,
        predicted,
        column(trials, "fidelity"),
        log=True,
        label=unit,
        fidelity_name=_fidelity_name(summary),
    )


def _entropy(trials: Sequence[Row], summary: Row) -> Figure | None:
    del summary
    entropy = column(trials, "entropy")
    return figures.entropy_over_time(_numbers(trials), entropy) if np.isfinite(entropy).any() else None


FIGURES: dict[str, tuple[Callable[[Sequence[Row], Row], Figure | None], str, str]] = {
    "errors": (
        _errors,
        "Every evaluation by its fidelity; a cross marks a diverged one, a triangle at the upper edge one without an "
        "error, which failed or was stopped early. "
        "Seconds are wall time and include suggestion, compilation and evaluation.",
        "",
    ),
    "choices": (
        _choices,
        "Each trial's hyperparameters and fidelity, by what proposed them: acquisition asks where the optimum is, "
        "nearby where it is around the recommendation.",
        "",
    ),
    "parallel": (_parallel, "One line per evaluation; the thick line has the lowest error.", ""),
    "prediction": (
        _prediction,
        "Error as predicted before the evaluation, with bars of one standard deviation.",
        "No evaluation has both a predicted and an observed error.",
    ),
    "cost": (
        _cost,
        "Cost of training as predicted before the evaluation.",
        "No evaluation has both a predicted and a measured cost.",
    ),
    "entropy": (
        _entropy,
        "Uncertainty about where the optimum is, over the representers at the target fidelity, when a trial was chosen "
        "to learn where it is in the whole space. The representers are drawn anew each time, so it need not fall "
        "steadily.",
        "No trial was chosen to learn where the optimum is in the whole space.",
    ),
}
"""How each figure is drawn, its caption, and the sentence shown when there is nothing to draw."""


LAYOUT = Template("""<h2>Error</h2>
$errors
<h2>What was tried</h2>
$choices
$parallel
<h2>What the surrogate believed</h2>
<div class="pair">$prediction$cost</div>
$entropy""")


def _subtitle(trials: Sequence[Row], summary: Row) -> str:
    states = [row["state"] for row in trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return f"Seed {summary['seed']}, protocol {summary['protocol']}. {len(trials)} trials: {counts or 'none yet'}."


def _best(trials: Sequence[Row], summary: Row) -> Row:
    """The answer; while the search runs, the incumbent of the newest trial that has one."""
    incumbents = [row["incumbent"] for row in trials if row.get("incumbent")]
    return summary.get("best") or (incumbents[-1] if incumbents else {"so far": "none"})


def _answer(trials: Sequence[Row], summary: Row) -> list[tuple[str, str]]:
    elapsed = column(trials, "elapsed_seconds")
    total = float(np.nanmax(elapsed)) if np.isfinite(elapsed).any() else math.nan
    what, found = "validation error" if _log(summary) else "objective", summary.get("validation_error")
    if found is None:
        errors = column(trials, "error")
        what, found = f"lowest {what} so far", float(np.nanmin(errors)) if np.isfinite(errors).any() else None
    return [
        (what, number(found)),
        *_test_errors(summary),
        ("evaluations", f"{len(trials)} of {max(summary['evaluations'] or 0, len(trials))}"),
        ("wall time", duration(total)),
        *((f"of it {what}", duration(spent(trials, name))) for name, what in PARTS.items()),
    ]


def _test_errors(summary: Row) -> list[tuple[str, str]]:
    plainly, as_trained = (summary.get(name) for name in ("test_error", "test_error_as_trained"))
    if as_trained is None:
        return [("test error", number(plainly))]
    return [("test error, plainly", number(plainly)), ("test error, as trained", number(as_trained))]


def spent(trials: Sequence[Row], name: str) -> float:
    """Sum of a column, rows without it left out."""
    return float(np.nansum(column(trials, name)))


def _warnings(trials: Sequence[Row], summary: Row) -> str:
    """Warnings and the messages of failed trials, each distinct one once with its trials.

    That a training was stopped early is no failure.
    """
    said: dict[str, list[str]] = {}
    for row in trials:
        message = None if row["state"] == "pruned" else row.get("message")
        for text in filter(None, (row.get("warning"), message)):
            said.setdefault(text, []).append(str(_shown_number(row)))
    lines = [f"<li>Trial {', '.join(where)}: {html.escape(text)}</li>" for text, where in said.items()]
    if summary.get("message"):
        lines.insert(0, f"<li>{html.escape(summary['message'])}</li>")
    return f'<ul class="warnings">{"".join(lines)}</ul>' if lines else ""


def _table(trials: Sequence[Row], summary: Row) -> str:
    names = list(summary["space"])
    measures = {
        "fidelity": "fidelity",
        "error": "error",
        "cost_seconds": "train s",
        "compile_seconds": "compile s",
        "suggest_seconds": "suggest s",
        "importance_share": "importance share",
    }
    heads = ["trial", *names, *measures.values()]
    head = (
        "".join(f"<th>{html.escape(name)}</th>" for name in heads)
        + '<th class="word">state</th><th class="word">by</th>'
    )
    body = []
    for row in trials:
        chosen = (row["hyperparameters"][name] for name in names)
        cells = [_shown_number(row), *chosen, *(row.get(key) for key in measures)]
        words = "".join(f'<td class="word">{html.escape(str(row.get(key) or ""))}</td>' for key in ("state", "reason"))
        kind = "best" if row["hyperparameters"] == summary.get("best") else "" if row["state"] == "ok" else "lost"
        numbers = "".join(f"<td>{html.escape(number(cell))}</td>" for cell in cells)
        body.append(f'<tr class="{kind}">{numbers}{words}</tr>')
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _footer(summary: Row) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in summary["versions"].items())
    return f"Cost in {summary['cost']}; error modelled on the {summary['transform']} scale. {versions}."
