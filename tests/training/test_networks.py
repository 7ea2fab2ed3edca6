import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from ibo_jax.training.convnets import AlexNet, LeNet
from ibo_jax.training.networks import CNN, MLP, Network, WideResNet, as_network, from_nnx, squared_kernels

IMAGE = (32, 32, 3)


def count(module, shape):
    params = jax.eval_shape(as_network(module).init, jax.random.key(0), jnp.zeros((1, *shape)))
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))


def wide_resnet_by_hand(depth, widen, classes):
    """Summed layer by layer; a LayerNorm before a convolution has its input's channels as biases, and one gain."""
    total, channels = 9 * 3 * 16, 16
    for group in range(3):
        filters = 16 * 2**group * widen
        for _ in range((depth - 4) // 6):
            total += (1 + channels) + 9 * channels * filters + (1 + filters) + 9 * filters * filters
            total += channels * filters if channels != filters else 0
            channels = filters
    return total + (1 + channels) + (channels + 1) * classes


def test_parameter_counts_equal_hand_counts():
    assert count(MLP(10, units=256, layers=3), (28, 28, 1)) == 784 * 256 + 256 + 2 * (256 * 256 + 256) + 2570
    convolutions = 25 * 3 * 128 + 128 + 2 * (25 * 128 * 128 + 128)
    assert count(CNN(10, filters=128, units=256), IMAGE) == convolutions + 128 * 256 + 256 + 2570
    assert count(WideResNet(10), IMAGE) == wide_resnet_by_hand(28, 2, 10)
    assert count(WideResNet(100, depth=10, widen=1), IMAGE) == wide_resnet_by_hand(10, 1, 100)


def test_parameters_are_float32_whatever_the_mode():
    with jax.enable_x64(True):
        for module in (MLP(10), CNN(10), WideResNet(10, depth=10)):
            params = jax.eval_shape(as_network(module).init, jax.random.key(0), jnp.zeros((1, *IMAGE), jnp.float32))
            assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}


def test_wide_resnet_is_the_published_one_written_out():
    network, images = as_network(WideResNet(5, depth=10, widen=2)), jax.random.normal(jax.random.key(1), (2, 8, 8, 3))
    params = jax.jit(network.init)(jax.random.key(0), images)
    params = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(2), leaf.shape), params)

    def normalise(x, p):
        mean, sd = x.mean((1, 2, 3), keepdims=True), jnp.sqrt(x.var((1, 2, 3), keepdims=True) + 1e-3)
        return jax.nn.relu(p["gain"] * (x - mean) / sd + p["bias"])

    def convolve(x, p, stride=1):
        return jax.lax.conv_general_dilated(
            x, p["kernel"], (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    x = convolve(images, params["conv"])
    for group, stride in enumerate((1, 2, 2)):
        block = params[f"block_{group}_0"]
        inner = convolve(normalise(x, block["norm_0"]), block["conv_0"], stride)
        inner = convolve(normalise(inner, block["norm_1"]), block["conv_1"])
        x = convolve(x, block["projection"], stride) + inner
    logits = normalise(x, params["norm"]).mean((1, 2)) @ params["output"]["kernel"] + params["output"]["bias"]
    np.testing.assert_allclose(network.apply(params, images, train=True, key=None), logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("module", "first_stride", "pools", "hidden"),
    [
        (CNN(5, filters=3, units=7), 1, (3, 3, 3), ("hidden",)),
        (LeNet(5, filters=(2, 3), units=7), 1, (2, 2), ("hidden",)),
        (AlexNet(5, filters=(2, 3, 3, 2, 2), units=7), 2, (2, 2, 1, 1, 2), ("hidden_0", "hidden_1")),
    ],
)
def test_convolutional_networks_are_those_written_out(module, first_stride, pools, hidden):
    network, x = as_network(module), jax.random.normal(jax.random.key(1), (2, *IMAGE))
    params = jax.jit(network.init)(jax.random.key(0), x)
    params = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(2), leaf.shape), params)
    logits = network.apply(params, x, train=False, key=None)
    for layer, pool in enumerate(pools):
        p, stride = params[f"conv_{layer}"], 1 if layer else first_stride
        x = jax.lax.conv_general_dilated(
            x, p["kernel"], (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        window = (1, pool, pool, 1)
        x = jax.lax.reduce_window(jax.nn.relu(x + p["bias"]), -jnp.inf, jax.lax.max, window, window, "VALID")
    x = x.reshape(2, -1)
    for p in (params[name] for name in hidden):
        x = jax.nn.relu(x @ p["kernel"] + p["bias"])
    expected = x @ params["output"]["kernel"] + params["output"]["bias"]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("module", "last", "hidden"),
    [
        (LeNet(5, filters=(2, 64), units=7, dropout=(0.5, 0.5, 0.0)), "conv_1", "hidden"),
        (AlexNet(5, filters=(2, 2, 2, 2, 64), units=7, conv_dropout=(0.5,) * 5), "conv_4", "hidden_0"),
    ],
)
def test_dropout_after_convolutions_is_of_whole_channels(module, last, hidden):
    network, images, seen = as_network(module), jnp.ones((2, *IMAGE)), []
    params = network.init(jax.random.key(0), images)
    params[last]["bias"] += 100.0  # no zeros but those of dropout

    def watch(method, args, kwargs, context):
        if context.module.name == hidden:
            seen.extend(args)
        return method(*args, **kwargs)

    with linen.intercept_methods(watch):
        network.apply(params, images, train=True, key=jax.random.key(1))
    zero = np.asarray(seen[0] == 0).reshape(2, -1, 64)
    np.testing.assert_array_equal(zero, zero[:, :1] * np.ones_like(zero))
    assert 0.2 < zero.mean() < 0.8  # of 128 channels


def test_examples_do_not_influence_one_another():
    images = jax.random.normal(jax.random.key(1), (3, *IMAGE))
    for module in (MLP(10), CNN(10, 8, 16), WideResNet(10, depth=10, widen=1)):
        network = as_network(module)
        params = jax.jit(network.init)(jax.random.key(0), images)
        logits = jax.jit(lambda images, n=network, p=params: n.apply(p, images, train=False, key=None))
        together, others = logits(images), logits(images.at[0].add(1.0))
        np.testing.assert_array_equal(others[1:], together[1:])
        assert np.abs(others[0] - together[0]).max() > 1e-3


@pytest.mark.parametrize(("rates", "kept"), [((0.0, 0.0), True), ((1.0, 0.0), False), ((0.0, 1.0), False)])
def test_each_hidden_layer_has_a_dropout_rate_of_its_own(rates, kept):
    network, inputs, key = as_network(MLP(3, units=8, dropout=rates)), jnp.ones((4, 6)), jax.random.key(0)
    logits = network.apply(network.init(key, inputs), inputs, train=True, key=key)
    assert bool(jnp.any(logits)) == kept


def test_a_traced_dropout_rate_compiles_once_and_acts_in_training_only():
    inputs, key = jnp.ones((4, 6)), jax.random.key(0)
    params = as_network(MLP(3, units=64)).init(key, inputs)

    @jax.jit
    def logits(rate, key):
        network = as_network(MLP(3, units=64, dropout=rate))
        return tuple(network.apply(params, inputs, train=train, key=key) for train in (True, False))

    plain = as_network(MLP(3, units=64)).apply(params, inputs, train=True, key=key)
    np.testing.assert_allclose(logits(0.0, key)[0], plain, atol=1e-6)
    dropped, whole = logits(0.5, key)
    np.testing.assert_allclose(whole, plain, atol=1e-6)
    assert np.abs(dropped - plain).max() > 1e-3
    assert np.abs(dropped - logits(0.5, jax.random.key(1))[0]).max() > 1e-3
    assert logits._cache_size() == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda self, inputs, train: linen.Dropout(0.5)(inputs, deterministic=not train),
        lambda self, inputs, training=False: linen.Dropout(0.5)(inputs, deterministic=not training),
        lambda self, inputs, is_train=False: linen.Dropout(0.5)(inputs, deterministic=not is_train),
        lambda self, inputs, is_training=False: linen.Dropout(0.5)(inputs, deterministic=not is_training),
        lambda self, inputs, deterministic: linen.Dropout(0.5)(inputs, deterministic=deterministic),
    ],
    ids=["train", "training", "is_train", "is_training", "deterministic"],
)
def test_a_module_is_told_whether_it_is_trained_by_the_name_that_it_has_for_it(call):
    network, inputs = (
        as_network(type("Module", (linen.Module,), {"__call__": linen.compact(call)})()),
        jnp.ones((8, 16)),
    )
    params = network.init(jax.random.key(0), inputs)
    np.testing.assert_array_equal(network.apply(params, inputs, train=False, key=None), inputs)
    assert not np.all(network.apply(params, inputs, train=True, key=jax.random.key(1)))


def test_a_flag_that_a_module_was_made_with_is_left_to_it():
    network = as_network(linen.Dropout(0.5, deterministic=True))
    np.testing.assert_array_equal(network.apply({}, jnp.ones(8), train=True, key=jax.random.key(0)), jnp.ones(8))


def test_an_nnx_module_trains_like_the_linen_one_with_its_weights():
    class Small(nnx.Module):
        def __init__(self, rngs):
            self.hidden_0, self.output = nnx.Linear(6, 16, rngs=rngs), nnx.Linear(16, 3, rngs=rngs)
            self.drop = nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, inputs):
            return self.output(self.drop(nnx.relu(self.hidden_0(inputs))))

    inputs, key = jax.random.normal(jax.random.key(3), (4, 6)), jax.random.key(0)
    network, linen_network = from_nnx(Small), as_network(MLP(3, units=16, layers=1))
    params = network.init(key, inputs)
    evaluate = jax.jit(lambda params: network.apply(params, inputs, train=False, key=None))
    np.testing.assert_allclose(
        evaluate(params), linen_network.apply(params, inputs, train=False, key=None), rtol=1e-6, atol=1e-6
    )
    first, again, other = (network.apply(params, inputs, train=True, key=jax.random.key(k)) for k in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    gradient = jax.grad(lambda p: network.apply(p, inputs, train=True, key=key).sum())(params)
    assert jax.tree.structure(gradient) == jax.tree.structure(params)


@pytest.mark.parametrize(
    "call",
    [
        lambda self, inputs, train: self.drop(inputs, deterministic=not train),
        lambda self, inputs, training=False: self.drop(inputs, deterministic=not training),
        lambda self, inputs, is_train=False: self.drop(inputs, deterministic=not is_train),
        lambda self, inputs, is_training=False: self.drop(inputs, deterministic=not is_training),
        lambda self, inputs, *, deterministic: self.drop(inputs, deterministic=deterministic),
    ],
    ids=["train", "training", "is_train", "is_training", "deterministic"],
)
def test_an_nnx_module_is_told_whether_it_is_trained_by_the_name_that_it_has_for_it(call):
    def build(rngs):
        module = type("Module", (nnx.Module,), {"__call__": call})()
        module.drop = nnx.Dropout(0.5, rngs=rngs)
        return module

    network, inputs = from_nnx(build), jnp.ones((8, 16))
    np.testing.assert_array_equal(network.apply({}, inputs, train=False, key=None), inputs)
    assert not np.all(network.apply({}, inputs, train=True, key=jax.random.key(1)))


def test_what_is_no_network_is_refused_with_a_way_out():
    class WithBatchNorm(linen.Module):
        @linen.compact
        def __call__(self, inputs, train):
            return linen.BatchNorm(use_running_average=not train)(inputs)

    with pytest.raises(TypeError, match="from_nnx"):
        as_network(nnx.Linear(2, 2, rngs=nnx.Rngs(0)))
    with pytest.raises(TypeError, match="Network"):
        as_network(lambda inputs: inputs)
    with pytest.raises(ValueError, match="batch normalisation"):
        as_network(WithBatchNorm()).init(jax.random.key(0), jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="batch normalisation"):
        from_nnx(lambda rngs: nnx.BatchNorm(3, rngs=rngs)).init(jax.random.key(0), jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="channel axis"):
        as_network(CNN(10)).init(jax.random.key(0), jnp.ones((1, 32, 32)))
    with pytest.raises(ValueError, match="at least 3 x 3"):
        as_network(CNN(10)).init(jax.random.key(0), jnp.ones((1, 8, 8, 1)))
    with pytest.raises(ValueError, match="6 n \\+ 4"):
        as_network(WideResNet(10, depth=12)).init(jax.random.key(0), jnp.ones((1, 8, 8, 1)))
    pair = Network(lambda key, inputs: {}, lambda params, inputs, *, train, key: inputs)
    assert as_network(pair) is pair


def test_the_penalty_leaves_out_what_the_paper_leaves_out():
    params = jax.jit(as_network(WideResNet(10, depth=10, widen=1)).init)(jax.random.key(0), jnp.ones((1, *IMAGE)))
    kernels = [params["conv"], params["output"]]
    for group in range(3):
        kernels += [params[f"block_{group}_0"][name] for name in ("conv_0", "conv_1")]
    expected = sum(float(jnp.sum(p["kernel"] ** 2)) for p in kernels)
    np.testing.assert_allclose(squared_kernels(params, exclude="projection"), expected, rtol=1e-5)
    assert squared_kernels(params) > expected


def test_a_penalty_on_kernels_asks_for_kernels():
    for bare in (jnp.ones(3), [jnp.ones(3)], {"w": jnp.ones(3)}):
        with pytest.raises(ValueError, match="sum the squares of your own"):
            squared_kernels(bare)
    assert squared_kernels({"output": {"kernel": jnp.ones(3)}}, exclude="output") == 0
