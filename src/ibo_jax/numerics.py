"""Numerical care in one place: double precision for the search side, safe factorisation, formulas in log space.

References:
    [AmentEtAl2023] Unexpected improvements to expected improvement for Bayesian optimization. NeurIPS 2023.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr, logsumexp, xlogy
from jaxtyping import Float
from threadpoolctl import ThreadpoolController

from ibo_jax.types import AnyArray

__all__ = ["SEQUENTIAL", "cholesky", "each_draw", "entropy", "in_float64", "log_expected_improvement", "log_mean_exp"]

SEQUENTIAL = {"xla_cpu_multi_thread_eigen": False}
"""Options of `jax.jit` for programs of many small operations, which splitting over threads makes slower."""

P = ParamSpec("P")
R = TypeVar("R")


def in_float64(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function in float64 on the CPU and return NumPy arrays; training in the same process stays float32.

    Entered around `jax.jit`, never inside: what is traced outside of the context truncates to float32. BLAS is held
    to one thread: its threads spin, and on a shared machine thousands of small factorisations become 10-100 times
    slower (measured: a fit of 0.07 s took up to 5 s).

    Example:
        >>> in_float64(jax.jit(lambda x: x + 1e-12))(1.0) > 1.0
        np.True_
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Any:
        cpu = jax.local_devices(backend="cpu")[0]
        with _blas().limit(limits=1, user_api="blas"), jax.enable_x64(True), jax.default_device(cpu):
            return jax.device_get(function(*args, **kwargs))

    return wrapper


@functools.cache
def _blas() -> ThreadpoolController:
    import scipy.linalg  # noqa: F401  (loads the library that XLA's factorisations call, so that it is found)

    return ThreadpoolController()


def each_draw(function: Callable[..., R], *stacks: Any) -> R:
    """Map over the leading axis one element after another, where `function` factorises a matrix.

    `jax.vmap` would batch the factorisations, and jaxlib splits a LAPACK batch over the very thread pool that waits for
    it: with two cores two such calls at once wait for ever (seen with jaxlib 0.10.2). It is no slower: LAPACK works
    matrix by matrix anyway.

    Example:
        >>> each_draw(jnp.linalg.cholesky, jnp.stack([jnp.eye(2), 4.0 * jnp.eye(2)])).shape
        (2, 2, 2)
    """
    return jax.lax.map(lambda stack: function(*stack), stacks)


def cholesky(matrix: Float[AnyArray, "n n"], jitter: float = 1e-9) -> Float[AnyArray, "n n"]:
    """Lower Cholesky factor after adding `jitter` times the mean of the diagonal; NaN if still not definite."""
    n = matrix.shape[-1]
    return jnp.linalg.cholesky(matrix + jitter * jnp.trace(matrix) / n * jnp.eye(n), symmetrize_input=False)


def entropy(probabilities: Float[AnyArray, "*batch n"]) -> Float[AnyArray, "*batch"]:
    """Shannon entropy over the last axis, nats; zero probabilities count zero."""
    return -jnp.sum(xlogy(probabilities, probabilities), axis=-1)


def log_mean_exp(values: Float[AnyArray, "*batch n"], axis: int = 0) -> Float[AnyArray, "..."]:
    """Log of the mean of exponentials, without overflow."""
    return logsumexp(values, axis=axis) - math.log(values.shape[axis])


def log_expected_improvement(
    mean: Float[AnyArray, "*batch"], variance: Float[AnyArray, "*batch"], best: Float[AnyArray, "..."]
) -> Float[AnyArray, "*batch"]:
    """Log of E max(best - f, 0) for f ~ N(mean, variance), finite far below zero [AmentEtAl2023, section 4.1].

    Below z = -30 the difference phi(z) + z Phi(z) cancels and its asymptotic series takes over.
    """
    sd = jnp.sqrt(jnp.maximum(variance, 1e-20))
    z = (best - mean) / sd
    log_density = -0.5 * z**2 - 0.5 * math.log(2 * math.pi)
    near = jnp.maximum(z, -30.0)  # each branch sees only what it can take, so that gradients stay finite
    middle = jnp.minimum(near, 8.0)
    ratio = middle * jnp.exp(log_ndtr(middle) + 0.5 * middle**2 + 0.5 * math.log(2 * math.pi))
    positive = jnp.log(jnp.maximum(near + jnp.exp(-0.5 * near**2) / math.sqrt(2 * math.pi), 1e-300))
    far = jnp.minimum(z, -30.0)
    tail = -2 * jnp.log(-far) + jnp.log1p(-3 / far**2)
    body = jnp.where(near > 8.0, positive - log_density, jnp.log1p(ratio))
    return jnp.log(sd) + log_density + jnp.where(z < -30.0, tail, body)
