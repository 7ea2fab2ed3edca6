"""The search side runs in float64, entered around every test here as `in_float64` does around its programs."""

import jax
import pytest


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield
