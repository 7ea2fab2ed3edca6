"""When importance sampling pays: the variance it saves against the passes it costs.

Reference: Katharopoulos and Fleuret, ICML 2018, Algorithm 1 and equation 29. A batch of b drawn by score has the
variance of a uniform batch of tau^2 b; scoring B examples costs B forward passes on top of the 3 b of a step.
"""

from typing import Literal

import jax.numpy as jnp

from ibo_jax.importance.sampling import over_largest
from ibo_jax.types import Array, Bool, Float

__all__ = ["DECAY", "Switch", "moving_average", "pays", "tau", "threshold"]

DECAY = 0.9
Switch = Literal["published", "variance"]


def tau(scores: Float[Array, "example"]) -> Float[Array, ""]:
    """Equivalent batch-size ratio of sampling by these scores: sqrt(N sum g^2) = sqrt(1 + CV^2), in [1, sqrt N].

    The closed form of (1 - |g - 1/N|^2 / |g|^2)^(-1/2) (Algorithm 1); 1 where `probabilities` are uniform.

    Examples:
        >>> float(tau(jnp.array([0.0, 0.0, 0.0, 5.0]))), float(tau(jnp.ones(4)))
        (2.0, 1.0)
    """
    scaled = over_largest(scores)
    ratio = jnp.mean(scaled**2) / jnp.mean(scaled) ** 2
    return jnp.sqrt(jnp.maximum(ratio, 1))


def moving_average(
    average: Float[Array, "*run"], tau: Float[Array, "*run"], decay: float = DECAY
) -> Float[Array, "*run"]:
    """The smoothed tau after one more step; it starts at 0 and is not bias-corrected, as published."""
    return decay * average + (1 - decay) * tau


def threshold(presample_size: int, batch_size: int) -> float:
    """Cost of an importance step relative to a uniform one, (B + 3b) / (3b): a backward pass is two forwards (eq. 29).

    Examples:
        >>> [threshold(ratio * 64, 64) for ratio in (3, 6)]
        [2.0, 3.0]
    """
    return (presample_size + 3 * batch_size) / (3 * batch_size)


def pays(
    tau: Float[Array, "*run"], presample_size: int, batch_size: int, rule: Switch = "published"
) -> Bool[Array, "*run"]:
    """Whether the next step should be drawn by importance; `tau` is the moving average.

    "published": tau > c, the `threshold`. "variance": 1/r + 1/tau^2 < 1/c with r = B/b, which also counts the
    variance of the presample itself (drawn from the data set) and compares variances, not their roots; it is the
    better rule where r is small.

    Examples:
        >>> taus = jnp.array([1.9, 2.1, 2.5])
        >>> pays(taus, 96, 32).tolist(), pays(taus, 96, 32, "variance").tolist()
        ([False, True, True], [False, False, True])
    """
    cost = threshold(presample_size, batch_size)
    if rule == "published":
        return tau > cost
    if rule == "variance":
        return tau**2 * (1 / cost - batch_size / presample_size) > 1
    raise ValueError(f'expected switch to be "published" or "variance", got {rule!r}; choose one of them')
