"""Optimisers against the Keras rules written out in NumPy, with every rate traced."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ibo_jax.training.optimizers import adam, inverse_time_decay, momentum_sgd, rmsprop, step_drop

GRADIENTS = np.random.default_rng(0).normal(size=(25, 3))
TOLERANCE = {"rtol": 2e-5, "atol": 1e-7}


def run(build, *rates):
    """Positions after each step, with the rates as arguments of one compiled program."""

    @jax.jit
    def positions(rates):
        optimizer = build(*rates)

        def body(carry, gradient):
            position, state = carry
            updates, state = optimizer.update(gradient, state, position)
            position = optax.apply_updates(position, updates)
            return (position, state), position

        start = jnp.zeros(3, jnp.float32)
        return jax.lax.scan(body, (start, optimizer.init(start)), jnp.asarray(GRADIENTS, jnp.float32))[1]

    first = positions(tuple(jnp.float32(rate) for rate in rates))
    positions(tuple(jnp.float32(2 * rate) for rate in rates))
    assert positions._cache_size() == 1
    return first


def test_rmsprop_is_that_of_keras():
    position, mean_square, expected = np.zeros(3), np.zeros(3), []
    for step, gradient in enumerate(GRADIENTS):
        mean_square = 0.9 * mean_square + 0.1 * gradient**2
        position = position - 0.01 / (1 + 0.05 * step) * gradient / (np.sqrt(mean_square) + 1e-7)
        expected.append(position)
    np.testing.assert_allclose(run(rmsprop, 0.01, 0.05), expected, **TOLERANCE)


def test_momentum_sgd_with_drops_is_that_of_keras():
    position, velocity, expected = np.zeros(3), np.zeros(3), []
    for step, gradient in enumerate(GRADIENTS):
        rate = 0.1 * 0.3 ** ((1 + step // 4) // 2)
        velocity = 0.9 * velocity - rate * gradient
        position = position + velocity
        expected.append(position)
    positions = run(lambda lr, factor, m: momentum_sgd(step_drop(lr, factor, 4, every=2), m), 0.1, 0.3, 0.9)
    np.testing.assert_allclose(positions, expected, **TOLERANCE)


def test_adam_follows_its_paper_and_decays():
    position, mean, square, expected = np.zeros(3), np.zeros(3), np.zeros(3), []
    for step, gradient in enumerate(GRADIENTS):
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        corrected = mean / (1 - 0.9 ** (step + 1)), square / (1 - 0.999 ** (step + 1))
        position = position - 0.01 / (1 + 0.1 * step) * corrected[0] / (np.sqrt(corrected[1]) + 1e-7)
        expected.append(position)
    np.testing.assert_allclose(run(adam, 0.01, 0.1), expected, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize(("epoch", "drops"), [(0, 0), (38, 0), (39, 1), (78, 1), (79, 2), (119, 3), (199, 5)])
def test_rate_drops_at_the_published_epochs(epoch, drops):
    schedule = step_drop(0.5, 0.1, steps_per_epoch=7)
    for step in (7 * epoch, 7 * epoch + 6):  # the first and the last step of the epoch
        np.testing.assert_allclose(schedule(jnp.int32(step)), 0.5 * 0.1**drops, rtol=1e-5)


def test_decay_of_zero_keeps_the_rate():
    assert float(inverse_time_decay(0.1, 0.0)(1000)) == 0.1
    np.testing.assert_allclose(inverse_time_decay(0.1, 1e-3)(1000), 0.05)
