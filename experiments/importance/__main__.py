"""Katharopoulos and Fleuret's checks of importance-sampled training.

    python -m experiments.importance variance --scale cpu
    python -m experiments.importance seconds --scale cpu
    python -m experiments.importance table --scale cpu

Rows are appended to `variance-SCALE.jsonl` and `seconds-SCALE.jsonl`; what is there is not run again. `plot.py`
draws the figures.
"""

import argparse
import sys
from pathlib import Path

from experiments.common.settings import folder_of
from experiments.importance import seconds, summary, variance
from experiments.importance.settings import CASES, SCALES
from ibo_jax.study.cache import enable_compilation_cache


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        "python -m experiments.importance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("check", choices=("variance", "seconds", "table"))
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--networks", nargs="+", choices=("mlp", "cnn", "resnet"), help="default: all of the scale")
    parser.add_argument("--limit", type=int, default=sys.maxsize, help="stop after this many trainings")
    parser.add_argument("--out", type=Path, help="folder of the rows; default: here, for smoke under runs/")
    chosen = parser.parse_args(arguments)
    folder = chosen.out or folder_of("importance", chosen.scale)
    folder.mkdir(parents=True, exist_ok=True)
    networks = chosen.networks or list(CASES[chosen.scale])
    if chosen.check == "table":
        path = folder / f"seconds-{chosen.scale}.jsonl"
        if not (found := summary.finished(path)):
            parser.error(f"expected finished trainings in {path}, found none; run `seconds` at this scale first")
        print(summary.table(found))
        return
    enable_compilation_cache()
    check = {"variance": variance, "seconds": seconds}[chosen.check]
    check.run(chosen.scale, folder / f"{chosen.check}-{chosen.scale}.jsonl", networks, chosen.limit)


if __name__ == "__main__":
    main()
