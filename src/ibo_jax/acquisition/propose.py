"""From fitted surrogates to the next point, in one program: pool, representers, belief, gain per cost.

References:
    [GelbartEtAl2014] Bayesian optimization with unknown constraints. UAI 2014, section 3.1.
"""

from functools import partial
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, PRNGKeyArray

from ibo_jax.acquisition.entropy_search import Belief, base_samples, believe, symmetric_gain
from ibo_jax.acquisition.exchange import climb, distinct
from ibo_jax.acquisition.expected_improvement import log_ei, mean_at_target
from ibo_jax.acquisition.maximise import maximise
from ibo_jax.acquisition.reachable import small_steps, snap
from ibo_jax.acquisition.representers import draw_representers, gumbel_top_k, points_near, refined_pool
from ibo_jax.numerics import each_draw
from ibo_jax.observations import Observations
from ibo_jax.space import Cell, Cells
from ibo_jax.surrogate.kernels import ERROR_BASIS, Basis, KernelParameters
from ibo_jax.surrogate.surrogates import Surrogates, surrogates
from ibo_jax.types import AnyArray

__all__ = ["Proposal", "propose"]

REPRESENTERS = 50
KEPT = 5  # best evaluations whose x are always representers, so that p_min cannot forget them; x may repeat
SAMPLES = 512
CANDIDATES = 384
NOTHING = 1e-12  # nats: a gain this small counts as none
STARTS = 8  # candidates refined by gradients
NEAR = 0.05  # standard deviation per coordinate of steps around the recommendation, if the optimum is sought nearby

Acquisition = Literal["information_gain_per_cost", "information_gain", "expected_improvement"]
Levels = tuple[float, ...] | None


class Proposal(NamedTuple):
    """Where to go, what is predicted there, and the answers so far; objectives in the units of observations.

    `mean`, `sd` (noise included) and `log_cost` are predictions at (x, s); `log_acquisition` is NaN if the guard
    chose, `entropy` (of the optimum's location) is NaN if it was not computed. Where evaluations have failed, the means
    of the recommendation and of an incumbent not evaluated at the target are expectations in which a failure counts as
    the worst objective seen; the recommendation is taken to succeed twice as often as predicted, surely from 1 / 2 on.
    """

    x: Float[AnyArray, "dimension"]
    s: Float[AnyArray, ""]
    log_acquisition: Float[AnyArray, ""]
    mean: Float[AnyArray, ""]
    sd: Float[AnyArray, ""]
    log_cost: Float[AnyArray, ""]
    incumbent: Float[AnyArray, "dimension"]
    incumbent_mean: Float[AnyArray, ""]
    recommendation: Float[AnyArray, "dimension"]
    recommendation_mean: Float[AnyArray, ""]
    entropy: Float[AnyArray, ""]


@partial(jax.jit, static_argnames=("levels", "acquisition", "cells"))
def propose(
    key: PRNGKeyArray,
    observations: Observations,
    error: KernelParameters,
    cost: KernelParameters,
    guard: Bool[AnyArray, ""],
    nearby: Bool[AnyArray, ""],
    error_basis: Basis | Float[AnyArray, "3"] = ERROR_BASIS,
    price_exponent: float | Float[AnyArray, ""] = 1.0,
    success: KernelParameters | None = None,
    *,
    levels: Levels,
    acquisition: Acquisition = "information_gain_per_cost",
    cells: Cells = (),
) -> Proposal:
    """The next (x, s), the incumbent and the recommendation.

    Args:
        key: randomness.
        observations: padded; at least one row evaluated.
        error: draws of the error's hyperparameters, from `surrogate.nuts.fit`.
        cost: equally many draws of the log cost's hyperparameters.
        guard: propose the recommendation at the target instead of the maximiser, as is also done when nothing is left
            to gain: the surrogate is then sure of the optimum, and this evaluation can prove it wrong.
        nearby: gain information about the optimum's location around the recommendation, not anywhere.
        error_basis: how the error may depend on the fidelity, as in the fit.
        price_exponent: exponent of the price, 1 for gain per price, 0 to ignore the price.
        success: equally many draws of the hyperparameters of success once an evaluation has failed: gains and
            improvements then count in proportion to its probability [GelbartEtAl2014].
        levels: encoded fidelities that can be chosen; None for any in [0, 1].
        acquisition: "information_gain_per_cost" (about the optimum at the target, per predicted cost and median
            overhead; equation 6 of Ariafar et al. 2021, with the overhead that RoBO can add), "information_gain", or
            "expected_improvement" at the target (whatever it costs).
        cells: what x can reach, `SearchSpace.cells`.

    Raises:
        ValueError: unknown acquisition.
    """
    if acquisition not in (known := get_args(Acquisition)):
        raise ValueError(f"expected an acquisition among {known}, got {acquisition!r}; choose one of them")
    key_pool, key_representers, key_base, key_candidates, key_near = jax.random.split(key, 5)
    sure = jnp.asarray(False)
    models = surrogates(observations, error, cost, jnp.asarray(error_basis), success)  # `jit` hands a tuple on as one
    kept, incumbent_mean, best = _best_evaluated(models, observations)

    def improvement(x):
        x = snap(x, cells)
        return log_ei(models.error, x, best) + jnp.log(models.success_probability(x, jnp.ones(len(x))))

    pool, scores = refined_pool(key_pool, improvement, kept)
    pool, scores = _reached(pool, scores, cells)
    recommendation, recommendation_mean = _recommend(models, observations, jnp.concatenate([kept, pool]), cells)
    if acquisition == "expected_improvement":
        x, value = _best_of(improvement, pool, scores, cells)
        s, entropy = jnp.ones(()), jnp.asarray(jnp.nan)
    else:
        steps = small_steps(cells, len(recommendation), NEAR)
        near = snap(points_near(key_near, recommendation, steps, len(pool)), cells)
        pool, scores = jax.lax.cond(nearby, lambda: _reached(near, improvement(near), cells), lambda: (pool, scores))
        always = jnp.concatenate([recommendation[None], jnp.where(nearby, near[:KEPT], kept)])
        beliefs = _believe(key_representers, key_base, models, pool, scores, always)
        priced = acquisition == "information_gain_per_cost"
        price = _per_success(_log_price(models, observations, price_exponent) if priced else _free, models)
        x, s, value = _maximise_gain(key_candidates, price, beliefs, pool, scores, always, levels, cells)
        sure = value + price(x[None], s[None])[0] < jnp.log(2 * NOTHING)
        entropy = jnp.where(nearby, jnp.nan, jnp.mean(jax.vmap(lambda belief: belief.entropy)(beliefs)))

    x, s = jnp.where(guard | sure, recommendation, x), jnp.where(guard | sure, 1.0, s)
    mean, sd = models.objective(x, s)
    incumbent_mean, recommendation_mean = (
        models.error_location + models.error_scale * value for value in (incumbent_mean, recommendation_mean)
    )
    return Proposal(
        x=x,
        s=s,
        log_acquisition=jnp.where(guard, jnp.nan, value),
        mean=mean,
        sd=sd,
        log_cost=models.log_cost(x[None], s[None])[0],
        incumbent=kept[0],
        incumbent_mean=incumbent_mean,
        recommendation=recommendation,
        recommendation_mean=recommendation_mean,
        entropy=entropy,
    )


def _best_evaluated(models: Surrogates, observations: Observations):
    """The `KEPT` evaluated x of lowest expected objective at the target, that of the first, and what an improvement
    improves on in each draw, what is pending or failed included. What has succeeded at s succeeds at the target with
    probability P(target) / P(s) if whatever succeeds there does so at s: surely, where failures come by chance."""
    points, evaluated = models.error.data.x[0], jnp.asarray(observations.evaluated)
    means = mean_at_target(models.error, points)
    at_target, here = (models.success_probability(points, s) for s in (jnp.ones(len(points)), observations.fidelity))
    expected = _expected(models, observations, jnp.mean(means, axis=0), jnp.minimum(at_target / here, 1.0))
    expected = jnp.where(evaluated, expected, jnp.inf)
    order = jnp.argsort(expected)
    kept = points[jnp.where(jnp.arange(KEPT) < jnp.sum(evaluated), order[:KEPT], order[0])]
    best = jnp.min(jnp.where(observations.mask, means, jnp.inf), axis=1)
    return kept, expected[order[0]], best


def _reached(points: Float[AnyArray, "point dimension"], scores: Float[AnyArray, "point"], cells: Cells):
    """The points snapped, and their scores, -inf for those that repeat another one."""
    if not cells:
        return points, scores
    points = snap(points, cells)
    return points, distinct(points, scores)


def _expected(models: Surrogates, observations: Observations, mean, succeeds: Float[AnyArray, "point"]):
    """The expected objective, standardised; an evaluation that fails counts as the worst one seen."""
    worst = jnp.max(jnp.where(jnp.asarray(observations.evaluated), models.error.data.y, -jnp.inf))
    return succeeds * mean + (1.0 - succeeds) * worst


def _recommend(models: Surrogates, observations: Observations, pool: Float[AnyArray, "point dimension"], cells: Cells):
    """The x of lowest expected objective at the target, anywhere, and that expectation, of twice the probability of
    success. So only what fails sooner than not is penalised: where failures come by chance, the little that their
    probability varies must not move an answer."""

    def score(x):
        x = snap(x, cells)
        mean = jnp.mean(mean_at_target(models.error, x), axis=0)
        succeeds = models.success_probability(x, jnp.ones(len(x)))
        return -_expected(models, observations, mean, jnp.minimum(2.0 * succeeds, 1.0))

    pool, scores = _reached(pool, score(pool), cells)
    x, value = _best_of(score, pool, scores, cells)
    return x, -value


def _best_of(score, pool: Float[AnyArray, "point dimension"], scores: Float[AnyArray, "point"], cells: Cells):
    """Where `score` is highest once the best points of a pool are refined, and its value there."""
    ends, values = _exchanged(score, pool, scores, cells)
    if not _only_gaps(cells):
        ends, values = maximise(score, ends)
    chosen = jnp.argmax(values)
    return snap(ends[chosen], cells), values[chosen]


def _exchanged(score, points: Float[AnyArray, "point dimension"], scores: Float[AnyArray, "point"], cells: Cells):
    """The best of the points, their integers and choices exchanged for better ones, and the scores there."""
    values, best = jax.lax.top_k(scores, STARTS)
    return climb(score, points[best], values, cells) if cells else (points[best], values)


def _only_gaps(cells: Cells) -> bool:
    """Whether no coordinate has a gradient."""
    return bool(cells) and Cell() not in cells


def _log_price(models: Surrogates, observations: Observations, price_exponent):
    """The exponent times the log of predicted cost plus median overhead of the evaluated, as a function of (x, s)."""
    evaluated = jnp.asarray(observations.evaluated)
    log_overhead = jnp.log(jnp.nanmedian(jnp.where(evaluated, observations.overhead, jnp.nan)))
    return lambda x, s: price_exponent * jnp.logaddexp(models.log_cost(x, s), log_overhead)


def _free(x, s):
    """The log price where only information counts."""
    return jnp.zeros(len(x))


def _per_success(log_price, models: Surrogates):
    """The log price of an evaluation that succeeds, those before it that fail included."""
    return lambda x, s: log_price(x, s) - jnp.log(models.success_probability(x, s))


def _believe(key_representers, key_base, models: Surrogates, pool, scores, always) -> Belief:
    """What each draw believes about the optimum, over the same representers."""
    representers = draw_representers(key_representers, pool, scores, always, REPRESENTERS)

    def of_draw(posterior, key):
        return believe(posterior, representers, base_samples(key, SAMPLES, REPRESENTERS))

    # base samples of its own for each draw, so that Monte-Carlo errors of the gain average out over draws
    return each_draw(of_draw, models.error, jax.random.split(key_base, len(models.error.noise)))


def _maximise_gain(key, log_price, beliefs, pool, scores, always, levels: Levels, cells: Cells):
    """Screen candidates by information gain per price, refine the best, and choose among those."""
    key_drawn, key_uniform, key_near, key_s = jax.random.split(key, 4)
    dimension, third = pool.shape[1], CANDIDATES // 3

    def log_rate(points, *, in_turn=False):
        x, s = snap(points[:, :-1], cells), points[:, -1]

        def gain(belief):
            return symmetric_gain(belief, x, s)

        gains = each_draw(gain, beliefs) if in_turn else jax.vmap(gain)(beliefs)
        return jnp.log(jnp.maximum(jnp.mean(gains, axis=0), NOTHING)) - log_price(x, s)

    near = jnp.repeat(always, -(-third // len(always)), axis=0)[:third]
    steps = small_steps(cells, dimension, NEAR)
    near = jnp.clip(near + steps * jax.random.normal(key_near, near.shape, pool.dtype), 0.0, 1.0)
    uniform = jax.random.uniform(key_uniform, (third, dimension), pool.dtype)
    x = jnp.concatenate([pool[gumbel_top_k(key_drawn, scores, third)], uniform, near])
    s = _spread_fidelities(key_s, len(x), levels, pool.dtype)
    candidates = jnp.concatenate([x, s[:, None]], axis=1)
    screen = partial(log_rate, in_turn=True)  # draw after draw: all samples at once would not fit the cache
    cells_and_s = (*cells, Cell()) if cells else ()
    candidates, rates = _reached(candidates, screen(candidates), cells_and_s)
    tops, _ = _exchanged(screen, candidates, rates, cells_and_s)
    if levels is None:
        ends, values = maximise(log_rate, tops)
    else:
        fixed = jnp.arange(dimension + 1) == dimension
        if not _only_gaps(cells):
            tops, _ = maximise(lambda points: log_rate(jnp.where(fixed, jax.lax.stop_gradient(points), points)), tops)
        every_level = jnp.tile(jnp.asarray(levels, pool.dtype), STARTS)
        ends = jnp.column_stack([jnp.repeat(tops[:, :-1], len(levels), axis=0), every_level])
        values = log_rate(ends)
    chosen = jnp.argmax(values)
    return snap(ends[chosen, :-1], cells), ends[chosen, -1], values[chosen]


def _spread_fidelities(key, count: int, levels: Levels, dtype) -> Float[AnyArray, "count"]:
    """Fidelities for candidates: the levels in equal shares; or uniform, with a share at the target and one at 0."""
    key_uniform, key_order = jax.random.split(key)
    if levels is not None:
        s = jnp.resize(jnp.asarray(levels, dtype), (count,))
    else:
        s = jax.random.uniform(key_uniform, (count,), dtype)
        share = jnp.arange(count) / count
        s = jnp.where(share < 0.2, 1.0, jnp.where(share < 0.35, 0.0, s))
    return jax.random.permutation(key_order, s)
