"""The next point of a search: from the initial design, the method, or chance while nothing is known.

Keys come from the seed and the number of the slot alone, so neither a restart nor another worker changes them.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from ibo_jax import methods
from ibo_jax.methods.base import State, Suggest, Suggestion
from ibo_jax.methods.ibo import is_asked
from ibo_jax.methods.initial import initial_design
from ibo_jax.observations import Observations
from ibo_jax.space import Cells, Fidelity

__all__ = ["Proposer", "make_proposer", "propose", "sampler_seed_of", "seed_of"]


class Proposer(NamedTuple):
    """What proposing needs besides the observations; `fallback` is random search."""

    key: PRNGKeyArray
    suggest: Suggest
    fallback: Suggest
    design: tuple[np.ndarray, np.ndarray]  # x [slot, dimension] and encoded fidelity [slot]


def make_proposer(
    method: str, seed: int, dimension: int, fidelity: Fidelity, *, initial: int, protocol: str, cells: Cells = ()
) -> Proposer:
    """Everything that proposes points for one study.

    Args:
        method: a name of `ibo_jax.methods.NAMES`. Random search has no initial design.
        seed: seed of all randomness.
        dimension: number of coordinates of the unit cube.
        fidelity: the axis of the fidelity.
        initial: number of points of the initial design.
        protocol: "default", "paper" or "scripts".
        cells: what x can reach, `SearchSpace.cells`.

    Raises:
        ValueError: unknown method or protocol.
    """
    suggest = methods.make(method, fidelity, protocol=protocol, cells=cells)
    key, key_design = jax.random.split(jax.random.key(seed))
    count = 0 if method == "random" else initial
    return Proposer(
        key,
        suggest,
        methods.make("random", fidelity),
        initial_design(key_design, count, dimension, fidelity, methods.METHODS[method].design, protocol=protocol),
    )


def propose(
    proposer: Proposer,
    slot: int,
    observations: Observations,
    state: State | None,
    *,
    evaluations: int | None = None,
) -> tuple[Suggestion, State | None]:
    """The suggestion for a slot, and the state to keep with it.

    The initial design comes first; while no evaluation has succeeded, random points stand in, with a warning. If the
    search ends after `evaluations`, a method with a model spends the last one on its recommendation at the target
    fidelity, unless that has failed or is being evaluated.
    """
    key, _ = _keys(proposer, slot)
    x, s = proposer.design
    known = bool(np.any(observations.evaluated))
    if slot >= len(x) and known:
        share_left = 1.0
        if evaluations is not None and slot < evaluations:
            share_left = (evaluations - slot) / (evaluations - len(x))
        suggestion, state = proposer.suggest(key, observations, state, share_left=share_left)
        asked = is_asked(observations, suggestion.recommendation)
        if slot + 1 == evaluations and suggestion.reason != "random" and not asked:
            suggestion = suggestion._replace(
                x=suggestion.recommendation,
                fidelity=1.0,
                reason="recommendation",
                predicted_objective=suggestion.recommendation_objective,
                predicted_sd=np.nan,  # known only at the point that the acquisition chose
                predicted_log_cost=np.nan,
            )
        return suggestion, state
    suggestion, _ = proposer.fallback(key, observations, None)
    if slot < len(x):
        return suggestion._replace(x=x[slot], fidelity=float(s[slot]), reason="initial"), state
    if len(x):
        suggestion = suggestion._replace(warning="no evaluation has succeeded yet: a random point")
    return suggestion, state


def seed_of(proposer: Proposer, slot: int) -> int:
    """The seed of the evaluation in a slot, in [0, 2^31)."""
    _, key = _keys(proposer, slot)
    return _seed(key)


def sampler_seed_of(proposer: Proposer, slot: int) -> int:
    """The seed of an outside sampler that chooses for a slot, in [0, 2^31)."""
    key, _ = _keys(proposer, slot)
    return _seed(key)


def _seed(key: PRNGKeyArray) -> int:
    return int(jax.random.bits(key, dtype="uint32")) >> 1


def _keys(proposer: Proposer, slot: int) -> tuple[PRNGKeyArray, PRNGKeyArray]:
    key_suggest, key_evaluate = jax.random.split(jax.random.fold_in(proposer.key, slot))
    return key_suggest, key_evaluate
