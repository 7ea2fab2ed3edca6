"""The command of benchmarks that measure one network after another, and their clock."""

import argparse
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import jax

from experiments.common import rows


def main(
    file: str,
    about: str | None,
    networks: Collection[str],
    repeats: int,
    measure: Callable[[str, int], dict[str, Any]],
    show: Callable[[dict[str, Any]], None],
) -> None:
    """Append the row of `measure(network, repeats)` for each network to the file of rows beside `file`, and print
    it."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=networks, default=list(networks))
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--rows", type=Path, default=Path(file).with_suffix(".jsonl"))
    arguments = parser.parse_args()
    for network in arguments.networks:
        row = measure(network, arguments.repeats)
        device = jax.devices()[0].device_kind
        rows.append(arguments.rows, {**row, "device": device, "machine": rows.machine()})
        show(row)


def milliseconds(runs: Mapping[str, Callable[[], Any]], repeats: int, steps: int) -> dict[str, list[float]]:
    """Milliseconds per step of each run, which takes `steps` of them: `repeats` times in turn, after once to compile.

    On a CPU these are processor seconds, which other processes disturb less.
    """
    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            began = clock()
            jax.block_until_ready(run())
            if repeat:
                times[name].append(1000 * (clock() - began) / steps)
    return times
