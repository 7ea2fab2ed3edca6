"""Searches in which evaluations fail: where they do, what is lowest among the rest, and what is stored and printed."""

import numpy as np
import pytest

from experiments.benchmarks import failures
from experiments.common import rows
from ibo_jax.problems.synthetic import value


def outcome(problem, seed, unit):
    """The error at a point of the unit cube, None where the evaluation fails."""
    try:
        return problem.evaluate(seed, problem.space.decode(unit), 1.0).error
    except MemoryError:
        return None


def test_evaluations_fail_in_their_place_and_nowhere_else():
    points = np.random.default_rng(0).random((200, 2))
    found = [outcome(failures.failing("branin-disk"), 0, unit) for unit in points]
    outside = np.sum((15.0 * points - 7.5) ** 2, axis=1) > 50.0
    assert [error is None for error in found] == outside.tolist()
    assert np.array([error for error in found if error is not None]) == pytest.approx(value("branin", points[~outside]))


def test_evaluations_that_fail_by_chance_are_those_of_their_seeds():
    problem = failures.failing("branin-chance")
    failed = [outcome(problem, seed, np.full(2, 0.3)) is None for seed in range(400)]
    assert failed == [outcome(problem, seed, np.full(2, 0.7)) is None for seed in range(400)]
    assert np.mean(failed) == pytest.approx(failures.CHANCE, abs=4 * (failures.CHANCE * 0.8 / 400) ** 0.5)


@pytest.mark.parametrize("name", [name for name, place in failures.PLACES.items() if place is not None])
def test_nothing_that_succeeds_is_lower_than_the_lowest(name):
    dimension = failures.failing(name).space.dimension
    points = [x for x in np.random.default_rng(1).random((4000, dimension)) if not failures.PLACES[name](x)]
    assert failures.lowest(name) <= value(failures.function(name), points).min()


def test_an_answer_that_fails_is_infinitely_bad_as_is_none():
    problem = failures.failing("branin-half")
    assert failures.regret(problem, None) == np.inf
    assert failures.regret(problem, problem.space.decode(np.array([0.6, 0.5]))) == np.inf
    known = failures.regret(problem, problem.space.decode(np.array([0.4, 0.5])))
    assert known == pytest.approx(float(value("branin", [0.4, 0.5])) - failures.lowest("branin-half"))


def test_finished_searches_are_stored_skipped_and_summarised(tmp_path, capsys):
    path, cells = tmp_path / "rows.jsonl", [("branin-disk", "random", seed) for seed in range(2)]
    failures.run(cells, path)
    stored = rows.read(path)
    assert [row["evaluations"] for row in stored if "problem" in row] == [24, 24]
    assert all(row["regret"] >= -1e-9 for row in stored if "problem" in row)
    failures.run(cells, path)
    assert rows.read(path) == stored
    assert capsys.readouterr().out.count("evaluations failed") == 2
    rows.append(path, stored[1] | {"seed": 2, "regret": np.inf})
    *_, line = failures.table(path).splitlines()
    assert line.startswith("| branin-disk | random (3) |")
    assert line.endswith("| 1 |")
