"""Search spaces and sizes of the real problems, as tables: nothing here loads data or JAX.

At scale "paper" the spaces are the published ones (Ariafar et al. 2021, sections 4.1-4.3 and appendix D). At "cpu"
and "smoke" sizes are powers of two, given by their exponents: every new width, batch size or depth compiles for
seconds, and a grid this coarse is soon met again, so that most trials of a small study compile nothing.
"""

from typing import Literal, NamedTuple

from ibo_jax.space import Dimension, Float, Integer

__all__ = ["SCALES", "SETTINGS", "Scale", "Setting", "size"]

Scale = Literal["smoke", "cpu", "paper"]
SCALES: tuple[Scale, ...] = ("smoke", "cpu", "paper")


class Setting(NamedTuple):
    """One problem at one scale.

    Attributes:
        space: what is searched.
        fixed: further values that network and optimiser read, as if they were hyperparameters.
        epochs: of one training.
        evaluations: default total of a study.
        initial: default size of its initial design.
        images: training, validation and test examples; None for all.
        normalise: see `training.datasets.load`.
        cost: what a study takes, for people.
    """

    space: dict[str, Dimension]
    fixed: dict[str, int]
    epochs: int
    evaluations: int
    initial: int
    images: tuple[int | None, int | None, int | None]
    normalise: Literal["standard", "unit", "zca"]
    cost: str


ALL = (None, None, None)
DECAY = Float(1e-7, 1e-3, log=True)

FCN_PAPER: dict[str, Dimension] = {
    "dropout": Float(0.0, 0.5),
    "units": Integer(16, 256, log=True),
    "batch_size": Integer(8, 256, log=True),
    "layers": Integer(1, 5),
    "learning_rate": Float(1e-7, 0.1, log=True),
    "decay": DECAY,
}
FCN_COARSE: dict[str, Dimension] = {
    "dropout": Float(0.0, 0.5),
    "log2_units": Integer(6, 8),
    "log2_batch_size": Integer(5, 8),
    "layers": Integer(1, 3),
    "learning_rate": Float(1e-5, 0.1, log=True),
    "decay": DECAY,
}
DIGITS_COARSE = FCN_COARSE | {"log2_units": Integer(5, 8), "log2_batch_size": Integer(4, 7)}
CNN_PAPER: dict[str, Dimension] = {
    "batch_size": Integer(32, 512),
    "learning_rate": Float(1e-7, 0.1),
    "decay": Float(1e-7, 1e-3),
    "l2": Float(1e-7, 1e-3),
    "filters": Integer(128, 256),
    "units": Integer(256, 512),
}
CNN_COARSE: dict[str, Dimension] = {
    "log2_batch_size": Integer(5, 7),
    "learning_rate": Float(1e-5, 0.01, log=True),
    "decay": DECAY,
    "l2": Float(1e-7, 1e-3, log=True),
    "log2_filters": Integer(4, 5),
    "log2_units": Integer(6, 8),
}
RESNET: dict[str, Dimension] = {
    "learning_rate": Float(1e-6, 1.0, log=True),
    "drop_factor": Float(1e-4, 1.0, log=True),
    "l2": Float(1e-6, 1.0, log=True),
    "momentum": Float(0.1, 0.999),
}
WRN_28_2 = {"depth": 28, "widen": 2, "batch_size": 128, "drop_epochs": 40}
WRN_10_1 = {"depth": 10, "widen": 1, "batch_size": 32}

SETTINGS: dict[str, dict[Scale, Setting]] = {
    "digits-mlp": {
        "smoke": Setting(DIGITS_COARSE, {}, 3, 8, 3, ALL, "standard", "seconds"),
        "cpu": Setting(DIGITS_COARSE, {}, 30, 30, 5, ALL, "standard", "two minutes on two cores"),
        "paper": Setting(
            FCN_PAPER | {"batch_size": Integer(8, 128, log=True)}, {}, 50, 50, 5, ALL, "unit", "minutes on two cores"
        ),
    },
    "mnist-fcn": {
        "smoke": Setting(FCN_COARSE, {}, 1, 8, 3, (2000, 1000, 1000), "standard", "half a minute"),
        "cpu": Setting(FCN_COARSE, {}, 8, 25, 5, ALL, "standard", "10 minutes on two cores"),
        "paper": Setting(FCN_PAPER, {}, 50, 50, 5, ALL, "unit", "hours on a GPU"),
    },
    "cifar10-cnn": {
        "smoke": Setting(
            CNN_COARSE | {"log2_batch_size": Integer(4, 5), "log2_filters": Integer(2, 3)},
            {}, 1, 6, 3, (512, 256, 256), "standard", "half a minute",
        ),
        "cpu": Setting(CNN_COARSE, {}, 6, 8, 3, (8000, 2000, 2000), "standard", "10 minutes on two cores"),
        "paper": Setting(CNN_PAPER, {}, 50, 100, 5, ALL, "unit", "a day on a GPU"),
    },
    "cifar10-resnet": {
        "smoke": Setting(RESNET, WRN_10_1 | {"drop_epochs": 2}, 1, 6, 3, (256, 128, 128), "standard", "a minute"),
        "cpu": Setting(
            RESNET, WRN_10_1 | {"drop_epochs": 4}, 5, 8, 3, (4000, 2000, 2000), "standard", "15 minutes on two cores"
        ),
        "paper": Setting(RESNET, WRN_28_2, 50, 50, 5, ALL, "zca", "a day on a GPU"),
    },
    "cifar100-resnet": {
        "smoke": Setting(RESNET, WRN_10_1 | {"drop_epochs": 2}, 1, 6, 3, (256, 128, 128), "standard", "a minute"),
        "cpu": Setting(
            RESNET, WRN_10_1 | {"drop_epochs": 4}, 5, 8, 3, (4000, 2000, 2000), "standard", "15 minutes on two cores"
        ),
        "paper": Setting(RESNET, WRN_28_2, 200, 50, 5, ALL, "zca", "days on a GPU"),
    },
}  # fmt: skip


def size(hyperparameters: dict, name: str) -> int:
    """A whole number, searched by itself or by its exponent.

    Example:
        >>> size({"units": 48}, "units"), size({"log2_units": 5}, "units")
        (48, 32)
    """
    return hyperparameters[name] if name in hyperparameters else 2 ** hyperparameters[f"log2_{name}"]
