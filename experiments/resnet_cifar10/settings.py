"""Published: 50 evaluations of 50 epochs, 80 for the methods that train on subsets."""

from experiments.common.settings import Budget, Experiment, catalogued

EXPERIMENT = Experiment(
    "resnet_cifar10",
    "Wide residual network on CIFAR-10",
    catalogued("cifar10-resnet"),
    {
        "smoke": Budget(evaluations=5, seeds=2, minutes=1),
        "cpu": Budget(evaluations=8, seeds=2, minutes=15),
        "gpu": Budget(evaluations=10, seeds=2, minutes=30),
        "paper": Budget(evaluations=50, seeds=5, minutes=900, own={"fabolas": 80, "fabolas-is": 80}),
    },
)
