"""Budgets: IBO gets more evaluations, because it chooses short trainings; methods are compared at equal recorded
seconds."""

from experiments.common.settings import Budget, Experiment
from ibo_jax.problems.base import Problem

METHODS = ("ibo", "es", "ei", "random", "tpe", "gp")


def comparison(data: str, recorded_as: str) -> Experiment:
    """The settings for one of HPOLib's data sets, by its name here and in the tables."""

    def problem(scale: str, protocol: str, seed: int) -> Problem:
        """The same problem at every scale: what differs is the length of the search."""
        del scale, protocol, seed
        from experiments.hpolib.problem import hpolib, table

        return hpolib(data, table(recorded_as))

    budgets = {
        "smoke": Budget(evaluations=10, seeds=2, minutes=0.2),
        "cpu": Budget(evaluations=30, seeds=50, minutes=1, own={"ibo": 60}),
        "paper": Budget(evaluations=100, seeds=50, minutes=3, own={"ibo": 200}),
    }
    title = f"Networks of two layers, {recorded_as.replace('_', ' ')}"
    return Experiment(f"hpolib_{data}", title, problem, budgets, METHODS)
