"""Random search: uniform points, trained plainly. The baseline to beat."""

import numpy as np
from jaxtyping import PRNGKeyArray

from ibo_jax.methods.base import State, Suggestion, generator
from ibo_jax.observations import Observations

__all__ = ["suggest"]


def suggest(
    key: PRNGKeyArray,
    observations: Observations,
    state: State | None = None,
    *,
    fidelity: float = 0.0,
    share_left: float = 1.0,
) -> tuple[Suggestion, None]:
    """A uniform point at the given encoded fidelity; the answer is the observed best, NaN if there is none."""
    del state, share_left
    rng = generator(key)
    seen = observations.evaluated & np.isfinite(observations.objective)
    best, unknown = int(np.argmin(np.where(seen, observations.objective, np.inf))), float("nan")
    incumbent, objective = observations.x[best], float(observations.objective[best])
    if not seen.any():
        incumbent, objective = np.full_like(incumbent, unknown), unknown
    return Suggestion(
        x=rng.uniform(size=(observations.x.shape[1],)),
        fidelity=fidelity,
        reason="random",
        predicted_objective=unknown,
        predicted_sd=unknown,
        predicted_log_cost=unknown,
        incumbent=incumbent,
        incumbent_objective=objective,
        recommendation=incumbent,
        recommendation_objective=objective,
        entropy=unknown,
    ), None
