"""Real processes, killed, doubled and interrupted: nothing that was finished is lost, nothing is done twice."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from workers import slow_branin, timeless

from ibo_jax.study import rows, storage
from ibo_jax.study.tune import tune

SCRIPT = Path(__file__).with_name("workers.py")


def worker(folder: Path, *options: str) -> subprocess.Popen:
    command = [sys.executable, str(SCRIPT), str(folder), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen) -> int:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0 or process.returncode < 0, errors
    return process.returncode


def begun(process: subprocess.Popen, count: int) -> None:
    """Wait for that many evaluations to begin."""
    for _ in range(count):
        line = process.stdout.readline()
        assert line == "begin\n", process.stderr.read()


def killed_and_resumed(folder: Path, kills: int, *options: str, seed: int) -> list[rows.Row]:
    """Kill a worker several times at random moments of different trials, then let one finish."""
    chance, known = random.Random(seed), []
    for _ in range(kills):
        process = worker(folder, *options)
        begun(process, 2)  # the first may be a retry: a slot killed twice would be given up
        time.sleep(chance.uniform(0.0, 0.06))
        process.kill()
        process.communicate()
        found = rows.read(folder)
        finished = [row for row in found if row["state"] != "preempted"]
        assert [row for row in known if row["state"] != "preempted"] == finished[: len(known)]
        known = finished
    assert ended(worker(folder, *options)) == 0
    return rows.read(folder)


def test_killed_at_random_moments_equals_uninterrupted(tmp_path):
    expected = tune(slow_branin(0.0), "random", evaluations=12, cost="work", progress=False)
    found = killed_and_resumed(tmp_path / "killed", 3, seed=int(time.time()) // 86400)
    assert timeless(found) == timeless(expected.rows)
    summary = rows.summary(tmp_path / "killed")
    assert summary["best"] == expected.hyperparameters
    assert not list((tmp_path / "killed").glob(".worker-*"))  # the dead ones' locks are swept


@pytest.mark.slow
def test_killed_ibo_equals_uninterrupted(tmp_path):
    options = ("--method", "ibo", "--evaluations", "10")
    assert ended(worker(tmp_path / "whole", *options)) == 0
    found = killed_and_resumed(tmp_path / "killed", 3, *options, seed=1)
    assert timeless(found) == timeless(rows.read(tmp_path / "whole"))


def test_slot_that_kills_its_process_is_tried_twice_then_crashed(tmp_path):
    assert ended(worker(tmp_path, "--evaluations", "4", "--deadly", "1")) == -signal.SIGKILL
    assert ended(worker(tmp_path, "--evaluations", "4", "--deadly", "0")) == -signal.SIGKILL
    assert ended(worker(tmp_path, "--evaluations", "4")) == 0
    found = rows.read(tmp_path)
    assert [row["state"] for row in found] == ["ok", "crashed", "ok", "ok"]
    assert "twice" in found[1]["message"]
    with storage.open_readonly(tmp_path) as store:
        attempts = store.slots()[1]
    assert [attempt.params for attempt in attempts] == [attempts[0].params] * 2


def test_two_processes_share_a_study(tmp_path):
    expected = tune(slow_branin(0.0), "random", evaluations=30, cost="work", progress=False)
    options = ("--evaluations", "30", "--sleep", "0.05")
    first, second = worker(tmp_path, *options), worker(tmp_path, *options)
    assert (ended(first), ended(second)) == (0, 0)
    found = rows.read(tmp_path)
    assert [row["number"] for row in found] == list(range(30))
    keep = ("hyperparameters", "fidelity", "error", "state")  # what was known at the time differs
    assert [[row[k] for k in keep] for row in found] == [[row[k] for k in keep] for row in expected.rows]
    with storage.open_readonly(tmp_path) as store:
        assert all(len(attempts) == 1 for attempts in store.slots().values())
        assert len({attempt.system_attrs["ibo_jax:worker"] for attempt in store.attempts()}) == 2


def test_trial_of_a_living_worker_is_not_stolen_and_that_of_a_dead_one_is_taken_over(tmp_path):
    sleeper = worker(tmp_path, "--evaluations", "2", "--sleep", "600")
    begun(sleeper, 1)
    other = worker(tmp_path, "--evaluations", "2", "--sleep", "0.0")
    begun(other, 1)
    with pytest.raises(subprocess.TimeoutExpired):
        other.wait(timeout=2.0)  # it waits for slot 0
    with storage.open_readonly(tmp_path) as store:
        assert [len(attempts) for attempts in store.slots().values()] == [1, 1]
    sleeper.kill()
    sleeper.communicate()
    assert ended(other) == 0
    with storage.open_readonly(tmp_path) as store:
        assert [len(attempts) for attempts in store.slots().values()] == [2, 1]
    assert [row["state"] for row in rows.read(tmp_path)] == ["ok", "ok"]
