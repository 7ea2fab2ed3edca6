"""Trainings in one program are those that one program each gives; processes count what they finish."""

import numpy as np

from experiments.benchmarks import trainings_at_once
from experiments.benchmarks.training_steps import Case
from experiments.benchmarks.trainings_at_once import configurations, in_processes, program
from ibo_jax.training.networks import MLP

TINY = Case(MLP(10, units=8, layers=1), (4, 4, 1), 8, 20)


def test_one_program_trains_each_configuration_as_it_is_trained_alone():
    together, alone = program(TINY, 3), program(TINY, 1)
    keys, rates = configurations(5, 3)
    losses = np.asarray(together.run(keys, rates))
    singly = [float(alone.run(keys[i : i + 1], rates[i : i + 1])[0]) for i in range(3)]
    np.testing.assert_allclose(losses, singly, rtol=1e-5)
    assert len(set(singly)) == 3


def test_processes_are_timed_together(monkeypatch):
    monkeypatch.setattr(trainings_at_once, "SECONDS", 0.2)
    row = in_processes("mlp", 2)
    assert row["processes"] == 2
    assert row["calls"] >= 2
    assert row["a_minute"] > 0
