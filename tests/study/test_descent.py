"""Runs of gradient-based tuners: rows, resuming, what is kept, and what happens to bad runs."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import serialization

from ibo_jax import bilevel, cli, tune
from ibo_jax.bilevel.judge import judge
from ibo_jax.problems import catalogue
from ibo_jax.problems.synthetic import SYNTHETIC
from ibo_jax.study import checkpoint, descent, descent_report

METHOD = "hypernet-local"
TIMES = ("cost_seconds", "compile_seconds", "elapsed_seconds")


@pytest.fixture(scope="module")
def problem():
    return catalogue.problem("digits-l2", scale="smoke")


def timeless(found):
    return [{name: value for name, value in row.items() if name not in TIMES} for row in found]


def test_rows_on_disk_are_the_rows_returned(problem, tmp_path):
    result = tune(problem, METHOD, evaluations=3, storage=tmp_path, progress=False)
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert lines == result.rows == descent.read(tmp_path)[0]
    assert list(lines[0]) == list(descent.EpochRow.__annotations__)
    best = min(result.rows, key=lambda row: row["score"])
    assert result.hyperparameters == best["hyperparameters"]
    assert result.validation_error == best["error"]
    assert 0 <= result.test_error < 1


def test_a_resumed_run_goes_the_way_of_an_uninterrupted_one(problem, tmp_path):
    whole = tune(problem, METHOD, evaluations=4, progress=False)
    tune(problem, METHOD, evaluations=2, storage=tmp_path, progress=False)
    resumed = tune(problem, METHOD, evaluations=4, storage=tmp_path, progress=False)
    assert timeless(resumed.rows) == timeless(whole.rows)
    assert resumed.test_error == whole.test_error
    assert tune(problem, METHOD, evaluations=4, storage=tmp_path, progress=False).rows == resumed.rows


def test_each_epoch_has_a_key_of_its_own(problem):
    result, tuner = tune(problem, METHOD, evaluations=3, seed=4, progress=False), bilevel.make(METHOD, problem)
    key = jax.random.key(np.uint32(4))
    state = tuner.init(jax.random.fold_in(key, 0))
    for epoch, row in enumerate(result.rows):
        state, _ = tuner.update(jax.random.fold_in(key, epoch + 1), state)
        assert row["hyperparameters"] == pytest.approx(tuner.hyperparameters(state))


def test_the_network_that_is_kept_is_the_answer(problem, tmp_path):
    result = tune(problem, METHOD, evaluations=3, storage=tmp_path, progress=False)
    best = serialization.msgpack_restore((tmp_path / checkpoint.FILE).read_bytes())["best"]
    error, _ = judge(problem.learning)(best, result.hyperparameters, "test")
    assert error == result.test_error


def test_seconds_end_a_run(problem):
    result = tune(problem, METHOD, seconds=0.2, progress=False)
    assert result.rows[-1]["elapsed_seconds"] >= 0.2
    assert all(row["elapsed_seconds"] < 0.2 for row in result.rows[:-1])


def test_seeds_differ(problem):
    first, second = (tune(problem, METHOD, evaluations=1, seed=seed, progress=False) for seed in (0, 1))
    assert first.rows[0]["validation_loss"] != second.rows[0]["validation_loss"]


def exploding(tuner, at):
    """The tuner, of which one update leaves no numbers behind."""
    calls = 0

    def update(key, state):
        nonlocal calls
        calls += 1
        state, measures = tuner.update(key, state)
        return state, measures._replace(finite=jnp.asarray(calls != at), train_loss=jnp.nan if calls == at else 1.0)

    return tuner._replace(update=update)


def test_a_run_that_diverges_keeps_its_best_epoch(problem, tmp_path, monkeypatch):
    tuner = bilevel.make(METHOD, problem)
    monkeypatch.setattr(bilevel, "make", lambda *_, **__: exploding(tuner, 3))
    result = tune(problem, METHOD, evaluations=6, storage=tmp_path, progress=False)
    assert [row["state"] for row in result.rows] == ["ok", "ok", "diverged"]
    assert result.rows[-1]["train_loss"] is None
    assert result.hyperparameters is not None
    assert "diverged in epoch 3" in result.message
    assert len(tune(problem, METHOD, evaluations=6, storage=tmp_path, progress=False).rows) == 3  # it stays ended


def test_a_page_that_cannot_be_written_costs_no_answer(problem, tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.warns(UserWarning, match=r"report.html was not written: IsADirectoryError"):
        result = tune(problem, METHOD, evaluations=1, storage=tmp_path, progress=False)
    assert result.hyperparameters is not None


def test_a_run_that_diverges_at_once_has_no_answer(problem, monkeypatch):
    tuner = bilevel.make(METHOD, problem)
    monkeypatch.setattr(bilevel, "make", lambda *_, **__: exploding(tuner, 1))
    result = tune(problem, METHOD, evaluations=6, progress=False)
    assert (result.hyperparameters, result.test_error, len(result.rows)) == (None, None, 1)
    assert "diverged in epoch 1" in result.message


def test_a_folder_of_another_run_is_refused(problem, tmp_path):
    tune(problem, METHOD, evaluations=1, storage=tmp_path / "run", progress=False)
    with pytest.raises(ValueError, match="seed 0"):
        tune(problem, METHOD, evaluations=1, seed=1, storage=tmp_path / "run", progress=False)
    with pytest.raises(ValueError, match="response_rate"):
        descent.prepare(problem, METHOD, settings={"response_rate": 0.1}, epochs=1, storage=tmp_path / "run")
    tune(SYNTHETIC["forrester"], "random", evaluations=1, storage=tmp_path / "study", progress=False)
    with pytest.raises(ValueError, match="a search's study"):
        tune(problem, METHOD, evaluations=1, storage=tmp_path / "study", progress=False)


def test_a_search_leaves_a_run_alone(problem, tmp_path):
    tune(problem, METHOD, evaluations=1, storage=tmp_path, progress=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="found one training's checkpoint"):
        tune(problem, "random", evaluations=1, storage=tmp_path, progress=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_checkpoint_holds_the_keys_of_an_optimiser(tmp_path):
    """That of noisy gradients has one in its state; keys of every kind come back as they were."""
    params = {"kernel": jnp.ones(2)}
    state = optax.add_noise(0.01, 0.55, key=jax.random.key(3, impl="rbg")).init(params)
    checkpoint.write(tmp_path, checkpoint.Checkpoint((state, jax.random.key(5)), params, {}))
    (restored, own), best, _ = checkpoint.read(tmp_path, checkpoint.Checkpoint((state, jax.random.key(0)), params, {}))
    assert jax.random.key_impl(restored.rng_key) == "rbg"
    assert jnp.all(restored.rng_key == state.rng_key)
    assert own == jax.random.key(5)
    assert best["kernel"].tolist() == [1.0, 1.0]


def test_a_tuner_is_not_driven_beyond_the_room_that_it_has(problem, monkeypatch):
    tuner = bilevel.make(METHOD, problem)._replace(limit=2)
    monkeypatch.setattr(bilevel, "make", lambda *_, **__: tuner)
    with pytest.raises(ValueError, match="expected at most 2 epochs of this tuner on this problem, got 3"):
        descent.prepare(problem, METHOD, epochs=3)
    with pytest.raises(ValueError, match="at most 2 epochs"):
        next(bilevel.updates(jax.random.key(0), tuner, epochs=3))
    ready = descent.prepare(problem, METHOD, seconds=60.0, progress=False)
    assert len(descent.run(ready).rows) == 2


def test_a_damaged_checkpoint_is_named(problem, tmp_path):
    tune(problem, METHOD, evaluations=1, storage=tmp_path, progress=False)
    path = tmp_path / checkpoint.FILE
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="damaged"):
        tune(problem, METHOD, evaluations=2, storage=tmp_path, progress=False)


@pytest.mark.parametrize("method", bilevel.NAMES)
def test_a_problem_without_a_training_is_refused(method):
    with pytest.raises(ValueError, match="looked into"):
        tune(SYNTHETIC["forrester"], method, evaluations=1, progress=False)


def test_the_command_tunes_shows_and_reports(tmp_path, capsys):
    out = tmp_path / "run"
    options = ["digits-l2", "--scale", "smoke", "--method", METHOD, "--evaluations", "2", "--out", str(out)]
    assert cli.main(["tune", *options]) == 0
    assert "test error" in capsys.readouterr().out
    assert cli.main(["show", str(out)]) == 0
    assert "epoch 2" in capsys.readouterr().out
    assert cli.main(["report", str(out)]) == 0
    page = (out / "report.html").read_text()
    assert "The schedule" in page
    assert "<th>score</th>" not in page  # it is the validation loss
    assert page.count("<svg") == 2
    assert "http" not in page.replace("http://www.w3.org", "").replace("https://www.w3.org", "")


def test_hyperparameters_that_have_not_moved_yet_are_told(problem, tmp_path):
    """Of equal rows one is the answer, the last of the lowest score."""
    result = tune(problem, "hypernet-global", evaluations=2, storage=tmp_path, progress=False)
    assert "have not moved in 2 epochs" in result.message
    assert (tmp_path / "report.html").read_text().count('<tr class="best">') == 1


def test_a_report_needs_no_answer(problem):
    row = {"number": 0, "state": "diverged", "hyperparameters": {"l2_hidden": None, "l2_output": None},
           **dict.fromkeys(("train_loss", "validation_loss", "error", "score")),
           "cost_seconds": 1.0, "compile_seconds": 0.0, "elapsed_seconds": 1.0, "more": {}}  # fmt: skip
    space = {name: {"low": 1e-4, "high": 1.0, "log": True} for name in ("l2_hidden", "l2_output")}
    summary = {"problem": "p", "method": METHOD, "seed": 0, "space": space, "versions": {}}
    for found in ([], [row]):
        assert "<svg" in descent_report.page(found, summary)


def test_an_answer_whose_weights_know_the_validation_examples_says_so(problem):
    result = tune(problem, "value-function", evaluations=26, progress=False)
    assert result.hyperparameters is not None
    assert "only the test error is honest" in result.message


@pytest.mark.slow
def test_a_killed_run_resumes(tmp_path):
    """A real process, killed in the middle; the checkpoint is of some epoch, whole."""
    out = str(tmp_path / "run")
    code = f"""
import os, ibo_jax
from ibo_jax.problems import catalogue
from ibo_jax.study import descent
descent._epoch, original = (lambda run, at, began: os._exit(9) if len(at.facts["rows"]) == 2
                            else original(run, at, began)), descent._epoch
ibo_jax.tune(catalogue.problem("digits-l2", scale="smoke"), {METHOD!r}, evaluations=4, storage={out!r})
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    problem = catalogue.problem("digits-l2", scale="smoke")
    resumed = tune(problem, METHOD, evaluations=4, storage=out, progress=False)
    assert timeless(resumed.rows) == timeless(tune(problem, METHOD, evaluations=4, progress=False).rows)
    assert np.all(np.diff([row["elapsed_seconds"] for row in resumed.rows]) > 0)


def test_a_run_that_went_on_and_was_interrupted_has_no_answer_of_old(problem, tmp_path, monkeypatch, capsys):
    tune(problem, METHOD, evaluations=2, storage=tmp_path, progress=False)
    tuner, calls = bilevel.make(METHOD, problem), []

    def update(key, state):
        calls.append(key)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return tuner.update(key, state)

    monkeypatch.setattr(bilevel, "make", lambda *_, **__: tuner._replace(update=update))
    monkeypatch.setattr(descent, "SHARE", np.inf)  # a checkpoint each epoch
    arguments = ["tune", "digits-l2", "--scale", "smoke", "--method", METHOD, "--evaluations", "9"]
    assert cli.main([*arguments, "--out", str(tmp_path)]) == cli.INTERRUPTED
    assert "interrupted; 5 epochs are saved in" in capsys.readouterr().err
    found, summary = descent.read(tmp_path)
    assert (len(found), "best" in summary) == (5, False)
    assert cli.main(["show", str(tmp_path)]) == 0
    assert "not finished: 5 epochs" in capsys.readouterr().out


@pytest.mark.parametrize("where", ["update", "answer"])
def test_a_key_pressed_between_two_checkpoints_costs_no_whole_epoch(problem, tmp_path, monkeypatch, where):
    monkeypatch.setattr(descent, "SHARE", 1e-9)  # after the first epoch none is due
    ready = descent.prepare(problem, METHOD, epochs=3 + (where == "update"), storage=tmp_path, progress=False)
    calls = []

    def update(key, state):
        calls.append(ready.tuner.update(key, state))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return calls[-1]

    def judge(params, hyperparameters, part):
        if part == "test":
            raise KeyboardInterrupt
        return ready.judge(params, hyperparameters, part)

    with pytest.raises(KeyboardInterrupt):
        descent.run(ready._replace(tuner=ready.tuner._replace(update=update), judge=judge))
    assert len(descent.read(tmp_path)[0]) == 3
    resumed = tune(problem, METHOD, evaluations=4, storage=tmp_path, progress=False)
    assert timeless(resumed.rows) == timeless(tune(problem, METHOD, evaluations=4, progress=False).rows)


def test_an_answer_is_not_lost_before_there_is_another_epoch(problem, tmp_path):
    tune(problem, METHOD, evaluations=2, storage=tmp_path, progress=False)
    ready = descent.prepare(problem, METHOD, epochs=4, storage=tmp_path, progress=False)

    def update(key, state):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        descent.run(ready._replace(tuner=ready.tuner._replace(update=update)))
    assert descent.read(tmp_path)[1]["best"]


def test_an_interruption_before_anything_is_saved_says_so(problem, tmp_path, monkeypatch, capsys):
    def interrupt(key, state):
        raise KeyboardInterrupt

    tuner = bilevel.make(METHOD, problem)
    monkeypatch.setattr(bilevel, "make", lambda *_, **__: tuner._replace(update=interrupt))
    arguments = ["tune", "digits-l2", "--scale", "smoke", "--method", METHOD, "--out", str(tmp_path)]
    assert cli.main(arguments) == cli.INTERRUPTED
    assert "nothing is saved yet" in capsys.readouterr().err
