"""Training on a random subset is training on an array of its examples, and one program does it for all sizes."""

import jax
import numpy as np
import pytest

from ibo_jax.training import datasets, optimizers
from ibo_jax.training.networks import MLP
from ibo_jax.training.trainer import Task, train

HYPERPARAMETERS = {"learning_rate": 0.1, "drop_factor": 0.1}


def network(h):
    return MLP(10, units=16, layers=1, dropout=0.0)


def dropped_sgd(h, steps_per_epoch):
    rate = optimizers.step_drop(h["learning_rate"], h["drop_factor"], steps_per_epoch, every=10)
    return optimizers.momentum_sgd(rate)


TASK = Task(network, dropped_sgd, epochs=15, batch_size=lambda h: 20)


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits")


@pytest.mark.parametrize("ratio", [1, 2])
def test_it_equals_training_on_an_array_of_the_same_examples(digits, ratio):
    """The drop of the rate included: an epoch is a pass over the subset."""
    size, seed = 310, 7
    chosen = np.random.default_rng(seed).permutation(len(digits.train_labels))[:size]
    alone = digits._replace(train_inputs=digits.train_inputs[chosen], train_labels=digits.train_labels[chosen])
    expected = train(seed, TASK, HYPERPARAMETERS, ratio, alone)
    found = train(seed, TASK, HYPERPARAMETERS, ratio, digits, subset_size=size)
    assert found.cost_work == expected.cost_work
    for name in ("error", "importance_share"):
        assert found.history[name] == expected.history[name]
    for name in ("loss", "train_loss", "tau"):
        np.testing.assert_allclose(found.history[name], expected.history[name], rtol=1e-4)
    assert found.importance_share == expected.importance_share > 0 or ratio == 1


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
