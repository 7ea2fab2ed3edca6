"""The kernel against its twin, its own pairwise definition, and what a covariance must be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibo_jax.surrogate.kernels import (
    COST_BASIS,
    ERROR_BASIS,
    PUBLISHED_ERROR_BASIS,
    Basis,
    KernelParameters,
    MultiTaskKernel,
)
from reference import gaussian_process as twin

BASES = [
    (ERROR_BASIS, twin.phi_error),
    (PUBLISHED_ERROR_BASIS, twin.phi_published),
    (COST_BASIS, twin.phi_cost),
]
PARAMETERS = KernelParameters(np.log([0.3, 0.9, 0.5]), np.log(1.7), np.array(0.4), np.log(0.6), np.log(0.02))


def kernel_of(parameters: KernelParameters, basis: Basis) -> MultiTaskKernel:
    return MultiTaskKernel(jax.tree.map(jnp.asarray, parameters), jnp.array(basis))


def points(seed: int, n: int, dimension: int = 3):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.random((n, dimension))), jnp.asarray(rng.random(n))


def natural(parameters: KernelParameters) -> twin.Kernel:
    """The twin's hyperparameters, on their natural scale."""
    scale, amplitude, tilt, spread, noise = parameters
    return twin.Kernel(np.exp(scale), np.exp(amplitude), np.asarray(tilt), np.exp(spread), np.exp(noise))


@pytest.mark.parametrize(("basis", "phi"), BASES)
def test_equals_the_twin(basis, phi):
    left, right = points(0, 7), points(1, 5)
    gram = kernel_of(PARAMETERS, basis)(left, right)
    expected = twin.gram(natural(PARAMETERS), phi, *(tuple(map(np.asarray, p)) for p in (left, right)))
    np.testing.assert_allclose(gram, expected, rtol=1e-12)


@pytest.mark.parametrize("basis", [ERROR_BASIS, PUBLISHED_ERROR_BASIS, COST_BASIS])
def test_vectorised_call_equals_evaluate_pair_by_pair(basis):
    kernel, left, right = kernel_of(PARAMETERS, basis), points(2, 6), points(3, 4)
    pairs = [
        [kernel.evaluate((left[0][i], left[1][i]), (right[0][j], right[1][j])) for j in range(4)] for i in range(6)
    ]
    np.testing.assert_allclose(kernel(left, right), np.array(pairs), rtol=1e-12)
    np.testing.assert_allclose(kernel(left), jnp.diag(kernel(left, left)), rtol=1e-12)


def test_amplitude_is_the_variance_at_the_target():
    kernel = kernel_of(PARAMETERS, ERROR_BASIS)
    np.testing.assert_allclose(kernel((jnp.zeros((1, 3)), jnp.ones(1))), [1.0 + 1.7], rtol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-4, 3), min_size=3, max_size=3), st.floats(-4, 4), st.floats(-4, 4), st.floats(-5, 3),
    st.integers(0, 2**31), st.sampled_from([ERROR_BASIS, PUBLISHED_ERROR_BASIS, COST_BASIS]),
)  # fmt: skip
def test_positive_semi_definite_for_any_hyperparameters(log_length_scale, log_amplitude, tilt, log_spread, seed, basis):
    with jax.enable_x64(True):  # examples run outside of the fixture
        scalars = (np.array(v) for v in (log_amplitude, tilt, log_spread, 0.0))
        x, s = points(seed, 12)
        x, s = jnp.concatenate([x, x[:3]]), jnp.concatenate([s, s[:2], jnp.ones(1)])  # repeated points too
        gram = kernel_of(KernelParameters(np.array(log_length_scale), *scalars), basis)((x, s), (x, s))
    eigenvalues = np.linalg.eigvalsh(gram)
    np.testing.assert_allclose(gram, gram.T, rtol=1e-9)
    assert eigenvalues.min() > -1e-7 * eigenvalues.max()


def test_gradient_is_finite_where_points_coincide():
    x, s = points(4, 3)

    def total(x):
        return jnp.sum(kernel_of(PARAMETERS, ERROR_BASIS)((x, s), (x, s)) ** 2)

    gradient = jax.grad(total)(jnp.concatenate([x[:2], x[:1]]))
    assert np.all(np.isfinite(gradient))
    assert np.any(gradient != 0)


@pytest.mark.parametrize("log_length_scale", [-2.0, -8.0, -18.0, -30.0])
def test_equal_coordinates_keep_the_kernel_definite_at_any_length(log_length_scale):
    """Whole numbers and choices make points equal in some coordinates; heavy-tailed priors draw lengths like these."""
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.uniform(size=(40, 2)), rng.integers(1, 4, (40, 2)) / 7])
    lengths = jnp.array([-0.5, -0.5, log_length_scale, log_length_scale])
    kernel = MultiTaskKernel(KernelParameters(lengths, *jnp.zeros(4)), jnp.array(ERROR_BASIS))
    points = (jnp.asarray(x), jnp.ones(40))
    eigenvalues = np.linalg.eigvalsh(np.asarray(kernel(points, points)))
    assert eigenvalues[0] > -1e-13 * eigenvalues[-1]
