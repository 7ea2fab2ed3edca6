"""Training on a random subset is training on an array of its examples, and one program does it for all sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibo_jax.training import datasets, optimizers, steps
from ibo_jax.training.networks import MLP
from ibo_jax.training.trainer import Task, train

HYPERPARAMETERS = {"learning_rate": 0.1, "drop_factor": 0.1}


def network(h):
    return MLP(10, units=16, layers=1, dropout=0.0)


def dropped_sgd(h, steps_per_epoch):
    rate = optimizers.step_drop(h["learning_rate"], h["drop_factor"], steps_per_epoch, every=3)
    return optimizers.momentum_sgd(rate)


TASK = Task(network, dropped_sgd, epochs=5, batch_size=lambda h: 20)


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits")


def part(digits, seed, size):
    """The examples of the subset by themselves."""
    chosen = np.random.default_rng(seed).permutation(len(digits.train_labels))[:size]
    return digits._replace(train_inputs=digits.train_inputs[chosen], train_labels=digits.train_labels[chosen])


def test_it_equals_training_on_an_array_of_the_same_examples(digits):
    """The drop of the rate in epoch 2 included: an epoch is a pass over the subset."""
    size, seed = 310, 7
    expected = train(seed, TASK, HYPERPARAMETERS, 1, part(digits, seed, size))
    found = train(seed, TASK, HYPERPARAMETERS, 1, digits, subset_size=size)
    assert found.cost_work == expected.cost_work
    assert found.history["error"] == expected.history["error"]
    for name in ("loss", "train_loss", "tau"):
        np.testing.assert_allclose(found.history[name], expected.history[name], rtol=1e-4)


def test_importance_steps_stay_within_the_subset(digits):
    size, seed, sampling = 310, 7, steps.Sampling(20, 60)
    alone = part(digits, seed, size)
    learner = TASK.learner(HYPERPARAMETERS, size // 20)
    state = steps.start(jax.random.key(0), learner, digits.train_inputs.shape[1:])._replace(tau=jnp.asarray(50.0))
    subset = steps.Subset(jnp.asarray(np.random.default_rng(seed).permutation(1000), jnp.int32), jnp.int32(size))
    fields = (digits.mean, digits.scale)
    whole = steps.Examples(jnp.asarray(digits.train_inputs), jnp.asarray(digits.train_labels), *fields, subset)
    array = steps.Examples(jnp.asarray(alone.train_inputs), jnp.asarray(alone.train_labels), *fields)
    run = jax.jit(lambda examples: steps.epoch(jax.random.key(1), state, examples, learner, sampling, 5))
    (found, info), (expected, _) = run(whole), run(array)
    assert info.importance_share == 1.0
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, expected)


def test_all_sizes_share_a_program_and_every_seed_has_a_subset_of_its_own(digits):
    compilations = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, _, **__: compilations.append(event) if event.endswith("backend_compile_duration") else None
    )
    whole, *parts = [train(1, TASK, HYPERPARAMETERS, 1, digits, subset_size=size) for size in (1000, 500, 100)]
    compilations.clear()
    other = train(2, TASK, HYPERPARAMETERS, 1, digits, subset_size=300)
    assert not compilations
    assert [whole.cost_work / part.cost_work for part in parts] == [2, 10]
    assert whole.error <= min(part.error for part in parts)
    third = train(3, TASK, HYPERPARAMETERS, 1, digits, subset_size=300)
    assert other.history["train_loss"] != third.history["train_loss"]


@pytest.mark.parametrize(("size", "message"), [(1001, "at most the 1000"), (19, "from 1 to the 19")])
def test_impossible_subsets_are_refused(digits, size, message):
    with pytest.raises(ValueError, match=message):
        train(0, TASK, HYPERPARAMETERS, 1, digits, subset_size=size)
