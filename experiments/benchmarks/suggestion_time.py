"""Seconds a suggestion takes: warm, at several numbers of observations, and the first one of a process.

    python -m experiments.benchmarks.suggestion_time [--method ibo] [--sizes 20 50 100 200] [--repeats 10]
    python -m experiments.benchmarks.suggestion_time --platform cuda      # the search on a GPU, for comparison only

The data are points of AugmentedHartmann (six dimensions and the fidelity). Warm suggestions slide over them: each
drops the oldest observation and sees a new one, carrying its state, so the number stays and the data change. The
first suggestion is timed in two fresh processes that share an empty compile cache. Appends a row a measurement to
`suggestion_time.jsonl`. Run it alone on the machine: another process on the same cores doubles the times.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.common import rows
from ibo_jax import methods, numerics
from ibo_jax.observations import Observations, append, empty
from ibo_jax.problems.synthetic import SYNTHETIC, cost, value

PROBLEM = "hartmann6"
DIMENSION, FIDELITY = SYNTHETIC[PROBLEM].space.dimension, SYNTHETIC[PROBLEM].fidelity
FIRST_SIZE = 16  # observations at the first suggestion: the initial design
CACHE_SETTINGS = {
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}


def stream(count: int) -> list[tuple[np.ndarray, float]]:
    """Points and fidelities, the same in every run."""
    rng = np.random.default_rng(0)
    return list(zip(rng.random((count, DIMENSION)), rng.random(count), strict=True))


def observe(points: list[tuple[np.ndarray, float]]) -> Observations:
    observations = empty(DIMENSION)
    for x, s in points:
        observations = append(observations, x, s, float(value(PROBLEM, x, s)), math.log(float(cost(PROBLEM, s))))
    return observations


def warm(method: str, size: int, repeats: int) -> dict[str, Any]:
    """Seconds of `repeats` suggestions from `size` observations, after those that compile."""
    suggest, skipped = methods.make(method, FIDELITY), 3
    points, state, seconds = stream(size + skipped + repeats), None, []
    for step in range(skipped + repeats):
        observations = observe(points[step : step + size])
        start = time.perf_counter()
        _, state = suggest(jax.random.fold_in(jax.random.key(1), step), observations, state)
        seconds.append(time.perf_counter() - start)
    timed = np.array(seconds[skipped:])
    low, median, high = np.quantile(timed, (0.25, 0.5, 0.75))
    spread = {"median": median, "minimum": timed.min(), "lower_quartile": low, "upper_quartile": high}
    return {"observations": size, "repeats": repeats, "untimed": [round(v, 3) for v in seconds[:skipped]],
            **{name: round(float(v), 4) for name, v in spread.items()}, "peak_memory_mib": peak_memory()}  # fmt: skip


def first(method: str, cache: Path) -> dict[str, Any]:
    """In this process: seconds of the first suggestion and of the two after it, with a compile cache in a folder."""
    jax.config.update("jax_compilation_cache_dir", str(cache))
    for name, setting in CACHE_SETTINGS.items():
        jax.config.update(name, setting)
    suggest, points, state, seconds = methods.make(method, FIDELITY), stream(FIRST_SIZE + 2), None, []
    for step in range(3):
        observations = observe(points[: FIRST_SIZE + step])
        start = time.perf_counter()
        _, state = suggest(jax.random.fold_in(jax.random.key(1), step), observations, state)
        seconds.append(round(time.perf_counter() - start, 3))
    return {"observations": FIRST_SIZE, "first": seconds[0], "next": seconds[1:], "peak_memory_mib": peak_memory()}


def fresh_process(*arguments: str) -> dict[str, Any]:
    """The same script in a process of its own; its last line is the row."""
    command = [sys.executable, "-m", "experiments.benchmarks.suggestion_time", *arguments]
    start = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    whole = time.perf_counter() - start
    return {**json.loads(done.stdout.splitlines()[-1]), "process_seconds": round(whole, 2)}


def peak_memory() -> float:
    """Largest resident size of this process so far, MiB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="ibo", choices=methods.NAMES)
    parser.add_argument("--measures", nargs="+", choices=("first", "warm"), default=["first", "warm"])
    parser.add_argument("--sizes", type=int, nargs="*", default=[20, 50, 100, 200])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--platform", default=numerics.PLATFORM, help="that computes the suggestions; default cpu")
    parser.add_argument("--rows", type=Path, default=Path(__file__).with_name("suggestion_time.jsonl"))
    one = parser.add_mutually_exclusive_group()  # what a fresh process is asked to measure
    one.add_argument("--first", type=Path, metavar="CACHE", help="print the row of a first suggestion and stop")
    one.add_argument("--warm", type=int, metavar="SIZE", help="print the row of warm suggestions and stop")
    arguments = parser.parse_args()
    numerics.PLATFORM = arguments.platform
    if arguments.first:
        print(json.dumps(first(arguments.method, arguments.first)))
        return
    if arguments.warm:
        print(json.dumps(warm(arguments.method, arguments.warm, arguments.repeats)))
        return

    def record(measure: str, row: dict[str, Any]) -> None:
        row = {"measure": measure, "method": arguments.method, "platform": arguments.platform, **row}
        rows.append(arguments.rows, {**row, "machine": rows.machine()})
        print(json.dumps(row), flush=True)

    common = ("--method", arguments.method, "--repeats", str(arguments.repeats), "--platform", arguments.platform)
    if "first" in arguments.measures:
        with tempfile.TemporaryDirectory() as cache:
            for measure in ("first, empty cache", "first, filled cache"):
                record(measure, fresh_process(*common, "--first", cache))
    if "warm" in arguments.measures:
        for size in arguments.sizes:
            record("warm", fresh_process(*common, "--warm", str(size)))


if __name__ == "__main__":
    main()
