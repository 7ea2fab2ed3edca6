"""Importance-based Bayesian optimisation: fit the surrogates, propose by information gain per cost, guard the target.

References:
    [AriafarEtAl2021] Faster & more reliable tuning of neural networks. AISTATS 2021, Algorithm 1.
    [LeeEtAl2020] Cost-aware Bayesian optimization. arXiv:2003.10870 (cost cooling).
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from ibo_jax.acquisition.propose import Acquisition, Levels, Proposal, propose
from ibo_jax.acquisition.reachable import snap
from ibo_jax.methods import random_search
from ibo_jax.methods.base import State, Suggestion
from ibo_jax.numerics import in_float64
from ibo_jax.observations import CAPACITY_STEP, Observations
from ibo_jax.space import Cells
from ibo_jax.surrogate import model, nuts
from ibo_jax.surrogate.kernels import ERROR_BASIS, Basis, KernelParameters
from ibo_jax.surrogate.warping import UNWARPED, Warping, fit_warping, tamed

__all__ = ["fit_surrogates", "is_asked", "suggest"]

NEARBY = 3  # of this many suggestions, all but one seek the optimum around the recommendation
NEAR_TARGET = 0.5  # evaluations from this fidelity on count as near the target
GUARD_WINDOW = 3  # with none of the last three near the target, the recommendation is tried there
GUARD_APART = 0.01  # distance up to which a point counts as asked already
ATTEMPTS = 32  # random points drawn for one that is not

_fit = in_float64(nuts.fit)
_propose = in_float64(propose)
_snap = in_float64(snap)


class Fits(NamedTuple):
    """Draws of hyperparameters (of success if anything has failed), the chains to carry over, and how the fits went."""

    error: KernelParameters
    cost: KernelParameters
    success: KernelParameters | None
    state: State
    warning: str


def suggest(
    key: PRNGKeyArray,
    observations: Observations,
    state: State | None = None,
    *,
    levels: Levels = None,
    guarded: bool = True,
    nearby: bool = True,
    acquisition: Acquisition = "information_gain_per_cost",
    error_basis: Basis = ERROR_BASIS,
    warped: bool = True,
    cells: Cells = (),
    share_left: float = 1.0,
) -> tuple[Suggestion, State | None]:
    """One iteration of Algorithm 1 (lines 3 to 5): where to evaluate next, and the answer so far.

    Args:
        key: randomness; the same key, observations and state give the same suggestion.
        observations: at least one evaluated.
        state: that of the previous suggestion; without it the chains start cold, first on a few observations.
        levels: encoded fidelities that can be chosen; None for any in [0, 1].
        guarded: try the recommendation at the target when the last three evaluations were all far from it. Without
            it the search can settle at the cheapest fidelity of a strongly biased problem and never learn of the bias.
        nearby: once there are more evaluations than coordinates, two suggestions out of three gain information about
            the optimum's location around the recommendation instead of anywhere. A few evaluations in many dimensions
            cannot teach the whole cube.
        acquisition: "information_gain_per_cost", "information_gain" whatever it costs, or "expected_improvement" at the
            target.
        error_basis: how the error may depend on the fidelity (`surrogate.kernels.Basis`).
        warped: model the objective after a monotone warping to normality (`surrogate.warping`).
        cells: what x can reach, `SearchSpace.cells`; nothing else is proposed.
        share_left: share of the evaluations left, in [0, 1], or 1 if their number is not the budget: the exponent of
            the price [LeeEtAl2020]. If it is the budget, a cheap evaluation saves nothing that could be spent.

    Examples:
        >>> from ibo_jax.observations import append, empty
        >>> observations = empty(1)
        >>> for x in (0.1, 0.5, 0.9):
        ...     observations = append(observations, np.array([x]), 1.0, objective=(x - 0.4) ** 2)
        >>> suggestion, state = suggest(jax.random.key(0), observations)
        >>> 0.0 <= suggestion.x[0] <= 1.0
        np.True_

    Raises:
        ValueError: nothing has been evaluated; an unknown acquisition.
    """
    if not np.any(observations.evaluated):
        raise ValueError("expected at least one finished observation, got none; evaluate an initial design first")
    key_fit, key_propose, key_random = jax.random.split(key, 3)
    warping, modelled = _warp(observations) if warped else (UNWARPED, observations)
    fits = fit_surrogates(key_fit, modelled, state, error_basis, hyperparameters=len(cells) or None)
    local = nearby and acquisition != "expected_improvement" and _knows_where(observations)

    def proposed(guard: bool) -> Proposal:
        return _propose(
            key_propose,
            modelled,
            fits.error,
            fits.cost,
            np.asarray(guard),
            np.asarray(local),
            np.asarray(error_basis),
            np.asarray(share_left),
            fits.success,
            levels=levels,
            acquisition=acquisition,
            cells=cells,
        )

    guard = guarded and acquisition == "information_gain_per_cost" and _neglected(observations)
    proposal = proposed(guard)
    if guard and is_asked(observations, np.asarray(proposal.x)):
        guard, proposal = False, proposed(False)
    value = 0.0 if guard else proposal.log_acquisition
    if not np.all(np.isfinite([*proposal.x, proposal.mean, proposal.sd, value, _variance(modelled)])):
        fallback, _ = random_search.suggest(key_random, observations, fidelity=1.0)
        warning = "the surrogate was not finite: a random point was tried"
        return fallback._replace(x=_elsewhere(key_random, observations, cells), warning=warning), state
    reason = "guard" if guard else "nearby" if local else "acquisition"
    suggestion = _describe(proposal, warping, reason, fits.warning)
    if suggestion.fidelity >= NEAR_TARGET and is_asked(observations, suggestion.x):
        # nothing is left to gain, or expected improvement has no better point
        unknown = float("nan")
        suggestion = suggestion._replace(
            x=_elsewhere(key_random, observations, cells), fidelity=1.0, reason="random", predicted_objective=unknown,
            predicted_sd=unknown, predicted_log_cost=unknown,
        )  # fmt: skip
    return suggestion, fits.state


def fit_surrogates(
    key: PRNGKeyArray,
    observations: Observations,
    state: State | None,
    error_basis: Basis = ERROR_BASIS,
    *,
    hyperparameters: int | None = None,
) -> Fits:
    """Draw the hyperparameters of all processes, from where the last fit stopped.

    `hyperparameters` is the number of those that the coordinates encode, if it differs from theirs.
    """
    dimension = observations.x.shape[1]
    if state is None and len(observations.mask) > CAPACITY_STEP:
        # On many observations a cold chain needs deep trees, so it is first warmed up on a few.
        key, key_few = jax.random.split(key)
        few = Observations(*(field[:CAPACITY_STEP] for field in observations))
        state = fit_surrogates(key_few, few, None, error_basis, hyperparameters=hyperparameters).state
    parts: State = {}
    draws, warnings = {}, []
    processes = [
        ("error", model.error_data(observations, error_basis), model.error_prior(dimension, hyperparameters)),
        ("cost", model.cost_data(observations), model.cost_prior(dimension, hyperparameters)),
    ]
    if np.any(observations.failed):
        processes += [("success", model.success_data(observations), model.success_prior(dimension, hyperparameters))]
    for part, (name, data, prior) in enumerate(processes):
        chain = _chain(state, name, dimension)
        draws[name], chain, info = _fit(jax.random.fold_in(key, part), data, prior, chain)
        parts |= {f"{name}_{field}": value for field, value in chain._asdict().items()}
        if not info.finite:
            warnings.append(f"the fit of the {name} was not finite: the prior mean was used")
    return Fits(draws["error"], draws["cost"], draws.get("success"), parts, "; ".join(warnings))


def _warp(observations: Observations) -> tuple[Warping, Observations]:
    """The objective's warping, fitted to what was evaluated, and the observations with warped objectives."""
    objective, evaluated = observations.objective.copy(), observations.evaluated
    objective[evaluated] = tamed(objective[evaluated])
    warping = fit_warping(objective[evaluated])
    return warping, observations._replace(objective=warping(objective))


def _variance(observations: Observations) -> float:
    """Variance of what is modelled; not finite where a value is not, or is too large to be standardised."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.var(observations.objective[observations.evaluated]))


def _chain(state: State | None, name: str, dimension: int) -> nuts.Chain:
    """Where the process's last chain stopped; a cold one if this is its first fit."""
    if state is None or f"{name}_position" not in state:
        return nuts.cold_chain(dimension)
    return nuts.Chain(*(np.asarray(state[f"{name}_{field}"]) for field in nuts.Chain._fields))


def _neglected(observations: Observations) -> bool:
    last = observations.fidelity[: observations.size][-GUARD_WINDOW:]
    return len(last) == GUARD_WINDOW and bool(np.all(last < NEAR_TARGET))


def is_asked(observations: Observations, x: np.ndarray) -> bool:
    """Whether the point is being evaluated near the target, or has failed there: then it is not asked again."""
    asked = observations.mask & ~observations.evaluated & (observations.fidelity >= NEAR_TARGET)
    return bool(np.any(np.all(np.abs(observations.x[asked] - x) < GUARD_APART, axis=1)))


def _elsewhere(key: PRNGKeyArray, observations: Observations, cells: Cells) -> np.ndarray:
    """A random point, if possible none that is asked already."""
    for attempt in range(ATTEMPTS):
        drawn, _ = random_search.suggest(jax.random.fold_in(key, attempt), observations)
        x = np.asarray(_snap(drawn.x, cells=cells))
        if not is_asked(observations, x):
            break
    return x


def _knows_where(observations: Observations) -> bool:
    """Whether to look around the recommendation now: not with fewer evaluations than directions to look in."""
    return bool(np.sum(observations.evaluated) > observations.x.shape[1]) and observations.size % NEARBY > 0


def _describe(proposal: Proposal, warping: Warping, reason: str, warning: str) -> Suggestion:
    """The proposal in the terms of every method; a prediction's sd is half the width of its middle 68 %."""
    mean, low, high, incumbent_mean, recommendation_mean = map(float, warping.invert(np.array([
        proposal.mean, proposal.mean - proposal.sd, proposal.mean + proposal.sd, proposal.incumbent_mean,
        proposal.recommendation_mean,
    ])))  # fmt: skip
    return Suggestion(
        x=np.asarray(proposal.x),
        fidelity=float(proposal.s),
        reason=reason,
        predicted_objective=mean,
        predicted_sd=0.5 * (high - low),
        predicted_log_cost=float(proposal.log_cost),
        incumbent=np.asarray(proposal.incumbent),
        incumbent_objective=incumbent_mean,
        recommendation=np.asarray(proposal.recommendation),
        recommendation_objective=recommendation_mean,
        entropy=float(proposal.entropy),
        warning=warning,
    )
