"""`tune` in one process: budgets, failures, interruption, and what is kept."""

import dataclasses
import json
import math
import os
import time

import jax.numpy as jnp
import numpy as np
import optuna
import pytest
from workers import failing, timeless

from ibo_jax import Fidelity, Float, Outcome, Problem, Report, SearchSpace
from ibo_jax.methods import ibo
from ibo_jax.observations import append, empty
from ibo_jax.problems import catalogue
from ibo_jax.problems.synthetic import SYNTHETIC
from ibo_jax.study import rows
from ibo_jax.study.attempt import take
from ibo_jax.study.propose import make_proposer, propose
from ibo_jax.study.search import observed, prepare
from ibo_jax.study.tune import evaluate_all, run, tune

pytestmark = pytest.mark.usefixtures("undrawn")
BRANIN, FORRESTER = SYNTHETIC["branin"], SYNTHETIC["forrester"]


def interrupted(problem: Problem, at: int) -> Problem:
    """The same problem, of which one evaluation is interrupted from the keyboard."""
    begun = 0

    def evaluate(seed, hyperparameters, fidelity):
        nonlocal begun
        begun += 1
        if begun == at:
            raise KeyboardInterrupt
        return problem.evaluate(seed, hyperparameters, fidelity)

    return Problem(**{**vars(problem), "evaluate": evaluate})


def test_rows_on_disk_are_the_rows_returned(tmp_path):
    result = tune(BRANIN, "random", evaluations=6, storage=tmp_path, progress=False)
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert lines == result.rows == rows.read(tmp_path)
    assert list(lines[0]) == list(rows.Row.__annotations__)
    best = min(result.rows, key=lambda row: row["error"])
    assert result.hyperparameters == best["hyperparameters"]
    assert result.validation_error == best["error"]
    assert (tmp_path / "report.html").stat().st_size > 1000


def test_an_evaluation_may_change_to_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def evaluate(*point):
        os.chdir("/")
        return FORRESTER.evaluate(*point)

    moving = dataclasses.replace(FORRESTER, evaluate=evaluate)
    result = tune(moving, "random", evaluations=2, storage="run", progress=False)
    assert len(rows.read(tmp_path / "run")) == len(result.rows) == 2
    assert not list((tmp_path / "run").glob(".worker-*"))


def test_a_worker_takes_leave_even_if_its_rows_cannot_be_written(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space left")

    search = prepare(FORRESTER, "random", evaluations=1, storage=tmp_path, progress=False)
    monkeypatch.setattr("ibo_jax.study.tune.refresh", full)
    with pytest.raises(OSError, match="no space left"):
        run(search)
    assert not list(tmp_path.glob(".worker-*"))


def test_evaluations_are_a_total(tmp_path):
    first = tune(BRANIN, "random", evaluations=3, storage=tmp_path, progress=False)
    again = tune(BRANIN, "random", evaluations=3, storage=tmp_path, progress=False)
    assert again == first
    more = tune(BRANIN, "random", evaluations=5, storage=tmp_path, progress=False)
    assert more.rows[:3] == first.rows
    assert len(more.rows) == 5
    assert rows.summary(tmp_path)["evaluations"] == 5


@pytest.mark.parametrize(("training", "changes", "known"), [
    (0.01, {}, True), (0.01, {"cost": "work"}, False), (0.01, {"protocol": "paper"}, False), (1e3, {}, False),
])  # fmt: skip
def test_seconds_beside_the_training_are_overhead_where_cost_is_of_this_clock(training, changes, known):
    def evaluate(seed, hyperparameters, fidelity):
        time.sleep(0.05)
        return Outcome("ok", 0.5, cost_seconds=training, cost_work=1.0)

    search = prepare(dataclasses.replace(BRANIN, evaluate=evaluate), evaluations=3, progress=False, **changes)
    evaluate_all(search)
    overhead = observed(search, search.store.slots()).overhead
    assert np.all(overhead[:3] > 0.03) if known else not np.any(overhead)
    assert not np.any(overhead[3:])


def test_a_trial_that_optuna_closed_is_tried_again(tmp_path):
    """What its users are told to do with trials that are stuck."""
    search = prepare(FORRESTER, "random", evaluations=2, storage=tmp_path, progress=False)
    stuck = take(search)
    search.store.leave()
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'study.db'}")
    study.tell(stuck.slot, state=optuna.trial.TrialState.FAIL)
    (row,) = rows.read(tmp_path)
    assert (row["state"], row["message"]) == ("preempted", "closed by something else")
    result = tune(FORRESTER, "random", evaluations=2, storage=tmp_path, progress=False)
    assert [row["state"] for row in result.rows] == ["ok", "ok"]
    assert result.rows[0]["hyperparameters"] == stuck.hyperparameters


def test_slots_beyond_a_lowered_budget_are_left(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        tune(interrupted(FORRESTER, 4), "random", evaluations=6, storage=tmp_path, progress=False)
    broken = dataclasses.replace(FORRESTER, evaluate=lambda *_: 1 / 0)
    result = tune(broken, "random", evaluations=3, storage=tmp_path, progress=False)
    assert [row["state"] for row in result.rows] == ["ok"] * 3 + ["preempted"]
    assert result.hyperparameters is not None


def test_seconds_are_cumulative(tmp_path):
    for seconds in (0.3, 0.6, 0.6):  # a budget that is spent, a larger one, and the same again
        result = tune(BRANIN, "random", seconds=seconds, storage=tmp_path, progress=False)
        elapsed = [row["elapsed_seconds"] for row in result.rows]
        assert elapsed == sorted(elapsed)  # a clock that starts anew falls back
        assert all(spent < seconds for spent in elapsed[:-1])


def test_in_memory_equals_on_disk(tmp_path):
    on_disk = tune(BRANIN, "random", evaluations=5, storage=tmp_path, cost="work", progress=False)
    in_memory = tune(BRANIN, "random", evaluations=5, cost="work", progress=False)
    assert timeless(in_memory.rows) == timeless(on_disk.rows)
    assert in_memory.directory is None


@pytest.mark.parametrize(
    ("how", "state", "message", "error"),
    [
        ("raises", "crashed", "RuntimeError: no such layer (workers.py", None),
        ("memory", "crashed", "out of memory; MemoryError", None),
        ("device memory", "crashed", "out of memory; RuntimeError: RESOURCE_EXHAUSTED", None),
        ("diverges", "diverged", "", 300.0),
        ("nan", "diverged", "the error is nan", 300.0),
        ("infeasible", "infeasible", "", None),
    ],
)
def test_a_failed_evaluation_is_recorded_and_the_search_goes_on(tmp_path, how, state, message, error):
    result = tune(failing(how), "random", evaluations=6, storage=tmp_path, progress=False)
    assert [row["state"] for row in result.rows] == ["ok", state] * 3
    assert message in result.rows[1]["message"]
    assert result.rows[1]["error"] == error
    if error is not None:
        assert (result.rows[1]["cost_seconds"], result.rows[1]["cost_work"]) == (1.0, 2.0)
    assert result.hyperparameters in [row["hyperparameters"] for row in result.rows[::2]]


def test_the_last_evaluation_is_not_spent_where_one_runs_or_has_failed():
    proposer, seen = make_proposer("ibo", 0, 1, Fidelity("s", 0, 1), initial=3, protocol="default"), empty(1)
    for x in np.linspace(0.0, 1.0, 6):
        seen = append(seen, np.array([x]), 1.0, (x - 0.4) ** 2)
    last, _ = propose(proposer, 6, seen, None, evaluations=7)
    assert last.reason == "recommendation"
    running = append(seen, last.recommendation, 1.0, pending=True)
    other, _ = propose(proposer, 7, running, None, evaluations=8)
    assert abs(other.recommendation[0] - last.recommendation[0]) < 0.01
    assert other.reason == "nearby"
    failed = append(seen, last.recommendation, 1.0, failed=True)
    other, _ = propose(proposer, 7, failed, None, evaluations=8)
    assert abs(other.x[0] - last.recommendation[0]) > 0.01


def test_where_evaluations_fail_it_is_not_asked_for_ever():
    """A loss that is no number, of which no guess is known, is a failure too."""

    def evaluate(seed, hyperparameters, fidelity):
        x = hyperparameters["x1"]
        return Outcome("ok", math.inf if x > 0.6 else 1.2 - x, cost_work=1.0)

    problem = dataclasses.replace(FORRESTER, evaluate=evaluate, guess=math.nan)
    found = tune(problem, evaluations=12, cost="work", progress=False).rows
    asked = np.array([row["hyperparameters"]["x1"] for row in found])
    assert len(np.unique(asked[problem.initial :].round(2))) >= 6


def test_a_search_learns_where_evaluations_fail():
    """Beyond .7 in one of four coordinates, where the optimum is: without learning that, 16 or more of 30 fail."""
    best = {"a": 0.8, "b": 0.3, "c": 0.6, "d": 0.4}

    def evaluate(seed, hyperparameters, fidelity):
        if hyperparameters["a"] > 0.7:
            raise MemoryError("too large")
        away = sum((hyperparameters[name] - value) ** 2 for name, value in best.items())
        return Outcome("ok", 0.05 + away + 0.02 * (1 - fidelity), cost_work=0.1 + fidelity)

    problem = Problem("wall", SearchSpace(dict.fromkeys(best, Float(0.0, 1.0))), evaluate, Fidelity("s", 0, 1))
    result = tune(problem, evaluations=30, cost="work", progress=False)
    assert sum(row["state"] == "crashed" for row in result.rows) <= 12  # five to seven
    assert result.hyperparameters["a"] <= 0.7
    assert result.predicted_error < 0.09  # .06 at best


def test_a_budget_within_which_nothing_was_begun_says_so():
    with pytest.warns(UserWarning, match="no evaluation was begun within the budget"):
        result = tune(FORRESTER, "random", seconds=1e-9, progress=False)
    assert result.rows == []


def test_a_negative_error_costs_itself_only():
    def evaluate(seed, hyperparameters, fidelity):
        return Outcome("ok", hyperparameters["x1"] - 0.3)

    problem = dataclasses.replace(FORRESTER, evaluate=evaluate, transform="log")
    with pytest.warns(UserWarning, match="state transform='identity'"):
        found = tune(problem, "random", evaluations=12, seed=2, progress=False).rows
    assert found[0]["state"] == "ok"
    negative = [row for row in found if row["hyperparameters"]["x1"] < 0.3]
    assert negative
    assert {(row["state"], row["error"]) for row in negative} == {("infeasible", None)}
    assert "state transform='identity'" in negative[0]["message"]


def test_a_search_that_ends_within_its_design_answers_by_its_method():
    """Whose prediction at the target it is, not the lowest error at any fidelity."""
    result = tune(FORRESTER, "ibo", evaluations=3, progress=False)
    assert result.predicted_error is not None
    assert result.predicted_error not in [row["error"] for row in result.rows]
    assert result.hyperparameters in [row["hyperparameters"] for row in result.rows]


def test_no_success_is_an_answer_too():
    problem = Problem("hopeless", BRANIN.space, lambda *_: 1 / 0, BRANIN.fidelity, initial=2)
    result = tune(problem, "ei", evaluations=4, progress=False)
    assert result.hyperparameters is None
    assert "ZeroDivisionError" in result.message
    assert "no evaluation has succeeded yet" in result.rows[-1]["warning"]


def test_the_wrong_return_type_is_refused_at_once():
    problem = Problem("typo", BRANIN.space, lambda *_: 0.5, BRANIN.fidelity)
    with pytest.raises(TypeError, match=r"expected typo\.evaluate to return an Outcome"):
        tune(problem, "random", evaluations=4, progress=False)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("error", [np.ones(2), "low", 1j], ids=["array", "word", "complex"])
def test_an_error_that_is_no_number_is_refused_at_once(error):
    problem = Problem("typo", BRANIN.space, lambda *_: Outcome("ok", error), BRANIN.fidelity)
    with pytest.raises(TypeError, match=r"expected typo\.evaluate .* single numbers .* got Outcome\(.*float\("):
        tune(problem, "random", evaluations=4, progress=False)


def test_a_history_that_no_row_can_hold_is_refused_at_once(tmp_path):
    kept = Outcome("ok", 0.5, history={"model": [object()]})
    unheld = Problem("typo", BRANIN.space, lambda *_: kept, BRANIN.fidelity)
    with pytest.raises(TypeError, match=r"expected typo\.evaluate to return .* history is of numbers"):
        tune(unheld, "random", evaluations=4, storage=tmp_path, progress=False)
    mended = dataclasses.replace(unheld, evaluate=lambda *_: Outcome("ok", 0.5, history={"loss": [0.7, 0.5]}))
    result = tune(mended, "random", evaluations=2, storage=tmp_path, progress=False)
    assert [row["state"] for row in result.rows] == ["ok", "ok"]  # the slot was given back


def test_a_problem_is_shown_without_its_data():
    problem = catalogue.problem("digits-mlp", scale="smoke")
    assert repr(problem) == f"Problem('digits-mlp', {problem.space})"


def test_work_must_be_stated():
    problem = Problem("effortless", BRANIN.space, lambda *_: Outcome("ok", 0.5), BRANIN.fidelity)
    with pytest.raises(ValueError, match="state a cost_work > 0"):
        tune(problem, "random", evaluations=4, cost="work", progress=False)
    assert tune(problem, "random", evaluations=1, progress=False).rows[0]["cost_seconds"] > 0


def test_numbers_may_be_arrays_of_jax_and_a_cost_that_is_no_number_is_measured(tmp_path):
    def evaluate(seed, hyperparameters, fidelity):
        return Outcome("ok", jnp.float32(hyperparameters["x1"]), cost_seconds=math.inf, history={"loss": jnp.ones(2)})

    problem = dataclasses.replace(FORRESTER, evaluate=evaluate)
    result = tune(problem, "random", evaluations=2, storage=tmp_path, progress=False)
    assert [row["state"] for row in result.rows] == ["ok", "ok"]
    assert result.rows[0]["error"] == np.float32(result.rows[0]["hyperparameters"]["x1"])
    assert all(0 < row["cost_seconds"] < 60 for row in result.rows)


def test_a_final_training_that_diverged_is_told():
    problem = dataclasses.replace(FORRESTER, report=lambda seed, hyperparameters: Report(0.9, math.nan, 1.0))
    result = tune(problem, "random", evaluations=2, progress=False)
    assert result.test_error == 0.9
    assert result.message == "the final training diverged: its test loss is nan"


def test_report_is_made_once_and_its_failure_costs_nothing(tmp_path):
    made = []

    def report(seed, hyperparameters):
        made.append(hyperparameters)
        return Report(0.25, 1.0, 2.0)

    problem = Problem(**{**vars(BRANIN), "report": report})
    for _ in range(2):
        result = tune(problem, "random", evaluations=3, storage=tmp_path, progress=False)
        assert result.test_error == rows.summary(tmp_path)["test_error"] == 0.25
    assert made == [result.hyperparameters]
    assert result.test_error_as_trained is None
    broken = Problem(**{**vars(BRANIN), "report": lambda *_: 1 / 0})
    result = tune(broken, "random", evaluations=3, progress=False)
    assert result.test_error is None
    assert "the final training failed: ZeroDivisionError" in result.message


def test_a_final_training_that_failed_is_tried_again(tmp_path):
    begun = []

    def report(seed, hyperparameters):
        begun.append(seed)
        if len(begun) == 1:
            raise MemoryError
        return Report(0.25, 1.0, 2.0)

    problem = dataclasses.replace(FORRESTER, report=report)
    found = [tune(problem, "random", evaluations=1, storage=tmp_path, progress=False) for _ in range(3)]
    assert [result.test_error for result in found] == [None, 0.25, 0.25]
    assert "MemoryError" in found[0].message
    assert found[1].message == ""
    assert len(begun) == 2


def test_a_final_training_may_change_what_it_is_given():
    def report(seed, hyperparameters):
        hyperparameters.pop("x1")
        return Report(0.25, 1.0, 2.0)

    changing = dataclasses.replace(FORRESTER, report=report, report_as_trained=report)
    result = tune(changing, evaluations=2, progress=False)
    assert result.hyperparameters.keys() == {"x1"}
    assert (result.test_error_as_trained, result.message) == (0.25, "")


def test_an_answer_is_judged_plainly_and_as_trained(tmp_path):
    reports = {"report": lambda *_: Report(0.25, 1.0, 2.0), "report_as_trained": lambda *_: Report(0.2, 1.0, 2.0)}
    for _ in range(2):
        result = tune(dataclasses.replace(FORRESTER, **reports), evaluations=3, storage=tmp_path, progress=False)
        assert (result.test_error, result.test_error_as_trained, result.message) == (0.25, 0.2, "")
    assert rows.summary(tmp_path)["test_error_as_trained"] == 0.2
    broken = dataclasses.replace(FORRESTER, **reports | {"report_as_trained": lambda *_: 1 / 0})
    result = tune(broken, evaluations=3, progress=False)
    assert (result.test_error, result.test_error_as_trained) == (0.25, None)
    assert "the final training as trained failed: ZeroDivisionError" in result.message
    unreported = dataclasses.replace(FORRESTER, **reports | {"report": None})
    assert tune(unreported, evaluations=3, progress=False).test_error_as_trained is None


def test_interrupted_ibo_equals_uninterrupted(tmp_path):
    whole = tune(FORRESTER, evaluations=8, cost="work", seed=3, progress=False)
    with pytest.raises(KeyboardInterrupt):
        tune(interrupted(FORRESTER, 7), evaluations=8, cost="work", seed=3, storage=tmp_path, progress=False)
    assert [row["state"] for row in rows.read(tmp_path)] == ["ok"] * 6 + ["preempted"]
    resumed = tune(FORRESTER, evaluations=8, cost="work", seed=3, storage=tmp_path, progress=False)
    assert timeless(resumed.rows) == timeless(whole.rows)
    assert resumed.hyperparameters == whole.hyperparameters
    reasons = [row["reason"] for row in whole.rows]
    assert reasons[:4] == ["initial"] * 4
    assert set(reasons[4:-1]) <= {"acquisition", "nearby", "guard"}
    assert (reasons[-1], whole.rows[-1]["s"]) == ("recommendation", 1.0)
    assert whole.rows[-1]["hyperparameters"] == whole.rows[-1]["recommendation"]
    assert all(math.isfinite(row["predicted_log_cost"]) for row in whole.rows[4:-1])


def test_prices_cool_with_the_evaluations_and_in_the_default_protocol_only(monkeypatch):
    seen, suggest = [], ibo.suggest

    def watched(*arguments, share_left=1.0, **settings):
        seen.append(share_left)
        return suggest(*arguments, share_left=share_left, **settings)

    monkeypatch.setattr(ibo, "suggest", watched)
    tune(FORRESTER, evaluations=FORRESTER.initial + 4, cost="work", seed=3, progress=False)
    assert seen[:4] == [1.0, 0.75, 0.5, 0.25]
    seen.clear()
    tune(FORRESTER, evaluations=FORRESTER.initial + 2, cost="work", seed=3, protocol="paper", progress=False)
    tune(FORRESTER, seconds=2.0, cost="work", seed=3, progress=False)
    assert set(seen) == {1.0}


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_without_progress_a_search_in_memory_says_nothing(method, capfd):
    tune(FORRESTER, method, evaluations=2, progress=False)
    assert capfd.readouterr() == ("", "")


def test_optuna_reads_the_study(tmp_path):
    result = tune(failing("raises"), "random", evaluations=4, storage=tmp_path, progress=False)
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert study.best_value == min(row["error"] for row in result.rows if row["error"] is not None)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL"] * 2
    assert study.best_params.keys() == {"x1", "x2", "s"}
