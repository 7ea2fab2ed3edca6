"""Published: 100 evaluations of 50 epochs, five repetitions."""

from experiments.common.settings import Budget, Experiment, catalogued

EXPERIMENT = Experiment(
    "cnn_cifar10",
    "Convolutional network on CIFAR-10",
    catalogued("cifar10-cnn"),
    {
        "smoke": Budget(evaluations=5, seeds=2, minutes=1),
        "cpu": Budget(evaluations=8, seeds=2, minutes=10),
        "gpu": Budget(evaluations=10, seeds=2, minutes=10),
        "paper": Budget(evaluations=100, seeds=5, minutes=600),
    },
)
