"""The linear model of the hypernetwork experiments against its closed forms, and a small run of all parts on digits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common import rows
from experiments.hypernet_mnist import __main__ as command
from experiments.hypernet_mnist import plot, regression, weights
from experiments.hypernet_mnist.settings import SCALES
from ibo_jax.bilevel import hypernets


@pytest.fixture(scope="module")
def digits():
    return regression.parts("digits", 300)


@pytest.mark.parametrize("hyperparameters", [1, 10, 650])
def test_the_closed_form_is_where_the_gradient_vanishes(digits, hyperparameters):
    train, valid, _ = digits
    lam = np.random.default_rng(0).uniform(-1, 2, hyperparameters)
    solved = regression.solve(lam, regression.moments(train))
    slope = jax.grad(regression.train_loss)(jnp.asarray(solved, jnp.float32), jnp.asarray(lam, jnp.float32), train)
    away = jax.grad(regression.train_loss)(jnp.asarray(0.9 * solved, jnp.float32), jnp.asarray(lam, jnp.float32), train)
    assert np.abs(slope).max() < 1e-3 * np.abs(away).max()
    judged = float(regression.judge(solved, regression.moments(valid)))
    assert judged == pytest.approx(float(regression.data_loss(jnp.asarray(solved, jnp.float32), valid)), rel=1e-4)


def test_losses_of_a_pool_are_those_of_each_solution(digits):
    seen, judged = map(regression.moments, digits[:2])
    pool = np.random.default_rng(1).uniform(-3, 3, (5, 10))
    wanted = [regression.judge(regression.solve(lam, seen), judged) for lam in pool]
    np.testing.assert_allclose(weights.losses(regression.Responses(seen, judged), pool), wanted, rtol=1e-4)


def test_predictions_are_the_losses_of_the_hypernets_responses(digits):
    train, valid, _ = digits
    setting = SCALES["smoke"].weights
    pool = np.random.default_rng(2).uniform(-3, 3, (6, 10)).astype(np.float32)
    predicted = weights.by_hypernet(0, train, regression.moments(valid), pool, 4, 30, setting)
    hypernet = hypernets.linear(regression.init(65, setting.scale), 10, scale=setting.scale)
    phi = weights.respond(jax.random.key(0), train, hypernet, weights.among(pool[:4]), 30, setting)
    wanted = [float(regression.data_loss(hypernet.apply(phi, jnp.asarray(lam)), valid)) for lam in pool]
    np.testing.assert_allclose(predicted, wanted, rtol=1e-4)


def test_each_seed_has_training_examples_of_its_own_or_is_refused():
    smoke = SCALES["smoke"]
    for count in (smoke.weights.train, smoke.large.train):
        sets = [regression.parts(smoke.source, count, first=count * seed)[0].inputs for seed in range(3)]
        assert [len(inputs) for inputs in sets] == [count] * 3
        assert not np.array_equal(sets[0], sets[2])
    with pytest.raises(ValueError, match="at most 1000 training examples of digits, asked for 300 from 900 on"):
        regression.parts("digits", 300, first=900)


@pytest.mark.slow
def test_a_small_run_is_not_repeated_and_figures_repeat_to_the_byte(tmp_path):
    arguments = ["--scale", "smoke", "--seeds", "1", "--out", str(tmp_path)]
    command.main(arguments)
    path = tmp_path / "rows-smoke.jsonl"
    before, drawn = path.read_bytes(), {file.name: file.read_bytes() for file in tmp_path.glob("smoke-*")}
    assert set(drawn) == {"smoke-curve.svg", "smoke-weights.svg", "smoke-weights.md", "smoke-large.svg"}
    command.main(arguments)
    assert path.read_bytes() == before
    assert {file.name: file.read_bytes() for file in plot.draw(tmp_path)} == drawn
    found = rows.read(path)
    curve = {
        way: [r["train_loss"] for r in found if r["part"] == "curve" and r.get("way") == way]
        for way in ("exact", "hypernet")
    }
    assert all(best <= learnt + 1e-4 for best, learnt in zip(*curve.values(), strict=True))
    answer = next(row for row in found if row["part"] == "large" and row.get("way") == "answer")
    assert answer["parameters"] == 65 * 10 * 10 + 10 + 10 * 650 + 650
