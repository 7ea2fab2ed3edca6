"""A peer is asked over a pipe as our own methods are; Optuna's TPE stands for all, being installed here already."""

import shutil
import sys
from pathlib import Path

import jax
import numpy as np
import optuna
import pytest

from experiments.benchmarks import peers, regret, suggestion_time
from experiments.common import rows
from ibo_jax.methods.initial import initial_design
from ibo_jax.observations import append, empty
from ibo_jax.problems.synthetic import SYNTHETIC, cost, value


@pytest.fixture(autouse=True)
def here(monkeypatch):
    """This environment in place of the peers' own."""
    monkeypatch.setattr(peers, "PYTHON", Path(sys.executable))


def seen(points):
    observations = empty(1)
    for x in points:
        observations = append(observations, np.array([x]), 1.0, float(value("forrester", [x])), 0.0)
    return observations


def test_an_answer_is_what_the_sampler_says_of_the_same_trials():
    points, key = [0.1, 0.4, 0.9, 0.7], jax.random.key(3)
    with peers.suggesting("optuna-tpe", 0.2) as suggest:
        answer, _ = suggest(key, seen(points), None)
        again, _ = suggest(key, seen(points), None)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=int(jax.random.randint(key, (), 0, 2**31 - 1)), multivariate=True)
    )
    space = {"x0": optuna.distributions.FloatDistribution(0.0, 1.0)}
    for x in points:
        told = float(value("forrester", [x]))
        study.add_trial(optuna.trial.create_trial(params={"x0": x}, distributions=space, value=told))
    assert answer.x[0] == again.x[0] == study.ask(space).params["x0"]
    assert answer.fidelity == 1.0
    assert answer.incumbent[0] == answer.recommendation[0] == 0.7


def test_a_search_starts_from_the_points_of_our_own_and_spends_its_budget():
    found = list(regret.run("forrester", "optuna-tpe", seed=0, budget=4.0))
    x, _ = initial_design(jax.random.split(jax.random.key(0))[0], SYNTHETIC["forrester"].initial, 1,
                          SYNTHETIC["forrester"].fidelity, "plain")  # fmt: skip
    optimum = SYNTHETIC["forrester"].optimum
    assert found[0]["regret_incumbent"] == min(float(value("forrester", point)) for point in x) - optimum
    assert [row["cost"] for row in found] == pytest.approx([0.0, 1.2, 2.4, 3.6])
    assert found[-1]["last"]


def test_suggestion_seconds_are_those_of_the_last_measurement_on_a_cpu(tmp_path):
    path, figure = tmp_path / "rows.jsonl", tmp_path / "suggestion-time.svg"
    measured = suggestion_time.warm("optuna-tpe", size=5, repeats=3)
    assert 0 < measured["minimum"] <= measured["median"] <= measured["upper_quartile"]
    row = {"measure": "warm", "method": "optuna-tpe", "platform": "cpu", **measured}
    for changed in ({"median": 60.0}, {}, {"median": 90.0, "platform": "cuda"}, {"measure": "first, empty cache"}):
        rows.append(path, row | changed)
    seconds = suggestion_time.load(path)
    assert seconds == {"optuna-tpe": {5: measured["median"]}}
    suggestion_time.figure(seconds, figure)
    drawn = figure.read_text()
    suggestion_time.figure(seconds, figure)
    assert figure.read_text() == drawn


def test_what_a_peer_fails_with_is_told():
    broken = seen([0.1, 0.4])
    broken.objective[1] = np.nan
    with peers.suggesting("optuna-tpe", 0.2) as suggest, pytest.raises(RuntimeError, match="ValueError"):
        suggest(jax.random.key(0), broken, None)


def test_a_peer_that_does_not_import_says_what_is_missing():
    with peers.suggesting("vizier-gp", 0.2) as suggest, pytest.raises(RuntimeError, match="No module named 'vizier'"):
        suggest(jax.random.key(0), seen([0.1, 0.4]), None)


def test_a_process_that_ends_is_told(monkeypatch):
    monkeypatch.setattr(peers, "PYTHON", Path(shutil.which("true")))
    with peers.suggesting("optuna-tpe", 0.2) as suggest:
        for _ in range(2):  # at the first question it may still be there, at the second it is gone
            with pytest.raises(RuntimeError, match="exit status 0"):
                suggest(jax.random.key(0), seen([0.1, 0.4]), None)


def test_a_failed_search_is_counted_until_a_later_one_ends(tmp_path):
    failed = {"problem": "forrester", "method": "optuna-gp", "failed": "not positive definite"}
    for seed in (0, 1):
        rows.append(tmp_path / "rows.jsonl", failed | {"seed": seed})
    rows.append(tmp_path / "rows.jsonl", {"problem": "forrester", "method": "optuna-gp", "seed": 0, "last": True})
    assert regret.failures(tmp_path / "rows.jsonl", "forrester") == {"optuna-gp": ["not positive definite"]}


def test_a_missing_environment_names_its_remedy(monkeypatch, tmp_path):
    monkeypatch.setattr(peers, "PYTHON", tmp_path / "bin" / "python")
    with pytest.raises(FileNotFoundError, match="make peers"), peers.suggesting("optuna-tpe", 0.2):
        pass


def test_a_peer_that_evaluates_the_design_itself_may_spend_what_that_of_ibo_costs(monkeypatch, tmp_path):
    (tmp_path / "own_adapter.py").write_text(
        "def suggest(seed, x, s, y, fixed_cost, *, initial):\n"
        "    return initial[len(y) % len(initial)], 0.5, initial[0], x[-1] if len(y) else initial[0]\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.setitem(peers.PEERS, "own", peers.Peer("own_adapter", {}, None))
    found = list(regret.run("forrester", "own", seed=0, budget=4.0))
    x, s = initial_design(jax.random.split(jax.random.key(0))[0], SYNTHETIC["forrester"].initial, 1,
                          SYNTHETIC["forrester"].fidelity, "random")  # fmt: skip
    design = float(np.sum([cost("forrester", each) for each in s]))
    assert [row["cost"] for row in found] == pytest.approx(-design + 0.7 * np.arange(len(found)), abs=1e-6)
    assert found[-1]["cost"] <= 4.0 < found[-1]["cost"] + 0.7
    regrets = [float(value("forrester", x[step % len(x)])) for step in range(len(found) - 1)]
    assert [row["regret_incumbent"] + SYNTHETIC["forrester"].optimum for row in found[1:]] == pytest.approx(regrets)
