"""Importance against uniform training at equal seconds, paired by seed, with intervals."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import t as student_t

from experiments.common import rows

CONFIDENCE = 0.95
Key = tuple[str, str, str, int, str]  # network, optimiser, schedule, ratio, switch
Runs = dict[Key, dict[int, dict[str, Any]]]  # rows by seed


class Comparison(NamedTuple):
    """One cell against the uniform trainings of the same seeds: (estimate, low, high) of both measures.

    Attributes:
        ratio: geometric mean of the ratios of final training losses.
        difference: mean difference of the final test errors, importance - uniform.
        share: mean share of importance steps.
        measured: seconds that the steps really took, importance over uniform; far from 1, the prices were wrong.
    """

    ratio: tuple[float, float, float]
    difference: tuple[float, float, float]
    share: float
    measured: float
    seeds: int


def finished(path: Path) -> Runs:
    """Rows of trainings by cell and seed; uniform ones have ratio 1."""
    runs: Runs = {}
    for row in rows.read(path):
        if "series" in row:
            key = (row["network"], row["optimizer"], row["schedule"], row["ratio"], row["switch"])
            runs.setdefault(key, {})[row["seed"]] = row
    return runs


def compare(runs: Runs) -> dict[Key, Comparison]:
    """Every cell of importance sampling that shares seeds with its uniform one, in order of names and ratios."""
    found = {}
    for key in sorted(key for key in runs if key[3] > 1):
        uniform = runs.get((*key[:3], 1, "published"), {})
        seeds = sorted(runs[key].keys() & uniform.keys())
        if not seeds:
            continue
        ours, theirs = ([arm[seed] for seed in seeds] for arm in (runs[key], uniform))
        low_high = interval(np.log(_last(ours, "train_loss") / _last(theirs, "train_loss")))
        difference = interval(_last(ours, "test_error") - _last(theirs, "test_error"))
        ratio = tuple(float(value) for value in np.exp(low_high))
        share = float(np.mean([row["share"] for row in ours]))
        measured = sum(row["measured_seconds"] for row in ours) / sum(row["measured_seconds"] for row in theirs)
        found[key] = Comparison(ratio, difference, share, measured, len(seeds))  # type: ignore[arg-type]
    return found


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean and its two-sided interval by Student's t; for one or two values, the smallest and the largest instead.

    Examples:
        >>> tuple(round(end, 3) for end in interval(np.array([1.0, 2.0, 3.0])))
        (2.0, -0.484, 4.484)
    """
    mean = float(np.mean(values))
    if len(values) < 3:  # an interval by Student's t would be thirteen standard errors: it says less than the values
        return mean, float(np.min(values)), float(np.max(values))
    half = student_t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return mean, mean - float(half), mean + float(half)


def table(runs: Runs) -> str:
    """A Markdown table, one row per cell: seconds and loss of importance over uniform, error less uniform's."""
    lines = [
        "| training | ratio, switch | seeds | share | measured seconds | training loss | test error |",
        "|---|---|---|---|---|---|---|",
    ]
    for (network, optimizer, schedule, ratio, switch), cell in compare(runs).items():
        loss = "{:.2f} [{:.2f}, {:.2f}]".format(*cell.ratio)
        error = "{:+.4f} [{:+.4f}, {:+.4f}]".format(*cell.difference)
        lines.append(f"| {network}, {optimizer}, {schedule} | {ratio}, {switch} | {cell.seeds} | {cell.share:.2f} | "
                     f"{cell.measured:.2f} | {loss} | {error} |")  # fmt: skip
    return "\n".join(lines)


def _last(arm: list[dict[str, Any]], name: str) -> np.ndarray:
    return np.array([row["series"][name][-1] for row in arm])
