"""The alternation does what it says: who sees which gradient, when, and what is left when it fails."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen

from ibo_jax import bilevel
from ibo_jax.bilevel import alternation, hypernetwork, relaxation, self_tuning, value_function
from ibo_jax.bilevel.judge import judge
from ibo_jax.bilevel.replay import constant, replay
from ibo_jax.problems import problem
from ibo_jax.problems.training import training_problem
from ibo_jax.space import Categorical, Float, Integer, SearchSpace
from ibo_jax.training.datasets import load, take
from ibo_jax.training.layers import of_examples
from ibo_jax.training.networks import MLP, as_network

DATA = take(load("digits"), train=320, valid=160, test=160)
RATE = {"dropout": Float(0.0, 0.9)}


def small(space=None, network=None, **changes):
    """Ten steps an epoch of a small network on the digits."""
    arguments = {
        "optimizer": lambda h, steps: optax.sgd(0.02, 0.9), "epochs": 2, "batch_size": lambda h: 32, "data": DATA,
    } | changes  # fmt: skip
    network = network or (lambda h: MLP(10, units=16, layers=1, dropout=h["dropout"]))
    return training_problem("small", SearchSpace(space or RATE), arguments.pop("data"), network=network, **arguments)


def run(tuner, epochs, seed=0):
    """The state after some epochs, and all measures."""
    state, told = tuner.init(jax.random.key(seed)), []
    for epoch in range(epochs):
        state, measures = tuner.update(jax.random.fold_in(jax.random.key(seed), epoch), state)
        told.append(jax.tree.map(float, measures))
    return state, told


@jax.custom_jvp
def undifferentiable(values):
    """A number by which nothing may be differentiated, not even to multiply by zero."""
    return values


@undifferentiable.defjvp
def _refuse(primals, tangents):
    raise AssertionError("a derivative by a hyperparameter was taken")


def test_no_derivative_by_a_hyperparameter_is_ever_taken_but_through_the_best_response():
    space = RATE | {"l2": Float(1e-6, 1.0, log=True), "gain": Float(0.0, 1.0), "holes": Integer(0, 3)}
    made = small(
        space, lambda h: MLP(10, units=8, layers=1, dropout=undifferentiable(h["dropout"])),
        penalty=lambda params, h: undifferentiable(h["l2"]) * jnp.sum(params["output"]["kernel"] ** 2),
        augment=lambda key, images, h: images * undifferentiable(h["gain"]) + undifferentiable(h["holes"]),
    )  # fmt: skip
    with pytest.raises(AssertionError, match="derivative"):  # the guard works
        jax.grad(lambda rate: undifferentiable(rate) ** 2)(1.0)
    tuner = self_tuning.tuner(made, warm_up=0)
    state, told = run(tuner, 2)
    assert told[-1].finite
    assert np.all(state.upper[0] != tuner.init(jax.random.key(0)).upper[0])  # all four were moved all the same


def test_the_validation_gradient_is_that_of_the_loss_of_collapsed_weights():
    """Without perturbation, by finite differences of the network that would be used."""
    made = small()
    tuner = self_tuning.tuner(made, warm_up=3, entropy=None)
    state, _ = run(tuner, 3)
    task, data = made.learning
    inputs = jnp.asarray((data.valid_inputs.astype(np.float32) - data.mean) / data.scale)
    network = as_network(task.network({"dropout": 0.5}))

    def loss(away):
        params = tuner.params(state._replace(upper=(state.upper[0] + away, state.upper[1])))
        logits = network.apply(params, inputs, train=False, key=None)
        return optax.softmax_cross_entropy_with_integer_labels(logits, data.valid_labels).mean()

    slope = float(loss(0.1) - loss(-0.1)) / 0.2
    after, _ = tuner.update(jax.random.key(9), state)  # five validation steps of Adam
    assert abs(slope) > 1e-5
    assert np.sign(state.upper[0] - after.upper[0])[0] == np.sign(slope)


def test_the_penalty_is_added_to_the_training_loss_once():
    """Of weights that do not move, nearly without perturbation: once and twice the penalty differ by the penalty."""

    def told(times):
        made = small({"l2": Float(0.01, 1.0)}, lambda h: MLP(10, units=16, layers=1),
                     optimizer=lambda h, _: optax.sgd(0.0),
                     penalty=lambda params, h: times * h["l2"] * jnp.sum(params["output"]["kernel"] ** 2))  # fmt: skip
        tuner = self_tuning.tuner(made, warm_up=1, scale=1e-6)
        state, (measures,) = run(tuner, 1)
        return measures.train_loss, tuner.hyperparameters(state)["l2"], tuner.params(state)["output"]["kernel"]

    (once, rate, kernel), (twice, *_) = told(1.0), told(2.0)
    assert twice - once == pytest.approx(rate * float(jnp.sum(kernel**2)), rel=1e-3)


def test_the_penalty_is_that_of_perturbed_hyperparameters():
    """Without its slope in them weights would not learn to respond; at the middle this one is zero."""

    def told(times):
        made = small({"l2": Float(0.0, 1.0)}, lambda h: MLP(10, units=16, layers=1),
                     optimizer=lambda h, _: optax.sgd(0.0),
                     penalty=lambda params, h: times * (h["l2"] - 0.5) ** 2)  # fmt: skip
        _, (measures,) = run(self_tuning.tuner(made, start={"l2": 0.5}, warm_up=1, scale=2.0), 1)
        return measures.train_loss

    assert 0.05 < told(1.0) - told(0.0) < 0.2  # the variance of a sigmoid of twice a normal number is 0.1


def test_hyperparameters_rest_in_the_warm_up_and_scales_where_they_are_not_tuned():
    made = small()
    tuner = self_tuning.tuner(made, warm_up=1, entropy=None, start={"dropout": 0.45})
    state = tuner.init(jax.random.key(0))
    assert tuner.hyperparameters(state) == {"dropout": pytest.approx(0.45)}
    state, first = tuner.update(jax.random.key(1), state)
    np.testing.assert_allclose(state.path, np.full((10, 1), 0.45), rtol=1e-5)
    state, second = tuner.update(jax.random.key(2), state)
    assert len(np.unique(state.path)) == 5  # two training steps, then a validation step
    assert first.more["scale/dropout"] == second.more["scale/dropout"] == pytest.approx(0.5)


@pytest.mark.slow
def test_every_example_has_a_perturbation_of_its_own():
    centre, raw = jnp.array([1.0, -2.0]), jnp.array([0.0, 1.0])
    values = alternation._perturbed(jax.random.key(0), (centre, raw), 4000)
    assert len(np.unique(np.asarray(values), axis=0)) == 4000
    deviation = np.asarray(jax.nn.softplus(raw))
    np.testing.assert_allclose(np.mean(values, axis=0), centre, atol=4 * deviation.max() / 4000**0.5)
    np.testing.assert_allclose(np.std(values, axis=0), deviation, rtol=4 / 8000**0.5)


def test_entropy_widens_the_perturbations():
    scales = [run(self_tuning.tuner(small(), warm_up=0, entropy=tau, scale_rate=0.05), 2)[1][-1].more["scale/dropout"]
              for tau in (0.0, 10.0)]  # fmt: skip
    assert scales[1] > 0.65
    assert scales[0] < scales[1] - 0.1


def test_what_is_judged_is_the_plain_network_at_the_hyperparameters_and_learns():
    made = small(data=load("digits"))
    tuner = bilevel.make("stn", made)
    state, told = run(tuner, 12)
    assert tuner.epochs == 10
    swapped = made.learning.data._replace(test_inputs=DATA.valid_inputs, test_labels=DATA.valid_labels)
    again = small(data=swapped._replace(test_inputs=swapped.valid_inputs, test_labels=swapped.valid_labels))
    _, loss = judge(again.learning)(tuner.params(state), tuner.hyperparameters(state), "test")
    assert loss == pytest.approx(told[-1].score, rel=1e-5)
    assert told[-1].score < 0.4
    assert told[-1].train_loss < told[0].train_loss


def test_equal_keys_give_equal_bits_and_an_epoch_compiles_nothing_in_either_mode(caplog):
    tuner = self_tuning.tuner(small(), warm_up=1)
    first, _ = run(tuner, 1)
    keys = jax.random.key(0), jax.random.fold_in(jax.random.key(0), 0)
    with jax.log_compiles(), jax.enable_x64(True):
        state = tuner.init(keys[0])
        state, _ = tuner.update(keys[1], state)
    assert "Compiling" not in caplog.text
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}
    jax.tree.map(np.testing.assert_array_equal, state, first)


def test_too_much_dropout_is_unlearnt():
    """A layer of 16 units can afford little of it."""
    tuner = self_tuning.tuner(small(), warm_up=2, start={"dropout": 0.5}, rate=0.03)
    state, _ = run(tuner, 20)
    assert tuner.hyperparameters(state)["dropout"] < 0.35


@pytest.mark.parametrize("end", [0.0, 0.9])
def test_a_start_at_a_bound_is_finite_and_stays_within(end):
    tuner = self_tuning.tuner(small(), warm_up=0, start={"dropout": end}, rate=1.0)
    state, told = run(tuner, 3)
    assert all(measures.finite for measures in told)
    assert np.abs(state.upper[0]).max() <= relaxation.LIMIT
    assert 0 <= tuner.hyperparameters(state)["dropout"] <= 0.9


@pytest.mark.parametrize("what", ["rate", "data"])
def test_divergence_is_told(what):
    spoilt = DATA._replace(train_inputs=DATA.train_inputs.astype(np.float32))
    made = small(optimizer=lambda h, steps: optax.sgd(1e20)) if what == "rate" else small(data=spoilt)
    if what == "data":
        spoilt.train_inputs[:] = np.nan  # behind the back of the problem, which refuses such data
    _, told = run(self_tuning.tuner(made), 2)
    assert not told[-1].finite


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({"space": {"lr": Float(0.01, 0.1)} | RATE, "optimizer": lambda h, steps: optax.sgd(h["lr"])}, {}, "'lr'"),
        ({"space": {"units": Integer(4, 8)} | RATE, "network": lambda h: MLP(10, h["units"])}, {}, "a size"),
        ({"space": {"layers": Integer(1, 2)}, "network": lambda h: MLP(10, 8, h["layers"])}, {}, "a size"),
        ({"space": {"kind": Categorical(("a", "b"))} | RATE}, {}, "choices"),
        ({}, {"train_steps": 0}, "positive"),
        ({}, {"rate": -1.0}, "positive"),
        ({}, {"start": {}}, "'dropout'"),
        ({}, {"half_lines": ("l2",)}, "half-lines"),
    ],
)  # fmt: skip
def test_what_cannot_be_moved_is_refused(changes, settings, message):
    with pytest.raises(ValueError, match=message):
        self_tuning.tuner(small(**changes), **settings)


def test_a_fault_of_the_users_own_is_not_hidden_by_a_diagnosis():
    """Both networks work with one rate for all examples, and fail with a rate for each."""
    with pytest.raises(KeyError, match="oops"):
        self_tuning.tuner(small(network=lambda h: MLP(10, {}["oops"] if jnp.ndim(h["dropout"]) else 8)))
    with pytest.raises(ValueError, match=r"TypeError: .*NoneType"):
        self_tuning.tuner(small(network=lambda h: MLP(10, 8 + (None if jnp.ndim(h["dropout"]) else 0))))


class Noisy(linen.Module):
    """As many units as there are examples in a batch of 32."""

    amount: Any

    @linen.compact
    def __call__(self, inputs, train=False):
        x = linen.Dense(32)(inputs.reshape(len(inputs), -1))
        return linen.Dense(10)(x + self.amount * jax.random.normal(self.make_rng("dropout"), x.shape) if train else x)


@pytest.mark.parametrize("batch_size", [32, 16])
def test_a_vector_of_a_batch_is_not_taken_for_one_of_features(batch_size):
    """A noise for each example would be one for each unit."""
    made = small({"noise": Float(0.0, 1.0)}, lambda h: Noisy(h["noise"]), batch_size=batch_size)
    with pytest.raises(ValueError, match=r"small: .* `layers.of_examples` was not applied to"):
        self_tuning.tuner(made)
    self_tuning.tuner(small({"noise": Float(0.0, 1.0)}, lambda h: Noisy(of_examples(h["noise"], jnp.ones((2, 2))))))


def test_problems_without_training_are_refused():
    tuners = (self_tuning.tuner, hypernetwork.tuner, value_function.tuner, lambda branin: replay(branin, {}))
    for refuse in (partial(tuner, problem("branin")) for tuner in tuners):
        with pytest.raises(ValueError, match="training"):
            refuse()


def test_a_schedule_is_replayed_step_by_step():
    """Of black images nothing is learnt, so that one sees when they were shown."""
    network, space = (lambda h: MLP(10, units=16, layers=1)), {"gain": Float(0.0, 1.0)}
    made = small(space, network, augment=lambda key, images, h: images * h["gain"])
    full, black = (constant({"gain": gain}, 4, 10)["gain"] for gain in (1.0, 0.0))
    late, never = (replay(made, {"gain": np.concatenate([black, end])}) for end in (full, black))
    assert never.valid_loss.min() > 2
    np.testing.assert_array_equal(late.valid_loss[:4], never.valid_loss[:4])
    assert late.valid_loss[-1] < 1
    assert late.test_error < 0.3
    with pytest.raises(ValueError, match="each of"):
        replay(made, {})


def test_functions_of_hyperparameters_get_them_in_the_order_of_the_space():
    """Not in the alphabet's, in which JAX passes dictionaries: `tuple(h.values())` may be the rates of layers."""
    space, orders = {"input": Float(0.0, 0.5), "width": Integer(4, 8), "hidden": Float(0.0, 0.9)}, []

    def network(h):
        orders.append(tuple(h))
        return MLP(10, units=4, layers=2, dropout=(h["input"], h["hidden"]))

    def augment(key, images, h):
        orders.append(tuple(h))
        return images

    def penalty(params, h):
        orders.append(tuple(h))
        return 0.0

    made = small(space, network, epochs=1, augment=augment, penalty=penalty)
    assert made.evaluate(0, {"hidden": 0.1, "width": 4.0, "input": 0.1}, 1).state == "ok"  # 4.0, as from JSON
    fixed = small({name: space[name] for name in ("input", "hidden")}, network, augment=augment, penalty=penalty)
    for tuner in (self_tuning.tuner(fixed), hypernetwork.tuner(fixed)):
        tuner.update(jax.random.key(0), tuner.init(jax.random.key(0)))
    params = as_network(MLP(10, units=4, layers=2)).init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    judge(fixed.learning)(params, {"input": 0.1, "hidden": 0.1}, "valid")
    replay(fixed, constant({"hidden": 0.1, "input": 0.1}, 1, 2))
    assert set(orders) == {("input", "width", "hidden"), ("input", "hidden")}


def test_a_replay_that_diverges_has_no_answer():
    diverging = small(optimizer=lambda h, steps: optax.sgd(1e30))
    replayed = replay(diverging, constant({"dropout": 0.1}, 1, 2))  # a warning of ours would be an error
    assert np.isnan([*replayed.valid_loss, replayed.test_loss, replayed.test_error]).all()


def test_a_learnt_schedule_has_a_value_a_step():
    tuner = self_tuning.tuner(small(), warm_up=0, rate=0.05)
    state, paths = tuner.init(jax.random.key(0)), []
    for epoch in range(3):
        state, _ = tuner.update(jax.random.key(epoch), state)
        paths.append(state.path)
    learnt = self_tuning.schedule(small().space, paths)["dropout"]
    assert learnt.shape == (3, 10)
    assert learnt[0, 0] == pytest.approx(0.045, rel=1e-4)
    assert np.isfinite(replay(small(), {"dropout": learnt}).test_loss)
