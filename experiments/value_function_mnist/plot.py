"""Redraw the figure and the table of this folder from its rows: `make figures`."""

import statistics
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from experiments.common import figures, redraw, rows
from experiments.value_function_mnist.settings import CELLS, METHODS, Cell
from ibo_jax.bilevel.value_function import PASSES
from ibo_jax.study.figures import BLUE, GREY, INK, ORANGE, PURPLE, STYLE

HERE = Path(__file__).parent
SHOWN = ("value-function", "value-function, published", *METHODS)
LABELS = {"value-function": "value function", "value-function, published": "as in the notebooks", "grid": "grid",
          "random": "random", "ei": "Bayesian optim.", "hyperband": "Hyperband", "ibo": "IBO"}  # fmt: skip
GOAL = 0.02  # for the relative violation

Rows = list[dict[str, Any]]


def draw(folder: Path) -> list[Path]:
    """A figure and a table for every file of rows; equal rows give equal bytes."""
    written = []
    for path in rows.files(folder, "rows-*.jsonl"):
        found, scale = [row for row in rows.read(path) if row.get("state") == "ok"], path.stem.removeprefix("rows-")
        cells = [cell for cell in CELLS[scale] if any(row["cell"] == cell.name for row in found)]
        if cells:
            figures.save(losses(found, cells), path.with_name(f"{scale}.svg"))
            path.with_name(f"{scale}.md").write_text(table(found, cells))
            written += [path.with_name(f"{scale}.svg"), path.with_name(f"{scale}.md")]
    return written


def of(found: Rows, cell: Cell, method: str) -> Rows:
    """Rows of one cell and method, by seed."""
    chosen = [row for row in found if row["cell"] == cell.name and row["method"] == method]
    return sorted(chosen, key=lambda row: row["seed"])


@matplotlib.rc_context(STYLE)
def losses(found: Rows, cells: list[Cell]) -> Figure:
    """Above, test losses by method; below, the tuner's passes: their violation, and how test loss and violation move
    together."""
    figure = Figure(figsize=(2.0 + 2.3 * len(cells), 6.4), layout="constrained")
    panels = figure.subplots(2, len(cells), squeeze=False)
    for (above, below), cell in zip(panels.T, cells, strict=True):
        for height, method in enumerate(SHOWN):
            chosen = of(found, cell, method)
            own = method.startswith("value")
            _points(above, [row["test_loss"] for row in chosen], height, ORANGE if own else BLUE, "o")
            if not own:
                _points(above, [row["retrained_test_loss"] for row in chosen], height + 0.22, PURPLE, "s")
        for value in cell.published:
            above.axvline(value, color=GREY, lw=0.8, ls=":")
        above.set_yticks(range(len(SHOWN)), [LABELS[name] for name in SHOWN] if cell is cells[0] else [])
        above.set(title=_title(cell), xlabel="test loss", ylim=(len(SHOWN) - 0.4, -0.6))
        if cell is not cells[0]:
            below.sharey(panels[1, 0])
        for method, colour in (("value-function", ORANGE), ("value-function, published", GREY)):
            for row in of(found, cell, method):
                values = [one["violation"] for one in row["passes"]]
                below.plot(range(1, len(values) + 1), values, color=colour, marker="o", ms=3, lw=1)
        below.axhline(GOAL, color=INK, lw=0.6, ls=":")
        below.set(xlabel="pass", yscale="log", xticks=range(1, PASSES + 1))
    panels[1, 0].yaxis.set_major_formatter("{x:g}")
    panels[1, 0].set_ylabel("relative violation |f - phi| / f")
    kinds = (
        (ORANGE, "o", "", "weights and hyperparameters together"), (BLUE, "o", "", "searched, trained on 60 %"),
        (PURPLE, "s", "", "searched, trained again on all"), (GREY, "", ":", "published runs"),
        (GREY, "o", "-", "below: as in the notebooks"),
    )  # fmt: skip
    handles = [panels[0, 0].plot([], [], colour, marker=marker, ls=line, label=label)[0]
               for colour, marker, line, label in kinds]  # fmt: skip
    figure.legend(handles=handles, loc="outside upper center", ncols=5 if len(cells) > 3 else 2)
    return figure


def table(found: Rows, cells: list[Cell]) -> str:
    """Medians over the seeds that have been run."""
    lines = ["# Value-function tuning: medians over seeds", "", "Made of the rows beside it by `make figures`.", ""]
    for cell in cells:
        published = ", ".join(map(str, cell.published)) or "none"
        lines += [f"## {_title(cell)}".replace("\n", " "), "", f"Published test losses: {published}.", "",
                  "| method | seeds | solves | seconds | test loss | trained again on all | violation: median, worst |",
                  "|---|---|---|---|---|---|---|"]  # fmt: skip
        for method in SHOWN:
            if chosen := of(found, cell, method):
                violations = [row["violation"] for row in chosen if "violation" in row]
                again = f"{_median(chosen, 'retrained_test_loss'):.4f}" if "retrained_test_loss" in chosen[0] else ""
                worst = f"{statistics.median(violations):.4f}, {max(violations):.4f}" if violations else ""
                lines.append(f"| {LABELS[method]} | {len(chosen)} | {_median(chosen, 'solves'):g} | "
                             f"{_median(chosen, 'seconds'):.0f} | {_median(chosen, 'test_loss'):.4f} | {again} | "
                             f"{worst} |")  # fmt: skip
        lines.append("")
    return "\n".join(lines)


def _median(chosen: Rows, name: str) -> float:
    return statistics.median(row[name] for row in chosen)


def _title(cell: Cell) -> str:
    weights = "one weight" if cell.weights == 1 else "two weights"
    names = {"mnist": "MNIST", "cifar10": "CIFAR-10", "mlp": "MLP", "lenet": "LeNet"}
    return f"{names.get(cell.source, cell.source)} {cell.images:,},\n{names[cell.network]}, {weights}"


def _points(axes: Any, values: list[float], height: float, colour: str, marker: str) -> None:
    axes.plot(values, [height] * len(values), marker, color=colour, ms=3, alpha=0.6)
    if values:
        axes.plot([statistics.median(values)], [height], marker, color=colour, ms=6)


if __name__ == "__main__":
    redraw.main(draw, HERE)
