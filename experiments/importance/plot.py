"""Redraw the figures of this folder from the rows that are stored here: `make figures`."""

import argparse
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from experiments.common import rows
from experiments.importance import figures, summary
from ibo_jax.study.figures import STYLE

HERE = Path(__file__).parent


def draw(folder: Path) -> list[Path]:
    """Every figure that has rows, at every scale that has; equal rows give equal bytes."""
    drawn: dict[Path, Figure] = {}
    for path in sorted(folder.glob("variance-*.jsonl")):
        if any("score" in row for row in rows.read(path)):
            drawn[path.with_suffix(".svg")] = figures.variance(rows.read(path))
    for path in sorted(folder.glob("seconds-*.jsonl")):
        if summary.compare(runs := summary.finished(path)):
            drawn[path.with_suffix(".svg")] = figures.forest(runs)
            for network in dict.fromkeys(key[0] for key in runs):
                name = f"{path.stem.replace('seconds', 'curves')}-{network}.svg"
                drawn[path.with_name(name)] = figures.curves(runs, network)
    with matplotlib.rc_context(STYLE):
        for path, figure in drawn.items():
            figure.savefig(path, metadata={"Date": None, "Creator": None})
    return list(drawn)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=HERE, help="of the rows")
    for path in draw(parser.parse_args().folder):
        print(rows.relative(path))


if __name__ == "__main__":
    main()
