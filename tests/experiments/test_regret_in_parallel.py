"""The clock of several workers: one of them is the plain search, more of them spend the same in less time."""

import itertools

import pytest

from experiments.benchmarks import parallel, regret
from experiments.common import rows

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


def test_methods_are_not_mixed(tmp_path):
    for method, found in (("random", 1.0), ("es", 2.0)):
        of = {"problem": "forrester", "method": method, "workers": 2, "seed": 0, "step": 0, "last": True}
        rows.append(tmp_path / "rows.jsonl", of | {"clock": 0.0, "regret_recommendation": found})
    assert parallel.load(tmp_path / "rows.jsonl", "forrester") == {}
    assert parallel.load(tmp_path / "rows.jsonl", "forrester", "es")[2][0].tolist() == [[0.0, 2.0]]


def test_a_search_that_was_begun_again_counts_as_it_went_then(tmp_path):
    path = tmp_path / "rows.jsonl"
    for count, regrets in ((3, 4.0), (2, 1.0)):  # the first was cut off
        for step in range(count):
            rows.append(path, {
                "problem": "forrester", "method": "es", "seed": 0, "step": step, "cost": float(step), "last": False,
                "next_fidelity": 1.0, "suggest_seconds": 0.0, "regret_recommendation": regrets,
                "regret_incumbent": regrets,
            } | {"last": (count, step) == (2, 1)})  # fmt: skip
    assert regret.load(path, "forrester")["es"][0]["regret_recommendation"].tolist() == [1.0, 1.0]
