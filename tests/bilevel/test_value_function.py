"""The value function, the augmented Lagrangian, and the tuner made of them, on a known problem and on the digits."""

import gc
import math
import weakref
from dataclasses import replace
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, serialization

from ibo_jax import bilevel
from ibo_jax.bilevel import coordinates, first_solves, optimal_value, schedules, value_function
from ibo_jax.bilevel.augmented_lagrangian import Functions, Iterate, Multipliers, augmented, clip, minimise
from ibo_jax.bilevel.lower_level import lower_level
from ibo_jax.problems import catalogue
from ibo_jax.problems.training import training_problem
from ibo_jax.space import Float, Integer, SearchSpace
from ibo_jax.surrogate import nuts
from ibo_jax.surrogate.kernels import ERROR_BASIS
from ibo_jax.surrogate.likelihood import TrainingData
from ibo_jax.surrogate.model import error_prior, standardise
from ibo_jax.surrogate.posterior import condition, predict
from ibo_jax.training.datasets import load, take
from ibo_jax.training.networks import squared_kernels

LOW, HIGH = np.array([-3.0], np.float32), np.array([3.0], np.float32)


def ridge_phi(values):
    """min_w (w - 1)^2 + e^lambda w^2, at w = 1 / (1 + e^lambda)."""
    return jnp.exp(values[0]) / (1 + jnp.exp(values[0]))


PHI = jax.tree_util.Partial(ridge_phi)
RIDGE = Functions(lambda w, data: (w - 0.4) ** 2, lambda w, values, data: (w - 1) ** 2 + jnp.exp(values[0]) * w**2)
RIDGE_PASS = jax.jit(partial(minimise, functions=RIDGE, checks=6))
RATES = np.array([[0.01], [0.05]]) * np.linspace(1, 0, 600, endpoint=False)
SCHEDULE = RATES.astype(np.float32), np.full(2, 0.9, np.float32)


def ridge_pass(w, values, multipliers, rates=SCHEDULE, box=(LOW, HIGH), key=0):
    start = jnp.asarray(w, jnp.float32), jnp.asarray(values, jnp.float32)
    return RIDGE_PASS(jax.random.key(key), *start, PHI, multipliers, box, *rates, None)


def test_passes_solve_a_bilevel_problem_from_an_infeasible_start():
    """The minimiser of F is w = 0.4, which is optimal for e^lambda = 1.5."""
    w, values, multipliers = 5.0, [-2.5], Multipliers()
    for _ in range(5):
        end = ridge_pass(w, values, multipliers)
        w, values = end.params, end.values
        constraint = float(end.objective - ridge_phi(end.values))
        multipliers = multipliers.after(constraint)
    assert abs(constraint) / float(end.objective) <= 0.02
    assert float(w) == pytest.approx(0.4, abs=0.01)
    assert math.exp(float(values[0])) == pytest.approx(1.5, abs=0.05)


def test_the_gradient_is_that_of_the_published_formula():
    w, values, at = 0.7, jnp.array([0.3]), Multipliers(3.0, 5.0)
    slopes = jax.grad(lambda w, values: augmented(RIDGE, ridge_phi, at, w, values, None)[0], (0, 1))(w, values)
    lam = math.exp(0.3)
    c = (w - 1) ** 2 + lam * w**2 - lam / (1 + lam)
    factor = 5.0 * c + 3.0
    assert float(slopes[0]) == pytest.approx(2 * (w - 0.4) + factor * (2 * (w - 1) + 2 * lam * w), rel=1e-5)
    assert float(slopes[1][0]) == pytest.approx(factor * (lam * w**2 - lam / (1 + lam) ** 2), rel=1e-5)


def test_multipliers_follow_the_published_schedule():
    assert Multipliers().after(0.5) == (3.0, 3.0)
    assert Multipliers(3.0, 3.0).after(-1.0) == (0.0, 4.5)


def test_gradients_are_clipped_to_norm_two():
    assert clip(jnp.array([3.0, 4.0])).tolist() == pytest.approx([1.2, 1.6])
    assert clip(jnp.array([0.3, 0.4])).tolist() == pytest.approx([0.3, 0.4])
    assert clip(jnp.zeros(2)).tolist() == [0.0, 0.0]


def test_a_diverging_rate_gives_the_start_back():
    end = ridge_pass(0.5, [0.0], Multipliers(), (np.full((1, 6), 1e30, np.float32), np.ones(1, np.float32)))
    assert int(end.choice) == -1
    assert (float(end.params), float(end.values[0])) == (0.5, 0.0)


def test_the_best_of_several_rates_wins():
    bad = np.concatenate([np.full((1, 600), 1e-7), RATES[1:]]).astype(np.float32)
    assert int(ridge_pass(5.0, [-2.5], Multipliers(), (bad, SCHEDULE[1])).choice) == 1


@pytest.mark.parametrize("bound", [-2.0, 3.0])
def test_lambda_stays_in_its_box_and_may_end_on_its_bound(bound):
    """Where the optimum lies outside, lambda stops at the bound on the way to it."""
    box = (LOW, np.array([-2.0], np.float32)) if bound < 0 else (np.array([2.9], np.float32), HIGH)
    end = ridge_pass(0.5, [-2.5 if bound < 0 else 3.0], Multipliers(), box=box)
    assert float(end.values[0]) == pytest.approx(-2.0 if bound < 0 else 2.9)
    assert np.isfinite(end.lagrangian)


def test_nothing_finite_is_told_by_an_infinite_lagrangian():
    assert np.isinf(ridge_pass(math.nan, [0.0], Multipliers()).lagrangian)


def fitted(values=None, **settings):
    points = np.linspace(-3, 3, 12)[:, None]
    mask = np.arange(12) < 10
    y = np.where(mask, np.asarray(ridge_phi(points.T)) if values is None else values, np.nan)
    return optimal_value.fit(jax.random.key(0), points, y, mask, LOW, HIGH, **settings)


def test_phi_hat_is_the_mean_of_the_surrogate():
    """In float32 within its rounding of the posterior in float64; padding counts for nothing."""
    (phi, _), where = fitted(), np.array([0.37])
    with jax.enable_x64(True):
        x, s = jnp.linspace(0, 1, 12)[:10, None], jnp.ones(10)
        data = TrainingData(x, s, ridge_phi(6 * x.T - 3), s > 0, jnp.array(ERROR_BASIS))
        draws, _, _ = nuts.fit(jax.random.key(0), data, error_prior(1), nuts.cold_chain(1))
        known, location, scale = standardise(data)
        at = jnp.array([[(where[0] + 3) / 6]])
        means = [predict(condition(jax.tree.map(lambda leaf: leaf[i], draws), known), at, s[:1])[0] for i in range(16)]  # noqa: B023
        expected = float(location + scale * jnp.mean(jnp.stack(means)))
    assert float(phi(where)) == pytest.approx(expected, abs=1e-3)
    assert float(phi(where)) == pytest.approx(float(ridge_phi(where)), abs=3e-3)


@pytest.mark.parametrize("positive", [False, True])
def test_the_slope_of_phi_hat_is_that_of_the_value(positive):
    phi, _ = fitted(positive=positive)
    lam = math.exp(-0.5)
    assert float(jax.grad(phi)(jnp.array([-0.5]))[0]) == pytest.approx(lam / (1 + lam) ** 2, rel=0.05)


def test_rough_solves_tell_the_shape_and_exact_ones_the_level():
    """All but the fourth stop 30 % above the optimum."""
    exact = np.asarray(ridge_phi(np.linspace(-3, 3, 12)[None]))
    rough = np.arange(12) != 4
    phi, _ = fitted(np.where(rough, 1.3, 1.0) * exact, rough=rough, positive=True)
    at = np.linspace(-3, 3, 12)[4:5]
    assert float(phi(at)) == pytest.approx(exact[4], rel=0.02)
    # by chain .02 to .07 below, as eight keys say; without the shape it would be .13 below, without the level .3 above
    assert float(phi(at + 0.2)) == pytest.approx(float(ridge_phi(at + 0.2)), rel=0.1)


def test_an_anchored_phi_has_the_value_and_slope_that_it_is_told():
    """Five solves that end up to a tenth above phi leave a slope that is wrong; the anchor mends it around itself."""
    points, lifted = np.linspace(-3, 3, 5), np.array([1.1, 1.0, 1.1, 1.0, 1.1])
    known = np.arange(12) < 5  # in as many places as above: a program for all
    x, y = np.pad(points, (0, 7)), np.pad(lifted * np.asarray(ridge_phi(points[None])), (0, 7))
    phi, _ = optimal_value.fit(jax.random.key(0), x[:, None], y, known, LOW, HIGH, positive=True)
    centre = jnp.array([0.5])
    value, slope = ridge_phi(centre), jax.grad(ridge_phi)(centre)
    better = optimal_value.anchored(phi, centre, value, slope)
    assert float(better(centre)) == pytest.approx(float(value), rel=1e-5)
    np.testing.assert_allclose(jax.grad(better)(centre), slope, rtol=1e-4)
    for step in (-0.2, 0.2):
        error = [abs(float(model(centre + step) - ridge_phi(centre + step))) for model in (phi, better)]
        assert error[1] < 0.2 * error[0]


def test_without_a_finite_value_the_fit_says_so():
    with pytest.raises(ValueError, match="diverged"):
        fitted(np.full(12, np.nan))
    with pytest.raises(ValueError, match="positive"):
        fitted(np.full(12, -1.0), positive=True)


def network(h):
    del h
    return linen.Sequential([lambda x: x.reshape(len(x), -1), linen.Dense(10)])


def l2(params, h):
    return h["l2"] * squared_kernels(params)


SPACE = SearchSpace({"l2": Float(1e-4, 1e-1, log=True)})


def small(space=SPACE, *, penalty=l2, network=network, rate=0.2, optimizer=None):
    """A linear model of 200 digits, trained to the end in a blink."""
    return training_problem(
        "small", space, take(load("digits", normalise="unit"), train=200, valid=100),
        network=network, optimizer=optimizer or (lambda h, steps: optax.sgd(rate, 0.5)), epochs=10,
        batch_size=lambda h: 20, penalty=penalty,
    )  # fmt: skip


def warming(decay):
    """The first update is zero, whatever the decay."""
    return optax.chain(optax.add_decayed_weights(decay), optax.sgd(optax.linear_schedule(0.0, 0.1, 10)))


def run(tuner, seed=0, epochs=None, state=None):
    """All measures and states."""
    key = jax.random.key(seed)
    states, measures = [tuner.init(key) if state is None else state], []
    for number in range(int(states[0].solves), tuner.epochs if epochs is None else epochs):
        state, measured = tuner.update(jax.random.fold_in(key, number), states[-1])
        states.append(state)
        measures.append(measured)
    return states, measures


@cache
def finished():
    tuner = value_function.tuner(small())
    return tuner, *run(tuner)


def test_an_update_is_a_solve_or_a_pass_and_only_passes_are_scored():
    tuner, states, measures = finished()
    assert tuner.epochs == len(measures) == 15  # lower-level solves
    assert [np.isnan(measured.score) for measured in measures] == [True] * 10 + [False] * 5
    assert all(measured.finite for measured in measures)
    assert int(states[-1].solves) == 15
    assert np.isfinite(states[-1].solved).all()


def test_a_pass_starts_from_the_last_solve_where_the_constraint_holds():
    _, states, _ = finished()
    lower = lower_level(small())

    def f(params, values):
        return float(lower.functions.train_objective(params, jnp.asarray(values), lower.data))

    for state in states[11:]:
        start = f(state.start_params, state.start_values)
        assert start == pytest.approx(float(state.solved[int(state.solves) - 1]), rel=1e-5)
        assert start <= f(state.params, state.values)


def test_passes_end_nearly_feasible_and_inside_the_space():
    tuner, states, measures = finished()
    violations = [measured.score for measured in measures[10:]]
    assert 0 <= min(violations) <= 0.05 < violations[0]
    for state in states[1:]:
        assert 1e-4 <= tuner.hyperparameters(state)["l2"] <= 1e-1


def test_what_fewer_passes_save_are_solves_beside_the_best_of_the_design():
    tuner = value_function.tuner(small(), passes=1)
    states, measures = run(tuner)
    _, whole, _ = finished()
    assert tuner.epochs == tuner.limit == len(measures) == 15
    np.testing.assert_array_equal(states[9].solved[:9], whole[9].solved[:9])
    assert [np.isnan(measured.score) for measured in measures] == [True] * 14 + [False]
    (low, high), best, beside = coordinates.bounds(SPACE), states[10].start_values, states[14].points[10:14]
    assert np.all(np.abs(beside - best) < 0.1 * (high - low))
    assert len(np.unique(states[14].points[:14])) == 14
    losses = [measured.more["valid_loss"] for measured in measures[:14]]
    assert float(states[14].start_loss) == pytest.approx(min(losses))
    assert float(states[14].start_values[0]) == float(states[14].points[np.argmin(losses), 0])


@pytest.mark.parametrize("best", [[-1.0, 1.0, 0.5], [0.1, -0.2, 0.0]])
def test_solves_beside_the_best_spread_over_its_surroundings_inside_the_box(best):
    low, high, best = -np.ones(3), np.ones(3), np.array(best)
    points = first_solves.beside(best, low, high, 27, 4)
    below, above = np.maximum(low, best - 2 / 3), np.minimum(high, best + 2 / 3)  # 27 points are 3 a side
    quarters = np.floor(4 * (points - below) / (above - below))
    np.testing.assert_array_equal(np.sort(quarters, axis=0), np.tile(np.arange(4.0)[:, None], 3))


def test_by_the_envelope_no_first_solve_counts_for_more_than_the_best_ones_weights_reach():
    """A solve that failed, as where a network died, says nothing of phi, which is below f of any weights."""
    tuner, (_, states, _) = value_function.tuner(small(), envelope=True), finished()
    failed = states[9].solved.copy()
    failed[5] = 5.0
    (_, last), _ = run(tuner, epochs=10, state=states[9]._replace(solved=failed))
    lower = lower_level(small())
    reached = lower.functions.train_objective(last.start_params, jnp.asarray(last.points[5]), lower.data)
    assert float(last.solved[5]) == pytest.approx(float(reached), rel=1e-5)
    assert reached < 5.0


def test_by_the_envelope_a_pass_sets_out_with_value_and_slope_of_its_own_start():
    game = value_function._game(small(), 5, corrected=True, envelope=True)
    _, states, _ = finished()
    for state in (states[10], states[13]):
        with jax.enable_x64(False):
            phi, _ = value_function._fit(game, jax.random.key(0), state)
            at = jnp.asarray(state.start_values)
            objective = game.lower.functions.train_objective
            f, slope = jax.value_and_grad(objective, 1)(state.start_params, at, game.lower.data)
            assert float(phi(at)) == pytest.approx(float(f), rel=1e-5)
            np.testing.assert_allclose(jax.grad(phi)(at), slope, rtol=1e-3)


def test_by_the_envelope_a_pass_stays_near():
    """What is exact at one place is good around it."""
    tuner, (_, states, _) = value_function.tuner(small(), envelope=True), finished()
    (_, last), _ = run(tuner, epochs=11, state=states[10])
    (low, high), moved = coordinates.bounds(SPACE), np.abs(last.values - states[10].start_values)
    assert np.all(moved <= 0.01 * (high - low) + 1e-6)
    assert moved.max() > 0


@pytest.mark.parametrize("shift", [None, -10.0])
def test_where_f_reaches_zero_or_is_negative_there_are_passes_too(shift):
    """As with a loss of exactly 0, or a penalty with the normaliser of a prior."""
    tuner, states, _ = finished()
    solved = states[10].solved + (-np.nanmin(states[10].solved) if shift is None else shift)
    _, (measured,) = run(tuner, epochs=11, state=states[10]._replace(solved=solved))
    assert measured.finite
    assert np.all(np.isfinite(list(measured.more.values())))


def test_a_violation_is_a_number_where_f_is_zero(monkeypatch):
    """Zero if phi is zero too, and large if phi is below."""
    game, (_, states, _) = value_function._game(small(), 5, corrected=True, envelope=False), finished()
    state = states[10]._replace(solved=np.where(np.isfinite(states[10].solved), np.float32(0), np.nan))
    end = Iterate(state.params, state.values, *map(jnp.float32, (0.0, 0.1, 0.0)), jnp.int32(0))
    monkeypatch.setattr(value_function, "_descend", lambda *_: end)
    for reached, expected in ((0.0, 0.0), (-1.0, 1e12)):
        monkeypatch.setattr(value_function, "_settle", lambda *_, reached=reached: (state.params, reached, reached))
        _, measured = value_function._improve(game, jax.random.key(0), state)
        assert measured.score == pytest.approx(expected)


def test_the_tuner_refuses_to_make_no_pass():
    with pytest.raises(ValueError, match="at least one pass, got 0"):
        value_function.tuner(small(), passes=0)


def test_the_parameters_are_those_of_the_network():
    tuner, states, _ = finished()
    expected = jax.eval_shape(
        lambda: small().learning.task.learner({"l2": 0.1}, 1).init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    )
    assert jax.tree.map(jnp.shape, tuner.params(states[-1])) == jax.tree.map(lambda leaf: leaf.shape, expected)


def test_a_run_resumed_from_bytes_is_the_same():
    tuner, states, measures = finished()
    for number in (4, 12):
        saved = serialization.to_bytes(states[number])
        restored = serialization.from_bytes(tuner.init(jax.random.key(9)), saved)
        _, again = run(tuner, epochs=number + 1, state=restored)
        assert again[0].more == measures[number].more


def test_a_pass_compiles_nothing_after_the_first(caplog):
    tuner, states, _ = finished()
    with jax.log_compiles():
        run(tuner, seed=1, epochs=2)
        run(tuner, epochs=14, state=states[13])
    assert "compil" not in caplog.text.lower()


def test_the_published_variant_restarts_and_learns_phi_from_a_batch():
    tuner = value_function.tuner(small(), variant="published")
    states, measures = run(tuner, epochs=12)
    corrected = finished()[1]
    assert all(measured.finite for measured in measures)
    np.testing.assert_array_equal(states[12].start_values, states[10].start_values)
    assert not np.array_equal(corrected[12].start_values, corrected[11].start_values)
    np.testing.assert_array_equal(corrected[1].points[:10], states[1].points[:10])
    assert not np.allclose(states[10].solved[:10], corrected[10].solved[:10], rtol=1e-3)
    rates = schedules.published().rates
    assert rates[:, 0].max() == pytest.approx(0.1**2)


def test_equal_keys_give_equal_bits():
    tuner, _, measures = finished()
    assert run(tuner, epochs=11)[1][10].more == measures[10].more


def test_two_weights_of_a_catalogued_problem():
    """The answer beats the best of the first solves on the test set, as it learns from validation examples too."""
    problem = catalogue.problem("digits-l2", scale="smoke")
    tuner = bilevel.make("value-function", problem)
    states, measures = run(tuner)
    assert len(measures) == 30
    assert all(measured.finite for measured in measures)
    task, data = problem.learning
    learner = task.learner(tuner.hyperparameters(states[-1]), 1)
    inputs = jnp.asarray((data.test_inputs.astype(np.float32) - data.mean) / data.scale)

    def test_loss(state):
        logits = learner.apply(tuner.params(state), inputs, train=False, key=None)
        return float(optax.softmax_cross_entropy_with_integer_labels(logits, data.test_labels).mean())

    assert test_loss(states[-1]) < test_loss(states[25])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"penalty": None}, "expected a penalty"),
        ({"space": SearchSpace({"l2": Float(1e-4, 1e-1), "more": Float(0.1, 1.0)})}, "ignores 'more'"),
        ({"optimizer": lambda h, steps: optax.sgd(h["l2"])}, "through the penalty alone"),
        ({"optimizer": lambda h, steps: warming(h["l2"])}, "through the penalty alone"),
        ({"optimizer": lambda h, steps: optax.MultiSteps(optax.sgd(h["l2"]), 4)}, "through the penalty alone"),
        ({"space": SearchSpace({"l2": Integer(1, 3)})}, "real hyperparameters"),
    ],
)
def test_problems_that_it_cannot_move_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        value_function.tuner(small(**settings))


@pytest.mark.parametrize("cause", ["rate", "data"])
def test_a_problem_without_numbers_ends_as_not_finite(cause):
    """A learning rate at which every training diverges, and data that hold NaN."""
    problem = small(rate=1e30 if cause == "rate" else 0.2)
    if cause == "data":
        learning = problem.learning
        spoilt = np.where(np.arange(100)[:, None, None, None] < 1, np.nan, learning.data.valid_inputs)
        problem = replace(problem, learning=learning._replace(data=learning.data._replace(
            valid_inputs=spoilt.astype(np.float32))))  # fmt: skip
    tuner = value_function.tuner(problem)
    _, measures = run(tuner, epochs=10)
    assert [measured.finite for measured in measures] == [True] * 9 + [False]


def test_a_few_diverged_solves_are_left_out():
    """Half of the design: where the penalty is so large that the descent on it diverges."""
    tuner = value_function.tuner(small(SearchSpace({"l2": Float(1e-4, 1e3, log=True)})))
    states, measures = run(tuner, epochs=12)
    assert 0 < np.isnan(states[10].solved[:10]).sum() <= 7
    assert measures[-1].finite
    assert np.isfinite(measures[-1].score)


def test_more_than_two_weights_get_a_design_that_fills_the_space():
    points = first_solves.design(np.full(3, -1.0, np.float32), np.ones(3, np.float32))
    assert points.shape == (32, 3)
    assert len(np.unique(np.floor(2 * (points + 1)), axis=0)) > 15  # of the 64 cells of half a unit


def test_a_tuner_that_is_gone_leaves_no_program_behind():
    functions = Functions(*(lambda *arguments, of=of: of(*arguments) for of in RIDGE[:2]))
    start = jnp.asarray(0.5, jnp.float32), jnp.zeros(1, jnp.float32)
    steps = np.full((1, schedules.PARTS), 0.1, np.float32), np.zeros(1, np.float32)
    value_function._minimiser(functions)(jax.random.key(0), *start, PHI, Multipliers(), (LOW, HIGH), *steps, None)
    gone = weakref.ref(functions.valid_loss)
    del functions
    gc.collect()
    assert gone() is None


def test_weights_that_start_at_zero_are_no_reason_to_refuse_a_penalty():
    made = training_problem(
        "zeros", SearchSpace({"l2": Float(1e-4, 1.0, log=True)}), load("digits"), epochs=1, batch_size=50,
        network=lambda h: linen.Sequential([lambda x: x.reshape(len(x), -1),
                                            linen.Dense(10, kernel_init=linen.initializers.zeros)]),
        optimizer=lambda h, steps: optax.sgd(0.1),
        penalty=lambda params, h: h["l2"] * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params)),
    )  # fmt: skip
    assert lower_level(made).per_epoch > 0


def test_gradients_of_half_precision_are_shortened_not_lost():
    shortened = clip(jnp.array([300.0, 400.0], jnp.float16))  # 500^2 > 65504
    np.testing.assert_allclose(shortened, [1.2, 1.6], rtol=1e-3)
    assert shortened.dtype == jnp.float16


def test_a_box_of_double_precision_does_not_change_the_type_of_lambda():
    with jax.enable_x64(True):
        box = jnp.asarray(LOW, jnp.float64), jnp.asarray(HIGH, jnp.float64)
        start = jnp.array(0.0, jnp.float32), jnp.zeros(1, jnp.float32)
        end = RIDGE_PASS(jax.random.key(0), *start, PHI, Multipliers(), box, *SCHEDULE, None)
        assert end.values.dtype == jnp.float32
