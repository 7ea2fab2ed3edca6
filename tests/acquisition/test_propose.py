"""The program that proposes: cost enters as a divisor, predictions are the surrogate's, representers cover the best."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibo_jax.acquisition import propose as program
from ibo_jax.acquisition.expected_improvement import mean_at_target
from ibo_jax.acquisition.representers import draw_representers, refined_pool
from ibo_jax.methods import ibo
from ibo_jax.numerics import in_float64
from ibo_jax.observations import Observations, append, empty
from ibo_jax.problems.synthetic import value
from ibo_jax.space import Cell, Fidelity
from ibo_jax.surrogate.kernels import ERROR_BASIS, PUBLISHED_ERROR_BASIS
from ibo_jax.surrogate.likelihood import JITTER
from ibo_jax.surrogate.model import LABEL_NOISE, cost_prior, error_prior
from ibo_jax.surrogate.posterior import predict
from ibo_jax.surrogate.surrogates import Surrogates, surrogates
from reference import gaussian_process as twin

KEY = jax.random.key(3)
ONE_DRAW = [jax.tree.map(lambda value: value[None], prior(1).location) for prior in (error_prior, cost_prior)]


def observations(count: int, log_price=lambda x, s: np.log(0.2 + s)) -> Observations:
    rng, seen = np.random.default_rng(0), empty(1)
    for x, s in zip(rng.random((count, 1)), rng.random(count), strict=True):
        seen = append(seen, x, s, float(value("forrester", x, s)), float(log_price(x[0], s)))
    return seen


@pytest.fixture(scope="module")
def fits():
    return ibo.fit_surrogates(KEY, observations(8), None)


def propose(
    fits, seen: Observations, *, guard=False, nearby=False, price_exponent=1.0, levels=None,
    acquisition: str = "information_gain_per_cost", success=None,
):  # fmt: skip
    """The program that a search runs, called just as it does, so that the tests share its compilations."""
    draws = (fits.error, fits.cost)
    given = (np.asarray(guard), np.asarray(nearby), np.asarray(ERROR_BASIS), np.asarray(price_exponent))
    return ibo._propose(KEY, seen, *draws, *given, success, levels=levels, acquisition=acquisition)


def test_twice_the_cost_is_half_the_acquisition(fits):
    cheap = propose(fits, observations(8))
    dear = propose(fits, observations(8, lambda x, s: np.log(2 * (0.2 + s))))
    np.testing.assert_allclose(dear.log_acquisition, cheap.log_acquisition - np.log(2), atol=1e-4)
    np.testing.assert_allclose(np.append(dear.x, dear.s), np.append(cheap.x, cheap.s), atol=1e-3)


def test_price_exponent_is_the_exponent_of_the_price(fits):
    cheap, free = propose(fits, observations(8), price_exponent=0.5), propose(fits, observations(8), price_exponent=0.0)
    dear = propose(fits, observations(8, lambda x, s: np.log(4 * (0.2 + s))), price_exponent=0.5)
    np.testing.assert_allclose(dear.log_acquisition, cheap.log_acquisition - np.log(2), atol=1e-4)
    unpriced = propose(fits, observations(8), acquisition="information_gain")
    np.testing.assert_allclose([*free.x, free.s], [*unpriced.x, unpriced.s], atol=1e-5)
    assert propose(fits, observations(8)).s < free.s


def test_overhead_is_paid_beside_every_cost_and_its_median_counts(fits):
    seen = observations(8)
    hurried, free = propose(fits, seen), propose(fits, seen, acquisition="information_gain")
    slow = propose(fits, seen._replace(overhead=np.where(np.arange(32) < 5, 1e6, np.inf)))
    np.testing.assert_allclose([*slow.x, slow.s], [*free.x, free.s], atol=1e-5)
    assert slow.log_acquisition == pytest.approx(float(free.log_acquisition) - np.log(1e6), abs=1e-4)
    assert hurried.s < free.s


@pytest.mark.parametrize("basis", [PUBLISHED_ERROR_BASIS, np.array(PUBLISHED_ERROR_BASIS)], ids=["named", "array"])
def test_a_basis_is_a_tuple_or_an_array(unchecked_types, basis):
    given = (observations(4), *ONE_DRAW, False, False, basis)
    assert jax.eval_shape(lambda: program.propose(KEY, *given, levels=None)).x.shape == (1,)


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
    levels = Fidelity("presample_ratio", 1, 3, integer=True).levels
    assert float(propose(fits, observations(8), levels=levels).s) in levels


def test_the_guard_proposes_the_recommendation_at_the_target(fits):
    free, guarded = (propose(fits, observations(8), guard=guard) for guard in (False, True))
    np.testing.assert_array_equal(guarded.x, free.recommendation)
    assert guarded.s == 1.0
    assert np.isnan(guarded.log_acquisition)
    assert np.isfinite(free.log_acquisition)
    assert guarded.mean == pytest.approx(float(free.recommendation_mean), rel=1e-9)


def test_where_nothing_is_to_be_gained_the_recommendation_is_tried():
    """Of two places, both known: price alone would choose the cheapest fidelity for ever."""
    cells, seen = (Cell(values=(0.25, 0.75)),), empty(1)
    for x, s in [(0.25, 1.0), (0.75, 1.0), (0.25, 0.5), (0.75, 0.5)] * 4:
        seen = append(seen, np.array([x]), s, x, np.log(0.2 + s))
    fits = ibo.fit_surrogates(KEY, seen, None)
    given = map(np.asarray, (False, False, ERROR_BASIS, 1.0))
    known = ibo._propose(KEY, seen, fits.error, fits.cost, *given, levels=None, cells=cells)
    assert (known.x[0], known.s) == (0.25, 1.0)
    assert known.log_acquisition < np.log(1e-11)
    assert known.entropy == 0


def test_nearby_asks_around_the_recommendation_and_answers_the_same(fits):
    anywhere, nearby = (propose(fits, observations(8), nearby=nearby) for nearby in (False, True))
    np.testing.assert_array_equal(nearby.recommendation, anywhere.recommendation)
    np.testing.assert_array_equal(nearby.incumbent, anywhere.incumbent)
    assert np.abs(nearby.x - nearby.recommendation) < 5 * program.NEAR
    assert np.isfinite(nearby.log_acquisition)
    assert np.isnan(nearby.entropy)
    assert np.isfinite(anywhere.entropy)


def test_predictions_at_the_chosen_point_equal_the_twin(fits):
    """Averaged over draws, in the units of the observations; the spread is that of a noisy observation."""
    seen = observations(8)
    proposal = propose(fits, seen)
    points, point = (seen.x[:8], seen.fidelity[:8]), (proposal.x[None], proposal.s[None])

    def predictions(draws, phi, y):
        values = (y[:8] - y[:8].mean()) / y[:8].std()
        for scale, amplitude, tilt, spread, noise in zip(*draws, strict=True):
            kernel = twin.Kernel(np.exp(scale), np.exp(amplitude), tilt, np.exp(spread), np.exp(noise) + JITTER)
            mean, covariance = twin.posterior(kernel, phi, points, values, point)
            yield y[:8].mean() + y[:8].std() * mean[0], y[:8].var() * (covariance[0, 0] + kernel.noise)

    means, variances = np.array(list(predictions(fits.error, twin.phi_error, seen.objective))).T
    log_costs, _ = np.array(list(predictions(fits.cost, twin.phi_cost, seen.log_cost))).T
    assert proposal.mean == pytest.approx(means.mean(), rel=1e-6)
    assert proposal.sd == pytest.approx(np.sqrt(variances.mean() + means.var()), rel=1e-5)
    assert proposal.log_cost == pytest.approx(np.log(np.mean(np.exp(log_costs))), abs=1e-6)


def test_pending_outcomes_are_imagined_where_they_are(fits):
    @in_float64
    def latent(seen, error, cost, x, s):
        models = surrogates(seen, error, cost)
        return jax.vmap(lambda posterior: predict(posterior, x[None], s[None]))(models.error)

    seen, x, s = observations(8), np.array([0.97]), np.array(0.1)
    waiting = append(seen, x, float(s), np.nan, np.nan, pending=True)
    (mean, variance), (imagined, after) = (latent(o, fits.error, fits.cost, x, s) for o in (seen, waiting))
    np.testing.assert_allclose(imagined, mean, atol=1e-6)
    noise = np.exp(fits.error.log_noise)[:, None] + JITTER
    assert np.all(variance > noise)  # else there is nothing to lower
    np.testing.assert_allclose(after, variance * noise / (variance + noise), rtol=1e-4)


def with_failures(count: int) -> Observations:
    """Evaluations of which those above .6 at s > .4 have failed."""
    seen = observations(count)
    failed = seen.mask & (seen.x[:, 0] > 0.6) & (seen.fidelity > 0.4)
    return seen._replace(failed=failed, objective=np.where(failed, np.nan, seen.objective))


@in_float64
def success_probability(seen, error, cost, success, x, s):
    return surrogates(seen, error, cost, success=success).success_probability(x, s)


def test_success_is_predicted_as_by_the_twin():
    seen, rng = with_failures(12), np.random.default_rng(1)
    assert 2 <= np.sum(seen.failed) <= 10
    fits, x, s = ibo.fit_surrogates(KEY, seen, None), rng.random((9, 1)), rng.random(9)
    labels = np.where(seen.failed, 0.0, 1.0)[:12]
    expected = []
    for scale, amplitude, tilt, spread, noise in zip(*fits.success, strict=True):
        kernel = twin.Kernel(np.exp(scale), np.exp(amplitude), tilt, np.exp(spread), np.exp(noise) + LABEL_NOISE)
        y = (labels - labels.mean()) / labels.std()
        mean, _ = twin.posterior(kernel, twin.phi_cost, (seen.x[:12], seen.fidelity[:12]), y, (x, s))
        expected.append(np.clip(labels.mean() + labels.std() * mean, 0.01, 1.0))
    np.testing.assert_allclose(
        success_probability(seen, *fits[:2], fits.success, x, s), np.mean(expected, axis=0), atol=1e-6
    )


def test_labels_that_could_be_explained_exactly_promise_no_success_at_the_target(fits):
    """All succeed at .16 and fail at 1, elsewhere: without noise the neighbours of a success would succeed at 1 too."""
    seen = empty(1)
    for x in (0.1, 0.3, 0.5, 0.7, 0.9):
        seen = append(seen, np.array([x]), 0.16, x)
    for x in (0.2, 0.4, 0.6, 0.8):
        seen = append(seen, np.array([x]), 1.0, failed=True)
    exact = fits.error._replace(log_length_scale=np.full((16, 1), np.log(0.02)), tilt=np.zeros(16),
        log_amplitude=np.full(16, -7.0), log_spread=np.full(16, -9.0), log_noise=np.full(16, -14.0))  # fmt: skip
    np.testing.assert_allclose(
        success_probability(seen, *fits[:2], exact, np.array([[0.3], [0.7]]), np.ones(2)), 5 / 9, atol=0.02
    )


def test_failures_by_chance_make_every_success_dearer_and_change_nothing_else(fits):
    """Success is noise alone here: its probability is the share of successes wherever one asks."""
    seen = with_failures(12)
    chance = fits.error._replace(log_noise=np.full_like(fits.error.log_noise, 30.0))
    ignored, counted = propose(fits, seen), propose(fits, seen, success=chance)
    share = np.sum(seen.evaluated) / np.sum(seen.mask)
    assert share > 0.5
    assert counted.log_acquisition == pytest.approx(float(ignored.log_acquisition + np.log(share)), abs=0.05)
    np.testing.assert_allclose(counted.recommendation, ignored.recommendation, atol=1e-6)


def test_a_success_more_or_less_probable_than_another_does_not_move_the_recommendation(fits):
    """As after a failure by chance; only what fails sooner than not is penalised."""
    seen = observations(8)
    failed = np.arange(len(seen.mask)) == 1
    seen = seen._replace(failed=failed, objective=np.where(failed, np.nan, seen.objective))
    success = fits.error._replace(
        log_amplitude=0.0 * fits.error.log_noise, log_noise=np.ones_like(fits.error.log_noise)
    )
    varied = success_probability(seen, *fits[:2], success, np.linspace(0, 1, 50)[:, None], np.ones(50))
    assert varied.min() > 0.5
    assert np.ptp(varied) > 0.1
    ignored, counted = propose(fits, seen), propose(fits, seen, success=success)
    np.testing.assert_allclose(counted.recommendation, ignored.recommendation, atol=1e-6)


def test_a_failure_counts_as_the_worst_that_was_seen(rising):
    seen, models = rising
    imagined = models.error.data.y.at[:, 3].set(99.0)  # where an evaluation is pending
    models = models._replace(error=models.error._replace(data=models.error.data._replace(y=imagined)))
    worst = float(models.error.data.y[0, 2])
    found = program._expected(models, seen, np.full(3, -2.0), np.array([0.0, 0.25, 1.0]))
    np.testing.assert_allclose(found, [worst, 0.75 * worst - 0.5, -2.0], rtol=1e-6)


def test_a_recommendation_is_penalised_once_it_fails_sooner_than_not(rising, monkeypatch):
    seen, models = rising

    def mean_where_it_succeeds(probability):
        monkeypatch.setattr(Surrogates, "success_probability", lambda self, x, s: jnp.full(len(x), probability))
        return float(program._recommend(models, seen, jnp.linspace(0.0, 1.0, 9)[:, None], ())[1])

    surely, worst = mean_where_it_succeeds(1.0), float(models.error.data.y[0, 2])
    assert mean_where_it_succeeds(0.5) == pytest.approx(surely)
    assert mean_where_it_succeeds(0.25) == pytest.approx(0.5 * surely + 0.5 * worst)


@pytest.mark.parametrize(("target", "cheaper", "share"), [(0.25, 0.5, 0.5), (0.5, 0.25, 1.0), (0.3, 0.3, 1.0)])
def test_an_incumbent_is_penalised_if_the_target_fails_sooner_than_where_it_was_seen(
    rising, monkeypatch, target, cheaper, share
):
    seen, models = rising
    mean, worst = float(program._best_evaluated(models, seen)[1]), float(models.error.data.y[0, 2])
    monkeypatch.setattr(Surrogates, "success_probability", lambda self, x, s: jnp.where(s == 1.0, target, cheaper))
    for s, kept in (1.0, 1.0), (0.0, share):
        found = program._best_evaluated(models, seen._replace(fidelity=np.full_like(seen.fidelity, s)))[1]
        assert found == pytest.approx(kept * mean + (1.0 - kept) * worst)


@pytest.mark.parametrize("cheap", [0.0, 0.6])
def test_where_the_target_fails_nothing_is_recommended_whatever_cheap_evaluations_promise(cheap):
    """The lowest values lie there. What succeeds at .6 may fail at 1, for want of memory at the largest presample."""
    seen = empty(1)
    for x in np.linspace(0.05, 0.95, 10):
        seen = append(seen, np.array([x]), cheap, 1.0 - x, -0.5)
        seen = append(seen, np.array([x]), 1.0, 1.1 - x, 0.0, failed=bool(x > 0.6))
    fits = ibo.fit_surrogates(KEY, seen, None)
    ignored, avoided = propose(fits, seen), propose(fits, seen, success=fits.success)
    assert min(ignored.incumbent, ignored.recommendation) > 0.9
    assert avoided.incumbent < 0.6
    assert avoided.recommendation < 0.7
    assert avoided.x < 0.7 or avoided.s < 0.8


def test_the_incumbent_is_never_a_pending_point(fits):
    seen = observations(8)
    best = propose(fits, seen).recommendation
    assert best not in seen.x[:8]
    waiting = append(seen, best, 1.0, np.nan, np.nan, pending=True)
    assert propose(fits, waiting).incumbent in seen.x[:8]


@pytest.fixture
def rising():
    """What is known of a function that rises from an edge: three evaluations, and one that is pending below them."""
    seen = empty(1)
    for x in (0.5, 0.2, 0.8):
        seen = append(seen, np.array([x]), 1.0, objective=x, log_cost=0.5, overhead=10.0 * x)
    seen = append(seen, np.array([0.1]), 1.0, np.nan, np.nan, overhead=1e6, pending=True)
    with jax.enable_x64(True):
        two = [jax.tree.map(lambda v: jnp.stack([v, v + 0.3])[:, 0], draw) for draw in ONE_DRAW]
        yield seen, surrogates(seen, *two)


def test_the_best_are_evaluated_and_what_is_improved_on_may_be_pending_but_no_padding(rising):
    seen, models = rising
    kept, mean, best = program._best_evaluated(models, seen)
    np.testing.assert_array_equal(kept[:, 0], [0.2, 0.5, 0.8, 0.2, 0.2])
    padding, pending, lowest = mean_at_target(models.error, jnp.array([[0.0], [0.1], [0.2]])).T
    assert np.all((padding < pending) & (pending < lowest))  # else they could not be mistaken
    np.testing.assert_allclose(mean, lowest.mean())
    np.testing.assert_allclose(best, pending)


def test_the_overhead_of_what_is_pending_does_not_count(rising):
    seen, models = rising
    point = (jnp.array([[0.3]]), jnp.ones(1))
    expected = np.logaddexp(models.log_cost(*point), np.log(5.0))
    np.testing.assert_allclose(program._log_price(models, seen, 1.0)(*point), expected)


def test_padding_of_nan_proposes_the_same_exactly(fits):
    seen = observations(8)
    hole = np.where(seen.mask, 0.0, np.nan)
    poisoned = seen._replace(x=seen.x + hole[:, None], **{name: getattr(seen, name) + hole
                             for name in ("fidelity", "objective", "log_cost")})  # fmt: skip
    jax.tree.map(np.testing.assert_array_equal, propose(fits, seen), propose(fits, poisoned))


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
