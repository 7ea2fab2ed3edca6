"""Hypernetworks: sizes, where gradients go, limits with closed forms, and the tuner of a problem on real digits."""

from dataclasses import replace
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen

from ibo_jax.bilevel import hypernets, hypernetwork, make
from ibo_jax.bilevel import hypertraining as ht
from ibo_jax.bilevel.hypernetwork import tuner
from ibo_jax.bilevel.judge import judge
from ibo_jax.problems import catalogue, text
from ibo_jax.problems.base import Learning
from ibo_jax.problems.training import training_problem
from ibo_jax.space import Categorical, Float, Integer, SearchSpace
from ibo_jax.training import augmentation, layers
from ibo_jax.training.datasets import load, take
from ibo_jax.training.networks import MLP, Conv

KEY = jax.random.key(0)
LOG_L2 = (-4.0, 4.0)


def classifier(key):
    return {"kernel": 0.01 * jax.random.normal(key, (784, 10)), "bias": jnp.zeros(10)}


@pytest.mark.parametrize(
    ("hypernet", "parameters", "hyperparameters"),
    [
        (hypernets.mlp(classifier, 1), 400_450, 1),
        (hypernets.linear(classifier, 1), 15_700, 1),
        (hypernets.linear(classifier, 10), 86_350, 10),
        (hypernets.factorised(classifier, 7_850), 164_860, 7_850),
    ],
)
def test_published_sizes(hypernet, parameters, hyperparameters):
    phi = hypernet.init(KEY)
    assert hypernets.count(hypernet) == sum(leaf.size for leaf in jax.tree.leaves(phi)) == parameters
    response = hypernet.apply(phi, jnp.zeros(hyperparameters))
    assert jax.tree.map(jnp.shape, response) == {"kernel": (784, 10), "bias": (10,)}


def test_the_first_response_is_a_fresh_network_and_a_factorised_map_is_affine():
    network = MLP(10, units=8, layers=1)

    def init(key):
        return network.init(key, jnp.zeros((1, 64)))["params"]

    fresh = hypernets.linear(init, 3, scale=0.0).apply(hypernets.linear(init, 3, scale=0.0).init(KEY), jnp.ones(3))
    stds = {name: float(layer["kernel"].std()) for name, layer in fresh.items()}
    assert stds == pytest.approx({"hidden_0": (2 / 72) ** 0.5, "output": (2 / 18) ** 0.5}, rel=0.25)
    assert not fresh["output"]["bias"].any()
    hypernet = hypernets.factorised(init, 3, units=2, scale=1.0)
    phi = hypernet.init(KEY)
    a, b, between = (hypernet.apply(phi, jnp.array(lam)) for lam in ([1.0, 0, 2], [-3.0, 1, 0], [-1.0, 0.5, 1]))
    jax.tree.map(lambda x, y, m: np.testing.assert_allclose((x + y) / 2, m, atol=1e-5), a, b, between)


@pytest.mark.parametrize("precision", [jnp.float16, jnp.bfloat16])
def test_a_network_of_half_precision_is_learnt_in_single_precision(precision):
    hypernet = hypernets.mlp(lambda key: {"w": jnp.zeros(2, precision)}, 1)
    phi = hypernet.init(KEY)
    assert {leaf.dtype for leaf in jax.tree.leaves(phi)} == {jnp.dtype("float32")}
    assert hypernet.apply(phi, jnp.zeros(1))["w"].dtype == precision


@pytest.mark.parametrize("algorithm", [ht.local_update, lambda made: ht.global_update(made, 2)])
def test_hyperparameters_keep_their_type_in_programs_of_double_precision(algorithm):
    with jax.enable_x64(True):
        bounds, hypernet = (np.full(2, -1.0), np.full(2, 1.0)), hypernets.mlp(lambda key: jnp.zeros(3, jnp.float32), 2)
        made = ht.steps(
            hypernet, lambda w, lam, batch: jnp.sum(w**2) + jnp.sum(lam**2), lambda w, batch: jnp.sum((w - 1) ** 2),
            ht.clipped(ht.nearby(0.5), *bounds), optax.adam(0.01), optax.adam(0.01), bounds=bounds,
        )  # fmt: skip
        update = algorithm(made)
        for precision in (jnp.float32, jnp.float64):
            state = made.init(KEY, jnp.zeros(2, precision))
            state, _ = jax.lax.scan(lambda at, key: update(key, at, None, None), state, jax.random.split(KEY, 4))
            assert state.lam.dtype == precision


def test_losses_of_double_precision_are_told_as_such():
    with jax.enable_x64(True):
        hypernet = hypernets.mlp(lambda key: jnp.zeros(3), 2)
        made = ht.steps(
            hypernet, lambda w, lam, batch: jnp.sum(w), lambda w, batch: 0.0 * jnp.sum(w) + (1e9 + 1),
            ht.nearby(0.5), optax.adam(0.01), optax.adam(0.01),
        )  # fmt: skip
        _, (_, loss) = ht.global_update(made, 0)(KEY, made.init(KEY, jnp.zeros(2)), None, None)
        assert float(loss) == 1e9 + 1


def ridge(seed=1, weights=3, examples=12):
    """A regression with few noisy examples, so that a ridge in the middle is best; and its exact solution."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=weights)
    inputs, valid_inputs = rng.normal(size=(examples, weights)), rng.normal(size=(200, weights))
    train = inputs, inputs @ truth + 1.5 * rng.normal(size=examples)
    valid = valid_inputs, valid_inputs @ truth

    def solution(lam):
        x, y = train
        return np.linalg.solve(x.T @ x / len(y) + np.exp(lam) * np.eye(weights), x.T @ y / len(y))

    grid = np.linspace(*LOG_L2, 801)
    losses = [np.mean((valid[0] @ solution(lam) - valid[1]) ** 2) for lam in grid]
    best = grid[int(np.argmin(losses))]
    return *(tuple(jnp.asarray(part, jnp.float32) for part in pair) for pair in (train, valid)), solution, best


def train_loss(w, lam, batch):
    inputs, targets = batch
    return jnp.mean((inputs @ w - targets) ** 2) + jnp.exp(lam[0]) * jnp.sum(w**2)


def valid_loss(w, batch):
    inputs, targets = batch
    return jnp.mean((inputs @ w - targets) ** 2)


def run(made, update, count, train, valid, start):
    state = made.init(KEY, jnp.array([start]))

    @jax.jit
    def loop(key, state, train, valid):
        return jax.lax.fori_loop(0, count, lambda i, s: update(jax.random.fold_in(key, i), s, train, valid)[0], state)

    return loop(jax.random.key(1), state, train, valid)


def ridge_steps(conditional, hidden, response_rate, hyper_rate, bounds=LOG_L2):
    hypernet = hypernets.mlp(lambda key: jnp.zeros(3), 1, hidden)
    rate = optax.cosine_decay_schedule(response_rate, 8_000)
    return hypernet, ht.steps(hypernet, train_loss, valid_loss, conditional, optax.adam(rate), optax.adam(hyper_rate),
                              samples=10, bounds=bounds)  # fmt: skip


def test_global_learns_the_closed_form_response_and_finds_the_exact_minimiser():
    train, valid, solution, best = ridge()
    assert -3 < best < 1  # not at a bound
    hypernet, made = ridge_steps(ht.everywhere(*LOG_L2), (50,), 0.01, 0.01)
    state = run(made, ht.global_update(made, 8_000), 9_000, train, valid, 3.0)
    lams = np.linspace(-3.5, 3.5, 15)
    exact = np.array([solution(lam) for lam in lams])
    learnt = np.array([hypernet.apply(state.phi, jnp.float32([lam])) for lam in lams])
    assert np.abs(learnt - exact).max() < 0.03 * np.abs(exact).max()
    assert abs(float(state.lam[0]) - best) < 0.2


def test_local_follows_a_linear_response_to_the_exact_minimiser():
    train, valid, solution, best = ridge()
    hypernet, made = ridge_steps(ht.nearby(0.2), (), 0.02, 0.003)
    state = run(made, ht.local_update(made), 8_000, train, valid, 2.0)
    assert abs(float(state.lam[0]) - best) < 0.2
    np.testing.assert_allclose(hypernet.apply(state.phi, state.lam), solution(float(state.lam[0])), atol=0.03)


def test_the_simplified_algorithm_is_the_local_one_at_a_point():
    train, valid, _, _ = ridge()
    by_hand_phi = None
    for conditional in (ht.point_mass, ht.nearby(0.0)):
        hypernet, made = ridge_steps(conditional, (), 0.02, 0.01)
        state = run(made, ht.local_update(made), 20, train, valid, 1.0)
        if by_hand_phi is None:
            by_hand_phi, by_hand_lam = simplified_by_hand(hypernet, 20, train, valid, 1.0)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), state.phi, by_hand_phi)
        np.testing.assert_allclose(state.lam, by_hand_lam, atol=1e-5)


def simplified_by_hand(hypernet, count, train, valid, start):
    """Algorithm 4, literally."""
    response, hyper = optax.adam(optax.cosine_decay_schedule(0.02, 8_000)), optax.adam(0.01)
    phi, lam = hypernet.init(KEY), jnp.array([start])
    response_state, hyper_state = response.init(phi), hyper.init(lam)
    phi_slope = jax.jit(jax.grad(lambda phi, lam: train_loss(hypernet.apply(phi, lam), lam, train)))
    lam_slope = jax.jit(jax.grad(lambda lam, phi: valid_loss(hypernet.apply(phi, lam), valid)))
    for _ in range(count):
        updates, response_state = response.update(phi_slope(phi, lam), response_state)
        phi = optax.apply_updates(phi, updates)
        updates, hyper_state = hyper.update(lam_slope(lam, phi), hyper_state)
        lam = optax.apply_updates(lam, updates)
    return phi, lam


def test_the_validation_gradient_reaches_lambda_only_through_the_hypernet():
    train, valid, _, _ = ridge()
    hypernet, _ = ridge_steps(ht.point_mass, (7,), 0.1, 1.0)
    made = ht.steps(hypernet, train_loss, valid_loss, ht.point_mass, optax.sgd(0.1), optax.sgd(1.0))
    state = made.init(KEY, jnp.array([0.3]))
    moved, loss = made.tune(state, valid)
    w, pull_back = jax.vjp(lambda lam: hypernet.apply(state.phi, lam), state.lam)
    x, y = valid
    by_hand = 2 / len(y) * x.T @ (x @ w - y)  # of the validation loss by the weights
    assert float(jnp.abs(by_hand).max()) > 0.1
    np.testing.assert_allclose(state.lam - moved.lam, pull_back(by_hand)[0], rtol=1e-4)
    assert float(loss) == pytest.approx(float(valid_loss(w, valid)))

    blind = hypernets.Hypernet(hypernet.init, lambda phi, lam: hypernet.apply(phi, jnp.zeros_like(lam)))
    made = ht.steps(blind, train_loss, valid_loss, ht.point_mass, optax.sgd(0.1), optax.sgd(1.0))
    assert float(jax.grad(lambda lam: train_loss(w, lam, train))(state.lam)[0]) != 0  # the other way would be open
    assert made.tune(made.init(KEY, state.lam), valid)[0].lam == state.lam


def test_each_phase_of_the_global_algorithm_moves_one_thing():
    train, valid, _, _ = ridge()
    _, made = ridge_steps(ht.everywhere(*LOG_L2), (), 0.02, 0.01)
    update = jax.jit(ht.global_update(made, 3))
    states = [made.init(KEY, jnp.array([1.0]))]
    for i in range(6):
        state, losses = update(jax.random.key(i), states[-1], train, valid)
        states.append(state)
        assert [bool(jnp.isnan(loss)) for loss in losses] == [i >= 3, i < 3]
    moved = [
        (not jax.tree.all(jax.tree.map(jnp.array_equal, a.phi, b.phi)), bool(a.lam[0] != b.lam[0]))
        for a, b in pairwise(states)
    ]
    assert moved == [(True, False)] * 3 + [(False, True)] * 3


def test_conditionals():
    lam = jnp.array([1.0, -2.0])
    drawn = ht.nearby(0.5)(KEY, lam, 20_000)
    assert np.abs(drawn.mean(0) - lam).max() < 4 * 0.5 / 20_000**0.5
    assert np.abs(drawn.std(0) - 0.5).max() < 0.02
    everywhere = ht.everywhere(np.array([0.0, -1.0]), np.array([1.0, 3.0]))(KEY, lam, 20_000)
    np.testing.assert_allclose(everywhere.mean(0), [0.5, 1.0], atol=0.03)
    np.testing.assert_allclose(everywhere.min(0), [0.0, -1.0], atol=0.01)
    assert ht.point_mass(KEY, lam, 2).tolist() == [lam.tolist()] * 2
    assert float(ht.clipped(ht.nearby(5.0), -2, 1)(KEY, lam, 100).max()) == 1


def test_lambda_stays_within_its_bounds_and_a_number_when_the_losses_are_not():
    train, valid, _, best = ridge()
    _, made = ridge_steps(ht.clipped(ht.nearby(0.2), best + 1, 4), (), 0.02, 0.05, (best + 1, 4.0))
    state = run(made, ht.local_update(made), 2_000, train, valid, 4.0)
    assert float(state.lam[0]) == pytest.approx(best + 1)
    broken = run(made, ht.local_update(made), 20, (train[0] * jnp.nan, train[1]), valid, 3.0)
    assert float(broken.lam[0]) == 3.0
    assert not np.isfinite(jax.tree.leaves(broken.phi)[0]).all()


@pytest.fixture(scope="module")
def digits_l2():
    return catalogue.problem("digits-l2")


def tuned(made, seed=0, epochs=None):
    key = jax.random.key(seed)
    state, measures = made.init(key), []
    for epoch in range(epochs or made.epochs):
        state, measured = made.update(jax.random.fold_in(key, epoch), state)
        measures.append(measured)
    return state, measures


@pytest.mark.parametrize("name", ["hypernet-local", "hypernet-global"])
def test_it_tunes_the_digits_in_two_programs(name, digits_l2, caplog):
    made = make(name, digits_l2)
    with jax.log_compiles():
        tuned(made, epochs=1)
        assert "jit(run_epoch)" in caplog.text
        caplog.clear()
        state, measures = tuned(made)
        assert "jit(" not in caplog.text
    good = digits_l2.evaluate(0, {"l2_hidden": 1e-4, "l2_output": 1e-4}, 1).history["loss"]
    assert all(measured.finite for measured in measures)
    assert min(float(measured.score) for measured in measures) < 1.05 * min(good)
    hyperparameters = made.hyperparameters(state)
    assert list(hyperparameters) == ["l2_hidden", "l2_output"]
    assert all(isinstance(value, float) and np.exp(-10) * 0.999 <= value <= 1 for value in hyperparameters.values())
    assert np.abs(state.lam).max() > 0.1  # it began at 0
    network = digits_l2.learning.task.learner(hyperparameters, 15)
    fresh, params = network.init(KEY, jnp.zeros((1, 8, 8, 1))), made.params(state)
    assert jax.tree.map(jnp.shape, fresh) == jax.tree.map(jnp.shape, params)
    data = digits_l2.learning.data
    logits = network.apply(params, jnp.asarray((data.valid_inputs - data.mean) / data.scale), train=False, key=None)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.asarray(data.valid_labels)).mean()
    assert float(loss) == pytest.approx(float(measures[-1].score), rel=1e-4)


def test_the_same_key_gives_the_same_bits_in_either_precision(digits_l2):
    made = tuner(digits_l2, epochs=2)
    first, _ = tuned(made)
    with jax.enable_x64(True):
        again, measures = tuned(tuner(digits_l2, epochs=2))
    assert measures[0].score.dtype == jnp.float32
    jax.tree.map(np.testing.assert_array_equal, first, again)


def test_a_state_whose_hyperparameters_can_move_no_more_is_not_finite(digits_l2):
    """A gradient that is no number once stays in Adam's averages."""
    made = tuner(digits_l2, epochs=2)
    state = made.init(KEY)
    _, measures = made.update(KEY, state._replace(hyper_optimizer=jax.tree.map(lambda x: x * jnp.nan if x.ndim else x,
                                                                               state.hyper_optimizer)))  # fmt: skip
    assert not measures.finite


def mixed_problem():
    """Convolutions, dropout, a number of pixels and a penalty, all searched."""

    class Network(linen.Module):
        rate: jax.Array

        @linen.compact
        def __call__(self, inputs, train=False):
            x = linen.relu(Conv(4, 3)(inputs)).reshape(len(inputs), -1)
            x = layers.dropout(self.make_rng("dropout"), x, self.rate) if train else x
            return linen.Dense(10)(x)

    def augment(key, images, h):
        return augmentation.shift(0.2)(key, images) - jnp.floor(h["darker"])

    return training_problem(
        "mixed",
        SearchSpace({"rate": Float(0.0, 0.8), "darker": Integer(0, 8), "l2": Float(1e-6, 1e-1, log=True)}),
        take(load("digits"), train=192, valid=64),
        network=lambda h: Network(h["rate"]), optimizer=lambda h, steps: optax.adam(1e-3), epochs=2,
        penalty=lambda params, h: h["l2"] * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params)),
        augment=augment, batch_size=lambda h: 32,
    )  # fmt: skip


def test_any_network_and_any_number_can_be_tuned_and_whole_ones_stay_whole():
    made = tuner(mixed_problem(), hyper_rate=0.1)
    state, measures = tuned(made, epochs=2)
    hyperparameters = made.hyperparameters(state)
    assert measures[-1].finite
    assert isinstance(hyperparameters["darker"], int)
    assert 0 <= hyperparameters["rate"] <= 0.8
    assert not np.array_equal(np.asarray(state.lam), np.zeros(3))


def test_whole_numbers_are_trained_with_as_they_are_told():
    """Each owns an equal share of the range."""
    space = SearchSpace({"holes": Integer(0, 3)})
    for lam, holes in ((-1.0, 0), (-0.51, 0), (-0.49, 1), (0.49, 2), (0.6, 3), (1.0, 3)):
        at = np.array([lam], np.float32)
        assert hypernetwork._decoded(space, at) == {"holes": holes}
        assert float(hypernetwork._named(space, at)["holes"]) == holes


def test_even_two_epochs_of_the_global_algorithm_move_the_hyperparameters(digits_l2):
    made = tuner(digits_l2, "global", epochs=2)
    state, _ = tuned(made, epochs=1)
    assert not np.any(state.lam)
    state, _ = tuned(made, epochs=2)
    assert np.all(state.lam)
    with pytest.raises(ValueError, match="an epoch to learn the response and one to follow it, got 1"):
        tuner(digits_l2, "global", epochs=1)


def test_the_penalty_is_added_to_the_training_loss_once():
    """Of a hypernet that does not move: once and twice the penalty differ by the penalty."""
    data = take(load("digits"), train=320, valid=160, test=160)

    def told(times):
        made = training_problem(
            "small", SearchSpace({"l2": Float(0.01, 1.0)}), data, network=lambda h: MLP(10, units=16, layers=1),
            optimizer=lambda h, _: optax.sgd(0.1), epochs=1, batch_size=32,
            penalty=lambda params, h: times * h["l2"] * jnp.sum(params["output"]["kernel"] ** 2),
        )  # fmt: skip
        tuned = tuner(made, response_rate=0.0, hyper_rate=0.0, scale=1e-6)
        state, measures = tuned.update(KEY, tuned.init(KEY))
        return float(measures.train_loss), tuned.hyperparameters(state)["l2"], tuned.params(state)["output"]["kernel"]

    (once, rate, kernel), (twice, *_) = told(1.0), told(2.0)
    assert twice - once == pytest.approx(rate * float(jnp.sum(kernel**2)), rel=1e-3)


def test_penalties_of_activations_are_tuned(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("the quick brown fox jumps over the lazy dog. " * 60)
    space = {name: text.SPACE[name] for name in ("activity", "change")}
    tuned = tuner(text.text_problem(path, length=16, units=8, batch_size=8, epochs=2, space=space))
    state, measures = tuned.update(KEY, tuned.init(KEY))
    assert measures.finite
    assert all(value != 2.0 for value in tuned.hyperparameters(state).values())  # where they began


def test_divergence_and_broken_data_are_told_and_never_raised(digits_l2):
    state, measures = tuned(made := tuner(digits_l2, response_rate=1e30), epochs=2)
    assert not measures[-1].finite
    assert all(np.exp(-10) * 0.999 <= value <= 1 for value in made.hyperparameters(state).values())
    task, data = digits_l2.learning
    broken = data._replace(train_inputs=data.train_inputs.astype(np.float32) * np.nan)
    problem = catalogue.problem("digits-l2")
    object.__setattr__(problem, "learning", Learning(task, broken))
    assert not tuned(tuner(problem), epochs=1)[1][0].finite


@pytest.mark.parametrize(
    ("dimension", "network", "word"),
    [
        (Integer(8, 16), lambda h: MLP(10, units=h["x"]), "traced"),
        (Integer(1, 3), lambda h: MLP(10, layers=h["x"]), "traced"),
        (Categorical((8, 16)), lambda h: MLP(10, units=h["x"]), "numbers"),
        (Float(0.0, 1.0), lambda h: MLP(10), "change the training loss"),
    ],
)
def test_what_a_hypernet_cannot_tune_is_refused(dimension, network, word):
    problem = training_problem("mine", SearchSpace({"x": dimension}), take(load("digits"), train=384), network=network,
                               optimizer=lambda h, steps: optax.sgd(0.1), epochs=1)  # fmt: skip
    with pytest.raises(ValueError, match=word):
        tuner(problem)


def test_a_searched_batch_size_is_refused():
    problem = training_problem("mine", SearchSpace({"batch_size": Integer(8, 16)}), take(load("digits"), train=384),
                               network=lambda h: MLP(10), optimizer=lambda h, steps: optax.sgd(0.1), epochs=1,
                               fidelity=catalogue.problem("digits-l2").fidelity._replace(high=2))  # fmt: skip
    with pytest.raises(ValueError, match="batch size"):
        tuner(problem)


def test_a_schedule_never_sees_an_epoch_of_one_step():
    """What judges a network has no optimiser."""

    def optimizer(h, steps_per_epoch):
        warm_up = optax.warmup_cosine_decay_schedule(0.0, 0.1, warmup_steps=5, decay_steps=2 * steps_per_epoch)
        return optax.sgd(warm_up)

    made = catalogue.problem("digits-l2", scale="smoke").learning
    task = replace(made.task, optimizer=optimizer)
    h = {"l2_hidden": 0.1, "l2_output": 0.1}
    params = task.learner(h, 20).init(KEY, jnp.zeros((1, 8, 8, 1)))
    assert 0.5 < judge(Learning(task, made.data))(params, h, "valid").error <= 1.0
