"""What a person sees."""

import io
import math

import pytest
from rich.console import Console

from ibo_jax.problems.synthetic import SYNTHETIC
from ibo_jax.study import progress
from ibo_jax.study.tune import tune


@pytest.fixture(scope="module")
def rows():
    return tune(SYNTHETIC["branin"], "random", evaluations=4, progress=False).rows


def shown(screen: progress.Screen) -> str:
    console = Console(width=160, file=io.StringIO())
    console.print(screen.render())
    return console.file.getvalue()


def test_screen_shows_the_newest_trials_and_what_is_left(rows):
    screen = progress.Screen("branin, random, seed 0", "s", 8, None)
    assert "0 of 8 trials" in shown(screen)
    screen.update(rows, elapsed=61.0)
    screen.note("trial 5: training at s 1")
    text = shown(screen)
    best = progress.number(progress.best_error(rows))
    header, count = "branin, random, seed 0", "4 of 8 trials"
    for said in (header, count, f"lowest {best}", "elapsed 1:01", "trial 5: training at s 1"):
        assert said in text
    assert len([line for line in text.splitlines() if line.rstrip().endswith("ok")]) == 4


def test_a_long_message_leaves_the_table_within_80_columns(rows):
    failed = {**rows[0], "state": "crashed", "reason": "recommendation", "message": "RuntimeError: " + 20 * "no room "}
    failed["fidelity"] = 4.7516e-12
    console = Console(width=80, file=io.StringIO())
    console.print(progress.table([*rows[1:], failed], "s", title="of [/x] and [v2]"))
    title, header, *lines = console.file.getvalue().splitlines()
    assert title.rstrip() == "of [/x] and [v2]"
    assert header.split()[:3] == ["trial", "error", "incumbent"]
    assert len(lines) == 4
    for line, row in zip(lines, [*rows[1:], failed], strict=True):
        for said in (str(row["number"] + 1), progress.number(row["error"]), row["reason"][:6], row["state"][:5]):
            assert said in line


def test_screen_keeps_to_the_newest(rows):
    many = [{**row, "number": index} for index, row in enumerate(rows * 10)]
    screen = progress.Screen("", "s", None, 3600.0)
    screen.update(many, elapsed=600.0)
    text = shown(screen)
    assert len([line for line in text.splitlines() if line.rstrip().endswith("ok")]) == progress.SHOWN
    assert "40 of ? trials" in text
    assert "left 50:00" in text or "left 49:5" in text


def test_lines_say_each_trial_once(rows, capsys):
    lines = progress.Lines("s", 4, None)
    lines.update([], 0.0)
    lines.update(rows[:2], 1.0)
    lines.update(rows[:2], 2.0)
    lines.update(rows, 3.0)
    said = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in said] == [f"trial {number}/4" for number in (1, 2, 3, 4)]
    assert f", cost {rows[0]['cost_seconds']:.3g}, left" in said[0]  # of a function no seconds
    resumed = progress.Lines("s", 4, None)
    resumed.update(rows[:3], 0.0)
    resumed.update(rows, 1.0)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("resumed after 3 trials, lowest ")
    assert len(said) == 2


def test_lines_say_each_trial_once_where_workers_finish_out_of_order(rows, capsys):
    lines = progress.Lines("s", 4, None)
    rows = [{**row, "error": error} for row, error in zip(rows, (0.4, 0.3, 0.2), strict=False)]
    lines.update([], 0.0)
    lines.update([rows[0], rows[2]], 1.0)
    lines.update(rows, 2.0)
    said = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in said] == ["trial 1/4", "trial 3/4", "trial 2/4"]
    assert ["lowest 0.4" in said[0], "lowest 0.2" in said[1], "lowest 0.2" in said[2]] == [True] * 3


def test_lines_say_what_came_of_an_interrupted_trial(rows, capsys):
    resumed = progress.Lines("s", 4, None)
    resumed.update([rows[0], {**rows[1], "state": "preempted", "error": None}], 0.0)
    resumed.update(rows[:2], 1.0)
    said = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in said] == ["resumed after 2 trials", "trial 2/4"]


def test_an_odd_message_fits_every_output(rows, monkeypatch):
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(found := io.BytesIO(), encoding="ascii"))
    lines = progress.Lines("größe", 4, None)
    lines.update([], 0.0)
    lines.update([{**rows[0], "message": "ValueError: \udcff"}], 1.0)
    assert rb"(at any gr\xf6\xdfe)" in found.getvalue()
    assert rb"ValueError: \udcff" in found.getvalue()


@pytest.mark.parametrize(
    ("value", "text"), [(0.000123456, "0.0001235"), (128, "128"), ("tanh", "tanh"), (None, "-"), (math.nan, "-")]
)
def test_number(value, text):
    assert progress.number(value) == text


def test_seconds_left_is_the_tighter_limit(rows):
    slots = [{**row, "elapsed_seconds": 3.0 * (1 + number)} for number, row in enumerate(rows)]
    assert progress.seconds_left(slots, 10, None, 12.0) == 18.0
    assert progress.seconds_left(slots, 10, 20.0, 12.0) == 8.0
    assert progress.seconds_left([], 10, None, 0.0) is None


@pytest.mark.parametrize(("seconds", "text"), [(None, "-"), (59.6, "1:00"), (61.0, "1:01"), (3661.0, "1:01:01")])
def test_clock(seconds, text):
    assert progress.clock(seconds) == text


def test_seconds_left_count_workers_and_the_last_trials_and_not_those_whose_end_nobody_knows(rows):
    ends = [0.5 * place for place in range(1, 5)] + [2.0 + 2.0 * (place // 2) for place in range(2, 18)] + [None]
    slots = [{**rows[0], "elapsed_seconds": end} for end in ends]  # quick at first, then two at once, of two seconds
    assert progress.seconds_left(slots, 31, None, 18.0) == 10.0
    assert progress.seconds_left(slots[-1:], 31, None, 18.0) is None
