"""Sizes and optimiser settings at two scales; settings were chosen on seeds that are not reported."""

from typing import NamedTuple


class Curve(NamedTuple):
    """One L2 weight, few training points: the learnt curve of losses.

    Attributes:
        low, high, values: the grid of lambda.
        from_scratch, rate: number and size of the Adam steps of one training of cross-validation, as published.
        steps, hyper_steps: numbers of steps of the two phases of the global algorithm.
    """

    train: int = 10
    low: float = -1.0
    high: float = 4.0
    values: int = 11
    from_scratch: int = 1000
    rate: float = 1e-4
    steps: int = 3000
    hyper_steps: int = 500
    response_rate: float = 1e-3
    hyper_rate: float = 0.02
    samples: int = 10
    start: float = 0.0


class Weights(NamedTuple):
    """Ten L2 weights: models of losses against models of parameters.

    Attributes:
        steps_each: response steps per evaluation, at most `most_steps` in all (the authors take 500 for 25
            evaluations).
        scale: of the hypernet's initial parameters, as in the authors' code.
        scattered: number of evaluations whose scatter is kept.
    """

    train: int = 50_000
    batch: int = 100
    evaluations: tuple[int, ...] = (10, 25, 100, 250, 1000)
    pool: int = 10_240
    steps_each: int = 60
    most_steps: int = 5_000
    rate: float = 1e-3
    scale: float = 1e-5
    samples: int = 10
    scattered: int = 25


class Large(NamedTuple):
    """An L2 weight for each of 7,850 parameters, factorised hypernet, local algorithm.

    Attributes:
        batch: validation examples per hyper step; response steps see all training examples.
        deviation: of the hyperparameters drawn about lambda-hat.
        start: initial value of every lambda.
    """

    train: int = 1_000
    steps: int = 3_000
    batch: int = 1_000
    response_rate: float = 3e-4
    hyper_rate: float = 1e-3
    deviation: float = 0.5
    samples: int = 2
    start: float = 0.0
    scale: float = 0.01


class Setting(NamedTuple):
    """Settings of all parts; `source` is a name of `training.datasets.load`."""

    source: str
    curve: Curve = Curve()
    weights: Weights = Weights()
    large: Large = Large()


SCALES = {
    "smoke": Setting(
        "digits",
        Curve(values=3, from_scratch=50, steps=60, hyper_steps=50),
        Weights(train=300, evaluations=(10, 25), pool=300, steps_each=4),
        Large(train=300, steps=100, batch=100),
    ),
    "cpu": Setting("mnist"),
}
