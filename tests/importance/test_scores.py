"""Scores against their NumPy twins, at the ends of the number range, and as ranks of the exact gradient norm."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AbstractMesh, AxisType, PartitionSpec
from scipy.stats import spearmanr

from ibo_jax.importance import gradient_norm, loss, upper_bound
from ibo_jax.training import datasets
from reference import importance as twin

SCORES = {"loss": loss, "upper_bound": upper_bound}
TWINS = {"loss": twin.cross_entropy, "upper_bound": twin.upper_bound}


def random_logits(seed=0, examples=50, classes=7, scale=3.0):
    rng = np.random.default_rng(seed)
    return rng.normal(scale=scale, size=(examples, classes)).astype(np.float32), rng.integers(classes, size=examples)


@pytest.mark.parametrize("name", SCORES)
def test_equals_the_numpy_twin(name):
    logits, labels = random_logits()
    scores = SCORES[name](jnp.asarray(logits), jnp.asarray(labels))
    np.testing.assert_allclose(scores, TWINS[name](logits.astype(np.float64), labels), rtol=2e-5, atol=1e-6)


def test_upper_bound_is_the_gradient_norm_with_respect_to_the_logits():
    logits, labels = jax.tree.map(jnp.asarray, random_logits(1))
    gradients = jax.vmap(jax.grad(loss))(logits, labels)
    np.testing.assert_allclose(upper_bound(logits, labels), jnp.linalg.norm(gradients, axis=1), rtol=1e-4)


def test_gradient_norm_of_a_linear_model_is_its_closed_form():
    rng = np.random.default_rng(2)
    inputs, kernel = rng.normal(size=(20, 5)).astype(np.float32), rng.normal(size=(5, 3)).astype(np.float32)
    labels = rng.integers(3, size=20)
    params = {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(3)}
    norms = gradient_norm(lambda p, x: x @ p["kernel"] + p["bias"], params, jnp.asarray(inputs), jnp.asarray(labels))
    np.testing.assert_allclose(norms, twin.linear_gradient_norm(inputs, inputs @ kernel, labels), rtol=1e-4)


def test_gradient_norm_has_a_gradient_where_an_example_has_none():
    inputs, labels = jnp.array([[0.0, 0.0], [1.0, 2.0]]), jnp.array([0, 1])  # of zeros the norm is zero
    norms, gradient = jax.value_and_grad(
        lambda params: jnp.sum(gradient_norm(lambda p, x: x @ p, params, inputs, labels))
    )(jnp.eye(2))
    assert norms > 0
    assert np.all(np.isfinite(gradient))


def test_gradient_norm_is_that_of_single_examples_on_several_devices():
    """Within `jax.shard_map` the gradient of what devices share is that of all of them, unless it is made their own."""
    mesh, shared, parted = (
        AbstractMesh((4,), ("device",), axis_types=(AxisType.Auto,)),
        PartitionSpec(),
        PartitionSpec("device"),
    )
    norms = jax.shard_map(
        lambda *args: gradient_norm(lambda p, x: x @ p, *args),
        mesh=mesh, in_specs=(shared, parted, parted), out_specs=parted,
    )  # fmt: skip
    assert "psum" not in str(jax.make_jaxpr(norms)(jnp.ones((2, 3)), jnp.ones((8, 2)), jnp.zeros(8, jnp.int32)))


def test_confident_examples_keep_their_rank():
    margins = jnp.array([10.0, 12.0, 14.0, 16.0, 18.0, 30.0])  # 1 - p underflows beyond 17 if computed as a difference
    scores = upper_bound(jnp.stack([margins, 0 * margins], axis=1), jnp.zeros(6, jnp.int32))
    np.testing.assert_allclose(scores, np.sqrt(2) / (1 + np.exp(np.float64(margins))), rtol=1e-5)


@pytest.mark.parametrize("name", SCORES)
def test_a_logit_that_is_no_number_gives_a_score_that_is_none(name):
    """Not zero: an example of that score would never be drawn, and a divergence go unseen."""
    scores = SCORES[name](jnp.array([[0.0, jnp.nan], [jnp.nan, 0.0], [1.0, 0.0]]), jnp.zeros(3, jnp.int32))
    np.testing.assert_array_equal(jnp.isnan(scores), [True, True, False])


@pytest.mark.parametrize("name", SCORES)
def test_a_label_that_is_no_class_gives_no_number(name):
    """Under `jax.jit` nothing else can say it; an integer type may be too small for the number of classes."""
    scores = SCORES[name](jnp.zeros((4, 3)), jnp.array([-1, 0, 2, 3], jnp.int8))
    np.testing.assert_array_equal(jnp.isnan(scores), [True, False, False, True])
    few_bits, bits = (SCORES[name](jnp.zeros((1, 300)), jnp.array([100], dtype)) for dtype in (jnp.int8, jnp.int32))
    np.testing.assert_array_equal(few_bits, bits)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("shape", [(1, 10), (4, 1), (1, 1), (5, 3)])
@pytest.mark.parametrize("size", [0.0, 1.0, 1e4])
def test_value_and_gradient_are_finite(name, dtype, shape, size):
    logits = (size * jnp.sign(jnp.arange(np.prod(shape)) % 3 - 1.0)).reshape(shape).astype(dtype)
    labels = jnp.arange(shape[0], dtype=jnp.int32) % shape[1]

    @jax.jit
    def with_gradient(logits):
        scores, pull = jax.vjp(lambda z: SCORES[name](z, labels), logits)
        return scores, *pull(jnp.ones_like(scores))

    scores, gradient = with_gradient(logits)
    assert scores.shape == shape[:1]
    assert scores.dtype == jnp.float32
    assert jnp.all(jnp.isfinite(scores))
    assert jnp.all(scores >= 0)
    assert jnp.all(jnp.isfinite(gradient))


@pytest.mark.parametrize("name", SCORES)
def test_jit_and_vmap_change_nothing(name):
    logits, labels = jax.tree.map(jnp.asarray, random_logits(3))
    scores = SCORES[name](logits, labels)
    np.testing.assert_allclose(jax.jit(SCORES[name])(logits, labels), scores, rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(SCORES[name])(logits, labels), scores, rtol=1e-6)


def test_upper_bound_falls_as_the_label_becomes_likelier():
    slope = jax.grad(lambda z: upper_bound(z, jnp.int32(0)))(jnp.array([0.5, 0.0]))
    assert slope[0] < 0 < slope[1]


def init(key, sizes):
    keys = jax.random.split(key, len(sizes) - 1)
    return [
        (jax.random.normal(k, (i, o), jnp.float32) * (2 / i) ** 0.5, jnp.zeros(o, jnp.float32))
        for k, i, o in zip(keys, sizes, sizes[1:], strict=False)
    ]


def apply(params, inputs):
    x = inputs.reshape(len(inputs), -1)
    for kernel, bias in params[:-1]:
        x = jax.nn.relu(x @ kernel + bias)
    return x @ params[-1][0] + params[-1][1]


def correlations(data, width, rate, marks):
    """Spearman's rank correlation of (upper bound, loss) with the exact norm after each number of steps in `marks`."""
    images = (jnp.asarray(data.train_inputs[:10000], jnp.float32) - data.mean) / data.scale
    labels = jnp.asarray(data.train_labels[:10000])
    params = init(jax.random.key(0), [images[0].size, width, width, data.num_classes])
    optimizer = optax.sgd(rate, momentum=0.9)

    @jax.jit
    def advance(key, params, state):
        def body(carry, key):
            params, state = carry
            index = jax.random.randint(key, (64,), 0, len(labels))
            gradient = jax.grad(lambda p: loss(apply(p, images[index]), labels[index]).mean())(params)
            updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(body, (params, state), jax.random.split(key, 100))[0]

    exact = jax.jit(lambda p: gradient_norm(apply, p, images[:512], labels[:512]))
    state, rows = optimizer.init(params), {}
    for steps in range(0, max(marks) + 1, 100):
        if steps in marks:
            reference, logits = exact(params), apply(params, images[:512])
            rows[steps] = [spearmanr(f(logits, labels[:512]), reference).statistic for f in (upper_bound, loss)]
        params, state = advance(jax.random.fold_in(jax.random.key(1), steps), params, state)
    return rows


def check_ranks(rows):
    print({steps: [round(float(rho), 3) for rho in pair] for steps, pair in rows.items()})
    assert all(bound > 0.9 for steps, (bound, _) in rows.items() if steps >= 200), rows
    bound, by_loss = rows[max(rows)]
    assert bound > by_loss, rows


def test_upper_bound_ranks_digits_as_the_exact_norm_does():
    check_ranks(correlations(datasets.load("digits"), 64, 0.01, (0, 200, 500, 1000, 2000)))


@pytest.mark.slow
def test_upper_bound_ranks_mnist_as_the_exact_norm_does():
    try:
        data = datasets.load("mnist")
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    check_ranks(correlations(data, 256, 0.05, (0, 200, 1000, 3000, 5000)))


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("name", SCORES)
def test_labels_of_few_bits_name_one_class_of_many(name):
    """Of 300 classes, in eight bits, class 3 is not class 259 too."""
    logits, labels = jnp.zeros((2, 300)).at[0, 259].set(5.0), jnp.array([3, 4])
    np.testing.assert_array_equal(SCORES[name](logits, labels.astype(jnp.uint8)), SCORES[name](logits, labels))
