"""A search that is ready to run: everything that can be checked before training is checked, and the study joined."""

import difflib
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from optuna.trial import FrozenTrial

from ibo_jax import bilevel, methods
from ibo_jax.methods.base import State
from ibo_jax.observations import Observations
from ibo_jax.outcomes import FINAL_STATES, OBSERVED_STATES
from ibo_jax.problems.base import Problem
from ibo_jax.study import optuna_methods
from ibo_jax.study.checks import check_budget, check_cost, check_problem, check_seed, folder_of, identity, versions
from ibo_jax.study.convert import Evaluation, Scale, observations, plain, unpack
from ibo_jax.study.optuna_methods import OptunaMethod, make_optuna_method
from ibo_jax.study.progress import Progress, make_progress
from ibo_jax.study.propose import Proposer, make_proposer
from ibo_jax.study.storage import Store, is_final, open_store
from ibo_jax.types import Value

__all__ = ["Search", "named", "observed", "prepare", "state_after"]

METHODS = (*methods.NAMES, *methods.OPTUNA_NAMES)
Slots = dict[int, list[FrozenTrial]]


class Search(NamedTuple):
    """What a run needs; nothing in it changes."""

    problem: Problem
    method: str
    seed: int
    proposer: Proposer  # random search where the method is one of Optuna's
    optuna: OptunaMethod | None
    store: Store
    evaluations: int | None
    seconds: float | None
    cost: str
    protocol: str
    progress: Progress
    began: float  # on the clock of this process, moved back by what earlier ones spent

    @property
    def elapsed(self) -> float:
        """Wall seconds spent on the study, over all restarts."""
        return time.monotonic() - self.began

    @property
    def scale(self) -> Scale:
        """The scale on which errors are modelled."""
        return Scale(self.problem.transform, self.problem.floor)

    def is_asked_for(self, slot: int) -> bool:
        """Whether a slot is within the budget: it may have been lowered since the slot was begun."""
        return self.evaluations is None or slot < self.evaluations

    def paid(self, outcome: dict[str, Any]) -> float:
        """Cost of an evaluation in the study's unit; 0 if it is unknown."""
        return outcome.get(f"cost_{self.cost}") or 0.0


def prepare(
    problem: Problem | str,
    method: str = "ibo",
    *,
    evaluations: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    storage: Path | str | None = None,
    cost: str = "seconds",
    protocol: str = "default",
    progress: bool = True,
) -> Search:
    """Check the arguments of `tune` and join the study.

    Raises:
        ValueError: see `tune`. It is raised before anything is trained.
    """
    if isinstance(problem, str):
        from ibo_jax.problems import catalogue

        problem = catalogue.problem(problem, protocol=protocol)
    check_problem(problem)
    if evaluations is None and seconds is None:
        evaluations = problem.evaluations
    _check_method(method, problem)
    check_budget(evaluations, seconds)
    evaluations = None if evaluations is None else int(evaluations)  # NumPy's are allowed, but are no JSON
    check_cost(cost)
    check_seed(seed)
    seed = int(seed)
    borrowed = method in methods.OPTUNA_NAMES
    own = "random" if borrowed else method
    problem = problem.seen(methods.METHODS[own].axis, methods.METHODS[own].importance)
    space = problem.space
    proposer = make_proposer(
        own, seed, space.dimension, problem.fidelity, initial=problem.initial, protocol=protocol, cells=space.cells
    )
    settings = _settings(problem) | {"method": method, "seed": seed, "protocol": protocol, "cost": cost}
    store = open_store(folder_of(storage), settings, versions())
    store.note("evaluations", evaluations)
    points = evaluations or problem.evaluations
    optuna = make_optuna_method(method, problem, store, seed, points) if borrowed else None
    spent = max((a.user_attrs.get("outcome", {}).get("elapsed_seconds", 0.0) for a in store.attempts()), default=0.0)
    title = f"{problem.name}, {method}, seed {seed}"
    shown = make_progress(title, problem.fidelity.name, evaluations, seconds, visible=progress)
    began = time.monotonic() - spent
    return Search(problem, method, seed, proposer, optuna, store, evaluations, seconds, cost, protocol, shown, began)


def observed(search: Search, slots: Slots) -> Observations:
    """What is known, in the order of slots (so that retries do not change it): errors, failures, running attempts."""
    problem, found = search.problem, []
    for attempts in slots.values():
        last = attempts[-1]
        x = problem.space.encode(last.params)
        s = problem.fidelity.encode(last.params[problem.fidelity.name])
        outcome = last.user_attrs["outcome"] if last.state.is_finished() else None
        known = outcome is not None and outcome["state"] in OBSERVED_STATES and outcome["error"] is not None
        failed = outcome is not None and outcome["state"] in FINAL_STATES and not known
        if outcome is None or not known or not search.paid(outcome) > 0:
            found.append(Evaluation(x, s, pending=not failed, failed=failed))
            continue
        error, cost = search.scale.model(outcome["error"]), search.paid(outcome)
        overhead = _overhead(search, last.user_attrs["suggestion"], outcome)
        found.append(Evaluation(x, s, error, cost, overhead))
    return observations(found, problem.space.dimension)


def _overhead(search: Search, suggestion: dict[str, Any], outcome: dict[str, Any]) -> float:
    """Seconds that a slot took beyond its cost, for choosing, compiling and data; none if the cost is not measured by
    this clock (work, or recorded seconds, which may exceed the evaluation) and none in the published protocols."""
    besides = outcome["evaluate_seconds"] - outcome["cost_seconds"]
    if search.cost != "seconds" or search.protocol != "default" or besides < 0:
        return 0.0
    return suggestion["suggest_seconds"] + besides


def state_after(slots: Slots) -> State | None:
    """The method's state after the highest finished slot."""
    finished = [attempts[-1] for attempts in slots.values() if is_final(attempts)]
    return unpack(finished[-1].system_attrs["ibo_jax:state"]) if finished else None


def named(problem: Problem, x: np.ndarray) -> dict[str, Value] | None:
    """A point with names; None if it is unknown."""
    return problem.space.decode(x) if np.all(np.isfinite(x)) else None


def _settings(problem: Problem) -> dict[str, Any]:
    """What must not change while a study grows."""
    own = {"transform": problem.transform, "floor": problem.floor, "initial": problem.initial}
    return identity(problem) | plain(own | {"fidelity": problem.fidelity._asdict()})


def _check_method(method: str, problem: Problem) -> None:
    if method not in METHODS:
        names = [*METHODS, *bilevel.NAMES]
        close = difflib.get_close_matches(str(method).lower(), names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "choose one of them"
        raise ValueError(f"expected a method among {names}, got {method!r}; {hint}")
    if method in methods.OPTUNA_NAMES:
        optuna_methods.check(method, problem)
