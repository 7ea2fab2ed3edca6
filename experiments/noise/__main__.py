"""Train configurations repeatedly, and draw how much their errors vary.

    python -m experiments.noise --scale cpu

Rows are appended to `noise-SCALE.jsonl`; what is there is not run again. `plot.py` draws the figures.
"""

import argparse
import sys
from pathlib import Path

from experiments.common import rows
from experiments.common.settings import folder_of
from experiments.noise import believed, plot, record
from experiments.noise.settings import SCALES, SLICES
from ibo_jax.study.cache import enable_compilation_cache


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        "python -m experiments.noise", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--limit", type=int, default=sys.maxsize, help="stop after this many trainings")
    parser.add_argument("--out", type=Path, help="folder of the rows; default: here, for smoke under runs/")
    chosen = parser.parse_args(arguments)
    folder = chosen.out or folder_of("noise", chosen.scale)
    folder.mkdir(parents=True, exist_ok=True)
    enable_compilation_cache()
    path = folder / f"noise-{chosen.scale}.jsonl"
    record.run(chosen.scale, path, chosen.limit)
    found = rows.read(path)
    if not record.missing(chosen.scale, found):
        for study in believed.studies(found, SLICES[chosen.scale]):
            rows.append(path, study)
    for path in plot.draw(folder):
        print(path)


if __name__ == "__main__":
    main()
