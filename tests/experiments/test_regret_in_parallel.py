"""The clock of several workers: one of them is the plain search, more of them spend the same in less time."""

import itertools

import pytest

from experiments.benchmarks import parallel, regret

COST = 1.2  # random search evaluates Forrester's function at the target


def test_one_worker_is_the_plain_search():
    plain = list(regret.run("forrester", "random", 0, 6.0))
    alone = list(parallel.run("forrester", "random", 0, 6.0, 1))
    assert [{name: row[name] for name in ("step", "cost", "regret_recommendation", "last")} for row in plain] == [
        {name: row[name] for name in ("step", "cost", "regret_recommendation", "last")} for row in alone
    ]
    assert all(row["clock"] == row["cost"] for row in alone)


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_share_the_time_and_know_what_has_ended(workers):
    found = list(parallel.run("forrester", "random", 0, 8 * COST + 0.1, workers))
    assert found[-1]["cost"] == pytest.approx(8 * COST)
    assert found[-1]["clock"] == pytest.approx(8 * COST / workers)
    assert [row["last"] for row in found] == [False] * 8 + [True]
    waited = [later["clock"] - earlier["clock"] for earlier, later in itertools.pairwise(found)]
    assert sum(step > 0 for step in waited) == 8 // workers
    assert found[-1]["regret_recommendation"] <= found[0]["regret_recommendation"]
