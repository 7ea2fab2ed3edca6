"""What the `plot.py` of all experiments have in common: draw what has rows, and print what was written."""

import argparse
from collections.abc import Callable
from pathlib import Path

from experiments.common import rows


def main(draw: Callable[[Path], list[Path]], here: Path) -> None:
    """The command; `draw(folder)` writes the figures and tables of the rows in a folder."""
    parser = argparse.ArgumentParser(description="Redraw the figures from the rows that are stored here.")
    parser.add_argument("--folder", type=Path, default=here, help="folder of the rows")
    for path in draw(parser.parse_args().folder):
        print(rows.relative(path))
