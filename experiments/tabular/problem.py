"""The recorded trainings as a problem: error after each epoch and cost, interpolated by a forest of trees.

    python -m experiments.tabular.problem        how well the forest predicts trainings that it has not seen, and how
                                                 far the best hyperparameters with and without importance sampling agree

Like the network that it stands for, the problem can have presamples, subsets or tasks as its fidelity and be stopped
between epochs, so every method runs on it; a training takes milliseconds. The interpolation does not depend on the
seed: the same arguments have the same error.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import spearmanr
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.model_selection import KFold

from experiments.common import rows
from experiments.tabular.record import RECORDED
from ibo_jax.outcomes import Outcome, Report
from ibo_jax.problems.axes import TASK, sample_of, subset_sizes
from ibo_jax.problems.base import Problem
from ibo_jax.problems.settings import SETTINGS, size
from ibo_jax.space import PRESAMPLE_RATIO, Fidelity, SearchSpace
from ibo_jax.types import Axis, Hyperparameters, Importance

SPACE = SearchSpace(SETTINGS["mnist-fcn"]["cpu"].space)
EPOCHS = SETTINGS["mnist-fcn"]["cpu"].epochs
EXAMPLES, LARGEST_BATCH, GUESS, FLOOR = 50_000, 256, 0.8865, 0.5 / 10_000
TREES, FOLDS = 200, 10
DECIMALS = 6  # of the logarithms: otherwise trees break ties by last bits, in which processors differ


class Table(NamedTuple):
    """Recorded trainings: features, and the logarithms of the error after each epoch and of the cost in seconds."""

    features: np.ndarray
    log_errors: np.ndarray
    log_cost: np.ndarray


class Forests(NamedTuple):
    """One forest for the errors, one for the cost."""

    errors: ExtraTreesRegressor
    cost: ExtraTreesRegressor

    def predict(self, features: Sequence[float]) -> tuple[np.ndarray, float]:
        """Errors after each epoch and seconds of one training."""
        errors, cost = self.errors.predict([features])[0], self.cost.predict([features])[0]
        return np.exp(errors), math.exp(cost)


def features(hyperparameters: Hyperparameters, ratio: float, examples: int) -> list[float]:
    """A training as a row of numbers: the point of the unit cube, and how much is scored and trained on."""
    return [*SPACE.encode(hyperparameters), math.log(ratio), math.log(examples)]


def table(found: Sequence[dict[str, Any]]) -> Table:
    """Rows of `record` as arrays. A diverged training has the error of guessing from where it stopped on."""
    used = [row for row in found if row.get("state") in ("ok", "diverged")]
    padded = [(row["errors"] + [GUESS] * EPOCHS)[:EPOCHS] for row in used]
    return Table(
        np.array([features(row["hyperparameters"], row["presample_ratio"], row["subset_size"] or EXAMPLES)
                  for row in used]),
        np.log(np.maximum(padded, FLOOR)).round(DECIMALS),
        np.log([row["cost_seconds"] * min(row["cpu_share"], 1.0) for row in used]).round(DECIMALS),
    )  # fmt: skip


def fit(data: Table) -> Forests:
    """Forests of extremely randomised trees: smoother than a random forest's steps, and as accurate here."""
    errors, cost = (ExtraTreesRegressor(TREES, min_samples_leaf=1, random_state=0) for _ in range(2))
    return Forests(errors.fit(data.features, data.log_errors), cost.fit(data.features, data.log_cost))


def accuracy(data: Table) -> dict[str, float]:
    """How well error and cost are predicted for trainings held out in ten folds: R^2 of the logarithms, rank
    correlation, typical factor."""
    held_out = np.zeros((len(data.features), 2))
    for train, test in KFold(FOLDS, shuffle=True, random_state=0).split(data.features):
        forests = fit(Table(*(part[train] for part in data)))
        held_out[test, 0] = forests.errors.predict(data.features[test])[:, -1]
        held_out[test, 1] = forests.cost.predict(data.features[test])
    report = {"trainings": float(len(data.features))}
    for column, (name, truth) in enumerate((("error", data.log_errors[:, -1]), ("cost", data.log_cost))):
        residual = held_out[:, column] - truth
        report[f"{name}_r2"] = 1.0 - float(np.mean(residual**2) / np.var(truth))
        report[f"{name}_spearman"] = float(spearmanr(held_out[:, column], truth).statistic)
        report[f"{name}_typical_factor"] = math.exp(float(np.median(np.abs(residual))))
    return report


@functools.cache
def forests() -> Forests:
    """The forests of all recorded trainings.

    Raises:
        ValueError: nothing is recorded.
    """
    found = rows.read(RECORDED)
    if not any(row.get("state") == "ok" for row in found):
        raise ValueError(
            f"expected trainings in {RECORDED}, found none; record some: python -m experiments.tabular.record"
        )
    return fit(table(found))


def tabular(axis: Axis = "presample", importance: Importance = "searched") -> Problem:
    """The problem with presamples, subsets or tasks as its fidelity, see `ibo_jax.problems.axes`."""
    axes = {"presample": PRESAMPLE_RATIO, "subset": subset_sizes(LARGEST_BATCH, EXAMPLES), "task": TASK}
    fidelity = axes[axis]

    def evaluate(
        seed: int,
        hyperparameters: Hyperparameters,
        value: float,
        on_epoch: Callable[[int, float], bool] | None = None,
    ) -> Outcome:
        return _evaluate(fidelity, importance, seed, hyperparameters, value, on_epoch)

    return Problem(
        "tabular", SPACE, evaluate, fidelity, floor=FLOOR, guess=GUESS, report=_report, view=tabular, epochs=EPOCHS,
        description="recorded trainings of the MNIST network, interpolated", evaluations=40,
    )  # fmt: skip


def _evaluate(
    fidelity: Fidelity, importance: Importance, seed: int, hyperparameters: Hyperparameters, value: float,
    on_epoch: Callable[[int, float], bool] | None,
) -> Outcome:  # fmt: skip
    batch_size = size(dict(hyperparameters), "batch_size")
    ratio, subset_size = sample_of(fidelity, value, importance, seed, batch_size, EXAMPLES)
    errors, cost = forests().predict(features(hyperparameters, ratio, subset_size or EXAMPLES))
    done, state = EPOCHS, "ok"
    if on_epoch is not None:
        stops = (epoch for epoch in range(1, EPOCHS + 1) if on_epoch(epoch, float(errors[epoch - 1])))
        done = next(stops, EPOCHS)
        state = "ok" if done == EPOCHS else "pruned"
    paid = cost * done / EPOCHS
    history = {"error": errors[:done].tolist()}
    return Outcome(state, float(errors[done - 1]), paid, paid, presample_ratio=ratio, history=history)  # type: ignore[arg-type]


def _report(seed: int, hyperparameters: Hyperparameters) -> Report:
    """The validation error of plain training on all examples: there are no recordings of a test error."""
    del seed
    errors, _ = forests().predict(features(hyperparameters, 1.0, EXAMPLES))
    return Report(float(errors[-1]), math.nan, seconds=0.0)


def agreement() -> dict[str, float]:
    """Whether hyperparameters that are good at a presample ratio of 6 are good for plain training too.

    Returns:
        Rank correlation of the two errors at random points, over all of them and over the tenth that is best without
        importance sampling; the lowest error of plain training, and that of the point of lowest error at the ratio.
    """
    drawn = [SPACE.decode(x) for x in np.random.default_rng(0).random((4096, SPACE.dimension))]
    plain, sampled = (
        np.exp(forests().errors.predict([features(h, r, EXAMPLES) for h in drawn])[:, -1]) for r in (1.0, 6.0)
    )
    best = np.argsort(plain)[: len(plain) // 10]
    return {
        "rank_correlation": float(spearmanr(plain, sampled).statistic),
        "of_the_best_tenth": float(spearmanr(plain[best], sampled[best]).statistic),
        "lowest_plain": float(plain.min()),
        "plain_at_lowest_sampled": float(plain[np.argmin(sampled)]),
    }


def main() -> None:
    for name, number in (accuracy(table(rows.read(RECORDED))) | agreement()).items():
        print(f"{name:<22} {number:.4f}")


if __name__ == "__main__":
    main()
