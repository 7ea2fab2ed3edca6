"""The trainings: rows are stored as they come, and what is there is not run again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.common import rows
from experiments.noise.settings import SLICES, SPREADS, Scale
from ibo_jax.problems import catalogue
from ibo_jax.problems.base import Problem
from ibo_jax.space import PRESAMPLE_RATIO
from ibo_jax.study.evaluate import evaluate

SHARE, RATIO = "subset_share", PRESAMPLE_RATIO.name


class Training(NamedTuple):
    """One training: to which part it belongs, and its settings."""

    part: str  # the name of a spread, or "slice"
    axis: str  # SHARE or RATIO
    level: float
    position: float  # of the slice, its hyperparameter; else 0
    repeat: int
    problem: str
    hyperparameters: dict[str, Any]
    seconds: float  # expected

    @property
    def key(self) -> tuple[Any, ...]:
        return self[:5]


def planned(scale: Scale) -> list[Training]:
    """Every training of a scale, repeats last, so that a run stopped early has fewer repeats, but of everything."""
    found = [*_of_slice(scale), *_of_spreads(scale)]
    return sorted(found, key=lambda training: training.repeat)


def _of_spreads(scale: Scale) -> Iterator[Training]:
    for spread in SPREADS[scale]:
        levels = [(SHARE, share, share / 4) for share in spread.shares] + [(RATIO, r, r / 6) for r in spread.ratios]
        for axis, level, cost in levels:
            for repeat in range(spread.repeats):
                yield Training(spread.name, axis, level, 0.0, repeat, spread.problem, dict(spread.hyperparameters),
                               spread.seconds * cost)  # fmt: skip


def _of_slice(scale: Scale) -> Iterator[Training]:
    along = SLICES[scale]
    for axis, (level, values, repeats) in ((SHARE, along.noisy), (RATIO, along.precise)):
        for exact in np.geomspace(*along.bounds, values):
            value = float(f"{exact:.10g}")  # processors differ in the last digits
            for repeat in range(repeats):
                h = dict(along.hyperparameters) | {along.of: value}
                cost = along.seconds * (level / 4 if axis == SHARE else 1.0)
                yield Training("slice", axis, level, value, repeat, along.problem, h, cost)


def record(training: Training, number: int, problem: Problem) -> dict[str, Any]:
    """Train once; the seed follows from the place in the plan."""
    if training.axis == SHARE:
        problem = problem.seen("subset", "off")
        level: float = round(training.level * problem.fidelity.high)
    else:
        level = int(training.level)
    outcome, _ = evaluate(problem, 10_000 + number, training.hyperparameters, level)
    names = ("part", "axis", "level", "position", "repeat")
    return {
        **{name: getattr(training, name) for name in names},
        "hyperparameters": training.hyperparameters,
        "state": outcome.state,
        "error": outcome.error,
        "cost_seconds": round(outcome.cost_seconds, 4),
        "cost_work": outcome.cost_work,
        "importance_share": round(outcome.importance_share, 4),
    }


def missing(scale: Scale, found: list[dict[str, Any]]) -> list[tuple[int, Training]]:
    """The trainings that have no row yet, with their numbers in the plan."""
    there = {tuple(row[name] for name in Training._fields[:5]) for row in found if "part" in row}
    return [(number, training) for number, training in enumerate(planned(scale)) if training.key not in there]


def run(scale: Scale, path: Path, limit: int) -> None:
    """Run the trainings that have no row yet, the first `limit` of them."""
    left = missing(scale, rows.read(path))[:limit]
    minutes = sum(training.seconds for _, training in left) / 60
    print(f"noise: {len(left)} trainings, about {minutes:.0f} minutes on one core", flush=True)
    if left:
        rows.append(path, {"machine": rows.machine(), "device": jax.devices()[0].device_kind})
    problems = {name: catalogue.problem(name, scale=scale) for name in {training.problem for _, training in left}}
    for done, (number, training) in enumerate(left, 1):
        row = record(training, number, problems[training.problem])
        rows.append(path, row)
        print(f"{done}/{len(left)} {row['part']}, {row['axis']} {row['level']:.3g}, {row['position']:.2g}: "
              f"error {row['error']:.4f}, {row['cost_seconds']:.1f} s", flush=True)  # fmt: skip
