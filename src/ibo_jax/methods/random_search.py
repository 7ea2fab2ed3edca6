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
    """A uniform point at the given encoded fidelity; the answer is the observed best."""
    del state, share_left
    rng = generator(key)
    seen = observations.mask & ~observations.pending & np.isfinite(observations.objective)
    best = int(np.argmin(np.where(seen, observations.objective, np.inf)))
    incumbent, objective = observations.x[best], float(observations.objective[best])
    unknown = float("nan")
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
