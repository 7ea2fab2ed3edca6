"""Tables of curves: what each method ends at, and how it differs from IBO seed by seed."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student_t

from experiments.common.curves import AXES, QUARTILES, Cost, Curves, at, common_end, end
from experiments.common.settings import BASELINE

CONFIDENCE = 0.95
SMALL = 1e-3  # below it four decimals say too little
Errors = dict[str, dict[int, float]]  # by method and seed


class Summary(NamedTuple):
    """Test errors over seeds; NaN where a run has no answer by then. The deviation needs two seeds."""

    seeds: int
    mean: float
    deviation: float
    quartiles: tuple[float, float, float]  # the second is the median
    worst: float


class Paired(NamedTuple):
    """Difference from IBO over the seeds of both, with Student's interval of the mean; it needs two."""

    seeds: int
    mean: float
    low: float
    high: float
    better: int  # seeds at which the error is below IBO's
    worse: int


def summary(errors: Sequence[float]) -> Summary:
    """What a method ends at.

    Examples:
        >>> summary([0.1, 0.2, 0.6]).worst
        0.6
    """
    sample = np.asarray(errors, float)
    deviation = float(sample.std(ddof=1)) if len(sample) > 1 else float("nan")
    low, median, high = map(float, np.quantile(sample, QUARTILES))
    return Summary(len(sample), float(sample.mean()), deviation, (low, median, high), float(sample.max()))


def paired(differences: Sequence[float]) -> Paired:
    """How far another method's errors are above IBO's.

    Examples:
        >>> paired([0.01, 0.03]).mean
        0.02
    """
    sample = np.asarray(differences, float)
    count, mean = len(sample), float(sample.mean())
    half = float("nan")
    if count > 1:
        half = float(student_t.ppf((1 + CONFIDENCE) / 2, count - 1) * sample.std(ddof=1) / count**0.5)
    return Paired(count, mean, mean - half, mean + half, int((sample < 0).sum()), int((sample > 0).sum()))


def markdown(curves: Curves, cost: Cost = "training") -> str:
    """Tables at the end of the common budget: in seconds of training if those are the cost, in work where that
    differs, and in trials.

    And of every method after all of its trials, where their numbers differ.
    """
    parts = []
    for axis in ("training", "trials") if _is_recorded(curves) else dict.fromkeys((cost, "work", "trials")):
        spent = common_end(curves, axis)
        errors = {method: {seed: at(run, axis, spent) for seed, run in runs.items()} for method, runs in curves.items()}
        parts += [f"After {spent:.4g} {AXES[axis]}, where the first method stops:", "", *_summaries(errors), ""]
        if axis == "training" and not _is_recorded(curves):
            parts += [_prices(curves), ""]
        parts += _compared(errors)
    trials = {method: f"{end(runs, 'trials'):g}" for method, runs in curves.items()}
    if len(set(trials.values())) > 1:
        errors = {method: {seed: float(run.error[-1]) for seed, run in runs.items()} for method, runs in curves.items()}
        each = ", ".join(f"{method} {number}" for method, number in trials.items())
        parts += [f"Each after all of its trials ({each}):", "", *comparison(errors)]
    return "\n".join(parts)


def comparison(errors: Errors) -> list[str]:
    """Lines of a table of the errors, and one of their differences from IBO's."""
    return [*_summaries(errors), "", *_compared(errors)]


def _is_recorded(curves: Curves) -> bool:
    """Whether the work is the seconds of recorded trainings."""
    return all(np.allclose(run.work, run.training, rtol=1e-3) for runs in curves.values() for run in runs.values())


def _prices(curves: Curves) -> str:
    """What tells a slow machine from a slow method."""
    prices = {method: np.median([run.training[-1] / run.work[-1] for run in runs.values()])
              for method, runs in curves.items()}  # fmt: skip
    said = ", ".join(f"{method} {price * 1e12:.3g}" for method, price in prices.items())
    return (f"Seconds of 1e12 operations: {said}. Where these are far apart, so were machines or hours, and seconds "
            "compare nothing.")  # fmt: skip


def _summaries(errors: Errors) -> list[str]:
    lines = ["| method | seeds | mean ± sd | median [quartiles] | worst |", "|---|---|---|---|---|"]
    for method, by_seed in errors.items():
        found = summary(list(by_seed.values()))
        low, median, high = map(_number, found.quartiles)
        lines.append(f"| {method} | {found.seeds} | {_number(found.mean)} ± {_number(found.deviation)} | "
                     f"{median} [{low}, {high}] | {_number(found.worst)} |")  # fmt: skip
    return lines


def _compared(errors: Errors) -> list[str]:
    differences = _differences(errors)
    said = f"Difference from {BASELINE}, paired by seed (above 0: {BASELINE} is better):"
    return [said, "", *differences, ""] if differences else []


def _differences(errors: Errors) -> list[str]:
    lines = [f"| method | seeds | mean difference | {CONFIDENCE:.0%} interval | better / equal / worse |",
             "|---|---|---|---|---|"]  # fmt: skip
    own = errors.get(BASELINE, {})
    for method, by_seed in errors.items():
        shared = sorted(own.keys() & by_seed.keys())
        if method == BASELINE or not shared:
            continue
        found = paired([by_seed[seed] - own[seed] for seed in shared])
        counts = (found.better, found.seeds - found.better - found.worse, found.worse)
        lines.append(f"| {method} | {found.seeds} | {_number(found.mean, '+')} | "
                     f"[{_number(found.low, '+')}, {_number(found.high, '+')}] | "
                     f"{' / '.join(map(str, counts)) if np.isfinite(found.mean) else '-'} |")  # fmt: skip
    return lines if len(lines) > 2 else []


def _number(value: float, sign: str = "") -> str:
    if not np.isfinite(value):
        return "-"
    return f"{value:{sign}.2g}" if 0 < abs(value) < SMALL else f"{value:{sign}.4f}"
