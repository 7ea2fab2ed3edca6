"""Figures of self-tuning networks, as functions of rows: answers by method, losses, and the hyperparameters' course."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import figures, redraw, rows
from ibo_jax.study.figures import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, STYLE

LOOKS = {
    "stn": ("STN", ORANGE),
    "schedule": ("schedule\nreplayed", BLUE),
    "final": ("last values\nheld", GREEN),
    "start": ("first values\nheld", PURPLE),
    "grid": ("grid", GREY),
    "random": ("random", GREY),
    "random-long": ("random,\nlonger", GREY),
    "ei": ("Bayesian\noptim.", GREY),
    "hyperband": ("Hyper-\nband", GREY),
    "ibo": ("IBO", GREY),
}
STARTS = (ORANGE, GREEN, BLUE, PURPLE, GREY)
Rows = list[dict[str, Any]]


@matplotlib.rc_context(STYLE)
def answers(found: Rows, title: str) -> Figure:
    """Test loss of each method's answer, a dot for each seed and a bar for the median; beside it the learnt
    schedules."""
    figure = Figure(figsize=(11, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    methods = [method for method in LOOKS if any(row.get("method") == method for row in found)]
    for place, method in enumerate(methods):
        losses = [row["test_loss"] for row in found if row.get("method") == method]
        colour = LOOKS[method][1]
        left.plot(place + np.linspace(-0.12, 0.12, len(losses)), losses, "o", color=colour, ms=4)
        left.hlines(np.median(losses), place - 0.3, place + 0.3, color=INK, lw=1.6)
        left.annotate(f"{np.median(losses):.3f}", (place, np.median(losses)), xytext=(12, 3), fontsize=7.5,
                      textcoords="offset points")  # fmt: skip
    left.set_xticks(range(len(methods)), [LOOKS[method][0] for method in methods], fontsize=8)
    left.set(ylabel="test loss, nats (dots: seeds, bars: medians)", xlim=(-0.6, len(methods) - 0.3))
    _schedules(right, [row["values"] for row in found if row.get("method") == "stn"])
    figure.suptitle(title, fontsize=11)
    return figure


@matplotlib.rc_context(STYLE)
def course(found: Rows, title: str) -> Figure:
    """Validation loss by epoch, a line for each seed; beside it the learnt schedules."""
    figure = Figure(figsize=(11, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    for row in found:
        at = int(np.argmin(row["series"]))
        left.plot(range(1, 1 + len(row["series"])), row["series"], color=ORANGE, lw=1.2, label="of validation")
        left.plot(1 + at, row["test_loss"], "o", color=INK, ms=5,
                  label=f"of test at its minimum: {row['test_loss']:.3f}, error {row['test_error']:.3f}")  # fmt: skip
    left.set(xlabel="epoch", ylabel="loss, nats")
    left.legend(fontsize=8)
    _schedules(right, [row["values"] for row in found])
    figure.suptitle(title, fontsize=11)
    return figure


def _schedules(axes: Axes, courses: list[dict[str, list[float]]]) -> None:
    colours = matplotlib.colormaps["tab20"].colors  # type: ignore[attr-defined]
    for number, name in enumerate(courses[0] if courses else ()):
        top = max(max(course[name]) for course in courses)
        for seed, course in enumerate(courses):
            axes.plot(np.array(course[name]) / (top if top > 1 else 1), color=colours[number % 20],
                      lw=1.4 if seed == 0 else 0.7, label=None if seed else _named(name, top))  # fmt: skip
    axes.set(xlabel="epoch of the self-tuning network", ylabel="value")
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))


@matplotlib.rc_context(STYLE)
def starts(found: Rows, title: str) -> Figure:
    """One rate over the epochs from several starts, a line for each seed; beside it test losses of its replays by
    start."""
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    places = sorted({row["start"] for row in found if "start" in row})
    _courses(left, found, places)
    _replays(right, found, places)
    figure.suptitle(title, fontsize=11)
    return figure


def _courses(axes: Axes, found: Rows, places: list[float]) -> None:
    for colour, start in zip(STARTS, places, strict=False):
        for number, row in enumerate(row for row in found if row.get("start") == start and row["method"] == "stn"):
            (values,) = row["values"].values()
            axes.plot([0, *np.arange(1, 1 + len(values))], [start, *values], color=colour, lw=1.2,
                      label=None if number else f"from {start:g}")  # fmt: skip
    axes.set(xlabel="epoch", ylabel="dropout rate", ylim=(0, 1))
    axes.legend(ncols=5, loc="upper center", fontsize=8)


def _replays(axes: Axes, found: Rows, places: list[float]) -> None:
    for shift, method in zip((-0.24, -0.08, 0.08, 0.24), ("stn", "schedule", "final", "start"), strict=True):
        label, colour = LOOKS[method]
        for place, start in enumerate(places):
            losses = [row["test_loss"] for row in found if row.get("start") == start and row["method"] == method]
            axes.plot([place + shift] * len(losses), losses, "o", color=colour, ms=4,
                      label=None if place else label.replace("\n", " "))  # fmt: skip
            if losses:
                axes.hlines(np.median(losses), place + shift - 0.07, place + shift + 0.07, color=INK, lw=1.6)
    axes.set_xticks(range(len(places)), [f"from {start:g}" for start in places])
    axes.set_ylabel("test loss, nats (dots: seeds, bars: medians)")
    axes.legend(fontsize=8)


def main(here: Path, titles: dict[str, tuple[Callable[[Rows, str], Figure], str]]) -> None:
    """Redraw what has rows: for each part (name: figure function and title) and scale a file `PART-SCALE.svg`."""
    redraw.main(lambda folder: _drawn(folder, titles), here)


def _drawn(folder: Path, titles: dict[str, tuple[Callable[[Rows, str], Figure], str]]) -> list[Path]:
    written = []
    for path in rows.files(folder, "rows-*.jsonl"):
        for part, (draw, title) in titles.items():
            mine = [row for row in rows.read(path) if row.get("part") == part and row.get("valid_loss") is not None]
            latest = {(row["method"], row["seed"], row.get("start")): row for row in mine}
            if latest:
                written.append(path.with_name(f"{part}-{path.stem.removeprefix('rows-')}.svg"))
                figures.save(draw(list(latest.values()), title), written[-1])
    return written


def _named(name: str, top: float) -> str:
    return name.replace("_", " ") + (f" / {top:.3g}" if top > 1 else "")
