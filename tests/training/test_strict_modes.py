"""What users call from programs with JAX's strict modes: ranks must agree, and no key is used twice."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ibo_jax import importance
from ibo_jax.bilevel import best_response, hypertraining, relaxation
from ibo_jax.space import Float, SearchSpace
from ibo_jax.training import augmentation, convnets, datasets, networks, recurrent, steps, trainer

NETWORKS = {
    "mlp": networks.MLP(10, units=8, dropout=0.1),
    "cnn": networks.CNN(10, filters=4, units=8),
    "resnet": networks.WideResNet(10, depth=10, widen=1),
    "lenet": convnets.LeNet(10, dropout=(0.1, 0.1, 0.1), noise=0.1),
    "alexnet": convnets.AlexNet(10, filters=(4, 4, 4, 4, 4), units=8, noise=0.1),
    "lstm": recurrent.CharacterLSTM(10, units=8, dropout_recurrent=0.1, activity=0.1),
}
CHANGES = augmentation.compose(
    augmentation.flip, augmentation.shift(),
    *(lambda key, images, change=change: change(key, images, jnp.full(len(images), 0.1))
      for change in (augmentation.brightness, augmentation.contrast, augmentation.saturation, augmentation.hue)),
    lambda key, images: augmentation.cutout(key, images, 3.0, 1.0, most=2, fill=(0.1, 0.2, 0.3)),
)  # fmt: skip


@pytest.fixture(autouse=True)
def strict():
    with jax.numpy_rank_promotion("raise"), jax.debug_key_reuse(True):
        yield


def data(name):
    if name == "lstm":
        return steps.Examples(jnp.zeros((12, 9), jnp.uint8), jnp.zeros((12, 9), jnp.int32), jnp.zeros(()), jnp.ones(()))
    mean = jnp.zeros((1, 1, 1, 3))
    return steps.Examples(jnp.zeros((12, 32, 32, 3), jnp.uint8), jnp.zeros(12, jnp.int32), mean, mean + 1)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_epoch_of_each_network_is_traced(name):
    network, examples = networks.as_network(NETWORKS[name]), data(name)
    augment = None if name == "lstm" else CHANGES
    learner = steps.Learner(network.init, network.apply, optax.sgd(0.1), networks.squared_kernels, augment)

    def train(key):
        key_start, key_epoch = jax.random.split(key)
        state = steps.start(key_start, learner, examples.inputs.shape[1:])
        state, _ = steps.epoch(key_epoch, state, examples, learner, steps.Sampling(2, 6), 2)
        return steps.evaluate(state.params, examples, learner)

    jax.jit(train).lower(jax.random.key(0))


def test_a_data_set_is_normalised():
    digits = datasets.load("digits")
    examples = steps.Examples.of(digits, "valid")
    plain = (digits.valid_inputs - digits.mean) / digits.scale
    np.testing.assert_allclose(examples.normalised(examples.inputs), plain, rtol=1e-6)


def test_the_importance_step_of_the_readme():
    images, labels = jnp.ones((50, 20)), jnp.arange(50) % 3

    def gradients(key, params):
        key_pool, key_draw = jax.random.split(key)
        pool = importance.presample(key_pool, len(images), 16)
        scores = importance.upper_bound(images[pool] @ params, labels[pool])
        chosen, weights = importance.resample(key_draw, scores, 4)
        batch = pool[chosen]
        norms = importance.gradient_norm(lambda p, images: images @ p, params, images[batch], labels[batch])
        return jax.grad(lambda p: jnp.mean(weights * importance.loss(images[batch] @ p, labels[batch])))(params), norms

    gradient, norms = jax.jit(gradients)(jax.random.key(1), jnp.zeros((20, 3)))
    assert jnp.all(jnp.isfinite(gradient))
    assert jnp.all(norms > 0)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_scores_where_types_must_agree(dtype):
    logits, labels = jnp.array([[0.0, 2.0], [1.0, 0.0]], dtype), jnp.array([0, 1], jnp.int8)
    with jax.numpy_dtype_promotion("strict"):
        scores = importance.upper_bound(logits, labels)
        assert importance.resample(jax.random.key(0), scores.astype(dtype), 2).indices.shape == (2,)
        np.testing.assert_allclose(importance.loss(logits, labels), np.log1p(np.exp([2.0, 1.0])), rtol=1e-6)


def test_a_training_where_nothing_is_compiled():
    task = trainer.Task(lambda h: networks.MLP(10, units=8), lambda h, steps: optax.sgd(0.1), 1, lambda h: 500)
    with jax.disable_jit():
        assert trainer.train(0, task, {}, 2, datasets.load("digits")).state == "ok"


@pytest.mark.parametrize("name", ["mlp", "lenet"])
def test_a_best_response_is_traced(name):
    network, inputs, at = networks.as_network(NETWORKS[name]), data(name).normalised(data(name).inputs), jnp.zeros(2)

    def respond(key):
        key_start, key_dropout = jax.random.split(key)
        params = best_response.init(key_start, network, inputs, at)
        values = jnp.tile(at, (len(inputs), 1))
        logits = best_response.apply(params, network, inputs, values, train=True, key=key_dropout)
        return logits, best_response.collapse(params, at)

    jax.jit(respond).lower(jax.random.key(0))


def test_hyperparameters_near_the_current_ones():
    space = SearchSpace({"dropout": Float(0.0, 0.5), "l2": Float(0.0, 2.0)})
    named = relaxation.by_name(space, jnp.zeros((4, 2)), ["l2"])
    np.testing.assert_allclose(named["dropout"], np.full(4, 0.25), rtol=1e-6)
    np.testing.assert_allclose(named["l2"], np.full(4, np.log(2)), rtol=1e-6)
    draw = hypertraining.clipped(hypertraining.nearby(3.0), np.zeros(2, np.float32), np.array([0.5, 2.0], np.float32))
    drawn = draw(jax.random.key(0), jnp.array([0.2, 1.0]), 50)
    np.testing.assert_array_equal(drawn.min(0), [0.0, 0.0])
    np.testing.assert_array_equal(drawn.max(0), [0.5, 2.0])
