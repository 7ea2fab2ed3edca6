"""Algorithm 1 over a run of forty trials: what every suggestion keeps to, the guard, pending trials, and programs."""

import json

import jax
import numpy as np
import pytest

from ibo_jax.acquisition.propose import Proposal
from ibo_jax.methods import ibo, make
from ibo_jax.methods.initial import initial_design
from ibo_jax.observations import Observations, append, capacity_for, empty
from ibo_jax.problems.synthetic import value
from ibo_jax.space import Cell, Fidelity, Integer, SearchSpace
from ibo_jax.surrogate import nuts
from ibo_jax.surrogate.warping import UNWARPED, Warping

KEY, INITIAL, TRIALS = jax.random.key(0), 6, 40
# Levels that no other file has: JAX remembers equal programs of a process, and this file counts compilations.
RATIO = Fidelity("presample_ratio", 1, 3, integer=True, plain=1)


def evaluate(seen: Observations, x: np.ndarray, s: float) -> Observations:
    """Forrester's function of one variable, at cost 0.2 + s."""
    return append(seen, x, s, float(value("forrester", x[None], np.array([s]))[0]), float(np.log(0.2 + s)))


def designed(fidelities: tuple[float, ...]) -> Observations:
    """Evaluations at even places, at these fidelities one after another."""
    seen = empty(1)
    for i, s in enumerate(fidelities):
        seen = evaluate(seen, np.array([(i + 0.5) / len(fidelities)]), s)
    return seen


def suggest(key, seen: Observations, state=None, **options):
    return ibo.suggest(key, seen, state, levels=RATIO.levels, **options)


def assert_equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.fixture(scope="module")
def run():
    """Each trial's observations, state and suggestion; how often the compiler ran; the programs of the run."""
    compilations, steps = [], []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, _, **__: compilations.append(event) if event.endswith("backend_compile_duration") else None
    )
    with pytest.MonkeyPatch.context() as patch:
        for program in (ibo._fit, ibo._propose):
            patch.setattr(program, "programs", {})
        seen, state = empty(1), None
        for x, s in zip(*initial_design(KEY, INITIAL, 1, RATIO), strict=True):
            seen = evaluate(seen, x, s)
        for trial in range(INITIAL, TRIALS):
            before, compilations[:] = (seen, state), []
            suggestion, state = suggest(jax.random.fold_in(KEY, trial), seen, state)
            steps.append((*before, suggestion, len(compilations)))
            seen = evaluate(seen, suggestion.x, suggestion.fidelity)
        yield steps, (dict(ibo._fit.programs), dict(ibo._propose.programs))


def test_a_run_compiles_each_program_once_a_capacity(run):
    steps, programs = run
    capacities = [capacity_for(seen.size) for seen, *_ in steps]
    assert set(capacities) == {32, 64}
    assert [len(kept) for kept in programs] == [2, 2]
    first = [capacities.index(capacity) for capacity in (32, 64)]
    assert [trial for trial, (*_, compiled) in enumerate(steps) if compiled] == first


def test_suggestions_stay_in_the_cube_and_at_the_levels(run):
    for seen, _, suggestion, _ in run[0]:
        for x in (suggestion.x, suggestion.incumbent, suggestion.recommendation):
            assert x.shape == (1,)
            assert np.all((x >= 0) & (x <= 1))
        assert suggestion.fidelity in RATIO.levels
        assert suggestion.warning == ""
        assert suggestion.incumbent in seen.x[: seen.size]
        assert suggestion.predicted_sd > 0
        assert np.all(np.isfinite([v for v in suggestion._replace(entropy=0.0) if isinstance(v, float)]))


def test_the_run_finds_the_optimum(run):
    suggestion = run[0][-1][2]
    assert suggestion.recommendation[0] == pytest.approx(0.75725, abs=0.01)  # Forrester et al., 2008
    assert suggestion.recommendation_objective == pytest.approx(-6.02074, abs=0.1)


def test_the_run_guards_the_target_and_refines_two_suggestions_of_three(run):
    for seen, _, suggestion, _ in run[0]:
        neglected = np.all(seen.fidelity[: seen.size][-3:] < 0.5)
        free = "nearby" if seen.size % 3 else "acquisition"
        assert suggestion.reason == ("guard" if neglected else free)
        assert np.isfinite(suggestion.entropy) == (seen.size % 3 == 0)


@pytest.mark.parametrize("trial", [0, -1])
def test_the_same_arguments_give_the_same_suggestion(run, trial):
    seen, state, suggestion, _ = run[0][trial]
    key = jax.random.fold_in(KEY, seen.size)
    assert_equal(suggest(key, seen, state)[0], suggestion)
    other, _ = suggest(jax.random.key(99), seen, state)
    assert not np.array_equal(other.predicted_sd, suggestion.predicted_sd)


def test_state_goes_through_json_bit_for_bit(run):
    seen, state, suggestion, _ = run[0][-1]
    text = json.dumps({name: array.tolist() for name, array in state.items()})
    restored = {name: np.asarray(values) for name, values in json.loads(text).items()}
    assert_equal(suggest(jax.random.fold_in(KEY, seen.size), seen, restored)[0], suggestion)


def test_padding_of_nan_changes_nothing(run):
    seen, state, suggestion, _ = run[0][-1]
    hole = np.where(seen.mask, 0.0, np.nan)
    names = ("fidelity", "objective", "log_cost")
    poisoned = seen._replace(x=seen.x + hole[:, None], **{name: getattr(seen, name) + hole for name in names})
    assert_equal(suggest(jax.random.fold_in(KEY, seen.size), poisoned, state)[0], suggestion)


def test_a_cold_start_on_many_observations_agrees_with_the_carried_chain(run):
    seen, state, suggestion, _ = run[0][-1]
    cold, after = suggest(KEY, seen, None)
    assert cold.warning == ""
    assert {name: array.shape for name, array in after.items()} == {name: a.shape for name, a in state.items()}
    assert cold.recommendation[0] == pytest.approx(suggestion.recommendation[0], abs=0.02)


@pytest.mark.parametrize(
    ("fidelities", "protocol", "reason"),
    [
        ((1.0, 1.0, 0.0, 0.4, 0.0), "default", "guard"),
        ((0.0, 0.0, 1.0, 0.4, 0.0), "default", "nearby"),
        ((1.0, 0.0, 0.4, 0.6, 0.0), "default", "nearby"),  # near enough
        ((0.4, 0.0), "default", "nearby"),
        ((0.4, 0.0, 1.0), "default", "acquisition"),
        ((1.0, 1.0, 0.0, 0.4, 0.0), "paper", "acquisition"),
        ((1.0, 1.0, 0.0, 0.4, 0.0), "scripts", "acquisition"),
    ],
)
def test_the_guard_fires_after_three_cheap_evaluations(fidelities, protocol, reason):
    suggestion, _ = make("ibo", RATIO, protocol=protocol)(KEY, designed(fidelities), None)
    assert suggestion.reason == reason
    if reason == "guard":
        assert suggestion.fidelity == 1.0
        np.testing.assert_array_equal(suggestion.x, suggestion.recommendation)
        assert suggestion.predicted_objective == pytest.approx(suggestion.recommendation_objective)


def test_each_process_goes_on_from_its_own_chain():
    seen, cold = designed((1.0, 0.0, 0.4, 1.0)), nuts.cold_chain(1)._asdict()
    state = ibo.fit_surrogates(KEY, seen, None).state
    for name, other in (("error", "cost"), ("cost", "error")):
        without = state | {f"{name}_{field}": value for field, value in cold.items()}
        known, lost = (ibo.fit_surrogates(KEY, seen, chains) for chains in (state, without))
        assert_equal(getattr(lost, other), getattr(known, other))
        assert not np.array_equal(getattr(lost, name).log_noise, getattr(known, name).log_noise)


def test_only_what_is_pending_near_the_target_and_there_is_asked():
    def asked(s, *, pending):
        return ibo.is_asked(append(empty(2), np.array([0.5, 0.3]), s, pending=pending), np.array([0.505, 0.3]))

    assert asked(1.0, pending=True)
    assert not asked(0.4, pending=True)
    assert not asked(1.0, pending=False)
    assert not ibo.is_asked(append(empty(2), np.array([0.5, 0.3]), 1.0, pending=True), np.array([0.5, 0.7]))


@pytest.mark.parametrize("warping", [UNWARPED, Warping(location=2.0, scale=3.0, power=0.5)])
def test_a_suggestion_tells_the_proposal_in_the_units_of_the_objective(warping):
    numbers = {"mean": 0.9, "sd": 0.3, "incumbent_mean": 0.7, "recommendation_mean": 0.6}
    proposal = Proposal(**(dict.fromkeys(Proposal._fields, np.ones(())) | {k: np.array(v) for k, v in numbers.items()}))
    told = ibo._describe(proposal, warping, "acquisition", "")
    mean, incumbent, recommendation, low, high = warping.invert(np.array([0.9, 0.7, 0.6, 0.6, 1.2]))
    assert told.predicted_objective == pytest.approx(mean)
    assert told.incumbent_objective == pytest.approx(incumbent)
    assert told.recommendation_objective == pytest.approx(recommendation)
    assert told.predicted_sd == pytest.approx((high - low) / 2)


def test_the_guard_does_not_ask_again_what_failed_or_still_runs():
    seen = designed((1.0, 1.0, 0.0, 0.4, 0.0))
    first, _ = suggest(KEY, seen)
    assert first.reason == "guard"
    asked = append(empty(1), first.x, 1.0, pending=True)
    for x, s in zip(seen.x[: seen.size], seen.fidelity, strict=False):
        asked = evaluate(asked, x, s)
    second, _ = suggest(KEY, asked)
    assert abs(second.recommendation[0] - first.x[0]) < 0.01  # what the guard would ask
    assert second.reason != "guard"
    assert np.isfinite(second.predicted_sd)


def test_expected_improvement_asks_nowhere_again():
    """Beyond the best, where evaluations do not end, the improvement that is expected does not become less."""
    seen = empty(1)
    for x in (0.1, 0.2, 0.3, 0.4, 0.5):
        seen = append(seen, np.array([x]), 1.0, 1.2 - x)
    asked, reasons = [], []
    for trial in range(12):
        suggestion, _ = make("ei", Fidelity("s", 0.0, 1.0))(jax.random.key(trial), seen, None)
        apart = np.abs(np.array([*asked, np.inf]) - suggestion.x[0]).min()
        assert apart >= ibo.GUARD_APART or suggestion.reason == "random"
        reasons.append(suggestion.reason)
        if suggestion.x[0] > 0.6:
            asked.append(suggestion.x[0])
            seen = append(seen, suggestion.x, 1.0, pending=True)
    assert "random" in reasons[1:]


@pytest.mark.parametrize("state", ["pending", "failed"])
def test_what_runs_or_failed_is_not_asked_again_when_nothing_else_is_left_to_learn(state):
    """Of two values one is known, the other promises more."""
    cells, levels, seen = (Cell(values=(0.25, 0.75)),), (0.0, 1.0), empty(1)
    for x, s, objective in ((0.25, 0.0, 1.0), (0.25, 1.0, 1.1), (0.75, 0.0, 0.0), (0.25, 1.0, 1.1)):
        seen = append(seen, np.array([x]), s, objective, np.log(0.2 + s))
    asked = append(seen, np.array([0.75]), 1.0, **{state: True})
    for seed in range(4):
        suggestion, _ = ibo.suggest(jax.random.key(seed), asked, cells=cells, levels=levels)
        assert (suggestion.x[0], suggestion.fidelity) != (0.75, 1.0)


def test_one_loss_that_exploded_does_not_blind_the_search():
    """Beside it lies another, so that a model that saw it would take it for noise."""
    x = np.random.default_rng(0).random(20)
    seen = empty(1)
    for place in x:
        seen = append(seen, np.array([place]), 1.0, 1e6 if place == np.sort(x)[0] else (place - 0.4) ** 2)
    suggestion, _ = suggest(KEY, seen)
    assert suggestion.incumbent[0] == x[np.argmin(abs(x - 0.4))]
    assert suggestion.recommendation[0] == pytest.approx(0.4, abs=0.02)


@pytest.mark.parametrize("seed", range(4))
def test_a_pending_trial_moves_the_next_and_enters_no_fit(seed):
    seen, key = designed((1.0, 0.0, 0.4, 1.0, 0.0, 1.0, 0.4)), jax.random.key(seed)
    alone, state = suggest(key, seen)
    beside, state_beside = suggest(key, append(seen, alone.x, alone.fidelity, np.nan, np.nan, pending=True))
    assert_equal(state_beside, state)
    assert beside.reason == alone.reason == "nearby"
    assert beside.incumbent in seen.x[: seen.size]  # not the place that nobody has seen yet
    assert abs(beside.x[0] - alone.x[0]) > 0.01 or beside.fidelity > alone.fidelity  # by .017 or more, eight keys say


@pytest.mark.parametrize("objective", [np.nan, np.inf, 1e300])
def test_objectives_that_cannot_be_fitted_lead_to_a_random_point_and_a_warning(objective):
    seen = designed((1.0, 0.4, 1.0))
    suggestion, state = suggest(KEY, append(seen, np.array([0.9]), 1.0, objective, 0.0))
    assert suggestion.reason == "random"
    assert suggestion.warning
    assert state is None
    assert 0.0 <= suggestion.x[0] <= 1.0
    assert suggestion.fidelity == 1.0
    assert suggestion.incumbent_objective == seen.objective[: seen.size].min()


def test_a_random_point_is_one_that_can_be_reached():
    """Where the surrogate is not finite, on whole numbers."""
    seen = append(designed((1.0, 0.4, 1.0)), np.array([0.9]), 1.0, np.nan, 0.0)
    cells = SearchSpace({"n": Integer(1, 4)}).cells  # with this acquisition a program that another file compiles too
    suggestion, _ = ibo.suggest(KEY, seen, levels=(1.0,), cells=cells, acquisition="information_gain")
    assert suggestion.reason == "random"
    assert suggestion.x[0] in cells[0].values


def test_a_function_that_is_known_leaves_the_gain_a_number():
    """What is left of the prior's variance is then less than its rounding, at which a Cholesky factor fails."""
    method, seen, state = make("ibo", Fidelity("s", 0.0, 1.0)), empty(1), None
    points = list(zip((0.05, 0.3, 0.55, 0.8, 0.95), (1.0, 0.4, 1.0, 0.0, 0.4), strict=True))
    for step in range(25):
        if step >= len(points):
            suggestion, state = method(jax.random.key(step), seen, state)
            assert not suggestion.warning
            points.append((suggestion.x[0], suggestion.fidelity))
        x, s = points[step]
        seen = append(seen, np.array([x]), s, (x - 0.4) ** 2 + 0.1 * (1 - s), np.log(1 + s))
    assert abs(suggestion.recommendation[0] - 0.4) < 5e-3
