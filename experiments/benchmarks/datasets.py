"""Seconds to decode MNIST and CIFAR-10 for the first time, and to load them from the cache afterwards.

    TFDS_DATA_DIR=... python -m experiments.benchmarks.datasets

Each load runs in a fresh process, including imports. Appends one row per data set to `datasets.jsonl`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from experiments.common import rows

PROGRAM = """
import time
began = time.perf_counter()
from ibo_jax.training.datasets import load
load({name!r})
print(time.perf_counter() - began)
"""


def seconds(name: str, cache: str) -> float:
    """What a load in a new process takes with the given cache folder."""
    environment = os.environ | {"IBO_JAX_CACHE": cache}
    command = [sys.executable, "-c", PROGRAM.format(name=name)]
    return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for name in ("mnist", "cifar10"):
        with tempfile.TemporaryDirectory() as cache:
            first, second = seconds(name, cache), seconds(name, cache)
        print(f"{name}: decoded in {first:.1f} s, loaded again in {second:.2f} s")
        row = {"dataset": name, "decode_seconds": first, "load_seconds": second}
        rows.append(Path(__file__).with_name("datasets.jsonl"), row | rows.machine())


if __name__ == "__main__":
    main()
