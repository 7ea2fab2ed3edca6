"""Search spaces and sizes of the real problems, as tables: nothing here loads data or JAX.

At scale "paper" the spaces are the published ones (Ariafar et al. 2021, sections 4.1-4.3 and appendix D). At "cpu"
and "smoke", sizes are powers of two, given by their exponents: every new width, batch size or depth compiles for
seconds, but values of so coarse a grid soon repeat, so that most trials of a small study compile nothing. Scale "gpu",
for MNIST and two problems on CIFAR-10, has all images and the published widths on such a grid, for fewer epochs.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from ibo_jax.space import Dimension, Float, Integer
from ibo_jax.training.datasets import Normalisation

__all__ = ["SCALES", "SETTINGS", "Scale", "Setting", "size"]

Scale = Literal["smoke", "cpu", "gpu", "paper"]
SCALES: tuple[Scale, ...] = ("smoke", "cpu", "paper")  # scales that every problem has


ALL = (None, None, None)


class Setting(NamedTuple):
    """One problem at one scale.

    Attributes:
        space: what is searched.
        epochs: length of one training.
        evaluations: default total of a study.
        cost: what such a study takes, to be printed.
        initial: default size of its initial design.
        images: training, validation and test examples; None for all.
        normalise: see `training.datasets.load`.
        fixed: further values that network and optimiser read as if they were hyperparameters.
    """

    space: dict[str, Dimension]
    epochs: int
    evaluations: int
    cost: str
    initial: int = 5
    images: tuple[int | None, int | None, int | None] = ALL
    normalise: Normalisation = "standard"
    fixed: Mapping[str, float] = MappingProxyType({})


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
FCN_GPU = FCN_COARSE | {
    "log2_units": Integer(4, 8),
    "layers": Integer(1, 5),
    "learning_rate": Float(1e-7, 0.1, log=True),
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
CNN_GPU = CNN_COARSE | {
    "log2_batch_size": Integer(5, 9),
    "log2_filters": Integer(7, 8),
    "log2_units": Integer(8, 9),
}
RESNET: dict[str, Dimension] = {
    "learning_rate": Float(1e-6, 1.0, log=True),
    "drop_factor": Float(1e-4, 1.0, log=True),
    "l2": Float(1e-6, 1.0, log=True),
    "momentum": Float(0.1, 0.999),
}
WRN_28_2 = {"depth": 28, "widen": 2, "batch_size": 128, "drop_epochs": 40}
WRN_10_1 = {"depth": 10, "widen": 1, "batch_size": 32, "drop_epochs": 4}

L2: dict[str, Dimension] = {name: Float(math.exp(-10), 1.0, log=True) for name in ("l2_hidden", "l2_output")}
L2_FIXED = {"units": 100, "layers": 1, "dropout": 0.0, "batch_size": 64, "momentum": 0.07, "learning_rate": 0.2}

DROPOUT = Float(0.0, 0.9)
CUTOUT: dict[str, Dimension] = {"cutout_length": Float(0.0, 24.0), "cutout_holes": Float(0.0, 4.0)}  # used by floor
DIGITS_DROPOUT: dict[str, Dimension] = {f"dropout_{layer}": DROPOUT for layer in range(2)}
LENET: dict[str, Dimension] = {
    **{f"dropout_{layer}": DROPOUT for layer in ("conv_0", "conv_1", "hidden")}, "noise": Float(0.0, 0.3), **CUTOUT,
}  # fmt: skip
ALEXNET: dict[str, Dimension] = {
    **{f"dropout_conv_{layer}": DROPOUT for layer in range(5)},
    **{f"dropout_hidden_{layer}": DROPOUT for layer in range(2)},
    "dropout_input": Float(0.0, 1.0), "noise": Float(0.0, 0.3), "hue": Float(0.0, 0.5),
    **{name: Float(0.0, 1.0) for name in ("contrast", "saturation", "brightness")}, **CUTOUT,
}  # fmt: skip
SGD = {"momentum": 0.9, "batch_size": 64, "learning_rate": 0.03}
DIGITS_FIXED = SGD | {"units": 128, "batch_size": 32, "learning_rate": 0.05}
LENET_CPU = SGD | {"filters": 4, "units": 128, "learning_rate": 0.01}
LENET_PAPER = SGD | {"filters": 32, "units": 512, "batch_size": 128}
ALEXNET_CPU = SGD | {"filters": 8, "units": 128}
ALEXNET_PAPER = SGD | {"filters": 64, "units": 4096, "batch_size": 128, "learning_rate": 0.01}

FEW_TRAINED: dict[str, Any] = {"evaluations": 6, "initial": 3, "epochs": 2}  # with one, nothing could be pruned
RESNET_SMOKE = Setting(RESNET, cost="a minute", images=(256, 128, 128), fixed=WRN_10_1, **FEW_TRAINED)
RESNET_CPU = Setting(
    RESNET, epochs=5, evaluations=8, cost="15 minutes on two cores", initial=3, images=(4000, 2000, 2000),
    fixed=WRN_10_1,
)  # fmt: skip
RESNET_GPU = Setting(
    RESNET, epochs=6, evaluations=10, cost="half an hour on a GPU", initial=4, fixed=WRN_28_2 | {"drop_epochs": 4}
)
RESNET_PAPER = Setting(RESNET, epochs=50, evaluations=50, cost="a day on a GPU", normalise="zca", fixed=WRN_28_2)
CNN_SMOKE = CNN_COARSE | {"log2_batch_size": Integer(4, 5), "log2_filters": Integer(2, 3)}
DIGITS_PAPER = FCN_PAPER | {"batch_size": Integer(8, 128, log=True)}  # six batches fit into 1,000 examples

SETTINGS: dict[str, dict[Scale, Setting]] = {
    "digits-mlp": {
        "smoke": Setting(DIGITS_COARSE, epochs=3, evaluations=8, cost="half a minute", initial=3),
        "cpu": Setting(DIGITS_COARSE, epochs=30, evaluations=30, cost="two minutes on two cores"),
        "paper": Setting(DIGITS_PAPER, epochs=50, evaluations=50, cost="minutes on two cores", normalise="unit"),
    },
    "mnist-fcn": {
        "smoke": Setting(FCN_COARSE, cost="half a minute", images=(2000, 1000, 1000), **FEW_TRAINED),
        "cpu": Setting(FCN_COARSE, epochs=8, evaluations=25, cost="10 minutes on two cores"),
        "gpu": Setting(FCN_GPU, epochs=30, evaluations=20, cost="10 minutes on a GPU"),
        "paper": Setting(FCN_PAPER, epochs=50, evaluations=50, cost="hours on a GPU", normalise="unit"),
    },
    "digits-l2": {
        "smoke": Setting(L2, epochs=3, evaluations=8, cost="half a minute", initial=3, fixed=L2_FIXED),
        "cpu": Setting(L2, epochs=50, evaluations=25, cost="a minute on two cores", fixed=L2_FIXED),
        "paper": Setting(L2, epochs=50, evaluations=100, cost="minutes on two cores", normalise="unit", fixed=L2_FIXED),
    },
    "mnist-l2": {
        "smoke": Setting(L2, cost="half a minute", images=(600, 400, 1000), fixed=L2_FIXED, **FEW_TRAINED),
        "cpu": Setting(
            L2,
            epochs=50,
            evaluations=25,
            cost="3 minutes on two cores",
            images=(3000, 2000, None),
            normalise="unit",
            fixed=L2_FIXED,
        ),
        "paper": Setting(
            L2,
            epochs=50,
            evaluations=100,
            cost="20 minutes on two cores",
            images=(6000, 4000, None),
            normalise="unit",
            fixed=L2_FIXED,
        ),
    },
    "digits-dropout": {
        "smoke": Setting(DIGITS_DROPOUT, epochs=3, evaluations=8, cost="half a minute", initial=3, fixed=DIGITS_FIXED),
        "cpu": Setting(DIGITS_DROPOUT, epochs=30, evaluations=25, cost="a minute on two cores", fixed=DIGITS_FIXED),
        "paper": Setting(DIGITS_DROPOUT, epochs=100, evaluations=50, cost="minutes on two cores", fixed=DIGITS_FIXED),
    },
    "mnist-dropout": {
        "smoke": Setting(LENET, cost="half a minute", images=(512, 256, 256), fixed=LENET_CPU, **FEW_TRAINED),
        "cpu": Setting(
            LENET,
            epochs=12,
            evaluations=15,
            cost="10 minutes on two cores",
            images=(2000, 2000, None),
            fixed=LENET_CPU,
        ),
        "paper": Setting(LENET, epochs=100, evaluations=100, cost="hours on a GPU", fixed=LENET_PAPER),
    },
    "cifar10-cnn": {
        "smoke": Setting(CNN_SMOKE, cost="a minute", images=(512, 256, 256), **FEW_TRAINED),
        "cpu": Setting(
            CNN_COARSE, epochs=6, evaluations=8, cost="10 minutes on two cores", initial=3, images=(8000, 2000, 2000)
        ),
        "gpu": Setting(CNN_GPU, epochs=6, evaluations=10, cost="10 minutes on a GPU", initial=4),
        "paper": Setting(CNN_PAPER, epochs=50, evaluations=100, cost="a day on a GPU", normalise="unit"),
    },
    "cifar10-resnet": {"smoke": RESNET_SMOKE, "cpu": RESNET_CPU, "gpu": RESNET_GPU, "paper": RESNET_PAPER},
    "cifar100-resnet": {
        "smoke": RESNET_SMOKE,
        "cpu": RESNET_CPU,
        "paper": RESNET_PAPER._replace(epochs=200, cost="days on a GPU"),
    },
    "cifar10-alexnet": {
        "smoke": Setting(ALEXNET, cost="a minute", images=(512, 128, 128), fixed=ALEXNET_CPU, **FEW_TRAINED),
        "cpu": Setting(
            ALEXNET,
            epochs=15,
            evaluations=8,
            cost="15 minutes on two cores",
            initial=3,
            images=(4000, 2000, 2000),
            fixed=ALEXNET_CPU,
        ),
        "paper": Setting(ALEXNET, epochs=100, evaluations=100, cost="a day on a GPU", fixed=ALEXNET_PAPER),
    },
}


def size(hyperparameters: dict, name: str) -> int:
    """A whole number, searched directly or by its exponent.

    Examples:
        >>> size({"units": 48}, "units"), size({"log2_units": 5}, "units")
        (48, 32)
    """
    return hyperparameters[name] if name in hyperparameters else 2 ** hyperparameters[f"log2_{name}"]
