"""Redraw what this experiment has beside the figures of every experiment: the answers as their methods train them."""

from pathlib import Path

from experiments import plot
from experiments.common import curves, redraw, rows
from experiments.tabular import as_trained

HERE = Path(__file__).parent


def draw(folder: Path) -> list[Path]:
    """A figure of each group of methods and a table, for each file of rows."""
    written: list[Path] = []
    for path in rows.files(folder, "rows-*.jsonl"):
        trained = as_trained.curves(rows.read(path), curves.load(path))
        written += plot.redraw(path, "Recorded trainings as their methods train", trained, "-as-trained")
    return written


if __name__ == "__main__":
    redraw.main(draw, HERE)
