"""The training loop: against loops written by hand, when it goes wrong, and what it compiles."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen

from ibo_jax import importance
from ibo_jax.training import convolution, datasets, layers, optimizers, programs, steps
from ibo_jax.training.networks import MLP, Network
from ibo_jax.training.programs import release_memory
from ibo_jax.training.trainer import Task, retrain, train

HYPERPARAMETERS = {"learning_rate": 1e-2, "decay": 1e-4, "dropout": 0.1, "units": 32, "batch_size": 32}


def network(h):
    return MLP(10, units=h["units"], layers=2, dropout=h["dropout"])


def rmsprop(h, steps_per_epoch):
    return optimizers.rmsprop(h["learning_rate"], h["decay"])


def batch_size(h):
    return h["batch_size"]


class Strided(linen.Module):
    """One convolution, without padding, and an output layer."""

    @linen.compact
    def __call__(self, inputs, train):
        x = convolution.conv(inputs, self.param("kernel", linen.initializers.he_normal(), (3, 3, 1, 4)), 2, "VALID")
        return linen.Dense(10)(x.reshape(len(x), -1))


TASK = Task(network, rmsprop, epochs=6, batch_size=batch_size)


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits")


def linear(dtype):
    """A linear classifier as two functions."""

    def init(key, inputs):
        return {"kernel": 0.1 * jax.random.normal(key, (inputs[0].size, 10), dtype), "bias": jnp.zeros(10, dtype)}

    def apply(params, inputs, *, train, key):
        x = inputs.reshape(len(inputs), -1).astype(dtype)
        if train:  # randomness in training only, as dropout has
            x = jnp.where(jax.random.uniform(key, x.shape, jnp.float32) < 0.9, x, 0)
        return x @ params["kernel"] + params["bias"]

    return Network(init, apply)


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-5), (jnp.bfloat16, 2e-2)])
def test_without_importance_it_equals_a_plain_optax_loop_step_by_step(digits, dtype, tolerance):
    images, labels = jnp.asarray(digits.train_inputs), jnp.asarray(digits.train_labels)
    net, optimizer, sampling = linear(dtype), optax.adam(1e-2), steps.Sampling(20, 20)
    learner = steps.Learner(net.init, net.apply, optimizer, penalty=lambda p: 1e-3 * jnp.sum(p["kernel"] ** 2))
    examples = steps.Examples(images, labels, jnp.asarray(digits.mean), jnp.asarray(digits.scale))
    params = net.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    state, by_hand = steps.State(params, optimizer.init(params), jnp.zeros(())), (params, optimizer.init(params))

    def loss(params, index, key):
        logits = net.apply(params, (images[index] - digits.mean) / digits.scale, train=True, key=key)
        data_loss = optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), labels[index]).mean()
        return data_loss + 1e-3 * jnp.sum(params["kernel"] ** 2)

    key = jax.random.key(7)
    single = jax.jit(lambda k, s: steps.step(k, s, examples, learner, sampling))
    slope = jax.jit(jax.grad(loss))
    whole = jax.jit(lambda s: steps.epoch(key, s, examples, learner, sampling, 12)[0])(state)
    for key_step in (jax.random.fold_in(key, number) for number in range(12)):
        key_batch, _, key_dropout = jax.random.split(key_step, 3)
        index = jax.random.randint(key_batch, (20,), 0, 1000, jnp.int32)
        gradient = slope(by_hand[0], index, key_dropout)
        updates, optimizer_state = optimizer.update(gradient, by_hand[1], by_hand[0])
        by_hand = (optax.apply_updates(by_hand[0], updates), optimizer_state)
        state, (_, by_importance) = single(key_step, state)
        assert not by_importance
        jax.tree.map(lambda a, b: np.testing.assert_allclose(*_wide(a, b), atol=tolerance), state.params, by_hand[0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(*_wide(a, b), atol=tolerance), whole.params, by_hand[0])


def _wide(*arrays):
    return [np.asarray(array, np.float64) for array in arrays]


def test_an_importance_step_equals_one_written_by_hand(digits):
    images, labels = jnp.asarray(digits.train_inputs), jnp.asarray(digits.train_labels)
    net, sampling = linear(jnp.float32), steps.Sampling(10, 40)

    def blurred(key, images):
        return images + 2 * jax.random.normal(key, images.shape, jnp.float32)

    learner = steps.Learner(net.init, net.apply, optax.sgd(0.1), augment=blurred)
    examples = steps.Examples(images, labels, jnp.asarray(digits.mean), jnp.asarray(digits.scale))
    params = net.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    state = steps.State(params, learner.optimizer.init(params), jnp.asarray(10.0))
    result, (_, by_importance) = steps.step(jax.random.key(3), state, examples, learner, sampling)

    key_batch, key_augment, key_dropout = jax.random.split(jax.random.key(3), 3)
    key_pool, key_draw = jax.random.split(key_batch)
    pool = jax.random.randint(key_pool, (40,), 0, 1000, jnp.int32)
    # a position of the presample is augmented in one way, when scored and when trained on
    seen = [blurred(jax.random.fold_in(key_augment, i), images[index][None])[0] for i, index in enumerate(pool)]
    inputs = (jnp.stack(seen) - digits.mean) / digits.scale
    logits = net.apply(params, inputs, train=False, key=None)
    scores = np.asarray(jnp.linalg.norm(jax.nn.softmax(logits) - jax.nn.one_hot(labels[pool], 10), axis=1))
    g = scores / scores.sum()
    drawn = np.searchsorted(np.cumsum(g), np.asarray(jax.random.uniform(key_draw, (10,))))
    batch, weights = pool[drawn], jnp.asarray(1 / (40 * g[drawn]))

    def loss(params):
        logits = net.apply(params, inputs[drawn], train=True, key=key_dropout)
        return jnp.mean(weights * optax.softmax_cross_entropy_with_integer_labels(logits, labels[batch]))

    expected = jax.tree.map(lambda p, d: p - 0.1 * d, params, jax.grad(loss)(params))
    assert by_importance
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), result.params, expected)
    np.testing.assert_allclose(result.tau, 9 + 0.1 * np.sqrt(40 * np.sum(g**2)), rtol=1e-5)


def test_the_penalty_is_not_weighted_by_importance():
    """Data without any influence and a penalty |p|^2 / 2: a step of 0.5 halves p, whatever the weights."""
    learner = steps.Learner(
        init=lambda key, inputs: jnp.ones(3),
        apply=lambda params, inputs, train, key: inputs,
        optimizer=optax.sgd(0.5),
        penalty=lambda params: jnp.sum(params**2) / 2,
    )
    inputs = jax.random.normal(jax.random.key(0), (50, 4), jnp.float32) * 5
    examples = steps.Examples(inputs, jnp.zeros(50, jnp.int32), jnp.zeros(()), jnp.ones(()))
    state = steps.State(jnp.ones(3), learner.optimizer.init(jnp.ones(3)), jnp.asarray(50.0))
    result, (_, by_importance) = steps.step(jax.random.key(1), state, examples, learner, steps.Sampling(8, 24))
    assert by_importance
    np.testing.assert_allclose(result.params, 0.5, rtol=1e-6)


def test_the_penalty_of_an_example_is_weighted_with_its_loss():
    """Without bias (4 standard errors), although examples with a small one are drawn more often."""

    def apply(params, inputs, *, train, key):
        return layers.Penalised(inputs, params * inputs[:, 0]) if train else inputs

    learner = steps.Learner(lambda key, inputs: jnp.zeros(()), apply, optax.sgd(1.0))
    inputs = jax.random.normal(jax.random.key(0), (50, 4), jnp.float32) * 2
    examples = steps.Examples(inputs, jnp.zeros(50, jnp.int32), jnp.zeros(()), jnp.ones(()))
    state = steps.State(jnp.zeros(()), learner.optimizer.init(jnp.zeros(())), jnp.asarray(50.0))

    def stepped(key):
        return steps.step(key, state, examples, learner, steps.Sampling(8, 24))[0].params

    moved = -np.asarray(jax.vmap(stepped)(jax.random.split(jax.random.key(1), 4000)))
    error = moved.std(ddof=1) / np.sqrt(len(moved))
    assert abs(moved.mean() - inputs[:, 0].mean()) < 4 * error
    assert error < 0.02


def test_digits_are_learnt_by_importance_and_the_outcome_adds_up(digits):
    task = Task(network, rmsprop, epochs=12, batch_size=batch_size)
    outcome = train(0, task, HYPERPARAMETERS, 3, digits)
    assert outcome.state == "ok"
    assert outcome.error < 0.06
    assert 0.2 < outcome.importance_share < 1
    assert set(outcome.history) == {"error", "loss", "train_loss", "tau", "importance_share", "seconds"}
    assert all(len(series) == 12 for series in outcome.history.values())
    assert outcome.history["error"][-1] == outcome.error
    assert outcome.history["tau"][-1] > importance.threshold(96, 32)
    assert outcome.history["seconds"] == sorted(outcome.history["seconds"])
    assert outcome.cost_seconds == outcome.history["seconds"][-1]
    forward = 2 * (64 * 32 + 32 * 32 + 32 * 10)  # multiplications and additions, biases and activations left out
    passes = 12 * 31 * (3 * 32 + 96 * outcome.importance_share)
    np.testing.assert_allclose(outcome.cost_work, forward * passes, rtol=0.05)


@pytest.mark.parametrize("on_cpu", [True, False])
def test_the_modelled_cost_is_that_of_plain_convolutions_everywhere(digits, on_cpu, monkeypatch):
    """On CPU also zeros between neighbours are multiplied: that is a matter of speed, not of work."""
    monkeypatch.setattr(convolution, "_on_cpu", lambda: on_cpu)
    few = datasets.take(digits, train=32, valid=32)
    task = Task(lambda h: Strided(), lambda h, n: optax.sgd(0.1), epochs=1, batch_size=lambda h: 32)
    multiplied = 2 * 3 * 3 * 9 * 4 + 2 * 36 * 10  # 3 x 3 places, windows of 9 pixels, 4 filters; then 10 classes
    np.testing.assert_allclose(train(0, task, {}, 1, few).cost_work, 3 * 32 * multiplied, rtol=0.1)


@pytest.mark.parametrize("options", [{"switch": "variance"}, {"draw": "systematic"}])
def test_the_other_rules_train_too_and_are_other_trainings(digits, options):
    plain = train(0, TASK, HYPERPARAMETERS, 3, digits)
    other = train(0, TASK, HYPERPARAMETERS, 3, digits, **options)
    assert plain.importance_share > 0
    assert other.state == "ok"
    assert other.history["train_loss"] != plain.history["train_loss"]


def test_the_presample_may_be_the_whole_training_set(digits):
    outcome = train(0, TASK, HYPERPARAMETERS, len(digits.train_labels) / 32, digits)
    assert outcome.state == "ok"
    assert outcome.importance_share == 0  # tau stays below (1000 + 96) / 96 so early
    net, examples = linear(jnp.float32), steps.Examples.of(digits, "train")
    learner = steps.Learner(net.init, net.apply, optax.sgd(0.1))
    state = steps.start(jax.random.key(0), learner, (8, 8, 1))._replace(tau=jnp.asarray(100.0))
    result, (loss, by_importance) = steps.step(
        jax.random.key(1), state, examples, learner, steps.Sampling(32, len(digits.train_labels))
    )
    assert by_importance
    assert 90.1 <= result.tau <= 90 + 0.1 * len(digits.train_labels) ** 0.5
    assert steps.all_finite((result.params, loss))


@pytest.mark.parametrize("rate", [1e30, 1e3])
def test_a_diverging_training_is_an_outcome(digits, rate):
    task = Task(network, lambda h, n: optimizers.momentum_sgd(h["learning_rate"]), epochs=20, batch_size=batch_size)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        outcome = train(0, task, HYPERPARAMETERS | {"learning_rate": rate}, 3, digits)
    assert outcome.state == "diverged"
    assert outcome.error == 1 - np.bincount(digits.valid_labels).max() / len(digits.valid_labels)
    assert outcome.cost_seconds > 0
    assert outcome.cost_work > 0
    assert len(outcome.history["loss"]) < 20
    assert "not finite" in outcome.message


def test_a_callback_stops_the_training(digits):
    seen = []
    outcome = train(0, TASK, HYPERPARAMETERS, 1, digits, on_epoch=lambda *args: seen.append(args) or len(seen) == 2)
    assert outcome.state == "pruned"
    assert seen == [(1, outcome.history["error"][0]), (2, outcome.error)]


def test_validation_of_the_last_epoch_only_changes_nothing_else(digits):
    always, once = (train(0, TASK, HYPERPARAMETERS, 1, digits, validate=flag) for flag in (True, False))
    assert np.isnan(once.history["error"][:-1]).all()
    assert (once.error, once.history["loss"][-1]) == (always.error, always.history["loss"][-1])


def test_augmentation_is_applied_in_training_only(digits):
    blind = Task(network, rmsprop, 6, batch_size, augment=lambda key, images, h: jnp.zeros_like(images))
    outcome = train(0, blind, HYPERPARAMETERS, 3, digits)
    assert outcome.error > 0.5 > train(0, TASK, HYPERPARAMETERS, 3, digits).error
    assert outcome.history["train_loss"][-1] > 2.2  # no better than guessing among ten


def test_retraining_uses_training_and_validation_data_and_reports_the_test_set(digits):
    final = datasets.merged(digits)._replace(valid_inputs=digits.test_inputs, valid_labels=digits.test_labels)
    assert len(final.train_labels) == 1397
    for ratio in (1, 3):
        report = retrain(4, TASK, HYPERPARAMETERS, digits, presample_ratio=ratio, switch="variance", draw="systematic")
        outcome = train(4, TASK, HYPERPARAMETERS, ratio, final, switch="variance", draw="systematic")
        assert outcome.importance_share > 0 or ratio == 1
        assert (report.test_error, report.test_loss) == (outcome.error, outcome.history["loss"][-1])
        assert report.seconds > 0


def test_a_retrained_network_comes_with_its_parameters(digits):
    report = retrain(0, TASK, HYPERPARAMETERS, digits)
    inputs = (digits.test_inputs - digits.mean) / digits.scale
    logits = network(HYPERPARAMETERS).apply({"params": report.params}, jnp.asarray(inputs, jnp.float32), train=False)
    wrong = np.argmax(logits, axis=-1) != digits.test_labels
    assert np.mean(wrong) == pytest.approx(report.test_error, abs=0.5 / len(wrong))


def bits(outcome):
    timeless = {name: series for name, series in outcome.history.items() if name != "seconds"}
    return outcome._replace(cost_seconds=0.0, compile_seconds=0.0, history=timeless)


def test_same_seed_same_bits_whatever_the_precision_mode(digits):
    first = train(5, TASK, HYPERPARAMETERS, 3, digits)
    release_memory()
    with jax.enable_x64(True):
        second = train(5, TASK, HYPERPARAMETERS, 3, digits)
    assert first.importance_share > 0
    assert bits(first) == bits(second)
    assert bits(first) != bits(train(6, TASK, HYPERPARAMETERS, 3, digits))


def test_the_program_holds_no_double_precision_and_a_branch_only_for_importance(digits):
    _, static = programs.split(HYPERPARAMETERS)
    shapes = [jax.ShapeDtypeStruct(np.shape(a), a.dtype) for a in (digits.mean, digits.scale)]
    shapes = [jax.ShapeDtypeStruct((1000, 8, 8, 1), jnp.uint8), jax.ShapeDtypeStruct((1000,), jnp.int32), *shapes]
    examples = steps.Examples(*shapes)
    for ratio in (1, 3):
        program = programs.compiled(TASK, static, steps.Sampling(32, 32 * ratio), examples, examples)
        text = program.epoch.as_text()
        assert "f64" not in text + program.start.as_text() + program.evaluate.as_text()
        assert ("conditional(" in text) == (ratio > 1)


def test_only_sizes_compile(digits):
    compilations = []

    def listen(event, duration, **_):
        if listening and event == "/jax/core/compile/backend_compile_duration":
            compilations.append(event)

    def count(task, changes, ratio=3, data=digits, seed=0):
        compilations.clear()
        outcome = train(seed, task, HYPERPARAMETERS | changes, ratio, data)
        assert outcome.state == "ok"
        return len(compilations)

    listening = True
    release_memory()
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        assert count(TASK, {}) == 3  # initialisation, epoch, evaluation
        assert count(TASK, {"learning_rate": 1e-3, "decay": 0.0, "dropout": 0.5}, seed=9) == 0
        assert count(Task(network, rmsprop, epochs=6, batch_size=batch_size), {}) == 0  # an equal task
        assert count(TASK, {}, data=datasets.load("digits", split=1)) == 0
        assert [count(TASK, {"units": 24}), count(TASK, {"batch_size": 48}), count(TASK, {}, ratio=2)] == [3, 3, 3]
        assert [count(TASK, {"units": 24}), count(TASK, {"batch_size": 48}), count(TASK, {}, ratio=2)] == [0, 0, 0]
    finally:
        listening = False  # no listener can be taken back alone, and others may be there
    release_memory()
    assert programs.compiled.cache_info().currsize == 0


def test_only_so_many_programs_are_kept(digits, monkeypatch):
    monkeypatch.setattr(programs, "KEPT", 2)
    release_memory()
    kept = []
    for units in (8, 9, 8, 10, 10):
        train(0, TASK, HYPERPARAMETERS | {"units": units}, 1, digits)
        kept.append(programs.compiled.cache_info().currsize)
    assert kept == [1, 2, 2, 1, 1]


@pytest.mark.parametrize(
    ("task", "changes", "ratio", "message"),
    [
        (TASK, {"batch_size": 1001}, 1, "expected a batch size from 1 to the 1000 training examples, got 1001"),
        (TASK, {"batch_size": 0}, 1, "got 0"),
        (TASK, {}, 0.5, "expected a presample ratio B / b of at least 1, got 0.5"),
        (TASK, {}, float("nan"), "of at least 1, got nan"),
        (Task(network, rmsprop, 0, batch_size), {}, 1, "expected at least one epoch, got 0"),
        (Task(lambda h: MLP(7, units=8, layers=1), rmsprop, 1, batch_size), {}, 1, "at least 10 outputs .* got 7"),
    ],
)
def test_impossible_trainings_are_refused(digits, task, changes, ratio, message):
    with pytest.raises(ValueError, match=message):
        train(0, task, HYPERPARAMETERS | changes, ratio, digits)


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_chunks_change_nothing(limit):
    values = jnp.arange(40.0).reshape(20, 2)
    double, total = steps.in_chunks(lambda part: (2 * part, part.sum(axis=1)), values, limit)
    np.testing.assert_array_equal(double, 2 * values)
    np.testing.assert_array_equal(total, values.sum(axis=1))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_finite_spoils_a_tree(value):
    tree = {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3), "step": jnp.int32(7)}
    spoilt = tree | {"bias": jnp.array([0.0, value, 0.0])}
    assert [bool(jax.jit(steps.all_finite)(each)) for each in (tree, spoilt, {})] == [True, False, True]


def test_each_epoch_draws_batches_of_its_own(digits):
    """Without a step the loss of an epoch tells which examples it saw."""
    outcome = train(0, TASK, {**HYPERPARAMETERS, "learning_rate": 0.0}, 1, digits)
    assert len(set(outcome.history["train_loss"])) == TASK.epochs


def test_each_seed_starts_from_weights_of_its_own(digits):
    outcomes = [train(seed, TASK, {**HYPERPARAMETERS, "learning_rate": 0.0}, 1, digits) for seed in (0, 1)]
    assert outcomes[0].history["loss"] != outcomes[1].history["loss"]


def test_each_example_of_a_uniform_batch_is_augmented_in_its_own_way():
    seen = []

    def apply(params, inputs, *, train, key):
        seen.append(inputs)
        return params * inputs

    learner = steps.Learner(lambda key, inputs: jnp.ones(()), apply, optax.sgd(0.1), augment=noise_alone)
    examples = steps.Examples(jnp.zeros((20, 4)), jnp.zeros(20, jnp.int32), jnp.zeros(()), jnp.ones(()))
    state = steps.start(jax.random.key(1), learner, (4,))
    steps.step(jax.random.key(0), state, examples, learner, steps.Sampling(8, 8))
    assert len(np.unique(seen[-1], axis=0)) == 8


def noise_alone(key, images):
    return jax.random.normal(key, images.shape, jnp.float32)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("convert", [jnp.float32, np.array])
def test_a_rate_may_be_an_array_of_one_number(digits, convert):
    rates = {name: convert(HYPERPARAMETERS[name]) for name in ("learning_rate", "decay", "dropout")}
    assert programs.split(HYPERPARAMETERS | rates) == programs.split(HYPERPARAMETERS)


def test_a_loss_that_is_not_finite_on_validation_data_alone_is_a_divergence(digits):
    huge = digits._replace(valid_inputs=np.full(digits.valid_inputs.shape, 3e38, np.float32))
    assert train(0, TASK, HYPERPARAMETERS, 1, huge).state == "diverged"


def test_the_loss_of_an_example_with_several_labels_is_their_mean():
    learner = steps.Learner(
        lambda key, inputs: jnp.ones(()), lambda params, inputs, **_: params * inputs, optax.sgd(0.1)
    )
    examples = steps.Examples(jnp.zeros((20, 3, 4)), jnp.zeros((20, 3), jnp.int32), jnp.zeros(()), jnp.ones(()))
    state = steps.start(jax.random.key(1), learner, (3, 4))
    _, (loss, _) = steps.step(jax.random.key(0), state, examples, learner, steps.Sampling(8, 8))
    np.testing.assert_allclose(loss, np.log(4), rtol=1e-6)
