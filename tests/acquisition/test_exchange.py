"""Integers and choices are maximised over by exchanges."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibo_jax.acquisition.exchange import climb, distinct, neighbours
from ibo_jax.acquisition.expected_improvement import log_ei, mean_at_target
from ibo_jax.acquisition.propose import propose
from ibo_jax.methods import ibo
from ibo_jax.numerics import in_float64
from ibo_jax.observations import append, empty
from ibo_jax.space import Categorical, Float, Integer, SearchSpace
from ibo_jax.surrogate.kernels import ERROR_BASIS
from ibo_jax.surrogate.surrogates import surrogates

SPACE = SearchSpace({
    "rate": Float(1e-4, 1.0, log=True), "units": Integer(1, 9), "batch": Integer(1, 3, log=True),
    "kind": Categorical(("a", "b", "c")), "bias": Categorical((False, True)),
})  # fmt: skip
GRID = SearchSpace({f"n{k}": Integer(0, 5) for k in range(5)} | {k: Categorical((0, 1)) for k in "ab"})


@pytest.mark.parametrize("seed", range(10))
def test_neighbours_differ_in_one_hyperparameter_and_can_be_reached(seed):
    x = SPACE.snap(np.random.default_rng(seed).uniform(size=SPACE.dimension))
    here = SPACE.decode(x)
    there = [SPACE.decode(point) for point in np.asarray(neighbours(jnp.asarray(x), SPACE.cells))]
    changes = [[name for name in SPACE.names if each[name] != here[name]] for each in there]
    assert max(map(len, changes)) == 1
    asked = {name: {each[name] for each in there} - {here[name]} for name in SPACE.names}
    units = here["units"]
    assert asked["rate"] == set()
    assert asked["units"] == {min(max(units + step, 1), 9) for step in (-8, -4, -2, -1, 1, 2, 4, 8)} - {units}
    assert asked["batch"] | {here["batch"]} == {1, 2, 3}
    assert asked["kind"] | {here["kind"]} == {"a", "b", "c"}
    assert asked["bias"] | {here["bias"]} == {False, True}


@pytest.mark.parametrize("seed", range(5))
def test_a_climb_ends_where_no_exchange_is_better(seed):
    rng = np.random.default_rng(seed)
    slope, bend = rng.normal(size=SPACE.dimension), rng.normal(size=(SPACE.dimension, SPACE.dimension))

    def function(x):
        return x @ slope + jnp.sum((x @ bend) * x, axis=1)

    starts = jnp.asarray([SPACE.snap(x) for x in rng.uniform(size=(6, SPACE.dimension))], jnp.float32)
    ends, values = climb(function, starts, function(starts), SPACE.cells)
    np.testing.assert_allclose(values, function(ends), rtol=1e-5)
    np.testing.assert_array_equal(ends[:, 0], starts[:, 0])
    for start, end in zip(function(starts), ends, strict=True):
        around = function(neighbours(end, SPACE.cells))
        assert function(end[None])[0] >= max(start, jnp.max(around)) - 1e-5


def test_a_start_stays_where_no_neighbour_has_a_value():
    cells = SearchSpace({"n": Integer(0, 3)}).cells
    starts = jnp.array([[0.125], [0.875]])
    ends, values = climb(lambda x: jnp.full(len(x), jnp.nan), starts, jnp.array([jnp.nan, -jnp.inf]), cells)
    np.testing.assert_array_equal(ends, starts)
    assert not jnp.any(values > -jnp.inf)


@pytest.mark.parametrize("seed", range(5))
def test_of_equal_points_one_keeps_its_score(seed):
    points = np.random.default_rng(seed).integers(0, 3, size=(200, 4)) / 3
    kept = np.asarray(distinct(jnp.asarray(points), jnp.zeros(len(points)))) == 0
    assert len(np.unique(points[kept], axis=0)) == np.sum(kept) == len(np.unique(points, axis=0))


@pytest.fixture(scope="module")
def everywhere() -> np.ndarray:
    """All 31,104 configurations of `GRID`."""
    values = [cell.values or tuple(np.eye(cell.width)) for cell in GRID.cells]
    return np.array([np.hstack(each) for each in itertools.product(*values)])


def test_what_is_asked_and_answered_is_the_best_of_all_configurations(everywhere):
    """Beside the value of every configuration: a pool of a thousand random points holds the best one seldom."""

    def values(observations, error, cost):
        models = surrogates(observations, error, cost, jnp.asarray(ERROR_BASIS))
        best = jnp.min(jnp.where(observations.mask, mean_at_target(models.error, observations.x), jnp.inf), axis=1)

        def of(x):
            return log_ei(models.error, x, best), jnp.mean(mean_at_target(models.error, x), axis=0)

        parts = jax.lax.map(of, everywhere.reshape(27, -1, GRID.dimension))
        return [part.ravel() for part in parts]

    values, found = in_float64(jax.jit(values)), {"asked": 0, "answered": 0}
    for seed in range(4):
        rng, seen = np.random.default_rng(seed), empty(GRID.dimension)
        for x in rng.choice(everywhere, 15, replace=False):
            seen = append(seen, x, 1.0, objective=float(np.sum((x - 0.4) ** 2) + 0.1 * rng.normal()))
        fits = ibo.fit_surrogates(jax.random.key(seed), seen, None, hyperparameters=len(GRID.cells))
        proposal = in_float64(propose)(
            jax.random.key(seed), seen, fits.error, fits.cost, np.asarray(False), np.asarray(False),
            np.asarray(ERROR_BASIS), np.asarray(1.0),
            levels=(1.0,), acquisition="expected_improvement", cells=GRID.cells,
        )  # fmt: skip
        gain, mean = map(np.asarray, values(seen, fits.error, fits.cost))
        found["asked"] += np.array_equal(everywhere[np.argmax(gain)], proposal.x)
        found["answered"] += np.array_equal(everywhere[np.argmin(mean)], proposal.recommendation)
    assert min(found.values()) >= 3, found


def test_length_scales_are_expected_by_hyperparameters_not_by_coordinates():
    seen = empty(GRID.dimension)
    for x in np.random.default_rng(0).uniform(size=(3, GRID.dimension)):
        seen = append(seen, GRID.snap(x), 1.0, objective=float(np.sum(x)))
    key = jax.random.key(0)
    settings = {"levels": (1.0,), "acquisition": "expected_improvement", "warped": False}
    _, state = ibo.suggest(key, seen, cells=GRID.cells, **settings)
    key_fit = jax.random.split(key, 3)[0]
    fits = [ibo.fit_surrogates(key_fit, seen, None, hyperparameters=count).state for count in (7, None)]
    assert state is not None
    same = [all(np.array_equal(state[name], fit[name]) for name in fit) for fit in fits]
    assert same == [True, False]
