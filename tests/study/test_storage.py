"""The study's file: who may look at it, who works on it, and what a half-done ending leaves."""

import contextlib
import os
import signal
import sqlite3
import time

import pytest
from optuna.distributions import FloatDistribution

from ibo_jax.problems.synthetic import SYNTHETIC
from ibo_jax.study import locks
from ibo_jax.study.storage import Store, is_final, open_readonly, open_store
from ibo_jax.study.tune import tune

FORRESTER = SYNTHETIC["forrester"]
SETTINGS = {"problem": "p", "method": "m", "seed": 0, "space": {"x": {}}, "fidelity": {"name": "s"}}
PARAMETERS, KINDS = {"x": 0.1 + 0.2, "s": 1.0}, {"x": FloatDistribution(0, 1), "s": FloatDistribution(0, 1)}


@pytest.fixture
def store(tmp_path):
    opened = open_store(tmp_path, SETTINGS, {})
    yield opened
    opened.leave()


def start(store: Store, slot: int = 0) -> int:
    return store.start(slot, PARAMETERS, KINDS, {"reason": "initial"}, {"position": {"values": [0.1 + 0.2]}})


def die(store: Store) -> None:
    """What the system does to the locks of a process that is killed."""
    store.alive.close()


def test_a_viewer_does_not_break_a_writer(tmp_path):
    tune(FORRESTER, "random", evaluations=2, storage=tmp_path, progress=False)
    with contextlib.closing(sqlite3.connect(tmp_path / "study.db", isolation_level=None)) as viewer:
        assert viewer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        viewer.execute("BEGIN")
        assert viewer.execute("SELECT count(*) FROM trials").fetchone() == (2,)
        assert len(tune(FORRESTER, "random", evaluations=4, storage=tmp_path, progress=False).rows) == 4
        assert viewer.execute("SELECT count(*) FROM trials").fetchone() == (2,)  # its view of the past


def test_odd_folder_names(tmp_path):
    folder = tmp_path / "50% {a}?b #c"
    assert len(tune(FORRESTER, "random", evaluations=2, storage=folder, progress=False).rows) == 2
    assert (folder / "study.db").exists()


def test_attempt_is_whole_from_the_start(store, tmp_path):
    start(store)
    with open_readonly(tmp_path) as other:
        (attempt,) = other.attempts()
    assert attempt.params == PARAMETERS
    assert attempt.system_attrs["ibo_jax:state"] == {"position": {"values": [0.1 + 0.2]}}
    assert attempt.user_attrs == {"slot": 0, "suggestion": {"reason": "initial"}}


def test_outcome_without_state_is_finished_by_the_next(store, tmp_path):
    trial = start(store)
    store.storage.set_trial_user_attr(trial, "outcome", {"state": "ok", "error": 0.25})
    die(store)
    other = open_store(tmp_path, SETTINGS, {})
    other.reap()
    (attempts,) = other.slots().values()
    other.leave()
    assert is_final(attempts)
    assert attempts[0].value == 0.25


def test_word_of_a_worker_given_up_is_not_heard(store, tmp_path):
    trial = start(store)
    die(store)
    other = open_store(tmp_path, SETTINGS, {})
    other.reap()
    store.finish(trial, {"state": "ok", "error": 0.25})
    (attempts,) = other.slots().values()
    other.leave()
    assert [attempt.user_attrs["outcome"]["state"] for attempt in attempts] == ["preempted"]


def test_interruptions_do_not_count_as_deaths(store, tmp_path):
    for _ in range(3):
        store.finish(start(store), {"state": "preempted", "message": "interrupted by KeyboardInterrupt"})
    start(store)
    die(store)
    other = open_store(tmp_path, SETTINGS, {})
    other.reap()
    (attempts,) = other.slots().values()
    other.leave()
    assert attempts[-1].user_attrs["outcome"]["state"] == "preempted"


def test_workers_that_were_ended_did_not_die(store, tmp_path):
    """Two interruptions of one slot, the worker ended each time because it heard nothing."""
    start(store)
    die(store)
    for again in (True, True, False):
        other = open_store(tmp_path, SETTINGS, {})
        other.reap(interrupted=again)
        (attempts,) = other.slots().values()
        assert attempts[-1].user_attrs["outcome"]["state"] == "preempted"
        start(other)
        other.leave()


def test_locks(tmp_path):
    path = tmp_path / "lock"
    assert not locks.is_held(path)
    held = locks.hold(path)
    assert locks.is_held(path)
    with pytest.raises(BlockingIOError):
        locks.hold(path)
    held.close()
    assert not locks.is_held(path)
    with locks.exclusive(path):
        assert locks.is_held(path)


@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_lock_is_not_inherited_by_a_process_that_is_forked(tmp_path):
    held, (hear, tell) = locks.hold(tmp_path / "lock"), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(tell, b"!")
        time.sleep(60)
        os._exit(0)
    try:
        os.read(hear, 1)
        assert locks.is_held(tmp_path / "lock")
        held.close()
        assert not locks.is_held(tmp_path / "lock")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
