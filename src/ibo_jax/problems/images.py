"""The real problems: how their hyperparameters become networks, optimisers and penalties, and on which data.

References: Ariafar et al. (2021), sections 4.1-4.3 and appendix D, with details from the authors' scripts.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax

from ibo_jax.problems.base import Problem
from ibo_jax.problems.settings import SETTINGS, Scale, Setting, size
from ibo_jax.problems.training import PRESAMPLE_SHARE, training_problem
from ibo_jax.space import PRESAMPLE_RATIO, Dimension, Fidelity, Float, Integer, SearchSpace
from ibo_jax.training import augmentation, networks, optimizers
from ibo_jax.training.augmentation import compose, flip, shift
from ibo_jax.training.convnets import AlexNet, LeNet
from ibo_jax.training.datasets import Dataset, load, take
from ibo_jax.types import Array, Count, PRNGKeyArray, Protocol

__all__ = ["build"]

FIDELITIES = {
    "default": PRESAMPLE_RATIO,
    "paper": PRESAMPLE_SHARE,
    "scripts": Fidelity("presample_ratio", 2, 6, integer=True, plain=1),
}
LAYERS_DROPPED = {"conv": 5, "hidden": 2}  # number of layers of the AlexNet-like network with dropout
MOST_HOLES = 3
CIFAR_MEAN = (125.3, 123.0, 113.9)


class Kind(NamedTuple):
    """What all scales and protocols of a problem share; the functions read hyperparameters and fixed values alike."""

    network: Callable[[dict, int], Any]
    optimizer: Callable[[dict, Count], optax.GradientTransformation]
    penalty: Callable[[Any, Mapping], Array] | None = None
    augment: Callable[[PRNGKeyArray, Array, Mapping], Array] | None = None


def _fcn(h: dict, classes: int) -> networks.MLP:
    return networks.MLP(classes, size(h, "units"), h["layers"], h["dropout"])


def _dropout_mlp(h: dict, classes: int) -> networks.MLP:
    return networks.MLP(classes, h["units"], 2, (h["dropout_0"], h["dropout_1"]))


def _lenet(h: dict, classes: int) -> LeNet:
    rates = (h["dropout_conv_0"], h["dropout_conv_1"], h["dropout_hidden"])
    return LeNet(classes, (h["filters"], 2 * h["filters"]), h["units"], rates, h["noise"])


def _alexnet(h: dict, classes: int) -> AlexNet:
    filters = tuple(h["filters"] * times for times in (1, 3, 6, 4, 4))
    convs, hidden = (tuple(h[f"dropout_{kind}_{i}"] for i in range(count)) for kind, count in LAYERS_DROPPED.items())
    return AlexNet(classes, filters, h["units"], convs, hidden, h["dropout_input"], h["noise"])  # type: ignore[arg-type]


def _cnn(h: dict, classes: int) -> networks.CNN:
    return networks.CNN(classes, size(h, "filters"), size(h, "units"))


def _wide_resnet(h: dict, classes: int) -> networks.WideResNet:
    return networks.WideResNet(classes, h["depth"], h["widen"])


def _rmsprop(h: dict, steps_per_epoch: Count) -> optax.GradientTransformation:
    del steps_per_epoch
    return optimizers.rmsprop(h["learning_rate"], h["decay"])


def _dropped_sgd(h: dict, steps_per_epoch: Count) -> optax.GradientTransformation:
    rate = optimizers.step_drop(h["learning_rate"], h["drop_factor"], steps_per_epoch, h["drop_epochs"])
    return optimizers.momentum_sgd(rate, h["momentum"])


def _nesterov(h: dict, steps_per_epoch: Count) -> optax.GradientTransformation:
    del steps_per_epoch
    return optax.sgd(h["learning_rate"], h["momentum"], nesterov=True)


def _sgd(h: dict, steps_per_epoch: Count) -> optax.GradientTransformation:
    del steps_per_epoch
    return optimizers.momentum_sgd(h["learning_rate"], h["momentum"])


def _shift_and_flip(key: PRNGKeyArray, images: Array, h: Mapping) -> Array:
    del h
    return compose(shift(0.1), flip)(key, images)


def _cut(key: PRNGKeyArray, images: Array, h: Mapping) -> Array:
    return augmentation.cutout(key, images, h["cutout_length"], h["cutout_holes"], most=MOST_HOLES)


def _jitter_and_cut(key: PRNGKeyArray, images: Array, h: Mapping) -> Array:
    """Crops and flips, as in every training of this network, then the augmentations that are searched."""
    changes = [shift(0.125), flip]
    for name in ("brightness", "contrast", "saturation", "hue"):
        changes.append(partial(getattr(augmentation, name), amount=h[name]))
    cut = partial(augmentation.cutout, length=h["cutout_length"], holes=h["cutout_holes"], most=MOST_HOLES)
    return compose(*changes, partial(cut, fill=CIFAR_MEAN))(key, images)


def _l2_but(exclude: str) -> Callable[[Any, Mapping], Array]:
    return lambda params, h: networks.squared_kernels(params, exclude=exclude) * jnp.asarray(h["l2"])


def _l2_of_layers(params: Any, h: Mapping) -> Array:
    """One weight per layer, times the layer's sum of squares over twice the batch size. Sinha et al. (2022) halve the
    sums too: their weight w is w / 2 here."""
    hidden, output = (jnp.sum(params[name]["kernel"] ** 2) for name in ("hidden_0", "output"))
    return (h["l2_hidden"] * hidden + h["l2_output"] * output) / (2 * size(dict(h), "batch_size"))


FCN = Kind(_fcn, _rmsprop)
CNN = Kind(_cnn, _rmsprop, _l2_but("output"))
RESNET = Kind(_wide_resnet, _dropped_sgd, _l2_but("projection"), _shift_and_flip)
L2 = Kind(_fcn, _nesterov, _l2_of_layers)
KINDS = {
    "digits-mlp": ("digits", FCN),
    "mnist-fcn": ("mnist", FCN),
    "digits-l2": ("digits", L2),
    "mnist-l2": ("mnist", L2),
    "digits-dropout": ("digits", Kind(_dropout_mlp, _sgd)),
    "mnist-dropout": ("mnist", Kind(_lenet, _sgd, augment=_cut)),
    "cifar10-cnn": ("cifar10", CNN),
    "cifar10-resnet": ("cifar10", RESNET),
    "cifar100-resnet": ("cifar100", RESNET),
    "cifar10-alexnet": ("cifar10", Kind(_alexnet, _sgd, augment=_jitter_and_cut)),
}


def build(name: str, scale: Scale, protocol: Protocol, split: int, description: str) -> Problem:
    """Load the data and make the problem; see `catalogue.problem`."""
    setting, (source, kind) = SETTINGS[name][scale], KINDS[name]
    data = _data(source, setting, protocol, split)
    classes = data.num_classes  # what a function refers to is kept as long as its programs
    fixed, penalty, augment = setting.fixed, kind.penalty, kind.augment
    made = training_problem(
        name,
        SearchSpace(_literal(setting.space) if protocol == "scripts" else setting.space),
        data,
        network=lambda h: kind.network({**fixed, **h}, classes),
        optimizer=lambda h, steps_per_epoch: kind.optimizer({**fixed, **h}, steps_per_epoch),
        epochs=setting.epochs,
        batch_size=lambda h: size({**fixed, **h}, "batch_size"),
        penalty=None if penalty is None else lambda params, h: penalty(params, {**fixed, **h}),
        augment=None if augment is None else lambda key, images, h: augment(key, images, {**fixed, **h}),
        fidelity=FIDELITIES[protocol],
        description=description,
        evaluations=setting.evaluations,
        initial=setting.initial,
    )
    return replace(made, setup={"scale": scale, "protocol": protocol, "split": split, **made.setup})


def _data(source: str, setting: Setting, protocol: Protocol, split: int) -> Dataset:
    held_out = 0 if protocol == "scripts" else None
    data = load(source, valid_size=held_out, normalise=setting.normalise, split=split)
    train, valid, test = setting.images
    return take(data, train=train, valid=test if protocol == "scripts" else valid, test=test)


def _literal(space: dict[str, Dimension]) -> dict[str, Dimension]:
    """The space as the scripts code it: int() truncates, so the highest whole number is never reached, and the FCN's
    decay, given in [1e-7, 1e-3], is exponentiated."""
    literal = {name: _lowered(dimension) if "log2_" not in name else dimension for name, dimension in space.items()}
    if "dropout" in space:
        literal["decay"] = Float(1.0000001, 1.001, log=True)
    return literal


def _lowered(dimension: Dimension) -> Dimension:
    return dimension._replace(high=dimension.high - 1) if isinstance(dimension, Integer) else dimension
