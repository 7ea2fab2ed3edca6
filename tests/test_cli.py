"""The command, as a person runs it: a process of its own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ibo_jax import Problem, cli
from ibo_jax.problems import catalogue
from ibo_jax.problems.synthetic import SYNTHETIC
from ibo_jax.study import rows
from ibo_jax.study.storage import open_readonly

# A background job of a shell ignores Ctrl-C, and so do its children: tests run there too.
LISTEN = "import signal, runpy; signal.signal(signal.SIGINT, signal.default_int_handler); "


def command(*arguments: str, folder: Path, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", LISTEN + "runpy.run_module('ibo_jax.cli', run_name='__main__')", *arguments],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def test_tune_show_report(tmp_path):
    process = command("tune", "forrester", "--method", "random", "--evaluations", "4", folder=tmp_path)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    folder = tmp_path / "runs" / "forrester-random-0"
    assert output.splitlines()[3].startswith("trial 4/4, ok ")
    for said in ("validation error", "report.html", "rows.jsonl", "study.db"):
        assert said in output
    assert len((folder / "rows.jsonl").read_text().splitlines()) == 4
    assert json.loads((folder / "rows.jsonl").read_text().splitlines()[3])["number"] == 3


def test_workers_train_at_once(tmp_path):
    arguments = ("digits-mlp", "--method", "random", "--scale", "smoke", "--evaluations", "8", "--parallel", "2")
    output, errors = command("tune", *arguments, folder=tmp_path).communicate(timeout=300)
    assert "trial 8/8" in output, errors
    assert "worker ended" not in errors
    with open_readonly(tmp_path / "runs" / "digits-mlp-random-0") as store:
        assert len({attempt.system_attrs["ibo_jax:worker"] for attempt in store.attempts()}) == 2


def test_show_and_report(tmp_path, capsys):
    assert cli.main(["tune", "forrester", "--method", "random", "--evaluations", "3", "--out", str(tmp_path)]) == 0
    (tmp_path / "report.html").unlink()
    capsys.readouterr()
    assert cli.main(["report", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "report.html")
    assert (tmp_path / "report.html").exists()
    assert cli.main(["show", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "forrester, random, seed 0" in shown
    assert cli.main(["show", str(tmp_path / "study.db")]) == 0
    assert capsys.readouterr().out == shown
    assert "validation error" in shown


def test_a_folder_at_home_is_named_as_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cli.main(["tune", "forrester", "--method", "random", "--evaluations", "1", "--out=~/run"]) == 0
    assert str(tmp_path / "run" / "rows.jsonl") in capsys.readouterr().out
    assert cli.main(["report", "~/run"]) == 0


def test_a_study_that_went_on_and_was_interrupted_has_no_answer_of_old(tmp_path, monkeypatch, capsys):
    arguments = ["tune", "forrester", "--method", "random", "--out", str(tmp_path), "--evaluations"]
    assert cli.main([*arguments, "3"]) == 0
    whole, calls = SYNTHETIC["forrester"], []

    def evaluate(*point):
        calls.append(point)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole.evaluate(*point)

    monkeypatch.setattr(catalogue, "problem", lambda *_, **__: Problem(**{**vars(whole), "evaluate": evaluate}))
    assert cli.main([*arguments, "9"]) == cli.INTERRUPTED
    capsys.readouterr()
    assert cli.main(["show", str(tmp_path)]) == 0
    assert "not finished: 6 of 9 trials" in capsys.readouterr().out
    assert "best" not in rows.summary(tmp_path)
    assert cli.main([*arguments, "6"]) == 0
    assert rows.summary(tmp_path)["slots"] == 6


def test_a_reader_that_leaves_interrupts_a_study(tmp_path):
    arguments = ("tune", "forrester", "--method", "random", "--evaluations", "400")
    process = command(*arguments, folder=tmp_path)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=120) == cli.INTERRUPTED
    assert 0 < len(rows.read(tmp_path / "runs" / "forrester-random-0")) < 400


def test_a_folder_that_cannot_be_made_is_named(capsys):
    assert cli.main(["tune", "forrester", "--method", "random", "--evaluations", "1", "--out", "/dev/null/study"]) == 2
    assert "expected to work in /dev/null" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["", "sqlite:///study.db"])
def test_what_is_no_folder_is_refused(tmp_path, monkeypatch, capsys, out):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["tune", "forrester", "--method", "random", "--evaluations", "1", "--out", out]) == cli.BAD_INPUT
    assert f"expected a folder for the study, got {out!r}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_problems(capsys):
    assert cli.main(["problems"]) == 0
    shown = capsys.readouterr().out
    for name in catalogue.names():
        assert name in shown


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_with_everything_saved(tmp_path, number, status):
    arguments = ("tune", "forrester", "--method", "random", "--out", "out", "--evaluations")
    process = command(*arguments, "100000", folder=tmp_path, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    seen = [process.stdout.readline() for _ in range(5)]
    assert seen[4].startswith("trial 5/100000"), process.stderr.read()
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors
    assert "Traceback" not in errors
    saved = rows.read(tmp_path / "out")
    assert len(saved) >= 5 + output.count("trial ")
    assert len((tmp_path / "out" / "rows.jsonl").read_text().splitlines()) == len(saved)
    total = str(len(saved) + 2)
    process = command(*arguments, total, folder=tmp_path)
    assert process.wait(timeout=120) == 0
    resumed = rows.read(tmp_path / "out")
    assert [row for row in saved if row["state"] == "ok"] == resumed[: len([r for r in saved if r["state"] == "ok"])]
    assert len(resumed) == int(total)


def test_import_is_light():
    heavy = "optuna matplotlib rich jax flax sqlalchemy tensorflow_datasets"
    code = f"import sys, ibo_jax, ibo_jax.cli; print(*[m for m in {heavy.split()} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_public_names_exist():
    import ibo_jax

    assert sorted(ibo_jax.__all__) == dir(ibo_jax)
    for name in ibo_jax.__all__:
        assert getattr(ibo_jax, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = ibo_jax.nonsense
