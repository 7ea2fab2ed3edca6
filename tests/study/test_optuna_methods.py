"""Methods that are Optuna's: they choose and prune as Optuna itself would, resume, and survive what fails."""

import dataclasses
import importlib.util
import itertools
import math

import numpy as np
import optuna
import pytest
from optuna.samplers import GPSampler, RandomSampler, TPESampler
from optuna.trial import TrialState
from workers import failing, timeless

from ibo_jax import Categorical, Float, Integer, Outcome, Problem, SearchSpace
from ibo_jax.methods import NAMES, OPTUNA_NAMES
from ibo_jax.problems import catalogue
from ibo_jax.problems.synthetic import SYNTHETIC
from ibo_jax.study import rows
from ibo_jax.study.convert import distribution
from ibo_jax.study.grid import factorial_grid
from ibo_jax.study.propose import sampler_seed_of, seed_of
from ibo_jax.study.search import prepare
from ibo_jax.study.tune import run, tune

pytestmark = pytest.mark.usefixtures("undrawn")
BRANIN = SYNTHETIC["branin"]
MIXED = SearchSpace({
    "rate": Float(1e-4, 1e-1, log=True), "width": Integer(16, 256, log=True), "depth": Integer(1, 3),
    "kind": Categorical(("relu", "tanh")),
})  # fmt: skip
EPOCHS = 9
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch, of the extra gp, is missing")
METHODS = [pytest.param(name, marks=needs_torch) if name == "gp" else name for name in OPTUNA_NAMES]


@pytest.fixture(autouse=True)
def quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


def curve(hyperparameters, epoch):
    """An error that falls at its own rate to its own level: early ranks are not final ranks."""
    rate, width = math.log10(hyperparameters["rate"]), hyperparameters["width"]
    level = 0.05 + 0.1 * (rate + 2.0) ** 2 + 0.02 * hyperparameters["depth"]
    return level + math.exp(-epoch * (0.05 + width / 500)) * (0.6 if hyperparameters["kind"] == "relu" else 0.9)


def learner(at=None, how=None):
    """A problem of learning curves; the first from evaluation `at` on that has two epochs fails or is interrupted."""
    begun, left = itertools.count(1), [how] if how else []

    def evaluate(seed, hyperparameters, fidelity, on_epoch=None):
        number, errors, state = next(begun), [], "ok"
        while len(errors) < EPOCHS and state == "ok":
            errors.append(curve(hyperparameters, len(errors) + 1))
            if left and number >= at and len(errors) == 2:
                if left.pop() != "diverges":
                    raise how
                return Outcome("diverged", math.nan, cost_work=2.0)
            if on_epoch is not None and on_epoch(len(errors), errors[-1]):
                state = "pruned"
        return Outcome(state, errors[-1], cost_seconds=len(errors), cost_work=len(errors), history={"error": errors})

    return Problem("curves", MIXED, evaluate, initial=2, guess=0.9, epochs=EPOCHS)


@pytest.mark.parametrize("method", METHODS)
def test_suggests_values_of_the_space_and_resumes_to_the_same_trials(method, tmp_path):
    options = {"evaluations": 18, "cost": "work", "seed": 3, "progress": False}
    whole = tune(learner(), method, **options)
    with pytest.raises(KeyboardInterrupt):
        tune(learner(12, KeyboardInterrupt()), method, storage=tmp_path, **options)
    assert [row["state"] for row in rows.read(tmp_path)][-1] == "preempted"
    resumed = tune(learner(), method, storage=tmp_path, **options)
    assert timeless(resumed.rows) == timeless(whole.rows)
    assert resumed.hyperparameters == whole.hyperparameters
    for row in whole.rows:
        for name, value in row["hyperparameters"].items():
            kind = distribution(MIXED.dimensions[name])
            assert kind._contains(kind.to_internal_repr(value))
            assert type(value) in (float, int, str)
        assert row["presample_ratio"] == 1  # plain training
        assert (row["error"] is None) == (row["state"] == "pruned")
    best = min((row for row in whole.rows if row["state"] == "ok"), key=lambda row: row["error"])
    assert (whole.hyperparameters, whole.validation_error) == (best["hyperparameters"], best["error"])
    other = tune(learner(), method, **{**options, "seed": 4})
    assert [row["hyperparameters"] for row in other.rows] != [row["hyperparameters"] for row in whole.rows]
    assert (tmp_path / "report.html").stat().st_size > 1000


def by_optuna(sampler, search):
    """The search as people write it with Optuna alone; only the sampler is seeded anew for every trial."""
    pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=EPOCHS, reduction_factor=3)
    study = optuna.create_study(study_name=search.optuna.study_name, pruner=pruner)

    def objective(trial):
        rate, width = trial.suggest_float("rate", 1e-4, 1e-1, log=True), trial.suggest_int("width", 16, 256, log=True)
        chosen = {"rate": rate, "width": width, "depth": trial.suggest_int("depth", 1, 3),
                  "kind": trial.suggest_categorical("kind", ("relu", "tanh"))}  # fmt: skip
        for epoch in range(1, EPOCHS + 1):
            trial.report(curve(chosen, epoch), epoch)
            if epoch < EPOCHS and trial.should_prune():
                raise optuna.TrialPruned
        return curve(chosen, EPOCHS)

    for slot in range(search.evaluations):
        study.sampler = sampler(seed=sampler_seed_of(search.proposer, slot))
        study.optimize(objective, n_trials=1)
    return study.trials


@pytest.mark.parametrize(("method", "sampler"), [("hyperband", RandomSampler), ("bohb", TPESampler)])
def test_chooses_and_prunes_as_optuna_does(method, sampler):
    search = prepare(learner(), method, evaluations=60, seed=1, progress=False)
    found = run(search).rows
    expected = by_optuna(sampler, search)
    assert [row["hyperparameters"] for row in found] == [trial.params for trial in expected]
    assert [row["state"] == "pruned" for row in found] == [trial.state == TrialState.PRUNED for trial in expected]
    assert [row["history"]["error"] for row in found] == [[*trial.intermediate_values.values()] for trial in expected]
    assert {1, 3, EPOCHS} == {len(row["history"]["error"]) for row in found}
    if method == "bohb":
        assert {row["reason"] for row in found} == {"random", "acquisition"}


@pytest.mark.parametrize(("method", "sampler"), [("tpe", TPESampler), pytest.param("gp", GPSampler, marks=needs_torch)])
def test_models_choose_as_in_optuna(method, sampler):
    """Asked by hand, trial after trial, on a study that was never rebuilt."""
    search = prepare(BRANIN, method, evaluations=15, seed=2, progress=False)
    found = run(search).rows
    study = optuna.create_study()
    kinds = {name: distribution(dimension) for name, dimension in BRANIN.space.dimensions.items()}
    for slot, row in enumerate(found):
        study.sampler = sampler(seed=sampler_seed_of(search.proposer, slot))
        trial = study.ask(kinds)
        assert trial.params == pytest.approx(row["hyperparameters"], rel=1e-9)
        study.tell(trial, row["error"])
    assert [row["reason"] for row in found] == ["random"] * 10 + ["acquisition"] * 5
    assert [row["s"] for row in found] == [1.0] * 15  # no presample ratio: at the target


@pytest.mark.parametrize("method", ["tpe", pytest.param("gp", marks=needs_torch)])
def test_a_model_beats_chance(method):
    seeds, reached = range(5), {}
    for name in (method, "random"):
        reached[name] = [
            tune(BRANIN, name, evaluations=30, seed=seed, progress=False).validation_error for seed in seeds
        ]
    assert np.median(reached[method]) < np.median(reached["random"])


@pytest.mark.parametrize("how", ["raises", "memory", "diverges", "nan", "infeasible"])
def test_failures_stop_nothing(how):
    result = tune(failing(how), "tpe", evaluations=24, progress=False)
    failed = {"raises": "crashed", "memory": "crashed", "nan": "diverged", "diverges": "diverged"}.get(how, how)
    assert [row["state"] for row in result.rows] == ["ok", failed] * 12
    taught = 24 if failed == "diverged" else 12  # a diverged one counts with the error of guessing
    random = next(number for number, row in enumerate(result.rows) if row["reason"] == "acquisition")
    assert random == (10 if taught == 24 else 19)


@pytest.mark.parametrize("how", [RuntimeError("no such layer"), "diverges"], ids=["crashed", "diverged"])
def test_failures_within_a_watched_training_stop_nothing(how):
    found = tune(learner(3, how), "bohb", evaluations=14, progress=False).rows
    failed = [row for row in found if row["state"] not in ("ok", "pruned")]
    assert [row["state"] for row in failed] == ["diverged" if how == "diverges" else "crashed"]
    assert failed[0]["error"] == (0.9 if how == "diverges" else None)
    assert len(found) == 14
    assert found[-1]["state"] in ("ok", "pruned")


@pytest.fixture(scope="module")
def digits():
    """digits-mlp at scale smoke with its sizes held fixed: one program."""
    whole, sizes = catalogue.problem("digits-mlp", scale="smoke"), {"log2_units": 5, "log2_batch_size": 5, "layers": 1}

    def evaluate(seed, hyperparameters, fidelity, on_epoch=None):
        return whole.evaluate(seed, {**sizes, **hyperparameters}, fidelity, on_epoch=on_epoch)

    kept = {name: found for name, found in whole.space.dimensions.items() if name not in sizes}
    return dataclasses.replace(whole, space=SearchSpace(kept), evaluate=evaluate, report=None, view=None)


def test_pruned_trainings_are_shorter_and_the_others_are_plain_trainings(digits, tmp_path):
    result = tune(digits, "hyperband", evaluations=12, cost="work", storage=tmp_path, progress=False)
    plain = tune(digits, "random", evaluations=1, cost="work", progress=False).rows[0]
    proposer = prepare(digits, "hyperband", evaluations=1, progress=False).proposer
    ok = [row for row in result.rows if row["state"] == "ok"]
    pruned = [row for row in result.rows if row["state"] == "pruned"]
    assert ok
    assert pruned
    for row in ok:
        assert (len(row["history"]["error"]), row["cost_work"]) == (3, plain["cost_work"])
        alone = digits.evaluate(seed_of(proposer, row["number"]), row["hyperparameters"], 1)
        assert (alone.state, alone.history["error"]) == ("ok", row["history"]["error"])
    for row in pruned:
        assert (len(row["history"]["error"]), 3 * row["cost_work"]) == (1, plain["cost_work"])
        assert (row["error"], row["message"]) == (None, "stopped after 1 of 3 epochs")
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert [[*trial.intermediate_values.values()] for trial in study.trials] == [
        row["history"]["error"] for row in result.rows
    ]
    assert [trial.state == TrialState.PRUNED for trial in study.trials] == [
        row["state"] == "pruned" for row in result.rows
    ]
    assert "stopped after" not in (tmp_path / "report.html").read_text()  # no warning: nothing went wrong


def test_grid_is_covered_once_then_chance_takes_over(tmp_path):
    problem = learner()
    levels = factorial_grid(MIXED, 20)
    points = math.prod(map(len, levels.values()))
    first = tune(problem, "grid", evaluations=20, seed=5, storage=tmp_path, progress=False).rows
    visited = [tuple(row["hyperparameters"].values()) for row in first[:points]]
    assert sorted(visited) == sorted(itertools.product(*levels.values()))
    assert {row["reason"] for row in first[:points]} == {"grid"}
    more = tune(problem, "grid", evaluations=26, seed=5, storage=tmp_path, progress=False).rows
    assert more[:20] == first  # the grid of a study is that of its beginning
    for row in more[points:]:
        assert row["reason"] == "random"
        assert row["warning"] == f"the grid of {points} points is exhausted: a random point"
    assert len({tuple(row["hyperparameters"].values()) for row in more}) == 26


def untouched(*_, on_epoch=None):
    raise AssertionError("something was evaluated")


@pytest.mark.parametrize("method", ["hyperband", "bohb"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "branin: expected a training of at least 2 epochs, got epochs=None"),
        ({"epochs": 1}, "at least 2 epochs, got epochs=1"),
        ({"epochs": 9, "evaluate": lambda seed, x, s: 1 / 0}, r"branin: expected evaluate to accept on_epoch"),
    ],
)
def test_pruning_without_epochs_is_refused(method, changes, message, tmp_path):
    problem = dataclasses.replace(BRANIN, **{"evaluate": untouched, **changes})
    with pytest.raises(ValueError, match=message):
        tune(problem, method, evaluations=3, storage=tmp_path / "study", progress=False)
    assert not (tmp_path / "study").exists()


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is here")
def test_what_gp_needs_is_said():
    with pytest.raises(ValueError, match=r"expected the package torch.*pip install .*\[gp\]"):
        tune(dataclasses.replace(BRANIN, evaluate=untouched), "gp", evaluations=3, progress=False)


def test_every_name_is_told(capsys):
    from ibo_jax import cli

    with pytest.raises(SystemExit):
        cli.main(["tune", "--help"])
    shown = capsys.readouterr().out
    with pytest.raises(ValueError, match="expected a method among") as refused:
        tune(BRANIN, "tpee", progress=False)
    for name in (*NAMES, *OPTUNA_NAMES):
        assert name in shown
        assert repr(name) in str(refused.value)
