"""Redraw the figure and the table of this folder from its rows: `make figures`."""

import statistics
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.bilevel_vs_search.settings import METHODS
from experiments.common import figures, redraw, rows
from ibo_jax import bilevel
from ibo_jax.study.figures import STYLE

HERE = Path(__file__).parent
COLOURS = ("#d1495b", "#e07b39", "#8e63c7", "#2f8f5b", "#2e6fb7", "#6fb1e8", "#17a2a2", "#6b7280", "#b08968", "#e0a100")

Rows = list[dict[str, Any]]


def draw(folder: Path) -> list[Path]:
    """A figure and a table for every file of rows; equal rows give equal bytes."""
    written = []
    for path in rows.files(folder, "rows-*.jsonl"):
        found, scale = rows.read(path), path.stem.removeprefix("rows-")
        if any(row["state"] == "ok" for row in found):
            figures.save(losses(found), path.with_name(f"{scale}.svg"))
            path.with_name(f"{scale}.md").write_text(table(found))
            written += [path.with_name(f"{scale}.svg"), path.with_name(f"{scale}.md")]
    return written


def median_curve(chosen: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Median test loss of the answers over seeds, as steps, from the time at which most seeds have an answer."""
    times = np.unique(np.concatenate([[*row["at"], row["seconds"]] for row in chosen]))
    values = np.full((len(chosen), len(times)), np.inf)
    for line, row in zip(values, chosen, strict=True):
        for at, loss in zip(row["at"], row["series"], strict=True):
            line[times >= at] = loss
    median = np.median(values, axis=0)
    known = np.isfinite(median)
    return times[known], median[known]


@matplotlib.rc_context(STYLE)
def losses(found: Rows) -> Figure:
    """Left: test loss of the answer by seconds, median over seeds. Right: that of its hyperparameters trained again on
    all examples."""
    figure = Figure(figsize=(9.4, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    shown = [name for name in METHODS if of(found, name)]
    for height, name in enumerate(shown):
        chosen, colour = of(found, name), COLOURS[METHODS.index(name)]
        x, y = median_curve(chosen)
        line = "-" if name in bilevel.NAMES else "--"
        left.plot(
            x, y, line, drawstyle="steps-post", color=colour, lw=1.6, label=name, marker="o", ms=3, markevery=[-1]
        )
        for row in chosen:
            left.plot(row["seconds"], row["test_loss"], "o", color=colour, ms=2.5, alpha=0.5)
        values = [row["retrained_test_loss"] for row in chosen]
        right.plot(values, [height] * len(values), "o", color=colour, ms=3, alpha=0.6)
        right.plot([statistics.median(values)], [height], "o", color=colour, ms=6)
    left.set(xlabel="seconds, compilation included", ylabel="test loss of the answer", xscale="log", yscale="log")
    left.xaxis.set_major_formatter("{x:g}")
    left.yaxis.set_major_formatter("{x:g}")
    left.yaxis.set_minor_formatter("{x:g}")
    right.set_yticks(range(len(shown)), shown)
    right.xaxis.set_major_locator(MaxNLocator(4))
    right.invert_yaxis()
    right.set(xlabel="test loss, trained again plainly\non training and validation examples")
    seeds = len({row["seed"] for row in found})
    title = f"{found[0]['problem']}, medians of {seeds} seed{'s' * (seeds > 1)}; dots: each; dashed: searches"
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=5, title=title)
    return figure


def of(found: Rows, method: str) -> Rows:
    """The finished runs of a method."""
    return [row for row in found if row["method"] == method and row["state"] == "ok"]


def table(found: Rows) -> str:
    """Medians over seeds, and the methods that refused the problem."""
    lines = [
        "# Tuners and searches on one problem: medians over seeds", "", "Made of the rows beside it by `make figures`.",
        "", "| method | seeds | updates or trials | seconds | test loss | trained again on all |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name in METHODS:
        if chosen := of(found, name):
            numbers = [statistics.median(row[key] for row in chosen)
                       for key in ("updates", "seconds", "test_loss", "retrained_test_loss")]  # fmt: skip
            lines.append("| {} | {} | {:g} | {:.0f} | {:.4f} | {:.4f} |".format(name, len(chosen), *numbers))
    for row in found:
        if row["state"] != "ok":
            lines.append(f"| {row['method']} | seed {row['seed']} | {row['state']} | | | |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    redraw.main(draw, HERE)
