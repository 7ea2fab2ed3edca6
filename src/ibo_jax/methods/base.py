"""The contract of a method: a pure function from what has been observed to what to try next."""

from typing import NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from ibo_jax.observations import Observations

__all__ = ["State", "Suggest", "Suggestion", "generator"]

State = dict[str, np.ndarray]
"""What the next suggestion needs beyond the observations (sampler position, step size, mass): named plain arrays."""


class Suggestion(NamedTuple):
    """Where to evaluate next, and what the method believes; points are in the unit cube.

    Objectives are on the modelled scale of `Observations.objective`. `reason` is "acquisition", "nearby" (the same, for
    the optimum around the recommendation), "guard" (the target fidelity was neglected), "recommendation" or "random";
    `entropy` is NaN if the distribution of the optimum was not computed; `warning` is non-empty when a fallback was
    used.
    """

    x: Float[np.ndarray, "dimension"]
    fidelity: float
    reason: str
    predicted_objective: float
    predicted_sd: float
    predicted_log_cost: float
    incumbent: Float[np.ndarray, "dimension"]
    incumbent_objective: float
    recommendation: Float[np.ndarray, "dimension"]
    recommendation_objective: float
    entropy: float
    warning: str = ""


@runtime_checkable
class Suggest(Protocol):
    """`suggest(key, observations, state) -> (suggestion, state)`; needs at least one observation evaluated.

    `share_left` is the share of the evaluations beyond the initial design that may still be made, or 1 if their number
    does not limit the search.
    """

    def __call__(
        self, key: PRNGKeyArray, observations: Observations, state: State | None, *, share_left: float = 1.0
    ) -> tuple[Suggestion, State | None]: ...


def generator(key: PRNGKeyArray) -> np.random.Generator:
    """A NumPy generator from a JAX key: for a few numbers of any shape, without compiling a program for each.

    Examples:
        >>> generator(jax.random.key(0)).random() == generator(jax.random.key(0)).random()
        True
    """
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
