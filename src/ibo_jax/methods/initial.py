"""The initial design: a Latin hypercube over x, each point at a fidelity drawn at random (Algorithm 1, line 1)."""

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

__all__ = ["initial_design"]


def initial_design(
    key: PRNGKeyArray, count: int, dimension: int, levels: tuple[float, ...] | None, *, protocol: str = "default"
) -> tuple[Float[np.ndarray, "count dimension"], Float[np.ndarray, "count"]]:
    """Points of the unit cube and their encoded fidelities, the same for every method with this key.

    Args:
        key: randomness; the study's key, so that methods compared by seed start alike.
        count: number of points.
        dimension: coordinates of the unit cube.
        levels: encoded fidelities to choose from; None for any in [0, 1].
        protocol: "scripts" starts at the target fidelity, as the authors' code does.

    Example:
        >>> x, s = initial_design(jax.random.key(0), 4, 2, (0.0, 1.0))
        >>> sorted((x[:, 0] * 4).astype(int).tolist())
        [0, 1, 2, 3]
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    strata = rng.permuted(np.tile(np.arange(count), (dimension, 1)), axis=1).T
    x = (strata + rng.uniform(size=(count, dimension))) / max(count, 1)
    s = rng.choice(levels, size=count) if levels is not None else rng.uniform(size=count)
    return x, np.ones(count) if protocol == "scripts" else s
