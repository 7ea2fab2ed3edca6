"""A run of the command on real data as one row: what it reached and how long it took.

    TFDS_DATA_DIR=... ibo-jax tune mnist-fcn --scale cpu --evaluations 25
    TFDS_DATA_DIR=... ibo-jax tune cifar10-cnn --scale cpu --evaluations 8
    python -m experiments.benchmarks.real_data runs/mnist-fcn-ibo-0 runs/cifar10-cnn-ibo-0

Prints a line for each folder and appends it as a row to `real_data.jsonl`. Wall seconds are those of the study up to
the end of its last evaluation, over restarts, without the start of the process and the final training.
"""

import argparse
from pathlib import Path
from typing import Any

from experiments.common import rows
from ibo_jax.study.rows import read, summary


def row_of(directory: Path) -> dict[str, Any]:
    """A summary of the study in a folder.

    Raises:
        ValueError: the folder has no study, or it has not ended.
    """
    trials, about = read(directory), summary(directory)
    if "slots" not in about:
        raise ValueError(f"expected a finished study in {directory}, got {len(trials)} trials; resume it")
    return {
        **{name: about[name] for name in ("problem", "method", "seed", "cost", "protocol")},
        "evaluations": len(trials),
        "states": sorted({trial["state"] for trial in trials}),
        "wall_seconds": round(max(trial["elapsed_seconds"] for trial in trials), 1),
        **{name: round(sum(trial[name] for trial in trials), 1) for name in
           ("cost_seconds", "compile_seconds", "suggest_seconds")},
        **{name: about[name] for name in ("validation_error", "predicted_error", "test_error", "best")},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--rows", type=Path, default=Path(__file__).with_name("real_data.jsonl"))
    arguments = parser.parse_args()
    for directory in arguments.directories:
        try:
            row = row_of(directory)
        except ValueError as error:
            parser.error(str(error))
        rows.append(arguments.rows, row | {"machine": rows.machine()})
        print(f"{row['problem']}, {row['evaluations']} evaluations in {row['wall_seconds']:.0f} s: "
              f"validation error {row['validation_error']:.4f}, test error {row['test_error']:.4f}")  # fmt: skip


if __name__ == "__main__":
    main()
