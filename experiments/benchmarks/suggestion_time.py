"""Seconds a suggestion takes: warm, at several numbers of observations, and the first one of a process.

    python -m experiments.benchmarks.suggestion_time [--method ibo optuna-gp] [--sizes 20 50 100 200] [--repeats 10]
    python -m experiments.benchmarks.suggestion_time --platform cuda      # the search on a GPU, for comparison only

The data are points of AugmentedHartmann (six dimensions and the fidelity). Warm suggestions use a sliding window of
them: each drops the oldest observation, sees a new one and keeps the method's state, so the number of observations
stays the same while the data change. The first suggestion is timed in two fresh processes that share a compile cache,
empty at first (our methods only). Appends one row per measurement to `suggestion_time.jsonl` and draws the last one of
each method and size in `suggestion-time.svg`. Run it alone on the machine: another process on the same cores doubles
the times.
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
import matplotlib.pyplot as plt
import numpy as np

from experiments.benchmarks import peers, regret
from experiments.common import rows
from experiments.common.figures import save
from ibo_jax import methods, numerics
from ibo_jax.observations import Observations, append, empty
from ibo_jax.problems.synthetic import SYNTHETIC, cost, value

PROBLEM = "hartmann6"
COMPARED = [name for name, peer in peers.PEERS.items() if peer.design]  # those that suggest from any observations
DIMENSION, FIDELITY = SYNTHETIC[PROBLEM].space.dimension, SYNTHETIC[PROBLEM].fidelity
UNTIMED = 3  # first suggestions of a process, which compile
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
    """Seconds of `repeats` suggestions from `size` observations, after the first ones, which compile."""
    points, state, seconds = stream(size + UNTIMED + repeats), None, []
    with regret.suggesting(PROBLEM, method) as suggest:
        for step in range(UNTIMED + repeats):
            observations = observe(points[step : step + size])
            start = time.perf_counter()
            _, state = suggest(jax.random.fold_in(jax.random.key(1), step), observations, state)
            seconds.append(time.perf_counter() - start)
    timed = np.array(seconds[UNTIMED:])
    low, median, high = np.quantile(timed, (0.25, 0.5, 0.75))
    spread = {"median": median, "minimum": timed.min(), "lower_quartile": low, "upper_quartile": high}
    return {"observations": size, "repeats": repeats, "untimed": [round(v, 3) for v in seconds[:UNTIMED]],
            **{name: round(float(v), 4) for name, v in spread.items()}, "peak_memory_mib": peak_memory()}  # fmt: skip


def first(method: str, cache: Path) -> dict[str, Any]:
    """Seconds of the first suggestion of this process and of the two after it, with a compile cache in a folder."""
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
    """Run this script in a process of its own; its last line is the row."""
    command = [sys.executable, "-m", "experiments.benchmarks.suggestion_time", *arguments]
    start = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    whole = time.perf_counter() - start
    return {**json.loads(done.stdout.splitlines()[-1]), "process_seconds": round(whole, 2)}


def peak_memory() -> float:
    """Largest resident size so far, in MiB, of this process or of one that it ran and that has ended."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    largest = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round(largest / unit, 1)


def load(path: Path) -> dict[str, dict[int, float]]:
    """Median seconds of the last warm measurement on a CPU, by method and number of observations."""
    seconds: dict[str, dict[int, float]] = {}
    for row in rows.read(path):
        if row["measure"] == "warm" and row.get("platform", "cpu") == "cpu":
            seconds.setdefault(row["method"], {})[row["observations"]] = row["median"]
    return seconds


def figure(seconds: dict[str, dict[int, float]], path: Path) -> None:
    """Seconds of a suggestion against the number of observations."""
    drawing, axes = plt.subplots(figsize=(7.6, 4.0), layout="constrained")
    for method, by_size in seconds.items():
        sizes = sorted(by_size)
        axes.plot(sizes, [by_size[size] for size in sizes], "o-", color=regret.COLOURS[method], label=method)
    axes.set(xlabel="observations", ylabel="seconds of a suggestion", xscale="log", yscale="log", title=PROBLEM)
    axes.set_xticks(ticks := sorted({size for by_size in seconds.values() for size in by_size}), map(str, ticks))
    axes.minorticks_off()
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    save(drawing, path)
    plt.close(drawing)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", nargs="+", default=["ibo"], choices=(*methods.NAMES, *COMPARED))
    parser.add_argument("--measures", nargs="+", choices=("first", "warm"), default=["first", "warm"])
    parser.add_argument("--sizes", type=int, nargs="*", default=[20, 50, 100, 200])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--platform", default=numerics.PLATFORM, help="where suggestions are computed; default: cpu")
    parser.add_argument("--rows", type=Path, default=Path(__file__).with_name("suggestion_time.jsonl"))
    one = parser.add_mutually_exclusive_group()  # what a fresh process is to measure
    one.add_argument("--first", type=Path, metavar="CACHE", help="print the row of a first suggestion and stop")
    one.add_argument("--warm", type=int, metavar="SIZE", help="print the row of warm suggestions and stop")
    arguments = parser.parse_args()
    numerics.PLATFORM = arguments.platform
    if arguments.first:
        print(json.dumps(first(arguments.method[0], arguments.first)))
        return
    if arguments.warm is not None:
        print(json.dumps(warm(arguments.method[0], arguments.warm, arguments.repeats)))
        return

    def record(method: str, measure: str, *what: str) -> None:
        settings = ("--method", method, "--repeats", str(arguments.repeats), "--platform", arguments.platform)
        row = {"measure": measure, "method": method, "platform": arguments.platform, **fresh_process(*settings, *what)}
        rows.append(arguments.rows, {**row, "machine": rows.machine()})
        print(json.dumps(row), flush=True)

    for method in arguments.method:
        if "first" in arguments.measures and method in methods.NAMES:
            with tempfile.TemporaryDirectory() as cache:
                record(method, "first, empty cache", "--first", cache)
                record(method, "first, filled cache", "--first", cache)
        if "warm" in arguments.measures:
            for size in arguments.sizes:
                record(method, "warm", "--warm", str(size))
    figure(load(arguments.rows), arguments.rows.with_name("suggestion-time.svg"))


if __name__ == "__main__":
    main()
