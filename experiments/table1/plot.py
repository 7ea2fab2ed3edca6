"""The table from the rows of every experiment in which Fabolas ran: `python -m experiments.table1.plot`.

The subset is the largest one on which the search evaluated its final incumbent; means and deviations are over seeds.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.common import curves, rows
from experiments.common.settings import ROOT, experiments

METHOD = "fabolas"
TABLE = Path(__file__).with_name("table1.md")


class Published(NamedTuple):
    """A row of the published table."""

    error: float
    size: int
    share: float


PUBLISHED = {
    "fcn_mnist": Published(0.06, 18_034, 0.30),
    "cnn_cifar10": Published(0.29, 46_533, 0.93),
    "resnet_cifar10": Published(0.11, 23_136, 0.46),
    "resnet_cifar100": Published(0.40, 49_121, 0.98),
}


class Final(NamedTuple):
    """The end of one search; size and share are those of the subset."""

    seed: int
    test_error: float
    size: float
    share: float


def finals(path: Path) -> list[Final]:
    """The end of every search of Fabolas that has ended and found something."""
    there = [row for row in rows.read(path) if row.get("method") == METHOD]
    whole = {row["seed"]: row["searched_fidelity"]["high"] for row in there if "searched_fidelity" in row}
    found = []
    for (_, seed), trials in curves.searches(there).items():
        last = trials[-1]
        if last["incumbent"] is not None:
            sizes = [row["fidelity"] for row in trials if row["hyperparameters"] == last["incumbent"]]
            size = max(sizes, default=float("nan"))
            found.append(Final(seed, last["test_error"], size, size / whole[seed]))
    return found


def table(found: dict[tuple[str, str], list[Final]]) -> str:
    """Markdown, one line per experiment and variant, with the published numbers beside it."""
    lines = [
        "| experiment | variant | seeds | test error | subset | share | published: error | subset | share |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (name, variant), ends in found.items():
        columns = [f"{name} | {variant} | {len(ends)}"]
        for field, form in (("test_error", ".4f"), ("size", ",.0f"), ("share", ".0%")):
            columns.append(_spread([getattr(end, field) for end in ends], form))
        if published := PUBLISHED.get(name):
            columns.append(f"{published.error:.2f} | {published.size:,} | {published.share:.0%}")
        else:
            columns.append("- | - | -")
        lines.append("| " + " | ".join(columns) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    found = {}
    for experiment in experiments():
        for path in rows.files(ROOT / experiment.name, "rows-*.jsonl"):
            if ends := finals(path):
                found[experiment.name, path.stem.removeprefix("rows-")] = ends
    if found:
        TABLE.write_text(table(found))
        print(rows.relative(TABLE))


def _spread(values: Sequence[float], form: str) -> str:
    deviation = f" ± {np.std(values, ddof=1):{form}}" if len(values) > 1 else ""
    return f"{np.mean(values):{form}}{deviation}"


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # none but --help
    main()
