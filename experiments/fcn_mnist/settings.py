"""Published: 50 evaluations of 50 epochs. At scale cpu a search should take at most 12 minutes on one core.

The Fabolas pair has more evaluations there, because most of its trainings are on small subsets."""

from experiments.common.settings import Budget, Experiment, catalogued

EXPERIMENT = Experiment(
    "fcn_mnist",
    "Fully connected network on MNIST",
    catalogued("mnist-fcn"),
    {
        "smoke": Budget(evaluations=6, seeds=2, minutes=0.7),
        "cpu": Budget(evaluations=20, seeds=5, minutes=12, own={"fabolas": 60, "fabolas-is": 60}),
        "gpu": Budget(evaluations=20, seeds=5, minutes=8, own={"fabolas": 40, "fabolas-is": 40}),
        "paper": Budget(evaluations=50, seeds=5, minutes=30),
    },
)
