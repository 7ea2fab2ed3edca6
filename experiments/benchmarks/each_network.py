"""The command of a benchmark that takes one network after another."""

import argparse
from collections.abc import Callable, Collection
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
    """Append the row of `measure(network, repeats)` for each network to the file of rows beside `file`, and show it."""
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
