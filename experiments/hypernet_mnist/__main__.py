"""Hypernetworks on the linear model of Lorraine and Duvenaud (2018).

    TFDS_DATA_DIR=... python -m experiments.hypernet_mnist --scale cpu

Rows are appended to `rows-SCALE.jsonl` seed by seed; what is there is not run again. Then the figures are drawn.
"""

import argparse
from pathlib import Path

from experiments.common import rows
from experiments.common.settings import folder_of
from experiments.hypernet_mnist import curve, large, plot, weights
from experiments.hypernet_mnist.settings import SCALES
from ibo_jax.study.cache import enable_compilation_cache

PARTS = {"curve": curve.run, "weights": weights.run, "large": large.run}


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        "python -m experiments.hypernet_mnist",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", type=Path, help="folder of the rows; default: here, for smoke under runs/")
    chosen = parser.parse_args(arguments)
    folder = chosen.out or folder_of("hypernet_mnist", chosen.scale)
    folder.mkdir(parents=True, exist_ok=True)
    enable_compilation_cache()
    path, setting = folder / f"rows-{chosen.scale}.jsonl", SCALES[chosen.scale]
    done = {(row["part"], row["seed"]) for row in rows.read(path) if row.get("ended")}
    for part in chosen.parts:
        for seed in range(chosen.seeds):
            if (part, seed) not in done:
                for row in PARTS[part](setting.source, seed, getattr(setting, part)):
                    rows.append(path, row)
                rows.append(path, {"part": part, "seed": seed, "ended": True, **rows.machine()})
                print(f"{part}, seed {seed}: done", flush=True)
    for figure in plot.draw(folder):
        print(figure)


if __name__ == "__main__":
    main()
