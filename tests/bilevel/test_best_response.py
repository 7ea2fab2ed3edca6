"""Structured layers respond by example, collapse into plain ones, and are exact where theory says so."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from ibo_jax.bilevel import best_response
from ibo_jax.training.convnets import AlexNet, LeNet
from ibo_jax.training.networks import MLP, Network, as_network
from ibo_jax.training.recurrent import CharacterLSTM

SIZE = 3


class Deep(linen.Module):
    """Layers whose parameters are kept in one."""

    @linen.compact
    def __call__(self, inputs):
        stack = linen.scan(Hidden, variable_axes={"params": 0}, split_rngs={"params": True}, length=2)
        return linen.Dense(5)(stack()(linen.Dense(7)(inputs.reshape(len(inputs), -1)), None)[0])


class Hidden(linen.Module):
    @linen.compact
    def __call__(self, inputs, _):
        return linen.relu(linen.Dense(7)(inputs)), None


AT = jnp.array([0.7, -1.5, 2.0])
IMAGES = jax.random.normal(jax.random.key(1), (4, 8, 8, 2))
TEXT = jax.random.randint(jax.random.key(2), (4, 6), 0, 11).astype(jnp.float32)
NETWORKS = {
    "mlp": (MLP(5, units=7, layers=2), IMAGES),
    "lenet": (LeNet(5, filters=(2, 3), units=6), IMAGES),
    "lstm": (CharacterLSTM(11, units=5, layers=2), TEXT),
    "scan": (Deep(), IMAGES),
    "linen conv": (linen.Sequential([linen.Conv(3, (3, 3)), lambda x: x.mean((1, 2)), linen.Dense(5)]), IMAGES),
}


def started(name):
    """Parameters of a best response that responds a lot."""
    module, inputs = NETWORKS[name]
    network = as_network(module)
    params = jax.jit(lambda key: best_response.init(key, network, inputs, AT))(jax.random.key(0))
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(3), len(leaves))
    moved = [leaf + 0.2 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    return network, inputs, jax.tree.unflatten(tree, moved)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_collapsed_network_is_the_plain_one_and_equals_the_wrapped_one(name):
    network, inputs, params = started(name)
    plain = best_response.collapse(params, AT)
    made = jax.eval_shape(network.init, jax.random.key(0), inputs)
    assert jax.tree.map(jnp.shape, plain) == jax.tree.map(jnp.shape, made)
    run = jax.jit(lambda params, at: best_response.apply(params, network, inputs, at, train=False, key=None))
    wrapped = run(params, jnp.tile(AT, (4, 1)))
    expected = network.apply(plain, inputs, train=False, key=None)
    np.testing.assert_allclose(wrapped, expected, rtol=2e-4, atol=2e-4)
    assert np.abs(wrapped - run(params, jnp.zeros((4, SIZE)))).max() > 1e-2


@pytest.mark.parametrize("name", ["mlp", "lenet", "lstm", "scan"])
def test_each_example_has_weights_of_its_own(name):
    network, inputs, params = started(name)
    vectors = jax.random.normal(jax.random.key(5), (4, SIZE))
    together = best_response.apply(params, network, inputs, vectors, train=False, key=None)
    for row, vector in enumerate(vectors):
        alone = network.apply(best_response.collapse(params, vector), inputs[row : row + 1], train=False, key=None)
        np.testing.assert_allclose(together[row], alone[0], rtol=2e-4, atol=2e-4)


def test_a_dense_layer_is_the_published_formula():
    network, x = as_network(linen.Dense(4)), jax.random.normal(jax.random.key(0), (1, 6))
    params = jax.tree.map(lambda leaf: leaf + 0.3, best_response.init(jax.random.key(1), network, x, AT))
    response, elementary = params["response"], x @ params["kernel"] + params["bias"]
    scale, shift = AT @ response["map"][:, :4], AT @ response["map"][:, 4:]
    expected = elementary + scale * (x @ params["hyper"]["kernel"]) + shift * response["bias"]
    answer = best_response.apply(params, network, x, AT[None], train=False, key=None)
    np.testing.assert_allclose(answer, expected, rtol=1e-5)


def test_the_response_begins_nearly_constant_and_costs_about_twice_the_parameters():
    network = as_network(AlexNet(10))
    count = lambda tree: sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))  # noqa: E731
    images, at = jnp.zeros((1, 32, 32, 3)), jnp.zeros(15)
    plain = count(jax.eval_shape(network.init, jax.random.key(0), images))
    structured = count(jax.eval_shape(lambda key: best_response.init(key, network, images, at), jax.random.key(0)))
    assert (round(plain / 1e6, 2), round(structured / 1e6, 2)) == (23.27, 46.83)  # the paper's network
    params = best_response.init(jax.random.key(0), as_network(linen.Dense(500)), jnp.zeros((1, 2)), AT)
    np.testing.assert_allclose(np.std(params["response"]["map"]), 0.01, rtol=0.1)


def ridge(inputs, targets, log):
    """The best linear map at a penalty exp(log) on the squared Jacobian, in float64."""
    gram = inputs.T @ inputs / len(inputs)
    return np.linalg.solve(gram + np.exp(log) * np.eye(len(gram)), inputs.T @ targets / len(inputs))


def linear_problem():
    """Data, their right singular vectors, and the two layers' weights without penalty."""
    rng = np.random.default_rng(0)
    inputs, targets = rng.normal(size=(40, 5)) * [3.0, 1.0, 0.5, 2.0, 1.5], rng.normal(size=40)
    left, values, right = np.linalg.svd(inputs, full_matrices=False)
    return inputs, targets, right.T, left.T @ targets / values, 2 * np.log(values) - np.log(40)


def response_of(first, hyper, gain, second, at):
    """The product of the two collapsed layers, which is the map and its Jacobian."""
    params = {"kernel": first, "hyper": {"kernel": hyper}, "response": {"map": gain}}
    return best_response.collapse(params, at)["kernel"] @ second


def test_gates_of_hidden_units_are_the_exact_best_response_of_a_linear_network_with_a_punished_jacobian():
    """MacKay et al., theorem 2: y = s . (Q x), whose best Q at exp(l) |dy/dx|^2 is sigmoid(l v + c) * Q0, by row."""
    inputs, targets, right, second, offsets = linear_problem()
    with jax.enable_x64(True):
        for log in np.linspace(-8.0, 4.0, 13):
            gates = 1 / (1 + np.exp(log - offsets))
            ours = response_of(np.zeros((5, 5)), right, np.eye(5), second, jnp.asarray(gates))
            np.testing.assert_allclose(ours, ridge(inputs, targets, log), rtol=1e-9, atol=1e-12)


def test_a_layer_linear_in_the_hyperparameter_errs_by_the_square_of_the_distance():
    """As the layers are, their gates being linearised: c + v (l - l0), the first order of the sigmoid."""
    inputs, targets, right, second, offsets = linear_problem()
    gates = 1 / (1 + np.exp(-1.0 - offsets))
    slopes = -gates * (1 - gates)
    with jax.enable_x64(True):
        errors = [
            np.abs(
                response_of(right * gates, right, slopes[None], second, jnp.array([distance]))
                - ridge(inputs, targets, -1.0 + distance)
            ).max()
            for distance in (0.02, 0.01)
        ]
    assert errors[0] < 1e-3 * np.abs(second).max()
    assert 3.8 < errors[0] / errors[1] < 4.2


class Named(linen.Module):
    layer: str

    @linen.compact
    def __call__(self, inputs):
        return linen.Dense(3, name=self.layer)(inputs.mean((1, 2)))


@pytest.mark.parametrize("name", ["hyper", "response"])
def test_layers_with_a_name_of_the_response_are_refused(name):
    """One would never respond, the other could not be told from the response."""
    with pytest.raises(ValueError, match=rf"belong to the response, got \['{name}'\]; rename"):
        best_response.init(jax.random.key(0), as_network(Named(name)), IMAGES, AT)


def test_networks_that_cannot_respond_are_refused():
    bare = Network(lambda key, inputs: {"w": jnp.ones(2)}, lambda params, inputs, *, train, key: inputs)
    with pytest.raises(ValueError, match="Dense"):
        best_response.init(jax.random.key(0), bare, IMAGES, AT)
    wrapped = as_network(linen.Sequential([lambda x: x.mean((1, 2)), linen.WeightNorm(linen.Dense(3))]))
    with pytest.raises(ValueError, match="WeightNorm"):
        best_response.init(jax.random.key(0), wrapped, IMAGES, AT)
    merging = as_network(linen.Sequential([lambda x: x.reshape(-1, 2), linen.Dense(3)]))
    with pytest.raises(ValueError, match="first axis"):
        best_response.init(jax.random.key(0), merging, IMAGES, AT)
