"""What each fidelity makes a training see, and that every method's view of a problem is that problem."""

import dataclasses

import numpy as np
import optax
import pytest

from ibo_jax.methods import METHODS
from ibo_jax.problems import catalogue
from ibo_jax.problems.axes import PRESAMPLE_SHARE, TASK, sample_of, subset_sizes
from ibo_jax.problems.training import training_problem
from ibo_jax.space import PRESAMPLE_RATIO, Fidelity, Float, SearchSpace
from ibo_jax.training.datasets import load, take
from ibo_jax.training.networks import MLP
from ibo_jax.training.trainer import retrain


@pytest.fixture(scope="module")
def digits():
    return catalogue.problem("digits-mlp", scale="smoke")


def test_subsets_are_on_a_log_scale_from_the_largest_batch_to_all():
    subset = subset_sizes(128, 32_768)
    assert [subset.decode(s) for s in (0.0, 0.25, 0.5, 1.0)] == [128, 512, 2048, 32_768]
    assert subset.levels is None
    assert sample_of(subset, 700, "off", 0, 32, 32_768) == (1, 700)


def test_tasks_are_a_quarter_and_all():
    assert TASK.levels == (0.0, 1.0)
    assert [sample_of(TASK, TASK.decode(s), "off", 0, 32, 1000) for s in TASK.levels] == [(1, 250), (1, 1000)]


def test_presamples_are_a_ratio_or_a_share_of_the_training_set():
    assert sample_of(PRESAMPLE_RATIO, 3, "searched", 0, 32, 1000) == (3, None)
    assert sample_of(PRESAMPLE_SHARE, 1.0, "searched", 0, 10, 1000) == (100, None)


def test_random_ratios_are_uniform_and_fixed_by_the_seed():
    subset = Fidelity("subset_size", 10, 1000, integer=True)
    ratios = [sample_of(subset, 10, "random", seed, 10, 1000).presample_ratio for seed in range(1000)]
    assert ratios == [sample_of(subset, 99, "random", seed, 20, 1000).presample_ratio for seed in range(1000)]
    values, counts = np.unique(ratios, return_counts=True)
    assert list(values) == [2, 3, 4, 5, 6]
    assert np.all(np.abs(counts - 200) < 4.5 * np.sqrt(1000 * 0.2 * 0.8))


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_trains_the_problem_as_it_means_to(digits, name):
    method = METHODS[name]
    seen = digits.seen(method.axis, method.importance)
    h = digits.space.decode(np.full(digits.space.dimension, 0.5))
    outcome = seen.evaluate(3, h, seen.fidelity.target)
    assert outcome.state == "ok"
    expected = {"searched": {6}, "random": {2, 3, 4, 5, 6}, "off": {1}}[method.importance]
    assert outcome.presample_ratio in expected
    cheap = seen.evaluate(3, h, seen.fidelity.decode(0.0))
    assert (cheap.cost_work < outcome.cost_work) == (method.axis != "presample")  # too few steps for importance here
    if method.axis == "presample":
        assert digits.evaluate(3, h, outcome.presample_ratio).error == outcome.error


@pytest.mark.parametrize("name", sorted(METHODS))
def test_an_answer_is_retrained_plainly_and_as_its_method_trains(digits, name):
    method = METHODS[name]
    seen = digits.seen(method.axis, method.importance)
    h = digits.space.decode(np.full(digits.space.dimension, 0.5))
    task, data = digits.learning
    assert seen.report(3, h)[:2] == retrain(3, task, h, data)[:2]
    if method.importance == "off":
        assert seen.report_as_trained is None
    else:
        ratio = seen.evaluate(3, h, seen.fidelity.target).presample_ratio
        assert seen.report_as_trained(3, h)[:2] == retrain(3, task, h, data, presample_ratio=ratio)[:2]


def test_a_report_as_trained_is_by_importance(digits):
    h = digits.space.decode(np.full(digits.space.dimension, 0.5)) | {"log2_batch_size": 4, "learning_rate": 5e-3}
    task, data = digits.learning
    made = training_problem(
        "two", digits.space, data, network=task.network, optimizer=task.optimizer, epochs=task.epochs,
        batch_size=task.batch_size, fidelity=Fidelity("presample_ratio", 1, 2, integer=True, plain=1),
    )  # fmt: skip
    assert made.evaluate(3, h, 2).importance_share > 0
    trained = made.report_as_trained(3, h)
    assert trained[:2] == retrain(3, made.learning.task, h, data, presample_ratio=2)[:2]
    assert trained.test_loss != made.report(3, h).test_loss


def test_a_problem_is_seen_with_what_was_changed_in_it(digits):
    """Fields that a user replaced stay; a problem without parts of data says so."""
    changed = dataclasses.replace(digits, transform="identity", initial=2)
    for axis in ("presample", "subset", "task"):
        seen = changed.seen(axis, "off")
        assert (seen.transform, seen.initial) == ("identity", 2)
        assert seen.fidelity != digits.fidelity
    assert changed.seen("presample", "random") is changed
    with pytest.raises(ValueError, match="train on a part of its data, got 'digits-mlp'"):
        dataclasses.replace(digits, view=None).seen("subset", "off")


def test_few_examples_have_subsets_from_the_largest_batch_on_but_no_task_of_a_quarter():
    made = training_problem(
        "few", SearchSpace({"rate": Float(1e-3, 1e-1)}), take(load("digits"), train=60, valid=40),
        network=lambda h: MLP(10, units=8, layers=1), optimizer=lambda h, steps: optax.sgd(h["rate"]), epochs=1,
        batch_size=lambda h: 20, fidelity=PRESAMPLE_RATIO._replace(high=3),
    )  # fmt: skip
    seen = made.seen("subset", "off")
    assert (seen.fidelity.low, seen.fidelity.high) == (20, 60)
    assert seen.evaluate(0, {"rate": 1e-2}, 20).state == "ok"
    with pytest.raises(ValueError, match="a quarter of the 60 training examples to hold the largest batch, got one of"):
        made.seen("task", "off")


@pytest.mark.parametrize("protocol", ["paper", "scripts"])
def test_plain_training_is_plain_under_every_protocol(protocol):
    problem = catalogue.problem("digits-mlp", scale="smoke", protocol=protocol)
    assert (problem.report_as_trained is None) == (protocol == "paper")  # where a step of it would score all examples
    seen = problem.seen("presample", "off")
    h = seen.space.decode(np.full(seen.space.dimension, 0.5))
    assert seen.fidelity.levels == (1.0,)
    assert seen.evaluate(1, h, seen.fidelity.decode(1.0)).presample_ratio == 1
