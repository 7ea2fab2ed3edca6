"""Nothing is asked or answered that hyperparameters cannot reach."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibo_jax.acquisition.reachable import snap
from ibo_jax.methods import make
from ibo_jax.observations import append, empty
from ibo_jax.space import PRESAMPLE_RATIO, Categorical, Cell, Fidelity, Float, Integer, SearchSpace

SPACE = SearchSpace({
    "rate": Float(1e-4, 1.0, log=True), "units": Integer(6, 8), "batch": Integer(8, 20, log=True),
    "kind": Categorical(("a", "b", "c")),
})  # fmt: skip
S = Fidelity("s", 0.0, 1.0)
SMALL = SearchSpace({"rate": Float(1e-4, 1.0, log=True), "width": Integer(1, 8), "kind": Categorical(("a", "b"))})


def test_cells_are_those_of_the_space():
    assert SPACE.cells[0] == Cell()
    np.testing.assert_allclose(SPACE.cells[1].values, (1 / 6, 3 / 6, 5 / 6))
    assert len(SPACE.cells[2].values) == 13
    assert SPACE.cells[3] == Cell(width=3)
    assert SearchSpace({"rate": Float(0.0, 1.0), "many": Integer(1, 10_000)}).cells == ()


@pytest.mark.parametrize("seed", range(20))
def test_what_is_snapped_is_reached_exactly_and_stays(seed):
    x = np.random.default_rng(seed).uniform(size=SPACE.dimension)
    with jax.enable_x64(True):
        snapped = np.asarray(snap(jnp.asarray(x), SPACE.cells))
        np.testing.assert_array_equal(snap(jnp.asarray(snapped), SPACE.cells), snapped)
    np.testing.assert_allclose(SPACE.snap(snapped), snapped, atol=1e-12)
    assert snapped[0] == x[0]
    np.testing.assert_array_equal(SPACE.snap(x)[3:], snapped[3:])  # the choice is that of the largest coordinate


def test_the_gradient_by_a_coordinate_with_gaps_is_zero():
    gradient = jax.grad(lambda x: jnp.sum(snap(x, SPACE.cells) ** 2))(jnp.full(SPACE.dimension, 0.4))
    assert gradient[0] == pytest.approx(0.8)
    assert not jnp.any(gradient[1:])


@pytest.mark.parametrize("name", ["ibo", "es", "ei"])
def test_methods_propose_and_answer_what_can_be_reached(name):
    rng, seen = np.random.default_rng(0), empty(SMALL.dimension)
    for x in map(SMALL.snap, rng.uniform(size=(8, SMALL.dimension))):
        seen = append(seen, x, 1.0, objective=float(np.sum((x - 0.4) ** 2)))
    suggestion, _ = make(name, PRESAMPLE_RATIO, cells=SMALL.cells)(jax.random.key(1), seen, None)
    for x in (suggestion.x, suggestion.recommendation):
        np.testing.assert_allclose(SMALL.snap(x), x, atol=1e-9)


def test_a_search_leaves_a_whole_number_that_it_knows():
    """On one whole dimension of four values, three of them known exactly, only the fourth is news.

    Without cells the points beside the known ones promise news, and rounding makes them known ones.
    """
    space, seen = SearchSpace({"n": Integer(1, 4)}), empty(1)
    for n, objective in ((1, 0.3), (2, 0.0), (3, 0.1)):
        for _ in range(2):
            seen = append(seen, space.encode({"n": n}), 1.0, objective=objective)
    chosen = [make("es", S, cells=space.cells)(jax.random.key(seed), seen, None)[0].x for seed in range(8)]
    assert [space.decode(x)["n"] for x in chosen].count(4) >= 6
