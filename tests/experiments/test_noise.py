"""The noise experiment at scale smoke: every planned training once, studies of equal work, figures from rows alone."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.common import rows
from experiments.noise import __main__ as command
from experiments.noise import believed, plot, record
from experiments.noise.record import RATIO, SHARE
from experiments.noise.settings import SCALES, SLICES, SPREADS
from ibo_jax.problems.settings import SETTINGS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("noise")
    command.main(["--scale", "smoke", "--limit", "10", "--out", str(path)])
    assert not list(path.glob("beliefs*"))  # not before the last training
    command.main(["--scale", "smoke", "--out", str(path)])
    return path


def stored(folder):
    return [json.loads(line) for line in (folder / "noise-smoke.jsonl").read_text().splitlines()]


def test_every_planned_training_is_run_once(folder):
    keys = [tuple(row[name] for name in record.Training._fields[:5]) for row in stored(folder) if "part" in row]
    assert sorted(keys) == sorted(training.key for training in record.planned("smoke"))
    assert not record.missing("smoke", stored(folder))


def test_subsets_cost_their_share_and_importance_more(folder):
    work = {(row["axis"], row["level"]): row["cost_work"] for row in stored(folder) if row.get("part") == "digits, MLP"}
    assert work[SHARE, 1.0] == work[RATIO, 1]
    assert 0.2 < work[SHARE, 0.25] / work[SHARE, 1.0] < 0.3
    assert work[RATIO, 1] <= work[RATIO, 3] <= 2 * work[RATIO, 1]  # 3 b forward passes beside those of 3 b


def test_studies_of_both_kinds_cost_the_same(folder):
    found = stored(folder)
    counts = {row["axis"]: row["observations"] for row in found if "study" in row}
    price = {axis: np.mean([row["cost_work"] for row in found if row.get("part") == "slice" and row["axis"] == axis])
             for axis in (SHARE, RATIO)}  # fmt: skip
    assert counts[RATIO] == SLICES["smoke"].trainings
    assert counts[SHARE] * price[SHARE] == pytest.approx(counts[RATIO] * price[RATIO], rel=0.1)


def test_what_is_stored_is_what_is_planned_and_studies_are_not_repeated():
    found = rows.read(Path(record.__file__).with_name("noise-cpu.jsonl"))
    assert record.missing("cpu", found) == []
    assert list(believed.studies(found, SLICES["cpu"])) == []


def test_the_surrogate_finds_the_minimum_of_a_clean_curve():
    position = np.linspace(0, 1, 12)
    belief = believed.believe(0, position, (position - 0.3) ** 2)
    assert abs(believed.GRID[np.argmin(belief.mean)] - 0.3) < 0.03


def test_figures_are_of_the_rows_and_repeat(folder):
    found = stored(folder)
    for level, values in plot.errors(found, "digits, MLP", RATIO).items():
        wanted = [row["error"] for row in found if row.get("part") == "digits, MLP" and row["axis"] == RATIO
                  and row["level"] == level]  # fmt: skip
        assert sorted(values) == sorted(wanted)
    drawn = plot.draw(folder)
    assert [path.name for path in drawn] == ["spread-smoke.svg", "beliefs-smoke.svg"]
    before = [path.read_bytes() for path in drawn]
    assert [path.read_bytes() for path in plot.draw(folder)] == before


@pytest.mark.parametrize("scale", SCALES)
def test_configurations_lie_in_the_space_of_their_problem(scale):
    for case in (*SPREADS[scale], SLICES[scale]):
        space = SETTINGS[case.problem][scale].space
        assert set(case.hyperparameters) == set(space)
        for name, value in case.hyperparameters.items():
            assert space[name].low <= value <= space[name].high
