"""Fifty seeds of eleven methods on the recorded trainings; costs are the recorded ones."""

from experiments.common.settings import METHODS, Budget, Experiment
from ibo_jax.problems.base import Problem


def problem(scale: str, protocol: str, seed: int) -> Problem:
    """The same problem at every scale: what differs is the length of the search."""
    del scale, protocol, seed
    from experiments.tabular.problem import tabular

    return tabular()


MORE = {"fabolas": 80, "fabolas-is": 80, "mtbo": 60, "hyperband": 120, "bohb": 120}  # cheaper evaluations
EXPERIMENT = Experiment(
    "tabular",
    "Recorded trainings of the MNIST network",
    problem,
    {
        "smoke": Budget(evaluations=8, seeds=2, minutes=0.5),
        "cpu": Budget(evaluations=40, seeds=50, minutes=0.5, own=MORE),
        "paper": Budget(evaluations=50, seeds=50, minutes=1, own=MORE),
    },
    tuple(name for name in METHODS if name not in ("ei", "grid")),
)
