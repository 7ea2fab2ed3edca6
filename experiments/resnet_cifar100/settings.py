"""Published: 50 evaluations of 200 epochs, 150 for the methods that train on subsets."""

from experiments.common.settings import Budget, Experiment, catalogued

EXPERIMENT = Experiment(
    "resnet_cifar100",
    "Wide residual network on CIFAR-100",
    catalogued("cifar100-resnet"),
    {
        "smoke": Budget(evaluations=5, seeds=2, minutes=1),
        "cpu": Budget(evaluations=8, seeds=2, minutes=15),
        "paper": Budget(evaluations=50, seeds=5, minutes=3600, own={"fabolas": 150, "fabolas-is": 150}),
    },
)
