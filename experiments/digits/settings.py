"""Ten splits at scale cpu: each search takes a minute or two."""

from experiments.common.settings import Budget, Experiment, catalogued

EXPERIMENT = Experiment(
    "digits",
    "Network on the digits",
    catalogued("digits-mlp", split_by_seed=True),
    {
        "smoke": Budget(evaluations=6, seeds=2, minutes=0.5),
        "cpu": Budget(evaluations=30, seeds=10, minutes=2),
        "paper": Budget(evaluations=50, seeds=10, minutes=10),
    },
)
