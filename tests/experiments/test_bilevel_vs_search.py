"""Tuners against searches: what a run records, and figures that follow from rows alone."""

import json

import numpy as np
import pytest

from experiments.bilevel_vs_search import __main__ as command
from experiments.bilevel_vs_search import plot, runs
from experiments.value_function_mnist import __main__ as cells_command
from experiments.value_function_mnist import plot as cells_plot
from experiments.value_function_mnist.settings import CPU, METHODS
from ibo_jax.problems import catalogue


@pytest.fixture(scope="module")
def problem():
    return catalogue.problem("digits-l2", scale="smoke")


@pytest.mark.parametrize(
    ("method", "seconds"), [pytest.param("value-function", 300.0, marks=pytest.mark.slow), ("random", 1.5)]
)
def test_a_run_tells_when_its_answer_became_how_good(problem, method, seconds):
    row = runs.run(problem, method, 0, seconds)
    json.dumps(row)
    assert row["state"] == "ok"
    assert len(row["at"]) == len(row["series"]) > 0
    assert np.all(np.diff(row["at"]) > 0)
    assert 0 < row["at"][-1] <= row["seconds"]
    assert row["test_loss"] == row["series"][-1]
    assert np.isfinite(row["retrained_test_loss"])
    assert 0 <= row["test_error"] < 0.5
    assert set(row["hyperparameters"]) == set(problem.space.names)


def test_a_tuner_that_refuses_is_reported_with_its_reason():
    row = runs.run(catalogue.problem("digits-mlp", scale="smoke"), "value-function", 0, 10.0)
    assert row["state"] == "not applicable"
    assert "expected real hyperparameters" in row["message"]


def test_a_time_too_short_for_an_answer_is_told_apart_from_divergence(problem):
    assert runs.run(problem, "value-function", 0, 0.01)["state"] == "no answer"


def test_runs_of_other_lengths_are_not_taken_for_those_asked_for(tmp_path, capsys):
    (tmp_path / "rows-smoke.jsonl").write_text(json.dumps(row("random", 0, [1.0], [0.5], budget=15.0)) + "\n")
    command.main(["--scale", "smoke", "--seeds", "1", "--methods", "random", "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        command.main(["--scale", "smoke", "--seconds", "60", "--methods", "random", "--out", str(tmp_path)])
    assert "expected rows of 60 s" in capsys.readouterr().err
    command.main(["--scale", "smoke", "--seeds", "0", "--out", str(tmp_path / "none")])
    assert not list((tmp_path / "none").iterdir())


def row(method, seed, at, series, **more):
    return {"problem": "p", "method": method, "seed": seed, "state": "ok", "at": at, "series": series, "seconds": 9.0,
            "updates": 3, "test_loss": series[-1], "retrained_test_loss": 0.3, **more}  # fmt: skip


def test_the_curve_is_the_median_of_the_answers_once_most_seeds_have_one():
    chosen = [row("random", 0, [1.0, 4.0], [0.5, 0.2]), row("random", 1, [2.0], [0.4]), row("random", 2, [5.0], [0.1])]
    x, y = plot.median_curve(chosen)
    assert x.tolist() == [2.0, 4.0, 5.0, 9.0]
    assert y.tolist() == [0.5, 0.4, 0.2, 0.2]


def test_equal_rows_are_drawn_to_equal_bytes(tmp_path):
    found = [row("random", 0, [1.0], [0.5]), row("stn", 0, [2.0], [0.4]) | {"state": "not applicable"}]
    (tmp_path / "rows-cpu.jsonl").write_text("\n".join(map(json.dumps, found)))
    first = {path: path.read_bytes() for path in plot.draw(tmp_path)}
    assert first == {path: path.read_bytes() for path in plot.draw(tmp_path)}
    assert b"stn | seed 0 | not applicable" in first[tmp_path / "cpu.md"]


def test_the_cells_are_drawn_from_what_there_is(tmp_path):
    own = {"violation": 0.01, "passes": [{"violation": 0.1}, {"violation": 0.01}]}
    found = [{"cell": CPU[0].name, "seed": 0, "state": "ok", "method": method, "solves": 15, "seconds": 2.0,
              "test_loss": 0.3, **more}
             for method, more in (("value-function", own), (METHODS[0], {"retrained_test_loss": 0.2}))]  # fmt: skip
    (tmp_path / "rows-cpu.jsonl").write_text("\n".join(map(json.dumps, found)))
    figure, page = cells_plot.draw(tmp_path)
    assert figure.stat().st_size > 10_000
    assert "| value function | 1 | 15 | 2 | 0.3000 |  | 0.0100, 0.0100 |" in page.read_text()


@pytest.mark.parametrize("option", ["--cells", "--methods"])
def test_a_name_that_no_cell_or_method_has_is_refused(option, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        cells_command.main(["--scale", "smoke", option, "nonsense", "--out", str(tmp_path)])
    assert "nonsense" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
