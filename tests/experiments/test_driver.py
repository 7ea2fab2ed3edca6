"""The driver runs real searches: nothing twice, nothing lost, and one that was killed ends like one that was not."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.common import cell as cells
from experiments.common import command, rows, workers
from experiments.common.cell import TIMES, run_cell
from experiments.common.settings import METHODS, Cell, experiment, experiments, registered
from ibo_jax.outcomes import Report
from ibo_jax.problems.synthetic import SYNTHETIC
from ibo_jax.study import rows as study_rows

ROOT = Path(__file__).parents[2]
DIGITS = experiment("digits")
TINY = ["--scale", "smoke", "--methods", "random", "tpe", "--seeds", "2", "--evaluations", "2", "--cost", "work"]
FIRST = Cell("digits", "smoke", "default", "work", "random", 0, 2)


def places(folder: Path) -> list[str]:
    return ["--rows", str(folder / "rows.jsonl"), "--runs", str(folder / "runs")]


def trials(folder: Path) -> list[dict]:
    return [row for row in rows.read(folder / "rows.jsonl") if "slot" in row]


def timeless(found: list[dict]) -> dict[tuple, dict]:
    return {
        (row["method"], row["seed"], row["slot"]): {name: row[name] for name in row if name not in TIMES}
        for row in found
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Two methods, two seeds, never interrupted, two at once."""
    folder = tmp_path_factory.mktemp("whole")
    assert command.main(DIGITS, [*TINY, *places(folder), "--jobs", "2"]) == 0
    return folder


def test_every_trial_is_there_once_with_its_answer_retrained(whole):
    found = trials(whole)
    expected = {(method, seed, slot) for method in ("random", "tpe") for seed in range(2) for slot in range(2)}
    assert len(found) == len(expected)
    assert set(timeless(found)) == expected
    by_answer: dict[tuple, set] = {}
    for row in found:
        assert 0 < row["test_error"] < 1
        by_answer.setdefault((row["seed"], json.dumps(row["incumbent"])), set()).add(row["test_error"])
    assert all(len(errors) == 1 for errors in by_answer.values())
    paid = [row for row in found if row["retrain_seconds"] > 0]
    assert len(by_answer) <= len(paid) < len(found)  # an answer that stays is not trained again


def test_the_answer_is_that_of_the_study(whole):
    last = timeless(trials(whole))["random", 0, 1]
    best = min(
        (row for row in trials(whole) if (row["method"], row["seed"]) == ("random", 0)), key=lambda r: r["error"]
    )
    assert last["incumbent"] == best["hyperparameters"]


def test_a_machine_stands_before_the_rows_of_each_cell_and_an_end_after_them(whole):
    for method in ("random", "tpe"):
        of_one = [row for row in rows.read(whole / "rows.jsonl") if (row.get("method"), row.get("seed")) == (method, 1)]
        assert of_one[0]["machine"]["OMP_NUM_THREADS"] == "1"
        assert of_one[0]["searched_fidelity"]["name"] == "presample_ratio"
        assert of_one[-1]["ended"]["trials"] == 2


def test_complete_cells_are_skipped(whole, capsys):
    before = (whole / "rows.jsonl").read_bytes()
    assert command.main(DIGITS, [*TINY, *places(whole)]) == 0
    assert (whole / "rows.jsonl").read_bytes() == before
    assert "4 of them complete" in capsys.readouterr().out


def test_killed_and_resumed_equals_uninterrupted(whole, tmp_path):
    once = [*TINY, "--seeds", "1", *places(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.digits", *once], cwd=ROOT, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("tpe 0: trial 1"):
            break
    process.kill()
    process.wait()
    assert len(trials(tmp_path)) == 2  # those of the first cell
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write('{"experiment": "digits", "sl')  # a line that was being written
    assert command.main(DIGITS, once) == 0
    assert len(trials(tmp_path)) == 4
    assert timeless(trials(tmp_path)) == timeless([row for row in trials(whole) if row["seed"] == 0])


def finished_study(whole: Path, folder: Path) -> Path:
    """A copy of the study of the first cell: nothing is left to search."""
    return Path(shutil.copytree(whole / "runs" / "digits" / FIRST.variant / "random-0", folder))


def test_rows_of_a_lost_study_are_not_mixed_with_those_of_another(whole, tmp_path):
    path = tmp_path / "rows.jsonl"
    first = next(row for row in trials(whole) if (row["method"], row["seed"], row["slot"]) == ("random", 0, 0))
    rows.append(path, first | {"error": 0.5})
    with pytest.raises(ValueError, match="remove that cell's rows"):
        run_cell(DIGITS, FIRST, path, finished_study(whole, tmp_path / "study"))


def test_an_answer_is_known_at_its_own_scale_and_a_trial_without_a_clock_has_a_row(whole, tmp_path):
    """Its process died twice: nobody knows when it ended."""
    path, wider = tmp_path / "rows.jsonl", FIRST._replace(scale="cpu")
    found = study_rows.read(finished_study(whole, tmp_path / "study"))
    found[0]["elapsed_seconds"] = None
    answers = [found[0]["hyperparameters"]] * len(found)
    problem = dataclasses.replace(DIGITS.problem("smoke", "default", 0), report=lambda *_: Report(0.5, 1.0, 2.0))
    for cell in (FIRST, wider):
        cells._judge(cell, problem, found, answers, path)
    assert [row["retrain_seconds"] > 0 for row in trials(tmp_path)] == [True, False] * 2
    assert trials(tmp_path)[0]["elapsed_seconds"] is None
    assert command.estimate(DIGITS, [FIRST._replace(seed=3)], rows.read(path)) > 0


class Deadly:
    """Ends the process that receives it."""

    def __reduce__(self):
        return os._exit, (7,)


def test_a_cell_that_fails_or_kills_its_process_stops_no_other(whole, tmp_path):
    (tmp_path / "file").write_text("")
    cells = [FIRST._replace(seed=1), FIRST._replace(seed=2), FIRST]
    folders = {cells[0]: Deadly(), cells[1]: tmp_path / "file"}
    folders[FIRST] = finished_study(whole, tmp_path / "study")
    ended = {}
    workers.run_cells(cells, 1, tmp_path / "rows.jsonl", folders.__getitem__, ended.__setitem__)
    assert ended[cells[0]] == "its process died with status 7"
    assert "FileExistsError" in ended[cells[1]]
    assert ended[FIRST] == ""
    assert len(trials(tmp_path)) == 2


def test_a_trial_that_crashed_says_why(tmp_path, capsys):
    def crash(*_):
        raise RuntimeError("no such layer")

    made = dataclasses.replace(SYNTHETIC["branin"], evaluate=crash, report=lambda seed, h: Report(0.5, 1.0, 0.1))
    run_cell(DIGITS._replace(problem=lambda *_: made), FIRST, tmp_path / "rows.jsonl", tmp_path / "study")
    assert capsys.readouterr().out.count(", RuntimeError: no such layer") == 2


def test_cells_that_fail_alike_say_so_once(tmp_path, monkeypatch, capsys):
    """Where a data set is missing, all of them do."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("IBO_JAX_CACHE", str(tmp_path / "cache"))
    arguments = ["--scale", "smoke", "--methods", "random", "--seeds", "2", *places(tmp_path)]
    assert command.main(experiment("fcn_mnist"), arguments) == 1
    told = capsys.readouterr().err
    assert told.startswith("failed: random, seed 0; random, seed 1: FileNotFoundError: mnist")
    assert told.count("failed:") == 1


def test_estimate_is_stated_before_and_measured_after(whole):
    cells = [FIRST._replace(seed=seed, evaluations=6) for seed in (0, 7)]
    assert command.estimate(DIGITS, cells, []) == pytest.approx(2 * 60 * DIGITS.budgets["smoke"].minutes)
    there = rows.read(whole / "rows.jsonl")
    own = [row for row in there if "slot" in row and row["method"] == "random"]
    ends = [max(row["elapsed_seconds"] for row in own if row["seed"] == seed) for seed in {row["seed"] for row in own}]
    wall = sum(ends) + sum(row["retrain_seconds"] for row in own)
    assert command.estimate(DIGITS, cells, there) == pytest.approx((4 + 6) * wall / len(own))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--methods", "tea"], "tea"), (["--seeds", "0"], "--seeds"), (["--seconds", "-1"], "--seconds")],
)
def test_bad_input_is_refused(arguments, message, capsys):
    assert command.main(DIGITS, arguments) == 2
    assert message in capsys.readouterr().err


def test_every_experiment_has_all_scales_and_methods():
    names = [found.name for found in experiments()]
    assert {"digits", "fcn_mnist", "cnn_cifar10", "resnet_cifar10", "resnet_cifar100"} <= set(names)
    for found in experiments():
        assert set(found.budgets) >= {"smoke", "cpu", "paper"}
        assert set(found.methods) <= set(METHODS)
    assert set(registered()) <= set(METHODS)
