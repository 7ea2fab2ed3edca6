"""The initial design: a Latin hypercube over x, the same for every method, and fidelities as each method has them."""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from ibo_jax.methods.base import generator
from ibo_jax.space import Fidelity

__all__ = ["Design", "importance_fidelities", "initial_design"]

Design = Literal["random", "importance", "plain", "growing", "cheapest"]
"""Which fidelities an initial design has.

random: at random, as Algorithm 1 of Ariafar et al. (2021) has it, line 1.
importance: at random among those that are not plain.
plain: all plain.
growing: growing shares of the target (Fabolas: Klein et al. 2017, section 4).
cheapest: all at the cheapest (MTBO: Swersky et al. 2013).
"""

SHARES = (1 / 64, 1 / 32, 1 / 16, 1 / 8)  # shares of the training set in Fabolas' design


def initial_design(
    key: PRNGKeyArray,
    count: int,
    dimension: int,
    fidelity: Fidelity,
    design: Design = "random",
    *,
    protocol: str = "default",
) -> tuple[Float[np.ndarray, "count dimension"], Float[np.ndarray, "count"]]:
    """Points of the unit cube, which depend only on the key, and their encoded fidelities.

    Args:
        key: the study's key, so that methods compared by seed start alike.
        count: number of points.
        dimension: coordinates of the unit cube.
        fidelity: the axis of the fidelities.
        design: how the fidelities are chosen.
        protocol: "scripts" starts at the target instead of at random or growing fidelities, as the authors' code does.

    Examples:
        >>> import jax
        >>> x, s = initial_design(jax.random.key(0), 4, 2, Fidelity("subset_size", 64, 4096, integer=True), "growing")
        >>> sorted((x[:, 0] * 4).astype(int).tolist())
        [0, 1, 2, 3]
        >>> s.round(2).tolist()
        [0.0, 0.17, 0.33, 0.5]
    """
    if design not in (known := get_args(Design)):
        raise ValueError(f"expected a design among {known}, got {design!r}; choose one of them")
    rng = generator(key)
    strata = rng.permuted(np.tile(np.arange(count), (dimension, 1)), axis=1).T
    x = (strata + rng.uniform(size=(count, dimension))) / max(count, 1)
    if protocol == "scripts" and design in ("random", "importance", "growing"):
        return x, np.ones(count)
    return x, _fidelities(rng, count, fidelity, design)


def importance_fidelities(rng: np.random.Generator, fidelity: Fidelity, count: int) -> Float[np.ndarray, "count"]:
    """Random encoded fidelities, leaving out the plain one unless there is no other."""
    if fidelity.levels is None:
        return rng.uniform(size=count)
    others = [s for s in fidelity.levels if s != fidelity.plain_s]
    return rng.choice(others or fidelity.levels, size=count)


def _fidelities(rng: np.random.Generator, count: int, fidelity: Fidelity, design: Design) -> np.ndarray:
    if design == "random":
        return rng.choice(fidelity.levels, size=count) if fidelity.levels is not None else rng.uniform(size=count)
    if design == "importance":
        return importance_fidelities(rng, fidelity, count)
    if design == "growing":
        shares = (SHARES[index * len(SHARES) // count] for index in range(count))
        sizes = (min(max(share * fidelity.target, fidelity.low), fidelity.high) for share in shares)
        return np.array([fidelity.encode(size) for size in sizes])
    return np.full(count, fidelity.plain_s if design == "plain" else 0.0)
