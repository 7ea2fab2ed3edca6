"""The paper's baselines as limits of IBO: one fidelity is entropy search, two tasks are coregionalisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibo_jax.methods import METHODS, ibo, make
from ibo_jax.methods.initial import importance_fidelities, initial_design
from ibo_jax.observations import Observations, append, empty
from ibo_jax.problems.synthetic import value
from ibo_jax.space import PRESAMPLE_RATIO, Fidelity
from ibo_jax.surrogate.kernels import TASK_BASIS, KernelParameters, MultiTaskKernel

S = Fidelity("s", 0.0, 1.0)
KEY = jax.random.key(0)


def designed(fidelities) -> Observations:
    """Evaluations of equal cost."""
    seen = empty(1)
    for x, s in zip(np.random.default_rng(1).random((len(fidelities), 1)), fidelities, strict=True):
        seen = append(seen, x, s, float(value("forrester", x, s)))
    return seen


def assert_same_place(one, other):
    for field in ("x", "fidelity", "incumbent", "recommendation", "entropy", "predicted_objective"):
        np.testing.assert_allclose(getattr(one, field), getattr(other, field), rtol=1e-6, atol=1e-6, err_msg=field)


@pytest.mark.parametrize("seed", range(3))
def test_with_one_fidelity_and_equal_cost_ibo_is_entropy_search(seed):
    """The same key draws the same representers and samples: equal costs must not move the maximiser of the gain."""
    seen, key = designed([1.0] * 7), jax.random.key(seed)
    per_cost, _ = ibo.suggest(key, seen, levels=(1.0,), guarded=False)
    gain, _ = ibo.suggest(key, seen, levels=(1.0,), guarded=False, acquisition="information_gain")
    assert_same_place(per_cost, gain)
    own_key, _ = jax.random.split(key)
    es, _ = make("es", S)(key, seen, None)
    assert_same_place(es, ibo.suggest(own_key, seen, levels=(1.0,), acquisition="information_gain")[0])


@pytest.mark.parametrize("seed", range(2))
def test_fabolas_on_the_whole_data_only_is_entropy_search(seed):
    seen, key = designed([1.0] * 7), jax.random.key(seed)
    whole = Fidelity("subset_size", 64, 64, integer=True)
    fabolas, _ = make("fabolas", whole)(jax.random.split(key)[0], seen, None)
    assert_same_place(fabolas, make("es", S)(key, seen, None)[0])


def test_es_is_with_importance_off_is_es():
    seen, off = designed([1.0] * 7), Fidelity("presample_ratio", 1, 1, integer=True, plain=1)
    assert_same_place(make("es-is", off)(KEY, seen, None)[0], make("es", off)(KEY, seen, None)[0])


def test_es_does_not_see_the_fidelity_and_es_is_draws_it():
    seen = designed([0.0, 0.5, 1.0, 0.2, 0.8, 0.4])
    blind = seen._replace(fidelity=np.ones_like(seen.fidelity))
    assert_same_place(make("es", S)(KEY, seen, None)[0], make("es", S)(KEY, blind, None)[0])
    method = make("es-is", PRESAMPLE_RATIO)
    drawn = {method(jax.random.key(seed), seen, None)[0].fidelity for seed in range(12)}
    assert drawn <= set(PRESAMPLE_RATIO.levels) - {PRESAMPLE_RATIO.plain_s}
    assert len(drawn) >= 3
    shares = np.unique(importance_fidelities(np.random.default_rng(0), PRESAMPLE_RATIO, 1000), return_counts=True)[1]
    assert np.all(np.abs(shares - 200) < 4.5 * np.sqrt(1000 * 0.2 * 0.8))


@pytest.mark.parametrize("seed", range(4))
def test_two_tasks_have_any_coregionalisation_matrix(seed):
    """K_T = L L' with K_T at the target scaled to one: what is left is absorbed by the amplitude."""
    factor = np.tril(np.random.default_rng(seed).normal(size=(2, 2)))
    matrix = (factor @ factor.T)[::-1, ::-1]  # in the order cheap, target
    tilt = matrix[0, 1] / matrix[1, 1] - 1.0
    spread = np.sqrt(matrix[0, 0] / matrix[1, 1] - (1.0 + tilt) ** 2)
    parameters = KernelParameters(jnp.zeros(1), jnp.zeros(()), tilt, np.log(spread), jnp.zeros(()))
    kernel, s = MultiTaskKernel(parameters, jnp.array(TASK_BASIS)), jnp.array([0.0, 1.0])
    np.testing.assert_allclose(matrix[1, 1] * kernel.tasks(s[:, None], s), matrix, rtol=1e-4, atol=1e-5)


def test_initial_designs_share_their_points():
    subset = Fidelity("subset_size", 256, 50_000, integer=True)
    axes = {name: subset if method.axis == "subset" else PRESAMPLE_RATIO for name, method in METHODS.items()}
    designs = {name: initial_design(KEY, 8, 3, axes[name], method.design) for name, method in METHODS.items()}
    for x, _ in designs.values():
        np.testing.assert_array_equal(x, designs["ibo"][0])
    sizes = [subset.decode(s) for s in designs["fabolas"][1]]
    np.testing.assert_allclose(sizes, np.repeat([50_000 / 64, 50_000 / 32, 50_000 / 16, 50_000 / 8], 2), atol=1)
    assert set(designs["mtbo"][1]) == {0.0}
    assert {PRESAMPLE_RATIO.decode(s) for s in designs["es"][1]} == {1}
    assert {PRESAMPLE_RATIO.decode(s) for s in designs["es-is"][1]} <= {2, 3, 4, 5, 6}
    for name in ("ibo", "es-is", "fabolas"):
        at_target = initial_design(KEY, 8, 3, PRESAMPLE_RATIO, METHODS[name].design, protocol="scripts")[1]
        np.testing.assert_array_equal(at_target, np.ones(8))
