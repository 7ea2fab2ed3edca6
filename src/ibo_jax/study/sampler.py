"""The methods as a sampler for any Optuna study."""

import functools
import math
import statistics
import threading
import warnings
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace, intersection_search_space
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ibo_jax.observations import Observations
from ibo_jax.space import Cells, Dimension, Fidelity, SearchSpace
from ibo_jax.study.checks import check_parameters, check_seed, check_whole
from ibo_jax.study.convert import (
    Evaluation,
    Scale,
    distribution,
    observations,
    pack,
    unpack,
)
from ibo_jax.study.optuna_axes import CHOSEN, NO_FIDELITY, Axes, as_chosen, fidelity_of
from ibo_jax.study.propose import Proposer, make_proposer, propose

__all__ = ["IBOSampler"]

SAMPLERS = ("ibo", "ei", "random")  # the others differ in how a training uses its data: here that is yours
STATE = "ibo_jax:state"
ASKED = "ibo_jax:asked"  # marks the trials of this sampler
TURN = threading.Lock()  # the threads of `n_jobs` choose one after another, each knowing what the others took
MOST_FRUITLESS = 32  # how many trials without a value are remembered: a study with a pruner is full of them


class IBOSampler(BaseSampler):
    """Importance-based Bayesian optimisation for an Optuna study: each trial is where most is learnt per cost.

    One of the parameters may be the fidelity: `suggest_int("presample_ratio", 1, 6)` for the ratio B / b, or a
    `suggest_float`; its upper end is the target. The sampler learns from completed trials, and from those that were
    pruned or failed (the last 32 of them) where trials come to nothing. Points where a trial is running, was pruned or
    failed are rarely suggested again. A trial without a cost, for instance an added one, is given the median cost of
    the others. What a suggestion needs is stored with the trials, so a reopened study continues as if it had never been
    closed; with one worker and a seed it is reproducible if its costs are.

    Parameters with a single value are left alone. Parameters that are not in every completed trial with the same bounds
    are drawn at random, with a warning. The first trial of a study is random unless `space` is given.

    Args:
        fidelity: name of the parameter that is the fidelity; None if there is none.
        space: all parameters, the fidelity included, if they are known beforehand.
        cost: "duration" of the trial, or the name of a user attribute that each trial sets to its positive cost.
        method: "ibo", "ei" or "random".
        initial: number of points of the initial design.
        evaluations: how many trials the study will have, if that is its budget: costs then count for less the fewer
            are left, and the last trial evaluates the recommendation at the target. None if costs count to the end.
        transform: "log" if the objective is a positive error to be minimised, to model its logarithm.
        floor: smallest error that is distinguished from zero.
        protocol: "default", "paper" or "scripts", see `ibo_jax.tune`.
        seed: seed of all randomness; None takes one from the system.

    Raises:
        ValueError: an unknown name; later, from the study: several objectives, a fidelity that is missing or of the
            wrong kind, completed trials of which none has a cost, or only negative values where `transform` is "log".

    Examples:
        >>> def objective(trial):
        ...     x, ratio = trial.suggest_float("x", 0, 1), trial.suggest_int("presample_ratio", 1, 6)
        ...     trial.set_user_attr("cost", float(ratio))
        ...     return (x - 0.3) ** 2 + 0.01 * (6 - ratio)
        >>> import optuna
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> sampler = IBOSampler("presample_ratio", cost="cost", method="random", seed=0)
        >>> study = optuna.create_study(sampler=sampler)
        >>> study.optimize(objective, n_trials=5)
        >>> len(study.trials)
        5
    """

    def __init__(
        self,
        fidelity: str | None = None,
        *,
        space: SearchSpace | Mapping[str, BaseDistribution | Dimension] | None = None,
        cost: str = "duration",
        method: str = "ibo",
        initial: int = 10,
        evaluations: int | None = None,
        transform: Literal["log", "identity"] = "identity",
        floor: float = 1e-6,
        protocol: str = "default",
        seed: int | None = None,
    ):
        check_whole("at least one initial point", initial, "initial")
        if evaluations is not None:
            check_whole("at least one evaluation", evaluations, "evaluations")
        if transform not in ("log", "identity"):
            raise ValueError(f"expected transform 'log' or 'identity', got {transform!r}; choose one of them")
        if not floor > 0:
            raise ValueError(f"expected a floor > 0 under the log, got {floor}; raise it")
        if method not in SAMPLERS:
            raise ValueError(f"expected a method among {SAMPLERS}, got {method!r}; choose one of them")
        if seed is not None:
            check_seed(seed)
        if fidelity is not None and not isinstance(fidelity, str):
            raise ValueError(f"expected the name of the parameter that is the fidelity, got {fidelity!r}; name it")
        if isinstance(space, SearchSpace):
            space = space.dimensions
        given: dict[str, BaseDistribution] | None = None
        if space is not None:
            check_parameters(space)
            given = {name: distribution(v) if isinstance(v, Dimension) else v for name, v in space.items()}
            if fidelity is not None:
                fidelity_of(fidelity, given)
        self._seed = int(np.random.default_rng().integers(2**32)) if seed is None else int(seed)
        self._make = functools.partial(make_proposer, method, self._seed, initial=initial, protocol=protocol)
        self._make(1, NO_FIDELITY)  # an unknown protocol is refused here
        self._fidelity, self._cost, self._scale = fidelity, cost, Scale(transform, floor)
        self._given = given
        self._evaluations = evaluations if protocol == "default" else None
        self._seen_spaces = IntersectionSearchSpace()
        self._proposers: dict[tuple[Cells, int, Fidelity], Proposer] = {}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters sampled together: the given space, or what all completed trials have in common."""
        if len(study.directions) != 1:
            raise ValueError(f"expected a study of one objective, got {len(study.directions)}; use another sampler")
        study._storage.set_trial_system_attr(trial._trial_id, ASKED, True)
        if self._scale.transform == "log" and study.direction == StudyDirection.MAXIMIZE:
            raise ValueError('expected transform="identity" in a study that maximises, got "log"; drop it')
        completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        found = self._common(study, completed) if self._given is None else dict(self._given)
        found = {name: parameter for name, parameter in found.items() if not parameter.single()}
        if self._given is None and completed:
            own = [other for other in completed if ASKED in other.system_attrs]
            if self._fidelity and own and not any(self._fidelity in other.distributions for other in own):
                fidelity_of(self._fidelity, own[-1].distributions)  # raises
            if set(found) <= {self._fidelity}:
                warnings.warn(
                    "no parameter is common to all completed trials: parameters are drawn at random", stacklevel=2
                )
        return {} if set(found) <= {self._fidelity} else found

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The method's suggestion for this trial."""
        if set(search_space) <= {self._fidelity}:  # as where a PartialFixedSampler has taken the others
            return {}
        with TURN:
            axes = self._axes(self._with_fidelity(study, search_space))
            trials = [as_chosen(t) for t in study.get_trials(deepcopy=False) if t.number != trial.number]
            _warn_of_the_first([t for t in trials if t.state == TrialState.COMPLETE and axes.lacking(t)], axes)
            seen = self._observed(study, trials, axes)
            shape = (axes.space.dimension, axes.fidelity)
            known = (axes.space.cells, *shape)
            if known not in self._proposers:
                self._proposers[known] = self._make(*shape, cells=axes.space.cells)
            proposer = self._proposers[known]
            state = next((other.system_attrs[STATE] for other in reversed(trials) if _holds_state(other, shape)), None)
            before = unpack(state and state["arrays"])
            suggestion, after = propose(proposer, trial.number, seen, before, evaluations=self._evaluations)
            packed = {"shape": _shape(shape), "arrays": pack(after)}
            study._storage.set_trial_system_attr(trial._trial_id, STATE, packed)
            if suggestion.warning:
                warnings.warn(f"trial {trial.number}: {suggestion.warning}", stacklevel=2)
            decoded = axes.decode(suggestion.x, suggestion.fidelity)
            chosen = {name: decoded[name] for name in search_space}
            study._storage.set_trial_system_attr(trial._trial_id, CHOSEN, chosen)
            return chosen

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A parameter on its own, at random."""
        if self._given is not None or study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            warnings.warn(
                f"{param_name} is not in every completed trial with the same bounds, or not in the space given: it is "
                "drawn at random",
                stacklevel=2,
            )
        seeds = np.random.SeedSequence([self._seed, trial.number, zlib.crc32(param_name.encode())])
        chance = RandomSampler(int(seeds.generate_state(1)[0]))  # like all else, by seed and trial number alone
        return chance.sample_independent(study, trial, param_name, param_distribution)

    def _common(self, study: Study, completed: Sequence[FrozenTrial]) -> dict[str, BaseDistribution]:
        """What all completed trials have in common; where there is a fidelity, all that have it as the last one has."""
        if self._fidelity is None:
            return self._seen_spaces.calculate(study)
        having = {trial.number: trial.distributions.get(self._fidelity) for trial in completed}
        own = [having[trial.number] for trial in completed if ASKED in trial.system_attrs]
        # what somebody added may be of any kind; it must not stop the trials that follow
        added = [kind for kind in having.values() if isinstance(kind, IntDistribution | FloatDistribution)]
        last = next((kind for kind in reversed(own or added) if kind is not None), None)
        return intersection_search_space([trial for trial in completed if last and having[trial.number] == last])

    def _with_fidelity(self, study: Study, search_space: dict[str, BaseDistribution]) -> dict[str, BaseDistribution]:
        """The space with the fidelity even if a PartialFixedSampler has fixed it: trials still differ in it."""
        if self._fidelity is None or self._fidelity in search_space:
            return search_space
        completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        kind = (self._common(study, completed) if self._given is None else self._given).get(self._fidelity)
        return search_space if kind is None or kind.single() else {**search_space, self._fidelity: kind}

    def _axes(self, parameters: Mapping[str, BaseDistribution]) -> Axes:
        fidelity = (
            fidelity_of(self._fidelity, parameters) if self._fidelity and self._fidelity in parameters else NO_FIDELITY
        )
        return Axes({name: found for name, found in parameters.items() if name != self._fidelity}, fidelity)

    def _observed(self, study: Study, trials: Sequence[FrozenTrial], axes: Axes) -> Observations:
        scale = self._scale._replace(sign=-1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0)
        held = [trial for trial in trials if not axes.lacking(trial)]
        valued = [t for t in held if t.state == TrialState.COMPLETE and math.isfinite(t.values[0])]
        costs = self._costs(self._modelled(valued))
        fruitless = [t for t in held if t.state != TrialState.RUNNING and t.number not in costs][:-MOST_FRUITLESS]
        left_out = {trial.number for trial in fruitless}
        found = []
        for trial in held:
            place = axes.encode(trial.params)
            if trial.number in costs:
                found.append(Evaluation(*place, scale.model(trial.values[0]), costs[trial.number]))
            elif trial.number not in left_out:
                failed = trial.state.is_finished()
                found.append(Evaluation(*place, pending=not failed, failed=failed))
        return observations(found, axes.space.dimension)

    def _modelled(self, trials: Sequence[FrozenTrial]) -> Sequence[FrozenTrial]:
        """Those whose value has a place on the scale: an error below 0 has no logarithm."""
        if self._scale.transform == "identity":
            return trials
        found = [trial for trial in trials if trial.values[0] >= 0]
        first = next((trial for trial in trials if trial.values[0] < 0), None)
        if first is None:
            return found
        said = f"expected errors of at least 0, to model their logarithm, got {first.values[0]} of trial {first.number}"
        if not found and ASKED in first.system_attrs:
            raise ValueError(f"{said}; drop transform='log'")
        warnings.warn(f"{said}: such trials are not learnt from; drop transform='log'", stacklevel=4)
        return found

    def _costs(self, trials: Sequence[FrozenTrial]) -> dict[int, float]:
        """By trial; where it is unknown the median of the others."""
        said = {trial.number: self._paid(trial) for trial in trials}
        known = [cost for cost in said.values() if cost is not None]
        for trial in [trial for trial in trials if said[trial.number] is None][:1]:
            if not known and ASKED in trial.system_attrs:
                raise ValueError(
                    f"expected trial {trial.number} to have a positive cost in its user attribute {self._cost!r}, got "
                    f"{trial.user_attrs.get(self._cost)!r}; call trial.set_user_attr({self._cost!r}, cost) in the "
                    "objective"
                )
            warnings.warn(
                f"trial {trial.number} has no positive {self._cost}: such trials count as the median of the others",
                stacklevel=4,
            )
        usual = statistics.median(known) if known else 1.0
        return {number: usual if cost is None else cost for number, cost in said.items()}

    def _paid(self, trial: FrozenTrial) -> float | None:
        """The cost; None if it is unknown, as the duration of a trial that was added with its value."""
        if self._cost == "duration":
            lasted = trial.duration.total_seconds() if trial.duration is not None else 0.0
            return max(lasted, 1e-6) if lasted > 0 or ASKED in trial.system_attrs else None
        paid = trial.user_attrs.get(self._cost)
        if isinstance(paid, np.ndarray | jax.Array) and paid.size == 1:  # storages in memory take arrays
            paid = paid.item()
        if not isinstance(paid, int | float | np.integer | np.floating) or not 0 < paid < math.inf:
            return None
        return float(paid)


def _warn_of_the_first(others: Sequence[FrozenTrial], axes: Axes) -> None:
    """The same text however many there are, so that Python shows it once."""
    for trial in others[:1]:
        lacking = ", ".join(axes.lacking(trial))
        warnings.warn(
            f"trial {trial.number} is not learnt from, nor are others like it: it has no {lacking} within the bounds",
            stacklevel=4,
        )


def _shape(shape: tuple[int, Fidelity]) -> list[Any]:
    return [shape[0], list(shape[1])]


def _holds_state(trial: FrozenTrial, shape: tuple[int, Fidelity]) -> bool:
    """Whether the state of a finished trial fits the search as it is now."""
    held = trial.system_attrs.get(STATE)
    return trial.state.is_finished() and held is not None and held["shape"] == _shape(shape)
