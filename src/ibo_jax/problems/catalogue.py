"""Problems by name. Listing and describing them loads neither data nor networks; making one does."""

import difflib

from ibo_jax.problems.base import Problem
from ibo_jax.problems.settings import SCALES, SETTINGS
from ibo_jax.problems.synthetic import SYNTHETIC
from ibo_jax.types import PROTOCOLS

__all__ = ["describe", "names", "problem"]

SUMMARIES = {
    "digits-mlp": "multilayer perceptron on scikit-learn's 8 x 8 digits (embedded), RMSprop",
    "mnist-fcn": "fully connected network on MNIST, RMSprop",
    "digits-l2": "one hidden layer on the digits, an L2 weight for each of its two layers, SGD with momentum",
    "mnist-l2": "one hidden layer on a part of MNIST, an L2 weight for each of its two layers, SGD with momentum",
    "digits-dropout": "two hidden layers on the digits, a dropout rate for each, SGD with momentum",
    "mnist-dropout": "LeNet on a part of MNIST: a dropout rate a layer, input noise and cutout, SGD with momentum",
    "cifar10-cnn": "three convolutions and a hidden layer on CIFAR-10, RMSprop",
    "cifar10-resnet": "wide residual network with LayerNorm on CIFAR-10, SGD with momentum",
    "cifar100-resnet": "wide residual network with LayerNorm on CIFAR-100, SGD with momentum",
    "cifar10-alexnet": "AlexNet-like network on CIFAR-10: 15 rates of dropout, noise, jitter and cutout, SGD, momentum",
}


def names() -> tuple[str, ...]:
    """All problems, the real ones first."""
    return (*SETTINGS, *SYNTHETIC)


def describe(name: str, scale: str = "cpu") -> str:
    """A one-line description: what is trained on what, for how long, and what a study of default size takes.

    Examples:
        >>> describe("mnist-fcn", "cpu")
        'fully connected network on MNIST, RMSprop; 8 epochs, 25 evaluations: 10 minutes on two cores'
    """
    _check(name, scale, "default")
    if name in SYNTHETIC:
        return SYNTHETIC[name].description
    setting = SETTINGS[name][scale]  # type: ignore[index]
    images = "" if setting.images[0] is None else f" of {setting.images[0]:,} images"
    return f"{SUMMARIES[name]}; {setting.epochs} epochs{images}, {setting.evaluations} evaluations: {setting.cost}"


def problem(name: str, *, scale: str = "cpu", protocol: str = "default", split: int = 0) -> Problem:
    """A problem by name.

    Args:
        name: one of `names()`.
        scale: "smoke" runs in seconds and shows that everything works; "cpu" tunes on two cores, with fewer images or
            epochs, smaller networks and narrower ranges than published; "gpu", for "mnist-fcn", "cifar10-cnn" and
            "cifar10-resnet", takes minutes on a GPU; "paper" has the published numbers.
        protocol: "default" holds out validation examples and searches the ratio B / b in 1..6; "paper" searches
            s = log(B / b) / log(m / b) in [0, 1], the target being a presample of all m training examples; "scripts"
            follows the published code: ratios 2..6, the test set for validation, integers truncated, and the decay of
            the fully connected network exponentiated.
        split: seed of the split for the digits; must be 0 for all other problems.

    Raises:
        ValueError: the name, scale or protocol is unknown.
        FileNotFoundError: the data is missing; the message says how to get it.
    """
    _check(name, scale, protocol)
    if name in SYNTHETIC:
        return SYNTHETIC[name]
    from ibo_jax.problems.images import build  # JAX and Flax: seconds that a list of names should not take

    return build(name, scale, protocol, split, describe(name, scale))  # type: ignore[arg-type]


def _check(name: str, scale: str, protocol: str) -> None:
    if name not in names():
        close = difflib.get_close_matches(name.lower(), names(), n=1)
        hint = f"did you mean {close[0]!r}?" if close else "`ibo-jax problems` lists them"
        raise ValueError(f"expected a problem of {', '.join(names())}, got {name!r}; {hint}")
    scales = SETTINGS.get(name, SCALES)
    if scale not in scales:
        raise ValueError(f"{name}: expected a scale of {', '.join(scales)}, got {scale!r}; choose one of them")
    if protocol not in PROTOCOLS:
        raise ValueError(f"expected a protocol of {', '.join(PROTOCOLS)}, got {protocol!r}; choose one of them")
