"""Redraw what only this experiment has: the answers as their methods train them."""

from pathlib import Path

from experiments.common import pages, redraw, rows
from experiments.tabular import as_trained

HERE = Path(__file__).parent
TITLE = "Recorded trainings as their methods train"


def draw(folder: Path) -> list[Path]:
    """A figure for each group of methods and a table, for each file of rows."""
    return [file for path in rows.files(folder, "rows-*.jsonl")
            for file in pages.write(path, TITLE, as_trained.curves(rows.read(path)), suffix="-as-trained")]  # fmt: skip


if __name__ == "__main__":
    redraw.main(draw, HERE)
