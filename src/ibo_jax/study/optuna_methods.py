"""Methods that Optuna provides: grid search, TPE, its Gaussian process, and pruning by Hyperband.

Samplers and pruners see a study that is rebuilt in memory from the stored trials for every question, with the trials
numbered by slot. So only `study.db` and the seed decide, also after a restart and beside other workers.

References:
    [LiEtAl2018] Hyperband: a novel bandit-based approach to hyperparameter optimization. JMLR 18, 2018.
    [FalknerEtAl2018] BOHB: robust and efficient hyperparameter optimization at scale. ICML 2018.
    [AkibaEtAl2019] Optuna: a next-generation hyperparameter optimization framework. KDD 2019.
"""

import importlib.util
import inspect
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import HyperbandPruner, NopPruner
from optuna.samplers import BaseSampler, GPSampler, GridSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from ibo_jax.problems.base import Problem
from ibo_jax.study.convert import distribution
from ibo_jax.study.grid import factorial_grid
from ibo_jax.study.storage import Store, quiet
from ibo_jax.types import Value

__all__ = ["Choice", "OptunaMethod", "check", "choose", "make_optuna_method", "watch"]

PRUNING = ("hyperband", "bohb")
REDUCTION = 3  # of the trainings that reach a rung, one in this many goes on
OURS = "ibo_jax:"  # attributes of the store; all others are Optuna's notes on a trial


class OptunaMethod(NamedTuple):
    """A method for one study."""

    name: str
    study_name: str  # with a trial's number it decides to which bracket of Hyperband the trial belongs
    distributions: dict[str, BaseDistribution]  # of the hyperparameters; the fidelity is not searched
    seed: int
    epochs: int | None
    grid: dict[str, list[Value]]  # levels by dimension; empty except for grid search


class Choice(NamedTuple):
    """What to try: "grid", "acquisition" (a model chose) or "random" is the reason."""

    hyperparameters: dict[str, Value]
    reason: str
    warning: str = ""


def check(name: str, problem: Problem) -> None:
    """Refuse a problem for which a method cannot work.

    Raises:
        ValueError: pruning without epochs that are reported; no torch for `gp`.
    """
    if name in PRUNING:
        epochs = problem.epochs
        if not isinstance(epochs, int) or epochs < 2:
            raise ValueError(
                f"{problem.name}: expected a training of at least 2 epochs, got epochs={epochs}; {name} stops "
                "trainings between epochs: state `epochs` in the Problem, or choose a method that does not prune"
            )
        if not _reports(problem):
            raise ValueError(
                f"{problem.name}: expected evaluate to accept on_epoch=..., got one that does not; call "
                f"on_epoch(epochs_done, error) after each epoch and stop if it is true, or do without {name}"
            )
    if name == "gp" and importlib.util.find_spec("torch") is None:
        raise ValueError(
            "expected the package torch, which Optuna's Gaussian process needs, got none; "
            ".venv/bin/pip install -c constraints.txt -e '.[gp]' in the checkout, or choose another method"
        )


def make_optuna_method(name: str, problem: Problem, store: Store, seed: int, points: int) -> OptunaMethod:
    """The method for a study that has been joined; call `check` first.

    Args:
        name: one of `ibo_jax.methods.OPTUNA_NAMES`.
        seed: seed of the order of a grid.
        points: largest number of points of a grid. It is stored with the study: a study that is continued with more
            evaluations finishes the grid with which it began.
    """
    grid = {}
    if name == "grid":
        with store.lock():
            if "grid" not in store.notes():
                store.note("grid", factorial_grid(problem.space, points))
            grid = store.notes()["grid"]
    kinds = {each: distribution(dimension) for each, dimension in problem.space.dimensions.items()}
    study_name = store.storage.get_study_name_from_id(store.study_id)
    return OptunaMethod(name, study_name, kinds, seed, problem.epochs, grid)


def choose(method: OptunaMethod, seed: int, slots: Mapping[int, list[FrozenTrial]]) -> Choice:
    """What to try in the slot after those given.

    Args:
        seed: seed of this choice.
        slots: attempts by slot. Completed, pruned and running ones count as Optuna allows; failed ones do not.

    Examples:
        >>> from optuna.distributions import FloatDistribution
        >>> method = OptunaMethod("tpe", "example", {"x": FloatDistribution(0.0, 1.0)}, 0, None, {})
        >>> choice = choose(method, 1, {})
        >>> 0.0 <= choice.hyperparameters["x"] <= 1.0, choice.reason
        (True, 'random')
    """
    sampler, warning = _sampler(method, seed), ""
    points = math.prod(map(len, method.grid.values()))
    if method.name == "grid" and len(slots) >= points:
        sampler, warning = RandomSampler(seed), f"the grid of {points} points is exhausted: a random point"
    trial = _rebuilt(method, slots, sampler).ask(method.distributions)
    reason = "grid" if isinstance(sampler, GridSampler) else "acquisition" if trial.relative_params else "random"
    return Choice(trial.params, reason, warning)


def watch(method: OptunaMethod, store: Store, slot: int, trial_id: int) -> Callable[[int, float], bool] | None:
    """The function for the training in a slot to call after each epoch; None for a method that stops no training.

    It stores the error and says whether to stop. A training that has had all of its epochs is complete.
    """
    if method.name not in PRUNING or method.epochs is None:
        return None
    epochs, bare = method.epochs, method._replace(distributions={})  # a pruner does not look at hyperparameters

    def stop(epoch: int, error: float) -> bool:
        with store.lock():
            store.storage.set_trial_intermediate_value(trial_id, epoch, error)
            if epoch >= epochs:
                return False
            study = _rebuilt(bare, store.slots(), RandomSampler(method.seed))
            trial = study.get_trials(deepcopy=False)[slot]
            stopped = study.pruner.prune(study, trial)
            for name, value in study.get_trials(deepcopy=False)[slot].system_attrs.items():  # rungs it reached
                if name not in trial.system_attrs:
                    store.storage.set_trial_system_attr(trial_id, name, value)
        return stopped

    return stop


def _sampler(method: OptunaMethod, seed: int) -> BaseSampler:
    if method.name == "grid":
        return GridSampler(method.grid, seed=method.seed)  # the same order for all slots
    if method.name == "gp":
        return GPSampler(seed=seed)
    return RandomSampler(seed) if method.name == "hyperband" else TPESampler(seed=seed)


def _rebuilt(method: OptunaMethod, slots: Mapping[int, list[FrozenTrial]], sampler: BaseSampler) -> Study:
    """The study as Optuna would have it: one trial per slot, from its last attempt, with number = slot."""
    prunes = method.name in PRUNING and method.epochs is not None
    pruner = HyperbandPruner(1, method.epochs, REDUCTION) if prunes and method.epochs else NopPruner()
    with quiet():
        study = optuna.create_study(study_name=method.study_name, sampler=sampler, pruner=pruner)
    for attempts in slots.values():
        study.add_trial(_copied(attempts[-1], method.distributions))
    pruner.prune(study, create_trial(state=TrialState.RUNNING))  # Hyperband lays out its brackets when first asked
    return study


def _copied(attempt: FrozenTrial, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    return create_trial(
        state=attempt.state,
        value=attempt.value,
        params={name: attempt.params[name] for name in distributions},
        distributions=dict(distributions),
        system_attrs={name: value for name, value in attempt.system_attrs.items() if not name.startswith(OURS)},
        intermediate_values=attempt.intermediate_values,
    )


def _reports(problem: Problem) -> bool:
    try:
        inspect.signature(problem.evaluate).bind(0, {}, 1.0, on_epoch=None)
    except TypeError:
        return False
    return True
