"""What is trained at which scale in the checks of Katharopoulos and Fleuret (ICML 2018), as tables.

"smoke" is for tests (digits); "cpu" takes one core about an hour in all, with small networks and few images; "paper"
follows the publication where it states its settings: WRN-28-2 with LayerNorm, batches of 128, rate 0.1 divided by 5
after 40 and 80 %.
"""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import optax

from ibo_jax import importance
from ibo_jax.training import optimizers
from ibo_jax.training.augmentation import Augmentation, compose, flip, shift
from ibo_jax.training.networks import CNN, MLP, WideResNet

Scale = Literal["smoke", "cpu", "paper"]
SCALES: tuple[Scale, ...] = ("smoke", "cpu", "paper")

OPTIMIZERS: dict[str, Callable[[Any], optax.GradientTransformation]] = {
    "sgd": optimizers.momentum_sgd,  # momentum 0.9
    "rmsprop": optimizers.rmsprop,
    "adam": optimizers.adam,
}
SCHEDULES: dict[str, Callable[[float], float]] = {  # share of the first rate, by the share of the training done
    "constant": lambda done: 1.0,
    "cosine": lambda done: 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0))),
    "drops": lambda done: 0.2 ** ((done >= 0.4) + (done >= 0.8)),
}


class Case(NamedTuple):
    """A network and its data.

    Attributes:
        source: a name of `datasets.load`.
        images: training examples and examples to judge the training loss on; None for all.
        rates: first learning rate by optimiser.
        l2: weight of the sum of squares of all kernels.
    """

    source: str
    module: Any
    batch_size: int
    rates: tuple[tuple[str, float], ...]
    images: tuple[int | None, int | None] = (None, 20_000)
    l2: float = 0.0
    augment: Augmentation | None = None


class Study(NamedTuple):
    """Variance during one training per seed: where it is measured, and from how many draws."""

    network: str
    optimizer: str
    schedule: str
    steps: tuple[int, ...]
    seeds: int
    minutes: float  # per seed, to be printed
    pool: int = 1024
    batch: int = 128
    redraws: int = 1000


class Group(NamedTuple):
    """Trainings of equal seconds: every optimiser with every schedule, uniform and at every ratio with every switch."""

    network: str
    optimizers: tuple[str, ...]
    schedules: tuple[str, ...]
    ratios: tuple[int, ...]
    seeds: int
    seconds: float
    switches: tuple[importance.Switch, ...] = ("published", "variance")


MLP_RATES = (("sgd", 0.05), ("rmsprop", 1e-3), ("adam", 1e-3))
CNN_RATES = (("sgd", 0.01), ("rmsprop", 1e-3))
RESNET_RATES = (("sgd", 0.1),)
BOTH = ("constant", "cosine")
AUGMENT = compose(shift(0.1), flip)

CASES: dict[Scale, dict[str, Case]] = {
    "smoke": {
        "mlp": Case("digits", MLP(10, units=16, layers=1), 16, MLP_RATES, (256, 256)),
        "resnet": Case("digits", WideResNet(10, depth=10, widen=1), 8, RESNET_RATES, (64, 64), 5e-4),
    },
    "cpu": {
        "mlp": Case("mnist", MLP(10, units=256, layers=2), 64, MLP_RATES),
        "cnn": Case("cifar10", CNN(10, filters=16, units=128), 32, CNN_RATES, (4000, 4000)),
        "resnet": Case("cifar10", WideResNet(10, depth=10, widen=1), 32, RESNET_RATES, (4000, 4000)),
    },
    "paper": {
        "mlp": Case("mnist", MLP(10, units=512, layers=2), 128, MLP_RATES, l2=1e-5),
        "cnn": Case("cifar10", CNN(10, filters=128, units=256), 128, CNN_RATES),
        "resnet": Case("cifar10", WideResNet(10, depth=28, widen=2), 128, RESNET_RATES, l2=5e-4, augment=AUGMENT),
    },
}
STUDIES: dict[Scale, tuple[Study, ...]] = {
    "smoke": (
        Study("mlp", "sgd", "constant", (0, 20, 100), 1, 0.1, pool=64, batch=16, redraws=200),
        Study("resnet", "sgd", "drops", (0, 20), 1, 0.2, pool=16, batch=8, redraws=200),
    ),
    "cpu": (
        Study("mlp", "sgd", "constant", (0, 40, 100, 200, 500, 1000, 2000, 5000, 10_000), 3, 2.5),
        Study("cnn", "rmsprop", "constant", (0, 100, 200, 500, 1000, 2000, 5000, 10_000), 2, 3.0),
        Study("resnet", "sgd", "drops", (0, 100, 200, 500, 1000, 1500, 2000, 3000, 4000), 1, 8.0),
    ),
    "paper": (
        Study("mlp", "sgd", "constant", (0, *range(3000, 30_001, 3000)), 3, 5.0),
        Study("cnn", "rmsprop", "constant", (0, *range(3000, 48_001, 3000)), 3, 30.0),
        Study("resnet", "sgd", "drops", (0, *range(3000, 48_001, 3000)), 3, 120.0),
    ),
}
GROUPS: dict[Scale, tuple[Group, ...]] = {
    "smoke": (Group("mlp", ("sgd", "rmsprop"), BOTH, (3,), 2, 0.02),),
    "cpu": (
        Group("mlp", ("rmsprop", "sgd"), BOTH, (3, 6), 5, 6.0),
        Group("mlp", ("adam",), BOTH, (3, 6), 5, 6.0),
        Group("mlp", ("rmsprop", "sgd", "adam"), BOTH, (2, 12), 5, 6.0),
        Group("cnn", ("rmsprop", "sgd"), BOTH, (3, 6), 2, 45.0),
    ),
    "paper": (
        Group("mlp", ("rmsprop", "sgd", "adam"), BOTH, (2, 3, 6, 12), 5, 60.0),
        Group("cnn", ("rmsprop", "sgd"), BOTH, (3, 6), 3, 600.0),
        Group("resnet", ("sgd",), ("drops",), (3, 5), 3, 10_800.0),
    ),
}
