"""The representers: the points on which the distribution of the optimum lives, drawn by expected improvement.

References:
    [HennigSchuler2012] Entropy search for information-efficient global optimization. JMLR 13, section 2.2.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float, PRNGKeyArray

from ibo_jax.types import AnyArray

__all__ = ["draw_representers", "points_near", "refined_pool"]

Score = Callable[[Float[AnyArray, "point dimension"]], Float[AnyArray, "point"]]
UNIFORM, LOCAL, PER_ROUND = 512, 256, 128
ROUND_SCALES = (0.1, 0.05, 0.02, 0.01)  # standard deviations of the steps around good points, in the unit cube


def refined_pool(
    key: PRNGKeyArray, score: Score, centres: Float[AnyArray, "centre dimension"]
) -> tuple[Float[AnyArray, "point dimension"], Float[AnyArray, "point"]]:
    """Points that cover the cube and crowd where `score` (a log density) is high, with their scores.

    Uniform points and steps around `centres`, then rounds of ever smaller steps around points drawn by score: in six
    dimensions a uniform pool alone misses the region that matters.
    """
    key_uniform, key_centre, key_local, key_rounds = jax.random.split(key, 4)
    dimension = centres.shape[1]
    chosen = jax.random.randint(key_centre, (LOCAL,), 0, len(centres))
    local = centres[chosen] + 0.1 * jax.random.normal(key_local, (LOCAL, dimension), centres.dtype)
    uniform = jax.random.uniform(key_uniform, (UNIFORM, dimension), centres.dtype)
    pool = jnp.concatenate([uniform, _reflect(local), jnp.zeros((PER_ROUND * len(ROUND_SCALES), dimension))])
    filled = UNIFORM + LOCAL
    scores = jnp.full(len(pool), -jnp.inf).at[:filled].set(score(pool[:filled]))

    def add(carry, step):
        pool, scores = carry
        key, scale, start = step
        key_pick, key_step = jax.random.split(key)
        picked = pool[jax.random.choice(key_pick, len(pool), (PER_ROUND,), p=jax.nn.softmax(scores))]
        moved = _reflect(picked + scale * jax.random.normal(key_step, picked.shape, picked.dtype))
        pool = jax.lax.dynamic_update_slice(pool, moved, (start, 0))
        return (pool, jax.lax.dynamic_update_slice(scores, score(moved), (start,))), None

    rounds = len(ROUND_SCALES)
    starts = filled + PER_ROUND * jnp.arange(rounds)
    steps = (jax.random.split(key_rounds, rounds), jnp.asarray(ROUND_SCALES, pool.dtype), starts)
    (pool, scores), _ = jax.lax.scan(add, (pool, scores), steps)
    return pool, scores


def points_near(
    key: PRNGKeyArray, centre: Float[AnyArray, "dimension"], steps: Float[AnyArray, "dimension"], count: int
) -> Float[AnyArray, "point dimension"]:
    """`count` points of the unit cube, normally distributed around `centre` with standard deviations `steps`."""
    return _reflect(centre + steps * jax.random.normal(key, (count, len(centre)), centre.dtype))


def draw_representers(
    key: PRNGKeyArray,
    pool: Float[AnyArray, "point dimension"],
    scores: Float[AnyArray, "point"],
    always: Float[AnyArray, "kept dimension"],
    count: int,
) -> Float[AnyArray, "representer dimension"]:
    """`count` points: those of `always`, the rest drawn without replacement in proportion to exp(scores)."""
    drawn = gumbel_top_k(key, scores, count - len(always))
    return jnp.concatenate([always, pool[drawn]])


def gumbel_top_k(key: PRNGKeyArray, scores: Float[AnyArray, "point"], k: int):
    """Indices of k points drawn without replacement in proportion to exp(scores)."""
    return jax.lax.top_k(scores + jax.random.gumbel(key, scores.shape, scores.dtype), k)[1]


def _reflect(x: Float[AnyArray, "point dimension"]) -> Float[AnyArray, "point dimension"]:
    """Points that stepped out of the unit cube, folded back at its faces."""
    return 1.0 - jnp.abs(1.0 - jnp.abs(x) % 2.0)
