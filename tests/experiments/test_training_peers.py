"""What is timed beside each other trains the same networks, for as many steps."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.benchmarks.training_peers import EXAMPLES, a_jitted_step, ours
from experiments.benchmarks.training_steps import CASES, Case
from ibo_jax.training.networks import MLP, as_network


def size(params) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize("name", EXAMPLES)
def test_torch_has_as_many_parameters(name):
    torch = pytest.importorskip("torch")
    from experiments.benchmarks.peers.torch_training import network

    case, model = CASES[name], network(name)
    model(torch.zeros(1, *np.roll(case.shape, 1)))  # shapes of lazy layers
    params = as_network(case.module).init(jax.random.key(0), jnp.zeros((1, *case.shape)))
    assert sum(p.numel() for p in model.parameters()) == size(params)


def test_both_loops_take_a_step_for_each_whole_batch():
    """With a rate of 1e-6, RMSprop's first step moves a weight by 1e-6 / sqrt(1 - .9), the next by no more."""
    case, rng = Case(MLP(10, units=8, layers=1), (4, 4, 1), 8, 1), np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (27, 4, 4, 1)).astype(np.uint8), rng.integers(10, size=27).astype(np.int32)
    moved = []
    for examples in (slice(8), slice(27)):  # one step, and three
        initial = as_network(case.module).init(jax.random.key(0), jnp.zeros((1, 4, 4, 1)))
        params, _ = a_jitted_step(case, images[examples], labels[examples])()
        moved.append(max(np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (params, initial)), strict=True)))
    assert moved[0] == pytest.approx(1e-6 / np.sqrt(0.1), rel=0.05)
    assert 1.5 * moved[0] < moved[1] <= 3 * moved[0]
    state, _ = ours(case, images, labels)()
    assert [int(count) for _, count in optax.tree_utils.tree_get_all_with_path(state.optimizer_state, "count")] == [3]
