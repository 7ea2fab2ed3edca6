"""Evaluations: IBO gets more, because it chooses short trainings; what is compared are recorded seconds."""

from experiments.common.settings import Budget, Experiment
from ibo_jax.problems.base import Problem


def problem(scale: str, protocol: str, seed: int) -> Problem:
    """The same at every scale: what differs is how long is searched."""
    del scale, protocol, seed
    from experiments.hpolib.problem import hpolib, table

    return hpolib("protein", table("protein_structure"))


MORE = {"ibo": 60}
EXPERIMENT = Experiment(
    "hpolib_protein",
    "Networks of two layers, protein structure",
    problem,
    {
        "smoke": Budget(evaluations=10, seeds=2, minutes=0.2),
        "cpu": Budget(evaluations=30, seeds=20, minutes=1, own=MORE),
        "paper": Budget(evaluations=100, seeds=50, minutes=3, own={"ibo": 200}),
    },
    methods=("ibo", "es", "ei", "random", "tpe", "gp"),
)
