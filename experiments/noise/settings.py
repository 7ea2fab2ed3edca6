"""What is trained repeatedly, as tables."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Scale = Literal["smoke", "cpu", "paper"]
SCALES: tuple[Scale, ...] = ("smoke", "cpu", "paper")


class Spread(NamedTuple):
    """One configuration trained with many seeds, at several shares of the training set and presample ratios (figure 4).

    Attributes:
        problem: a name of the catalogue.
        name: a title of the configuration.
        shares: shares of the training set, with plain training.
        ratios: B / b, with all training examples.
        seconds: what a training at the largest ratio takes, for the estimate.
    """

    problem: str
    name: str
    hyperparameters: Mapping[str, Any]
    shares: tuple[float, ...]
    ratios: tuple[int, ...]
    repeats: int
    seconds: float


class Slice(NamedTuple):
    """The error along one hyperparameter, from cheap noisy trainings and from expensive precise ones (figure 1).

    Attributes:
        of: what is varied, evenly on a log scale over `bounds`.
        noisy: share of the training set, number of values, repeats.
        precise: presample ratio, number of values, repeats; their mean is taken for the truth.
        studies: how often observations of equal cost are drawn from both.
        trainings: number of precise ones that such a study pays for; noisy ones for the same work.
    """

    problem: str
    hyperparameters: Mapping[str, Any]
    of: str
    bounds: tuple[float, float]
    noisy: tuple[float, int, int]
    precise: tuple[int, int, int]
    studies: int
    trainings: int
    seconds: float  # what a precise one takes, for the estimate


FCN = {"dropout": 0.2, "log2_units": 7, "log2_batch_size": 7, "layers": 2, "learning_rate": 1e-3, "decay": 1e-5}
CNN = {"log2_batch_size": 6, "learning_rate": 1e-3, "decay": 1e-5, "l2": 1e-5, "log2_filters": 4, "log2_units": 7}
DIGITS = FCN | {"log2_units": 5, "log2_batch_size": 5}
FCN_PAPER = {"dropout": 0.2, "units": 128, "batch_size": 128, "layers": 2, "learning_rate": 1e-3, "decay": 1e-5}
CNN_PAPER = {"batch_size": 128, "learning_rate": 1e-3, "decay": 1e-5, "l2": 1e-5, "filters": 128, "units": 256}
SHARES = (1 / 64, 1 / 16, 1 / 4, 1 / 2, 1.0)
RATIOS = (1, 2, 3, 4, 5, 6)
RATES = (1e-5, 1e-1)

SPREADS: dict[Scale, tuple[Spread, ...]] = {
    "smoke": (Spread("digits-mlp", "digits, MLP", DIGITS, (1 / 4, 1.0), (1, 3), 3, 0.1),),
    "cpu": (
        Spread("mnist-fcn", "MNIST, MLP, rate .001", FCN, SHARES, RATIOS, 12, 8.0),
        Spread("mnist-fcn", "MNIST, MLP, rate .01", FCN | {"learning_rate": 1e-2}, SHARES, RATIOS, 12, 8.0),
        Spread("cifar10-cnn", "CIFAR-10, CNN", CNN, SHARES[1:], (1, 2, 3, 6), 6, 40.0),
    ),
    "paper": (
        Spread("mnist-fcn", "MNIST, MLP", FCN_PAPER, SHARES, RATIOS, 20, 60.0),
        Spread("cifar10-cnn", "CIFAR-10, CNN", CNN_PAPER, SHARES, RATIOS, 20, 360.0),
    ),
}
SLICES: dict[Scale, Slice] = {
    "smoke": Slice("digits-mlp", DIGITS, "learning_rate", RATES, (1 / 4, 8, 3), (3, 5, 2), 4, 3, 0.1),
    "cpu": Slice("mnist-fcn", FCN, "learning_rate", RATES, (1 / 8, 25, 8), (6, 13, 3), 20, 5, 8.0),
    "paper": Slice("mnist-fcn", FCN_PAPER, "learning_rate", RATES, (1 / 8, 25, 10), (6, 25, 5), 50, 5, 60.0),
}
