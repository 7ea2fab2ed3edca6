"""Hyperparameters of a Gaussian process drawn by NUTS: the one place that runs Markov chains.

A study refits the same model to slightly more data again and again, so the chain is carried over: its position, step
size and mass matrix. A cold start adapts all three in a long warm-up; a warm one adapts only the step size, in a few
iterations. The choice between the two is data, not code: one program serves both, and both processes (`model.Prior`).

References:
    [HoffmanGelman2014] The No-U-Turn sampler. JMLR 15. Step size by dual averaging, section 3.2.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Bool, Float, PRNGKeyArray
from numpyro.infer.hmc import hmc
from numpyro.infer.hmc_util import dual_averaging

from ibo_jax.surrogate.kernels import KernelParameters
from ibo_jax.surrogate.likelihood import TrainingData
from ibo_jax.surrogate.model import Prior, potential, standardise
from ibo_jax.types import AnyArray

__all__ = ["COLD_WARM_UP", "DRAWS", "WARM_UP", "Chain", "FitInfo", "cold_chain", "fit"]

DRAWS = 16  # kept, unthinned: their number, not the warm-up, limits the precision of p_min
WARM_UP = 8
COLD_WARM_UP = 160
MASS_WINDOWS = (40, 90)  # iterations of a cold warm-up at which the mass matrix is learnt anew
TREE_DEPTH = 5
TARGET_ACCEPTANCE = 0.8
SCALARS = len(KernelParameters._fields) - 1  # parameters beside the length scales
REFUTED = 1e7  # nats: from a position that much less probable than the prior's location no chain was seen to return


class Chain(NamedTuple):
    """What the next fit starts from. Positions are prior-standardised: (parameters - location) / scale of the prior."""

    position: Float[AnyArray, "parameter"]
    step_size: Float[AnyArray, ""]
    inverse_mass: Float[AnyArray, "parameter"]
    cold: Bool[AnyArray, ""]


class FitInfo(NamedTuple):
    """How a fit went: whether every draw is finite, and the mean probability of acceptance."""

    finite: Bool[AnyArray, ""]
    acceptance: Float[AnyArray, ""]


def cold_chain(dimension: int) -> Chain:
    """The start of a study: the prior's location, nothing adapted. `dimension` is that of x."""
    parameters = dimension + SCALARS
    return Chain(np.zeros(parameters), np.asarray(0.1), np.ones(parameters), np.asarray(True))


@partial(jax.jit, static_argnames="draws")
def fit(
    key: PRNGKeyArray,
    data: TrainingData,
    prior: Prior,
    chain: Chain,
    *,
    draws: int = DRAWS,
) -> tuple[KernelParameters, Chain, FitInfo]:
    """Posterior draws of kernel hyperparameters, the chain to carry over, and how it went.

    Args:
        key: source of randomness.
        data: padded observations in their own units; they are standardised here.
        prior: that of the process.
        chain: where the previous fit stopped, or `cold_chain`; treated as cold if these data have no density there, or
            next to none.
        draws: number of draws to keep.

    Returns:
        parameters with a leading axis of `draws`; if the chain is not finite they are those of the prior's location.

    Examples:
        >>> from ibo_jax.numerics import in_float64
        >>> from ibo_jax.surrogate.model import error_prior
        >>> x = np.linspace(0.0, 1.0, 8)[:, None]
        >>> data = TrainingData(x, np.ones(8), np.sin(6 * x[:, 0]), np.ones(8, bool), np.array([1.0, 0.0, 0.0]))
        >>> parameters, chain, info = in_float64(fit)(jax.random.key(0), data, error_prior(1), cold_chain(1))
        >>> parameters.log_length_scale.shape, bool(info.finite)
        ((16, 1), True)
    """
    data, _, _ = standardise(data)
    location, unravel = ravel_pytree(prior.location)
    scale, _ = ravel_pytree(prior.scale)
    key_init, key_run = jax.random.split(key)

    def energy(z):
        return potential(unravel(location + scale * z), data, prior)

    begin = _sound_or_cold(chain, energy)
    init_kernel, sample_kernel = hmc(energy, algo="NUTS")
    start = _start(init_kernel, key_init, begin)._replace(rng_key=key_run)
    warm_up = jnp.where(begin.cold, COLD_WARM_UP, WARM_UP)
    step_init, step_update = dual_averaging()

    def iterate(i, carry):
        state, averaging, window, kept, info = carry
        state = sample_kernel(state)
        averaging = step_update(TARGET_ACCEPTANCE - state.accept_prob, averaging)
        window = _accumulate(window, state.z)
        learn = begin.cold & jnp.isin(i, jnp.array(MASS_WINDOWS))
        inverse_mass = jnp.where(learn, _window_variance(window), state.adapt_state.inverse_mass_matrix)
        step_size = jnp.exp(jnp.where(i < warm_up - 1, averaging[0], averaging[1]))
        step_size = jnp.where(i < warm_up, step_size, state.adapt_state.step_size)
        averaging = _where(learn, step_init(jnp.log(10.0 * step_size)), averaging)
        window = _where(learn, jax.tree.map(jnp.zeros_like, window), window)
        kept = kept.at[jnp.maximum(i - warm_up, 0)].set(state.z)
        sampling = i >= warm_up
        info = FitInfo(
            info.finite & jnp.isfinite(state.potential_energy),
            info.acceptance + sampling * state.accept_prob / draws,
        )
        return _set_adaptation(state, step_size, inverse_mass), averaging, window, kept, info

    zeros = jnp.zeros_like(location)
    window = (jnp.zeros(()), zeros, zeros)
    info = FitInfo(jnp.array(True), jnp.zeros(()))
    carry = (start, step_init(jnp.log(begin.step_size)), window, jnp.zeros((draws, location.size)), info)
    state, _, _, kept, info = jax.lax.fori_loop(0, warm_up + draws, iterate, carry)
    kept = jnp.where(info.finite, kept, 0.0)
    carried = jnp.clip(0.8 * state.adapt_state.inverse_mass_matrix + 0.2 * jnp.var(kept, 0), 1e-3, 10.0)
    after = Chain(state.z, state.adapt_state.step_size, carried, jnp.array(False))
    return jax.vmap(unravel)(location + scale * kept), _where(info.finite, after, chain), info


def _sound_or_cold(chain: Chain, energy: Callable[[Float[AnyArray, "parameter"]], Float[AnyArray, ""]]) -> Chain:
    """The chain, or a cold one where it cannot go on: the covariance of more observations need not be positive definite
    at its position, and where all of them were equal, the first that differs leaves it on a slope so steep that no step
    is small enough."""
    cold = cold_chain(len(chain.position) - SCALARS)
    here, there = energy(chain.position), energy(cold.position)
    return _where(jnp.isfinite(here) & ~(here > there + REFUTED), chain, cold)


def _start(init_kernel, key, begin: Chain):
    """The sampler's state at the beginning of a chain; all that is adapted is adapted in `fit`."""
    return init_kernel(
        begin.position,
        num_warmup=0,
        step_size=begin.step_size,
        inverse_mass_matrix=begin.inverse_mass,
        adapt_step_size=False,
        adapt_mass_matrix=False,
        max_tree_depth=TREE_DEPTH,
        rng_key=key,
    )


def _set_adaptation(state, step_size, inverse_mass):
    """The sampler's state with another step size and (diagonal) mass matrix."""
    adapted = state.adapt_state._replace(
        step_size=step_size,
        inverse_mass_matrix=inverse_mass,
        mass_matrix_sqrt=1.0 / jnp.sqrt(inverse_mass),
        mass_matrix_sqrt_inv=jnp.sqrt(inverse_mass),
    )
    return state._replace(adapt_state=adapted)


def _accumulate(window, z):
    count, total, squares = window
    return count + 1.0, total + z, squares + z**2


def _window_variance(window):
    """Variance of the positions in a window, shrunk towards the prior's (1 in these coordinates)."""
    count, total, squares = window
    mean = total / jnp.maximum(count, 1.0)
    variance = squares / jnp.maximum(count, 1.0) - mean**2
    return jnp.clip((count * variance + 5.0) / (count + 5.0), 1e-3, 10.0)


def _where(condition, this, other):
    return jax.tree.map(partial(jnp.where, condition), this, other)
