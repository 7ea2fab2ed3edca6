"""Outputs are standardised whatever their unit."""

import numpy as np
import pytest

from ibo_jax.surrogate.kernels import ERROR_BASIS
from ibo_jax.surrogate.likelihood import TrainingData
from ibo_jax.surrogate.model import standardise


def data(y) -> TrainingData:
    """With two rows of padding that hold what must not count."""
    count = len(y)
    mask = np.arange(count + 2) < count
    return TrainingData(np.zeros((count + 2, 1)), np.ones(count + 2), np.append(y, [1e9, np.nan]), mask,
                        np.array(ERROR_BASIS))  # fmt: skip


@pytest.mark.parametrize("unit", [1e-100, 1e-12, 1.0, 1e12])
def test_outputs_have_mean_zero_and_deviation_one_in_any_unit(unit):
    y = unit * np.random.default_rng(0).normal(3.0, 2.0, size=9)
    standard, location, scale = standardise(data(y))
    np.testing.assert_allclose(standard.y, [*(y - y.mean()) / y.std(), 0.0, 0.0], rtol=1e-9)
    np.testing.assert_allclose([location, scale], [y.mean(), y.std()], rtol=1e-12)


@pytest.mark.parametrize("y", [[0.0] * 5, [0.1] * 7, [0.1 + 0.2, 0.3, 0.3], [-1e9] * 3])
def test_outputs_equal_up_to_rounding_are_only_shifted(y):
    standard, _, scale = standardise(data(y))
    assert scale == 1.0
    np.testing.assert_allclose(standard.y, 0.0, atol=1e-6)
