"""Workers in processes of their own share a study, leave with their parent, and are not missed when they die.

The type checks of the tests cannot be sent to another process: what is sent imports what it needs. Real trainings are
sent by the command (`tests/test_cli.py`), whose process has no such checks.
"""

import os
import signal
import sys
import threading
import time

import pytest

from ibo_jax import Problem
from ibo_jax.problems.synthetic import SYNTHETIC
from ibo_jax.study import rows, storage
from ibo_jax.study.tune import tune

FORRESTER = SYNTHETIC["forrester"]


def forrester(before, seconds: float = 0.0) -> Problem:
    """Forrester's function, after a while and what `before` does."""

    def evaluate(seed, hyperparameters, fidelity):
        from ibo_jax.problems.synthetic import SYNTHETIC

        time.sleep(seconds)
        before()
        return SYNTHETIC["forrester"].evaluate(seed, hyperparameters, fidelity)

    return Problem("slow-forrester", FORRESTER.space, evaluate, FORRESTER.fidelity, transform="identity", initial=4)


def workers_of(folder) -> list[list[str]]:
    """Who tried each slot, in turn."""
    with storage.open_readonly(folder) as store:
        return [[attempt.system_attrs["ibo_jax:worker"] for attempt in tried] for tried in store.slots().values()]


@pytest.mark.filterwarnings("error:a worker ended")
def test_workers_share_the_evaluations_of_one(tmp_path):
    alone = tune(forrester(bool), "random", evaluations=24, cost="work", progress=False)
    shared = tune(
        forrester(bool, 0.5), "random", evaluations=24, storage=tmp_path, parallel=3, cost="work", progress=False
    )
    keep = ("number", "hyperparameters", "fidelity", "error", "state")  # what was known at the time differs
    assert [[row[k] for k in keep] for row in shared.rows] == [[row[k] for k in keep] for row in alone.rows]
    assert shared.hyperparameters == alone.hyperparameters
    tried = workers_of(tmp_path)
    assert all(len(each) == 1 for each in tried)
    assert len({each[0] for each in tried}) == 3
    assert not list(tmp_path.glob(".worker-*"))


def test_a_worker_that_dies_is_told_and_its_evaluation_is_done_by_another(tmp_path):
    parent = os.getpid()

    def die_elsewhere():
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.warns(UserWarning, match="exit status -9"):
        result = tune(
            forrester(die_elsewhere, 0.5), "random", evaluations=20, storage=tmp_path, parallel=2, progress=False
        )
    assert {row["state"] for row in result.rows} == {"ok"}
    assert sorted(map(len, workers_of(tmp_path))) == [1] * 19 + [2]


def test_workers_leave_with_an_interrupted_parent_and_give_their_evaluations_back(tmp_path):
    parent, assists, latest = os.getpid(), tmp_path / "assists", time.monotonic() + 60

    def interrupted():
        if os.getpid() != parent:
            assists.touch()
            time.sleep(600)
        while not assists.exists():
            assert time.monotonic() < latest
            time.sleep(0.05)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(forrester(interrupted), "random", evaluations=4, storage=tmp_path, parallel=2, progress=False)
    assert time.monotonic() < latest + 10
    assert [row["state"] for row in rows.read(tmp_path)] == ["preempted", "preempted"]


def test_workers_have_one_clock(tmp_path):
    """Seconds since the start, whoever counts them: an assistant joins seconds later, when nothing has ended yet."""
    parent, assists, latest = os.getpid(), tmp_path / "assists", time.monotonic() + 60

    def evaluate(seed, hyperparameters, fidelity):
        from ibo_jax import Outcome

        if os.getpid() != parent:
            assists.touch()
        while not assists.exists():
            assert time.monotonic() < latest
            time.sleep(0.05)
        time.sleep(0.2)
        return Outcome("ok", 0.0, history={"clock": [time.monotonic()]})

    timed = Problem("timed", FORRESTER.space, evaluate, FORRESTER.fidelity, transform="identity", initial=4)
    found = tune(timed, "random", evaluations=6, storage=tmp_path, parallel=2, progress=False).rows
    assert len({each[0] for each in workers_of(tmp_path)}) == 2
    began = [row["history"]["clock"][0] - row["elapsed_seconds"] for row in found]
    assert max(began) - min(began) < 0.5


def test_a_path_that_is_no_string_is_not_sent(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, tmp_path])
    assert len(tune(FORRESTER, "random", evaluations=1, progress=False).rows) == 1


def test_what_cannot_be_sent_is_refused_before_anything_is_trained(tmp_path):
    lock = threading.Lock()
    with pytest.raises(ValueError, match=r"sent to another process.*lock"):
        tune(forrester(lock.acquire), "random", evaluations=4, storage=tmp_path, parallel=2, progress=False)
    assert rows.read(tmp_path) == []


@pytest.mark.parametrize(("method", "parallel", "told"), [("random", 0, "workers >= 1"), ("random", 2, "can share"),
                                                          ("stn", 2, "one worker")])  # fmt: skip
def test_workers_that_mean_nothing_are_refused(method, parallel, told):
    with pytest.raises(ValueError, match=told):
        tune(FORRESTER, method, evaluations=4, parallel=parallel, progress=False)
