"""The page of a run of a gradient-based tuner: its losses and the schedule of its hyperparameters, epoch by epoch."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ibo_jax.study import descent
from ibo_jax.study.figures import BLUE, GREEN, INK, ORANGE, STYLE, Axis, Series
from ibo_jax.study.page import Row, captioned, column, duration, fill
from ibo_jax.study.progress import number
from ibo_jax.study.report import axes_of

__all__ = ["losses", "page", "schedule", "write_report"]


def write_report(directory: Path | str) -> Path:
    """Write `report.html` beside the checkpoint in `directory`; works on a running or interrupted run too.

    Raises:
        ValueError: there is no run, or it is damaged.
    """
    path = Path(directory) / "report.html"
    path.write_text(page(*descent.read(directory)), encoding="utf-8")
    return path


def page(rows: Sequence[Row], summary: Row) -> str:
    """The page as HTML."""
    names, best = list(summary["space"]), summary.get("best")
    known = [row for row in rows if None not in row["hyperparameters"].values()]
    drawn = [
        captioned(losses(known), "Training loss with penalties, validation loss without. The mark is the answer."),
        "<h2>The schedule</h2>",
        captioned(schedule(known, summary), "Hyperparameters after each epoch, on the scale of the search."),
    ]
    answer = [
        ("validation error", number(summary.get("validation_error"))),
        ("validation loss", number(summary.get("validation_loss"))),
        ("test error", number(summary.get("test_error"))),
        ("test loss", number(summary.get("test_loss"))),
        ("epochs", str(len(rows))),
        ("wall time", duration(rows[-1]["elapsed_seconds"] if rows else None)),
        ("of it training", duration(float(np.nansum(column(rows, "cost_seconds"))))),
        ("of it compiling", duration(float(np.nansum(column(rows, "compile_seconds"))))),
    ]
    message = summary.get("message")
    return fill(
        summary,
        subtitle=f"Seed {summary['seed']}. One training of {len(rows)} epochs.",
        answer=answer,
        best=best or {"so far": "none"},
        warnings=f'<ul class="warnings"><li>{html.escape(message)}</li></ul>' if message else "",
        figures="<h2>Loss</h2>" + "\n".join(drawn),
        rows="Epochs",
        table=_table(rows, names, summary.get("best_row")),
        footer=", ".join(f"{name} {version}" for name, version in summary["versions"].items()),
    )


@matplotlib.rc_context(STYLE)
def losses(rows: Sequence[Row]) -> Figure:
    """Training and validation loss against training seconds and against epochs."""
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    seconds, epochs = np.cumsum(column(rows, "cost_seconds")), column(rows, "number") + 1
    train, valid, score = (column(rows, name) for name in ("train_loss", "validation_loss", "score"))
    for panel, x, label in zip(panels, (seconds, epochs), ("seconds of training", "epoch"), strict=True):
        panel.plot(x, train, color=BLUE, lw=1.3, label="training")
        panel.plot(x, valid, color=ORANGE, lw=1.3, label="validation")
        if np.isfinite(score).any():
            best = len(score) - 1 - int(np.nanargmin(score[::-1]))
            panel.plot(x[best], valid[best], "o", color=GREEN, ms=6)
        panel.set_xlabel(label)
    panels[0].set_ylabel("loss")
    known = np.r_[train, valid]
    known = known[np.isfinite(known)]
    if len(known) and known.max() > 20 * known.min() > 0:
        panels[0].set_yscale("log")
    panels[1].xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return figure


@matplotlib.rc_context(STYLE)
def schedule(rows: Sequence[Row], summary: Row) -> Figure:
    """A panel a hyperparameter."""
    values, axes = axes_of(rows, summary)
    columns = min(len(axes), 4)
    figure = Figure(figsize=(10, 0.3 + 2.0 * -(-len(axes) // columns)), layout="constrained")
    panels = list(figure.subplots(-(-len(axes) // columns), columns, squeeze=False).flat)
    for panel, axis in zip(panels, axes, strict=False):
        _line(panel, column(rows, "number") + 1, values[axis.name], axis)
    for panel in panels[len(axes) :]:
        panel.set_axis_off()
    return figure


def _line(panel: Any, epochs: Series, values: Series, axis: Axis) -> None:
    panel.plot(epochs, axis.unit(values), color=INK, lw=1.3)
    panel.set_title(axis.label, fontsize=9.5, loc="left")
    panel.set_ylim(-0.06, 1.06)
    panel.set_yticks(*zip(*axis.ticks(), strict=True))
    panel.xaxis.set_major_locator(MaxNLocator(4, integer=True))


def _table(rows: Sequence[Row], names: list[str], best: int | None) -> str:
    measures = {"train_loss": "training loss", "validation_loss": "validation loss", "error": "validation error",
                "score": "score", "cost_seconds": "train s"}  # fmt: skip
    if all(row["score"] in (None, row["validation_loss"]) for row in rows):
        del measures["score"]  # most tuners choose by the validation loss
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("epoch", *names, *measures.values(), "state"))
    body = []
    for row in rows:
        cells = [row["number"] + 1, *(row["hyperparameters"][name] for name in names), *(row[m] for m in measures)]
        text = "".join(f"<td>{html.escape(number(cell))}</td>" for cell in [*cells, row["state"]])
        body.append(f'<tr class="{"best" if row["number"] == best else ""}">{text}</tr>')
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
