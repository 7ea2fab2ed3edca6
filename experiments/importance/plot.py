"""Redraw the figures of this folder from the rows that are stored here: `make figures`."""

from pathlib import Path

from matplotlib.figure import Figure

from experiments.common import redraw, rows
from experiments.common.figures import save
from experiments.importance import figures, summary

HERE = Path(__file__).parent


def draw(folder: Path) -> list[Path]:
    """Every figure that has rows, at every scale; equal rows give equal bytes."""
    drawn: dict[Path, Figure] = {}
    for path in rows.files(folder, "variance-*.jsonl"):
        if any("score" in row for row in rows.read(path)):
            drawn[path.with_suffix(".svg")] = figures.variance(rows.read(path))
    for path in rows.files(folder, "seconds-*.jsonl"):
        if summary.compare(runs := summary.finished(path)):
            drawn[path.with_suffix(".svg")] = figures.forest(runs)
            for network in dict.fromkeys(key[0] for key in runs):
                name = f"{path.stem.replace('seconds', 'curves')}-{network}.svg"
                drawn[path.with_name(name)] = figures.curves(runs, network)
    for path, figure in drawn.items():
        save(figure, path)
    return list(drawn)


if __name__ == "__main__":
    redraw.main(draw, HERE)
