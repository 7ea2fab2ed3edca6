"""Numerical care in one place: double precision for the search side, safe factorisation, formulas in log space.

References:
    [AmentEtAl2023] Unexpected improvements to expected improvement for Bayesian optimization. NeurIPS 2023.
"""

import contextlib
import functools
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import erfc, logsumexp, xlogy
from jaxtyping import Float
from threadpoolctl import ThreadpoolController

from ibo_jax.types import AnyArray, Array

__all__ = [
    "COMPILER_OPTIONS",
    "PLATFORM",
    "at_least_float32",
    "cholesky",
    "compiler_options",
    "each_draw",
    "entropy",
    "gram_of_lower",
    "in_float32",
    "in_float64",
    "inverse_of_lower",
    "log_expected_improvement",
    "log_mean_exp",
]

PLATFORM = "cpu"
"""Where `in_float64` computes: JAX's name of a platform."""

COMPILER_OPTIONS = {
    "xla_cpu_multi_thread_eigen": False,  # splitting small operations over threads makes them slower
    "xla_backend_optimization_level": 1,  # runs as fast as level 3, and together with
    "xla_cpu_use_fusion_emitters": False,  # this (jax 0.10) a first suggestion takes 8 s instead of 15, half the memory
}
"""What `in_float64` asks of XLA on the CPU, for programs of many small operations."""

SMALL = 64  # triangular matrices up to this size are not halved again

P = ParamSpec("P")
R = TypeVar("R")


def at_least_float32(array: Float[Array, "..."]) -> Float[Array, "..."]:
    """The same values in float32 if their precision is lower.

    Examples:
        >>> at_least_float32(jnp.ones(1, jnp.bfloat16)).dtype
        dtype('float32')
    """
    array = jnp.asarray(array)  # of NumPy, doubles become what JAX calculates in
    with jax.numpy_dtype_promotion("standard"):
        return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def in_float32(function: Callable[P, R]) -> Callable[P, R]:
    """The function in single precision, for which training is written, whatever the caller's mode.

    Examples:
        >>> with jax.enable_x64(True):
        ...     in_float32(lambda: jnp.ones(1).dtype)()
        dtype('float32')
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.enable_x64(False):
            return function(*args, **kwargs)

    return run


class in_float64:
    """Compile a function for float64 on `PLATFORM`, ahead of time; it takes and returns NumPy arrays.

    Training in the same process stays float32: the context is entered around `jax.jit`, because what is traced outside
    it is truncated. JAX's strict modes are for the caller's programs too: here NaN means that something is not known,
    and a matrix may meet a vector. Programs are kept here, one for each shape of the arguments, where
    `jax.clear_caches()` after a training cannot drop them; keyword arguments are static. BLAS is held to one thread:
    its threads spin, and on a shared machine thousands of small factorisations become 10-100 times slower (a fit of
    0.07 s took up to 5 s).

    Examples:
        >>> add = in_float64(lambda x, *, by: x + by)
        >>> add(np.ones(2), by=1e-12)[0] > 1.0, len(add.programs)
        (np.True_, 1)
    """

    def __init__(self, function: Callable[..., Any]):
        self.function = function
        self.programs: dict[Any, Any] = {}

    def __call__(self, *args: Any, **static: Any) -> Any:
        device = jax.local_devices(backend=PLATFORM)[0]
        with _one_blas_thread, _own_configuration(), jax.default_device(device):
            leaves, structure = jax.tree.flatten(args)
            shapes = tuple((np.shape(leaf), jax.dtypes.result_type(leaf)) for leaf in leaves)
            key = (tuple(sorted(static.items())), structure, shapes)
            if key not in self.programs:
                jitted = jax.jit(self.function, static_argnames=tuple(static), compiler_options=compiler_options())
                self.programs[key] = jitted.lower(*args, **static).compile()
            return jax.device_get(self.programs[key](*args))


@contextlib.contextmanager
def _own_configuration() -> Iterator[None]:
    """Double precision, and none of the modes in which JAX refuses what the search and NumPyro do on purpose."""
    with (
        jax.enable_x64(True), jax.debug_nans(False), jax.debug_infs(False), jax.debug_key_reuse(False),
        jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"), jax.transfer_guard("allow"),
        jax.disable_jit(False),
    ):  # fmt: skip
        yield


@functools.cache
def compiler_options() -> dict[str, Any]:
    """Those of `COMPILER_OPTIONS` that this version of XLA knows, as it refuses others; on other platforms none.

    Examples:
        >>> compiler_options()["xla_cpu_multi_thread_eigen"]
        False
    """
    if PLATFORM != "cpu":
        return {}
    return {name: setting for name, setting in COMPILER_OPTIONS.items() if _is_known(name, setting)}


def _is_known(name: str, setting: Any) -> bool:
    try:
        jax.jit(lambda: 0, compiler_options={name: setting}).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


class _OneBlasThread:
    """BLAS is held to one thread while one of our threads is inside; when none is, it gets its old number back.

    The number applies to the whole process, and since threadpoolctl 3.8 only the thread that changed it first can do so
    again while that thread lives. So each thread sets it back as it leaves: at worst the others become slower.
    """

    def __init__(self) -> None:
        self.lock, self.inside = threading.Lock(), 0
        self.before: list[int] = []  # threads by library before anybody was inside

    def __enter__(self) -> None:
        with self.lock:
            if self.inside == 0:
                self.before = [library.num_threads for library in _blas()]
            self.inside += 1
            for library in _blas():
                library.set_num_threads(1)

    def __exit__(self, *raised: object) -> None:
        with self.lock:
            self.inside -= 1
            for library, threads in zip(_blas(), self.before, strict=True):
                library.set_num_threads(threads)


_one_blas_thread = _OneBlasThread()


@functools.cache
def _blas() -> list[Any]:
    import scipy.linalg  # noqa: F401  (loads the library that XLA's factorisations call, so that it is found)

    return ThreadpoolController().select(user_api="blas").lib_controllers


def each_draw(function: Callable[..., R], *stacks: Any) -> R:
    """Map over the leading axis, on the CPU one element after another, where `function` factorises a matrix.

    `jax.vmap` would batch the factorisations, and jaxlib splits a LAPACK batch over the same thread pool that waits for
    it: on two cores, two such calls at once wait forever (seen with jaxlib 0.10.2). This is no slower: LAPACK works
    matrix by matrix anyway.

    Examples:
        >>> each_draw(jnp.linalg.cholesky, jnp.stack([jnp.eye(2), 4.0 * jnp.eye(2)])).shape
        (2, 2, 2)
    """
    if PLATFORM != "cpu":
        return jax.vmap(function)(*stacks)
    return jax.lax.map(lambda stack: function(*stack), stacks)


def cholesky(matrix: Float[AnyArray, "n n"]) -> Float[AnyArray, "n n"]:
    """Lower Cholesky factor after adding 1e-9 times the mean of the diagonal to it; NaN if still not definite."""
    n = matrix.shape[-1]
    return jnp.linalg.cholesky(matrix + 1e-9 * jnp.trace(matrix) / n * jnp.eye(n), symmetrize_input=False)


def inverse_of_lower(factor: Float[AnyArray, "n n"]) -> Float[AnyArray, "n n"]:
    """Inverse of a lower triangular matrix, by halves: half the work of solving for an identity treated as dense.

    Examples:
        >>> inverse_of_lower(jnp.array([[2.0, 0.0], [1.0, 1.0]])).tolist()
        [[0.5, 0.0], [-0.5, 1.0]]
    """
    n = len(factor)
    if n <= SMALL:
        return solve_triangular(factor, jnp.eye(n, dtype=factor.dtype), lower=True)
    half = n // 2
    first, last = inverse_of_lower(factor[:half, :half]), inverse_of_lower(factor[half:, half:])
    below = -last @ (factor[half:, :half] @ first)
    return jnp.block([[first, jnp.zeros((half, n - half), factor.dtype)], [below, last]])


def gram_of_lower(lower: Float[AnyArray, "n n"]) -> Float[AnyArray, "n n"]:
    """L^T L of a lower triangular matrix, by halves: half the work of a product that treats it as dense.

    Examples:
        >>> gram_of_lower(jnp.array([[2.0, 0.0], [1.0, 1.0]])).tolist()
        [[5.0, 1.0], [1.0, 1.0]]
    """
    n = len(lower)
    if n <= SMALL:
        return lower.T @ lower
    half = n // 2
    first, below, last = lower[:half, :half], lower[half:, :half], lower[half:, half:]
    across = below.T @ last
    return jnp.block([[gram_of_lower(first) + below.T @ below, across], [across.T, gram_of_lower(last)]])


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

    phi(z) + z Phi(z) keeps its digits in float64 down to z = -25, where an asymptotic series takes over.
    """
    sd = jnp.sqrt(jnp.maximum(variance, 1e-20))
    z = (best - mean) / sd
    near, far = jnp.maximum(z, -25.0), jnp.minimum(z, -25.0)  # each branch gets only values that it can handle
    direct = jnp.exp(-0.5 * near**2) / math.sqrt(2 * math.pi) + near * 0.5 * erfc(-near / math.sqrt(2))
    series = jnp.log1p(-3 / far**2 + 15 / far**4) - 2 * jnp.log(-far) - 0.5 * far**2 - 0.5 * math.log(2 * math.pi)
    return jnp.log(sd) + jnp.where(z < -25.0, series, jnp.log(direct))
