"""Experiments with self-tuning networks, small: each arm has its row, in equal seconds, once; figures show the rows."""

import calendar
import math

import optax
import pytest

from experiments.common import rows, self_tuning, stn_figures
from experiments.stn_mnist.__main__ import starts
from experiments.stn_text import __main__ as command
from ibo_jax.bilevel.self_tuning import tuner
from ibo_jax.problems import training_problem
from ibo_jax.space import Float, SearchSpace
from ibo_jax.training.datasets import load
from ibo_jax.training.networks import MLP


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("stn")
    command.main(["search", "--text", calendar.__file__, "--scale", "smoke", "--seeds", "1", "--out", str(path)])
    return path


def test_every_arm_has_its_row_and_a_search_its_share_of_seconds(folder):
    about, *found = rows.read(folder / "rows-smoke.jsonl")
    by_method = {row["method"]: row for row in found}
    assert set(by_method) == {"stn", "schedule", "final", "random", "random-long"}
    assert all(row["valid_loss"] == min(row["series"]) for row in found)
    assert all(0 < row["test_loss"] < 6 for row in found)
    seconds = command.EPOCHS["smoke"] * about["prices"]["epoch"]
    assert by_method["random"]["evaluations"] == math.ceil(seconds / about["prices"]["training"])
    assert by_method["random"]["evaluations"] >= by_method["random-long"]["evaluations"]
    assert {len(values) for values in by_method["stn"]["values"].values()} == {3}


def test_one_rate_has_its_replays(tmp_path, monkeypatch):
    monkeypatch.setattr(self_tuning, "STARTS", (0.3, 0.9))
    arguments = ["starts", "--text", calendar.__file__, "--scale", "smoke", "--seeds", "1", "--out", str(tmp_path)]
    command.main(arguments)
    before = (tmp_path / "rows-smoke.jsonl").read_bytes()
    command.main(arguments)
    assert (tmp_path / "rows-smoke.jsonl").read_bytes() == before
    found = [row for row in rows.read(tmp_path / "rows-smoke.jsonl") if "method" in row]
    assert {row["method"] for row in found} == {"stn", "schedule", "final", "start"}
    assert {row["start"] for row in found} == {0.3, 0.9}


def test_a_second_run_repeats_nothing_and_figures_are_of_the_rows(folder, monkeypatch):
    before = (folder / "rows-smoke.jsonl").read_bytes()
    command.main(["search", "--text", calendar.__file__, "--scale", "smoke", "--seeds", "1", "--out", str(folder)])
    assert (folder / "rows-smoke.jsonl").read_bytes() == before
    monkeypatch.setattr("sys.argv", ["plot", "--folder", str(folder)])
    stn_figures.main(folder, {"search": (stn_figures.answers, "title")})
    found = [row for row in rows.read(folder / "rows-smoke.jsonl") if "method" in row]
    figure = stn_figures.answers(found, "title")
    dots = {round(float(line.get_ydata()[0]), 6) for line in figure.axes[0].lines}
    assert {round(row["test_loss"], 6) for row in found} <= dots
    assert (folder / "search-smoke.svg").stat().st_size > 5000


def test_starts_are_lines_that_begin_at_their_start_beside_the_losses_of_their_replays():
    losses = {"stn": 0.2, "schedule": 0.3, "final": 0.4, "start": 0.5}
    found = [
        {"start": start, "seed": 0, "method": method, "test_loss": start + loss, "values": {"dropout": [start, 0.4]}}
        for start in (0.1, 0.9)
        for method, loss in losses.items()
    ]
    left, right = stn_figures.starts(found, "title").axes
    assert [list(line.get_ydata()) for line in left.lines] == [[0.1, 0.1, 0.4], [0.9, 0.9, 0.4]]
    shown = {float(line.get_ydata()[0]) for line in right.lines}
    assert shown == {start + loss for start in (0.1, 0.9) for loss in losses.values()}


def test_the_course_of_a_network_ends_in_the_test_loss_of_its_best_epoch():
    row = {"series": [0.9, 0.5, 0.7], "test_loss": 0.6, "test_error": 0.2, "values": {"dropout": [0.1, 0.2, 0.3]}}
    left, right = stn_figures.course([row], "title").axes
    assert list(left.lines[0].get_ydata()) == row["series"]
    assert (*left.lines[1].get_xdata(), *left.lines[1].get_ydata()) == (2, 0.6)
    assert list(right.lines[0].get_ydata()) == row["values"]["dropout"]


@pytest.mark.slow
def test_every_start_has_its_replays(tmp_path):
    try:
        load("mnist")
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    starts("smoke", range(1), tmp_path / "rows-smoke.jsonl")
    found = [(row["start"], row["method"]) for row in rows.read(tmp_path / "rows-smoke.jsonl") if "start" in row]
    assert sorted(found) == sorted(
        (start, name) for start in self_tuning.STARTS for name in ("stn", "schedule", "final", "start")
    )


def test_a_network_that_diverges_at_once_has_a_row_and_no_replays(tmp_path):
    made = training_problem(
        "diverging",
        SearchSpace({"dropout": Float(0.0, 0.9)}),
        load("digits"),
        network=lambda h: MLP(10, 8, 1, h["dropout"]),
        optimizer=lambda h, steps: optax.sgd(1e30),
        epochs=1,
        batch_size=lambda h: 32,
    )
    path = tmp_path / "rows-smoke.jsonl"
    self_tuning.replay_each(made, {0.1: tuner(made, start={"dropout": 0.1})}, range(1), 2, path, {"part": "starts"})
    (row,) = (row for row in rows.read(path) if "method" in row)
    assert (row["method"], row["epochs"], row["valid_loss"]) == ("stn", 0, None)


def test_the_text_must_be_named(monkeypatch, capsys):
    monkeypatch.delenv("IBO_JAX_TEXT", raising=False)
    with pytest.raises(SystemExit):
        command.main(["search", "--scale", "smoke"])
    assert "IBO_JAX_TEXT" in capsys.readouterr().err
