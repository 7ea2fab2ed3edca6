"""The program that proposes: cost enters as a divisor, representers cover what they must, one compilation suffices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibo_jax.acquisition import propose as program
from ibo_jax.acquisition.representers import draw_representers, refined_pool
from ibo_jax.methods import ibo
from ibo_jax.observations import Observations, append, empty
from ibo_jax.problems.synthetic import value

KEY = jax.random.key(3)


def observations(count: int, log_price=lambda x, s: np.log(0.2 + s)) -> Observations:
    rng, seen = np.random.default_rng(0), empty(1)
    for x, s in zip(rng.random((count, 1)), rng.random(count), strict=True):
        seen = append(seen, x, s, float(value("forrester", x, s)), float(log_price(x[0], s)))
    return seen


@pytest.fixture(scope="module")
def fits():
    return ibo.fit_surrogates(KEY, observations(8), None)


def propose(fits, seen: Observations, **options):
    return ibo._propose(KEY, seen, fits.error, fits.cost, levels=None, **options)


def test_twice_the_cost_is_half_the_acquisition(fits):
    cheap = propose(fits, observations(8))
    dear = propose(fits, observations(8, lambda x, s: np.log(2 * (0.2 + s))))
    np.testing.assert_allclose(dear.acquisition, cheap.acquisition / 2, rtol=1e-4)
    np.testing.assert_allclose(np.append(dear.x, dear.s), np.append(cheap.x, cheap.s), atol=1e-3)


def test_expected_improvement_ignores_cost_and_fidelity(fits):
    one = propose(fits, observations(8), acquisition="expected_improvement")
    other = propose(fits, observations(8, lambda x, s: 5 * x), acquisition="expected_improvement")
    np.testing.assert_array_equal(one.x, other.x)
    assert one.s == other.s == 1.0


def test_incumbent_is_evaluated_and_the_recommendation_no_worse(fits):
    seen = observations(8)
    proposal = propose(fits, seen)
    assert any(np.array_equal(proposal.incumbent, x) for x in seen.x[:8])
    assert proposal.recommendation_mean <= proposal.incumbent_mean + 1e-9
    assert 0 <= proposal.entropy <= np.log(program.REPRESENTERS)
    assert np.all((proposal.x >= 0) & (proposal.x <= 1))
    assert 0 <= proposal.s <= 1


def test_levels_are_respected(fits):
    levels = (0.0, 0.4, 1.0)
    proposal = ibo._propose(KEY, observations(8), fits.error, fits.cost, levels=levels)
    assert float(proposal.s) in levels


def test_padding_of_nan_proposes_the_same_exactly(fits):
    seen = observations(8)
    hole = np.where(seen.mask, 0.0, np.nan)
    poisoned = seen._replace(x=seen.x + hole[:, None], **{name: getattr(seen, name) + hole
                             for name in ("fidelity", "objective", "log_cost")})  # fmt: skip
    jax.tree.map(np.testing.assert_array_equal, propose(fits, seen), propose(fits, poisoned))


def test_a_search_compiles_once_a_capacity():
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, _, **__: compiled.append(event) if event.endswith("backend_compile_duration") else None
    )
    state = None
    for count in (4, 5, 6, 20):
        _, state = ibo.suggest(jax.random.fold_in(KEY, count), observations(count), state)
        if count == 4:
            compiled.clear()
    assert compiled == []


def test_the_pool_stays_in_the_cube_and_crowds_where_the_score_is_high():
    centre = jnp.array([0.02, 0.98, 0.5])

    def score(x):
        return -0.5 * jnp.sum((x - centre) ** 2, axis=1) / 0.03**2

    pool, scores = refined_pool(KEY, score, jnp.full((2, 3), 0.5))
    np.testing.assert_allclose(scores, score(pool), rtol=1e-9)
    assert np.all((pool >= 0) & (pool <= 1))
    distance = np.linalg.norm(pool - centre, axis=1)
    assert distance.min() < 0.5 * distance[:512].min()  # nearer than any of the uniform points
    assert np.median(distance[-128:]) < 0.5 * np.median(distance[:512])
    always = jnp.full((2, 3), 0.25)
    representers = draw_representers(KEY, pool, scores, always, 40)
    np.testing.assert_array_equal(representers[:2], always)
    assert len(np.unique(representers[2:], axis=0)) == 38
    assert np.median(np.linalg.norm(representers - centre, axis=1)) < 0.2
