"""IBOSampler in plain Optuna studies."""

import json
import math
import time
import warnings

import jax.numpy as jnp
import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from ibo_jax.space import Fidelity, Float, Integer
from ibo_jax.study import convert
from ibo_jax.study import sampler as sampler_module
from ibo_jax.study.optuna_axes import CHOSEN, as_chosen
from ibo_jax.study.propose import propose
from ibo_jax.study.sampler import MOST_FRUITLESS, IBOSampler

optuna.logging.set_verbosity(optuna.logging.WARNING)
PARAMETERS = {
    "x": FloatDistribution(0.0, 1.0),
    "step": FloatDistribution(0.0, 0.9, step=0.3),
    "even": IntDistribution(2, 10, step=2),
    "width": IntDistribution(4, 64, log=True),
    "kind": CategoricalDistribution(["a", "b", None]),
    "presample_ratio": IntDistribution(1, 6),
}


def objective(trial):
    x = trial.suggest_float("x", 0.0, 1.0)
    trial.suggest_float("step", 0.0, 0.9, step=0.3)
    trial.suggest_int("even", 2, 10, step=2)
    trial.suggest_int("width", 4, 64, log=True)
    kind = trial.suggest_categorical("kind", ["a", "b", None])
    assert trial.suggest_float("constant", 0.5, 0.5) == 0.5
    ratio = trial.suggest_int("presample_ratio", 1, 6)
    trial.set_user_attr("cost", 1.0 + ratio)
    return (x - 0.3) ** 2 + (kind == "b") + 0.1 / ratio


def values(study):
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("name", PARAMETERS)
def test_distributions_go_and_come_back(name):
    found = PARAMETERS[name]
    axis = convert.dimension(found)
    rng = np.random.default_rng(0)
    for _ in range(50):
        inside = axis.decode(rng.uniform(size=axis.width))
        value = convert.outward(found, inside)
        assert found._contains(found.to_internal_repr(value))
        assert convert.inward(found, value) == pytest.approx(inside)


@pytest.mark.parametrize("axis", [Float(1e-3, 1.0, log=True), Integer(2, 9)])
def test_dimensions_go_and_come_back(axis):
    assert convert.dimension(convert.distribution(axis)) == axis


def test_state_survives_json_bit_for_bit():
    rng = np.random.default_rng(0)
    state = {
        "position": rng.normal(size=(3, 2)) * 10.0 ** rng.integers(-300, 300, size=(3, 2)),
        "edge": np.array([-0.0, np.inf, np.nan, 5e-324]),
        "step": np.array(7),
        "flag": np.array([True]),
        "half": np.array([0.1], np.float32),
    }
    back = convert.unpack(json.loads(json.dumps(convert.pack(state))))
    for name, array in state.items():
        assert back[name].tobytes() == array.tobytes()
        assert (back[name].dtype, back[name].shape) == (array.dtype, array.shape)


def test_observations_take_scale_sign_pending_and_failed():
    log = convert.Scale("log", floor=1e-3)
    assert (log.model(0.0), log.model(0.5)) == (math.log(1e-3), math.log(0.5))
    assert log.natural(log.model(0.5)) == pytest.approx(0.5)
    up = convert.Scale(sign=-1.0)
    assert (up.model(2.0), up.natural(-2.0)) == (-2.0, 2.0)
    found = convert.observations(
        [
            convert.Evaluation(np.array([0.5]), 1.0, -1.0, 2.0),
            convert.Evaluation(np.array([0.7]), 0.5, pending=True),
            convert.Evaluation(np.array([0.9]), 1.0, failed=True),
        ],
        1,
    )
    assert found.size == 3
    assert found.log_cost[0] == math.log(2.0)
    assert found.pending.tolist()[:3] == [False, True, False]
    assert found.failed.tolist()[:3] == [False, False, True]


@pytest.mark.parametrize("method", ["random", "ibo"])
def test_seeded_study_repeats_and_resumes(method, tmp_path):
    def sampler():
        return IBOSampler("presample_ratio", cost="cost", method=method, initial=3, seed=1)

    whole = optuna.create_study(sampler=sampler())
    whole.optimize(objective, n_trials=6)
    url = f"sqlite:///{tmp_path / 'study.db'}"
    for _ in range(3):
        study = optuna.create_study(storage=url, study_name="s", load_if_exists=True, sampler=sampler())
        study.optimize(objective, n_trials=2)
    # The first trial is drawn by Optuna's own generator, which the seed fixes as well.
    assert values(study) == values(whole)


def test_parameters_drawn_alone_depend_on_seed_and_trial_only(tmp_path):
    def conditional(trial):
        return sum(trial.suggest_float(f"x{layer}", 0.0, 1.0) for layer in range(1 + trial.number % 2))

    found, url = [], f"sqlite:///{tmp_path / 'study.db'}"
    for storage, parts in ((None, [6]), (url, [2, 2, 2])):
        for part in parts:
            sampler = IBOSampler(method="random", initial=2, seed=3)
            study = optuna.create_study(storage=storage, study_name="s", load_if_exists=True, sampler=sampler)
            with warnings.catch_warnings(action="ignore"):
                study.optimize(conditional, n_trials=part)
        found.append([trial.params for trial in study.trials])
    assert found[0] == found[1]


def test_running_trials_of_other_choices_are_left_out():
    study = optuna.create_study(sampler=IBOSampler(method="random", initial=1, seed=0))
    kinds = [{"k": optuna.distributions.CategoricalDistribution(choices)} for choices in (("a", "b"), ("a", "c"))]
    study.add_trial(create_trial(state=TrialState.COMPLETE, value=0.0, params={"k": "a"}, distributions=kinds[0]))
    study.add_trial(create_trial(state=TrialState.RUNNING, params={"k": "c"}, distributions=kinds[1]))
    study.optimize(lambda trial: float(trial.suggest_categorical("k", ("a", "b")) == "a"), n_trials=1)
    assert study.trials[-1].state == TrialState.COMPLETE


def test_known_space_starts_with_the_design():
    space = {name: PARAMETERS[name] for name in ("x", "presample_ratio")}
    study = optuna.create_study(sampler=IBOSampler("presample_ratio", space=space, cost="cost", initial=8, seed=0))

    def simple(trial):
        x, ratio = trial.suggest_float("x", 0.0, 1.0), trial.suggest_int("presample_ratio", 1, 6)
        trial.set_user_attr("cost", ratio)
        return x

    study.optimize(simple, n_trials=8)
    cells = sorted(int(8 * trial.params["x"]) for trial in study.trials)
    assert cells == list(range(8))  # a Latin hypercube


def test_the_last_of_so_many_trials_is_the_recommendation():
    def line(trial):
        x, ratio = trial.suggest_float("x", 0.0, 1.0), trial.suggest_int("presample_ratio", 1, 6)
        trial.set_user_attr("cost", float(ratio))
        return (x - 0.3) ** 2 + 0.1 / ratio

    sampler = IBOSampler("presample_ratio", cost="cost", initial=3, evaluations=6, seed=1)
    study = optuna.create_study(sampler=sampler)
    study.optimize(line, n_trials=6)
    last = study.trials[-1].params
    assert last["presample_ratio"] == 6
    assert last["x"] == pytest.approx(0.3, abs=0.1)
    study.optimize(line, n_trials=1)  # it may go on
    assert study.trials[-1].params["x"] != last["x"]


def test_maximising_finds_the_maximum():
    study = optuna.create_study(direction="maximize", sampler=IBOSampler(method="ei", initial=4, seed=0))
    study.optimize(lambda trial: -((trial.suggest_float("x", -1.0, 1.0) - 0.4) ** 2), n_trials=10)
    assert abs(study.best_params["x"] - 0.4) < 0.05


def test_what_is_observed():
    sampler = IBOSampler("presample_ratio", cost="cost", method="random", seed=0)
    study = optuna.create_study(sampler=sampler)
    kinds = {name: PARAMETERS[name] for name in ("x", "presample_ratio")}

    def add(state, x, **more):
        study.add_trial(create_trial(state=state, params={"x": x, "presample_ratio": 6}, distributions=kinds, **more))

    add(TrialState.COMPLETE, 0.1, value=1.0, user_attrs={"cost": 3})
    add(TrialState.COMPLETE, 0.15, value=1.0)  # somebody else's, of unknown cost
    add(TrialState.FAIL, 0.2)
    add(TrialState.PRUNED, 0.3, value=2.0)
    add(TrialState.RUNNING, 0.4)
    add(TrialState.COMPLETE, 0.5, value=math.inf, user_attrs={"cost": 3})
    with pytest.warns(UserWarning, match="trial 1 has no positive cost: such trials count as the median"):
        found = sampler._observed(study, study.trials, sampler._axes(kinds))
    assert found.x[: found.size, 0].tolist() == [0.1, 0.15, 0.2, 0.3, 0.4, 0.5]
    assert np.flatnonzero(found.pending).tolist() == [4]
    assert np.flatnonzero(found.failed).tolist() == [2, 3, 5]
    assert found.fidelity[: found.size].tolist() == [1.0] * 6
    np.testing.assert_allclose(found.log_cost[:2], math.log(3))
    for place in range(40):
        add(TrialState.PRUNED, 0.6 + 0.01 * place)
    found = sampler._observed(study, study.trials, sampler._axes(kinds))
    assert (found.pending.sum(), found.failed.sum()) == (1, MOST_FRUITLESS)  # what still runs, and the last ones
    assert 0.4 in found.x[: found.size, 0]
    assert found.x[found.size - 1, 0] == pytest.approx(0.99)


def test_duration_is_the_default_cost():
    sampler = IBOSampler(method="random", seed=0)
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=3)
    found = sampler._observed(study, study.trials, sampler._axes({"x": PARAMETERS["x"]}))
    durations = [math.log(trial.duration.total_seconds()) for trial in study.trials]
    assert found.log_cost[:3].tolist() == durations


def test_trials_that_were_added_took_no_time_that_anyone_knows():
    sampler = IBOSampler(method="random", seed=0)
    study = optuna.create_study(sampler=sampler)
    space = {"x": optuna.distributions.FloatDistribution(0.0, 1.0)}
    study.add_trial(optuna.trial.create_trial(params={"x": 0.5}, distributions=space, value=0.25))
    study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=2)
    with pytest.warns(UserWarning, match="trial 0 has no positive duration"):
        found = sampler._observed(study, study.trials, sampler._axes({"x": PARAMETERS["x"]}))
    assert found.objective[0] == 0.25
    np.testing.assert_allclose(np.exp(found.log_cost[0]), np.exp(found.log_cost[1:3]).mean())  # a median of two


@pytest.mark.parametrize("cost", [None, 0.0, math.nan, "dear", np.ones(2)])
def test_a_cost_that_is_none_stops_no_study_that_knows_others(cost):
    study = optuna.create_study(sampler=IBOSampler(cost="cost", method="random", initial=2, seed=0))

    def line(trial):
        x = trial.suggest_float("x", 0.0, 1.0)
        trial.set_user_attr("cost", cost if trial.number == 2 else 2.0)
        return x

    with pytest.warns(UserWarning, match="trial 2 has no positive cost"):
        study.optimize(line, n_trials=5)
    assert len(study.get_trials(states=(TrialState.COMPLETE,))) == 5


def test_a_cost_may_be_an_array_of_one_number():
    study = optuna.create_study(sampler=IBOSampler(cost="cost", method="random", initial=1, seed=0))

    def line(trial):
        trial.set_user_attr("cost", jnp.float32(3.0) if trial.number else np.array(2.0))
        return trial.suggest_float("x", 0.0, 1.0)

    study.optimize(line, n_trials=3)
    found = study.sampler._observed(study, study.trials, study.sampler._axes({"x": PARAMETERS["x"]}))
    assert np.exp(found.log_cost[:3]) == pytest.approx([2.0, 3.0, 3.0])


def test_an_error_below_zero_has_no_logarithm_and_stops_no_study_that_knows_others():
    study = optuna.create_study(sampler=IBOSampler(method="random", transform="log", initial=2, seed=0))

    def line(trial):
        x = trial.suggest_float("x", 0.0, 1.0)
        return -x if trial.number == 2 else x

    with pytest.warns(UserWarning, match=r"got -0.\d+ of trial 2: such trials are not learnt from"):
        study.optimize(line, n_trials=5)
    sampler = study.sampler
    found = sampler._observed(study, study.trials, sampler._axes({"x": PARAMETERS["x"]}))
    assert found.failed[: found.size].tolist() == [False, False, True, False, False]


def test_where_trials_fail_it_is_not_asked_for_ever():
    """What grows towards the end of the line cannot be evaluated there."""
    space = {name: PARAMETERS[name] for name in ("x", "presample_ratio")}
    study = optuna.create_study(sampler=IBOSampler("presample_ratio", space=space, cost="cost", initial=4, seed=0))

    def line(trial):
        x, ratio = trial.suggest_float("x", 0.0, 1.0), trial.suggest_int("presample_ratio", 1, 6)
        trial.set_user_attr("cost", float(ratio))
        if x > 0.6:
            raise RuntimeError
        return 1.2 - x

    study.optimize(line, n_trials=12, catch=RuntimeError)
    asked = np.array([trial.params["x"] for trial in study.trials[4:]])
    assert len(np.unique(asked.round(2))) >= 6


def test_a_fidelity_that_a_trial_lacks_or_that_changed_stays_the_fidelity():
    study = optuna.create_study(sampler=IBOSampler("ratio", cost="cost", method="random", initial=2, seed=0))
    high = 6

    def line(trial):
        x, ratio = trial.suggest_float("x", 0.0, 1.0), trial.suggest_int("ratio", 1, high)
        trial.set_user_attr("cost", float(ratio))
        return x + 10 * (6 - ratio)

    study.add_trial(create_trial(params={"x": 0.5}, distributions={"x": PARAMETERS["x"]}, value=0.0))
    with pytest.warns(UserWarning, match="trial 0 is not learnt from, nor are others like it: it has no ratio within"):
        study.optimize(line, n_trials=4)
    kinds = {"x": PARAMETERS["x"], "ratio": CategoricalDistribution([1, 6])}
    study.add_trial(create_trial(params={"x": 0.5, "ratio": 6}, distributions=kinds, value=0.0))
    high = 8
    study.optimize(line, n_trials=4)
    sampler, trials = study.sampler, study.trials
    study.ask()
    common = sampler.infer_relative_search_space(study, study.trials[-1])
    assert common["ratio"] == IntDistribution(1, 8)
    found = sampler._observed(study, trials, sampler._axes(common))
    fidelity = Fidelity("ratio", 1, 8, integer=True)
    np.testing.assert_allclose(found.fidelity[:9], [fidelity.encode(trial.params["ratio"]) for trial in trials[1:]])
    assert found.objective[:9].tolist() == [trial.value for trial in trials[1:]]


def test_a_fidelity_that_only_an_added_trial_has_is_missing():
    study = optuna.create_study(sampler=IBOSampler("ratio", method="random", initial=1, seed=0))
    kinds = {"x": PARAMETERS["x"], "ratio": IntDistribution(1, 6)}
    study.add_trial(create_trial(params={"x": 0.5, "ratio": 6}, distributions=kinds, value=0.0))
    with pytest.raises(ValueError, match="expected the fidelity 'ratio' among the parameters"):
        study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=3)


def test_a_name_that_no_trial_has_is_told():
    study = optuna.create_study(sampler=IBOSampler(space={"y": PARAMETERS["x"]}, method="random", initial=1, seed=0))
    with pytest.warns(UserWarning, match="trial 0 is not learnt from, nor are others like it: it has no y within"):
        study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=2)


def test_with_all_parameters_fixed_only_the_fidelity_is_drawn():
    sampler = IBOSampler("presample_ratio", cost="cost", method="random", initial=2, seed=0)
    fixed = optuna.samplers.PartialFixedSampler({"x": 0.25}, sampler)
    study = optuna.create_study(sampler=fixed)

    def line(trial):
        trial.set_user_attr("cost", trial.suggest_int("presample_ratio", 1, 6))
        return trial.suggest_float("x", 0.0, 1.0)

    with pytest.warns(UserWarning, match="presample_ratio is not in every completed trial"):
        study.optimize(line, n_trials=4)
    assert {trial.params["x"] for trial in study.trials} == {0.25}


def test_with_the_fidelity_fixed_trials_of_others_are_not_taken_for_the_target():
    """What is cheap is off by 5: taken for the target it would hide where the target is lowest."""
    sampler = IBOSampler("presample_ratio", cost="cost", method="random", initial=2, seed=0)
    study = optuna.create_study(sampler=sampler)

    def line(trial):
        ratio = trial.suggest_int("presample_ratio", 1, 6)
        trial.set_user_attr("cost", ratio)
        return trial.suggest_float("x", 0.0, 1.0) + 6 - ratio

    study.optimize(line, n_trials=3)
    study.sampler = optuna.samplers.PartialFixedSampler({"presample_ratio": 6}, sampler)
    asked = []
    study.sampler._base_sampler._observed = lambda *of: asked.append(IBOSampler._observed(sampler, *of)) or asked[-1]
    study.optimize(line, n_trials=2)
    assert [trial.params["presample_ratio"] for trial in study.trials] == [1, 1, 1, 6, 6]
    assert asked[-1].fidelity[: asked[-1].size].tolist() == [0.0, 0.0, 0.0, 1.0]


def test_dynamic_parameters_are_random_with_a_warning():
    def conditional(trial):
        depth = trial.suggest_int("depth", 1, 2)
        return sum(trial.suggest_float(f"x{layer}", 0.0, 1.0) for layer in range(depth))

    study = optuna.create_study(sampler=IBOSampler(method="random", initial=2, seed=0))
    with pytest.warns(UserWarning, match="x1 is not in every completed trial"):
        study.optimize(conditional, n_trials=10)

    def disjoint(trial):
        return trial.suggest_float(f"x{trial.number}", 0.0, 1.0)

    study = optuna.create_study(sampler=IBOSampler(method="random", initial=2, seed=0))
    with pytest.warns(UserWarning, match="no parameter is common to all completed trials"):
        study.optimize(disjoint, n_trials=3)


def test_fallbacks_of_the_method_are_warned_of():
    study = optuna.create_study(sampler=IBOSampler(space={"x": PARAMETERS["x"]}, initial=2, seed=0))

    def failing(trial):
        trial.suggest_float("x", 0.0, 1.0)
        raise RuntimeError

    with pytest.warns(UserWarning, match="no evaluation has succeeded yet"):
        study.optimize(failing, n_trials=3, catch=RuntimeError)


def test_fidelity_from_a_float():
    sampler = IBOSampler("s", seed=0)
    axes = sampler._axes({"x": PARAMETERS["x"], "s": FloatDistribution(0.2, 1.0)})
    assert axes.fidelity == Fidelity("s", 0.2, 1.0)
    assert axes.decode(*axes.encode({"x": 0.25, "s": 0.6})) == pytest.approx({"x": 0.25, "s": 0.6})


def test_trials_that_have_not_asked_for_all_parameters_yet_are_known_to_the_next(monkeypatch):
    running = []

    def recorded(proposer, slot, seen, *state, **options):
        running.append(int(seen.pending.sum()))
        return propose(proposer, slot, seen, *state, **options)

    monkeypatch.setattr(sampler_module, "propose", recorded)
    space = {name: PARAMETERS[name] for name in ("x", "kind")}
    study = optuna.create_study(sampler=IBOSampler(space=space, method="random", seed=0))
    trials = [study.ask() for _ in range(3)]
    for trial in reversed(trials):
        trial.suggest_float("x", 0.0, 1.0)  # of two parameters
    assert running == [0, 1, 2]
    kinds = [trial.suggest_categorical("kind", ["a", "b", None]) for trial in trials]
    assert kinds == [trial.system_attrs[CHOSEN]["kind"] for trial in study.trials]


def test_running_trials_are_known_by_what_was_enqueued_for_them():
    study = optuna.create_study(sampler=IBOSampler(space={"x": PARAMETERS["x"], "y": PARAMETERS["x"]}, seed=0))
    study.enqueue_trial({"x": 0.3})
    study.enqueue_trial({"x": 0.4, "y": 0.1})
    y = study.ask().suggest_float("y", 0.0, 1.0)
    study.ask()
    running = [as_chosen(trial).params for trial in study.get_trials(deepcopy=False)]
    assert running == [{"x": 0.3, "y": y}, {"x": 0.4, "y": 0.1}]
    assert study.trials[1].params == {}


def test_threads_choose_one_after_another(monkeypatch):
    choosing, most = [], []

    def slow(*asked, **options):
        choosing.append(True)
        most.append(len(choosing))
        time.sleep(0.05)
        choosing.pop()
        return propose(*asked, **options)

    monkeypatch.setattr(sampler_module, "propose", slow)
    study = optuna.create_study(sampler=IBOSampler(space={"x": PARAMETERS["x"]}, method="random", seed=0))
    study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=6, n_jobs=3)
    assert max(most) == 1
