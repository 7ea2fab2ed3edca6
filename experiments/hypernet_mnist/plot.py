"""Redraw the figures and the table of this folder from the rows that are stored here: `make figures`."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import figures, redraw, rows
from ibo_jax.study.figures import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, STYLE

HERE = Path(__file__).parent
PUBLISHED = {
    "gp": (0.90, 0.67, 0.60, 0.60, 0.62),
    "hypernet-fixed": (0.65, 0.60, 0.59, 0.59, 0.59),
    "hypernet": (0.60, 0.61, 0.59, 0.59, 0.59),
}
LOOKS = {
    "gp": ("Gaussian process, scikit-learn's defaults", GREY),
    "gp-standardised": ("Gaussian process, losses standardised", PURPLE),
    "hypernet-fixed": ("hypernet, same points", ORANGE),
    "hypernet": ("hypernet, fresh points", BLUE),
}
Rows = list[dict[str, Any]]


@matplotlib.rc_context(STYLE)
def curve(found: Rows) -> Figure:
    """Training and validation loss over lambda, one column per seed: by cross-validation, and as the hypernet has
    learnt it."""
    seeds = sorted({row["seed"] for row in found})
    figure = Figure(figsize=(1.5 + 3 * len(seeds), 5.2), layout="constrained")
    panels = figure.subplots(2, len(seeds), squeeze=False, sharex=True)
    for column, seed in zip(panels.T, seeds, strict=True):
        for axes, name in zip(column, ("valid_loss", "train_loss"), strict=True):
            for way, colour, style in (("cross-validation", GREY, "o-"), ("hypernet", BLUE, "s-"), ("exact", INK, ":")):
                line = [row for row in found if row["seed"] == seed and row["way"] == way]
                axes.plot(
                    [row["lam"] for row in line], [row[name] for row in line], style, ms=3.5, color=colour, label=way
                )
        answer = next(row for row in found if row["seed"] == seed and row["way"] == "answer")
        column[0].plot(
            answer["lam"], answer["valid_loss"], "*", ms=11, color=ORANGE, label="optimised lambda", zorder=3
        )
        column[0].set_title(f"seed {seed}", loc="left", fontsize=9.5)
        column[1].set_xlabel("lambda: log of the L2 weight")
    panels[0, 0].set_ylabel("validation loss")
    panels[1, 0].set_ylabel("training loss with penalty")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=4)
    return figure


@matplotlib.rc_context(STYLE)
def scatter(found: Rows) -> Figure:
    """Left, loss at the predicted best by evaluations, with its range over seeds; then exact against predicted
    losses."""
    drawn = {row["way"]: row for row in found if "pairs" in row and row["seed"] == 0}
    figure = Figure(figsize=(11, 5.4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.25))
    axes = left.subplots()
    for way, (label, colour) in LOOKS.items():
        counts, table = _table(found, way)
        axes.plot(counts, np.median(table, 0), "o-", ms=4, color=colour, label=label)
        axes.fill_between(counts, table.min(0), table.max(0), color=colour, alpha=0.15, linewidth=0)
        if way in PUBLISHED and len(counts) == 5:
            axes.plot(
                counts,
                PUBLISHED[way],
                "x--",
                ms=4,
                lw=0.8,
                color=colour,
                label=f"{way.replace('-fixed', ', same')}, published",
            )
    best = np.median([row["pool_best"] for row in found])
    axes.axhline(best, color=INK, lw=0.7, ls=":", label="best of the pool")
    axes.set(xscale="log", xlabel="evaluations", ylabel="exact validation loss at the predicted best")
    left.legend(loc="outside lower center", ncols=2, fontsize=7.5)
    for panel, way in zip(right.subplots(2, 2).flat, drawn, strict=True):
        _scatter(panel, np.array(drawn[way]["pairs"]), *LOOKS[way])
    count = next(iter(drawn.values()))["evaluations"]
    right.suptitle(f"held out, after {count} evaluations, seed 0", fontsize=9.5)
    right.supxlabel("exact validation loss", fontsize=9)
    right.supylabel("predicted", fontsize=9)
    return figure


@matplotlib.rc_context(STYLE)
def large(found: Rows) -> Figure:
    """Losses of the current response by seconds, one line per seed, and the best single weight."""
    figure = Figure(figsize=(8.4, 3.8), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("valid_loss", "test_loss"), strict=True):
        for seed, colour in zip(
            sorted({row["seed"] for row in found}), (BLUE, ORANGE, GREEN, PURPLE) * 9, strict=False
        ):
            mine = [row for row in found if row["seed"] == seed]
            line = [row for row in mine if row["way"] == "curve"]
            axes.plot([row["seconds"] for row in line], [row[name] for row in line], color=colour, label=f"seed {seed}")
            single = next(row for row in mine if row["way"] == "single")
            axes.axhline(single[name], color=colour, lw=1, ls=":", label=f"seed {seed}, best single weight")
        lowest = min(row[name] for row in found if name in row)
        axes.set(
            xlabel="seconds",
            ylabel=name.replace("_", " ").replace("valid ", "validation "),
            ylim=(lowest - 0.02, lowest + 0.3),
        )
    axes.legend(fontsize=7.5)
    return figure


def table(found: Rows) -> str:
    """The paper's table beside its published values, as Markdown: median and range over seeds."""
    counts = sorted({row["evaluations"] for row in found})
    lines = [f"| evaluations | {' | '.join(map(str, counts))} |", "|---" * (1 + len(counts)) + "|"]
    for way, (label, _) in LOOKS.items():
        losses = _table(found, way)[1]
        cells = [f"{np.median(column):.3f} ({column.min():.3f} to {column.max():.3f})" for column in losses.T]
        lines.append(f"| {label} | {' | '.join(cells)} |")
        if way in PUBLISHED and len(counts) == 5:
            lines.append(f"| the same, published | {' | '.join(f'{value:.2f}' for value in PUBLISHED[way])} |")
    return "\n".join(lines) + "\n"


def _table(found: Rows, way: str) -> tuple[list[int], np.ndarray]:
    """Losses by seed and number of evaluations."""
    counts = sorted({row["evaluations"] for row in found})
    losses = {(row["seed"], row["evaluations"]): row["loss"] for row in found if row["way"] == way}
    return counts, np.array([[losses[seed, n] for n in counts] for seed in sorted({seed for seed, _ in losses})])


def _scatter(axes: Axes, pairs: np.ndarray, label: str, colour: str) -> None:
    axes.plot(*pairs.T, ".", ms=3, color=colour)
    ends = pairs[:, 0].min(), pairs[:, 0].max()
    axes.plot(ends, ends, color=INK, lw=0.7)
    axes.set_title(label, loc="left", fontsize=8.5)


def draw(folder: Path) -> list[Path]:
    """Every figure and table that has rows of finished seeds."""
    written = []
    for path in rows.files(folder, "rows-*.jsonl"):
        scale, found = path.stem.removeprefix("rows-"), rows.read(path)
        done = {(row["part"], row["seed"]) for row in found if row.get("ended")}
        for part, figure in (("curve", curve), ("weights", scatter), ("large", large)):
            mine = [row for row in found if row["part"] == part and "way" in row and (part, row["seed"]) in done]
            if mine:
                written.append(folder / f"{scale}-{part}.svg")
                figures.save(figure(mine), written[-1])
            if mine and part == "weights":
                written.append(folder / f"{scale}-weights.md")
                written[-1].write_text(table(mine))
    return written


if __name__ == "__main__":
    redraw.main(draw, HERE)
