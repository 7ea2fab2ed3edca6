"""Data as fixed training, validation and test arrays: your own, scikit-learn's digits, and image sets of TFDS.

Validation examples are the last of the official training set; the test set is for the final report only.
"""

import zlib
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float, Int

from ibo_jax.training import image_files
from ibo_jax.training.checks import as_array, broadcasts, check_examples, is_real

__all__ = [
    "NAMES", "Dataset", "Normalisation", "check", "fingerprint", "guessing_error", "load", "merged", "split_arrays",
    "take",
]  # fmt: skip

NAMES = ("digits", "mnist", "cifar10", "cifar100")
Normalisation = Literal["standard", "unit", "zca"]
SAMPLED = 256  # examples that a fingerprint looks at
COUNTED_AT_ONCE = 1_000_000  # pixels or numbers; counting makes an eight-byte copy of them
CLASSES = {"mnist": 10, "cifar10": 10, "cifar100": 100}
Inputs = np.ndarray
Labels = Int[np.ndarray, "example *place"]


class Dataset(NamedTuple):
    """Arrays for training, validation and testing. The network sees (inputs - mean) / scale.

    Attributes:
        train_inputs: uint8 or float32, examples first, channels last, like the other inputs. May be mapped from disk.
        train_labels: int32 in 0, ..., num_classes - 1, one per example, or one for each of its places.
        mean: a number, or an array that broadcasts against one example; computed on the training part only.
        scale: likewise, positive.
        valid_is_test: the test set stands in for validation data, as in published scripts; it must not be trained on.
    """

    train_inputs: Inputs
    train_labels: Labels
    valid_inputs: Inputs
    valid_labels: Labels
    test_inputs: Inputs
    test_labels: Labels
    mean: Float[np.ndarray, "..."] | float
    scale: Float[np.ndarray, "..."] | float
    num_classes: int
    name: str
    valid_is_test: bool = False


def split_arrays(
    inputs: Inputs,
    labels: np.ndarray,
    *,
    valid_fraction: float = 0.2,
    test: float | tuple[Inputs, np.ndarray] = 0.2,
    num_classes: int | None = None,
    name: str = "arrays",
    seed: int = 0,
) -> Dataset:
    """A `Dataset` from your own arrays, shuffled and split; uint8 stays uint8, anything else becomes float32.

    The network sees each feature or channel standardised. Codes, such as words for an embedding, stay as they are by
    `data._replace(mean=0.0, scale=1.0)`.

    Args:
        inputs: examples along the first axis, features or channels along the last.
        labels: classes as integers from 0, one per example (floats with whole values and flags are also accepted).
        valid_fraction: share of the examples by which hyperparameters are chosen.
        test: share of the examples for the final report, or a separate pair (inputs, labels).
        num_classes: default 1 + the largest label.
        name: used in messages and reports.
        seed: seed of the shuffling.

    Examples:
        >>> data = split_arrays(np.zeros((100, 4)), np.arange(100) % 3)
        >>> len(data.train_labels), len(data.valid_labels), len(data.test_labels), data.num_classes
        (60, 20, 20, 3)

    Raises:
        ValueError: lengths differ, an input is no real number or not finite, a label is out of range, there is only one
            class, or a part would be empty.
    """
    inputs, labels = _as_inputs(inputs), _as_labels(labels)
    check_examples(f"{name}: the data", inputs, labels, num_classes)
    given = (valid_fraction, 0.5 if isinstance(test, tuple | list) else test)
    if not all(0 < share < 1 for share in given):
        raise ValueError(
            f"{name}: expected valid_fraction and test to be shares between 0 and 1, got {given}; change them"
        )
    test_size = 0 if isinstance(test, tuple | list) else round(test * len(labels))
    valid_size = round(valid_fraction * len(labels))
    order = np.random.default_rng(seed).permutation(len(labels))
    test_rows, valid_rows, train_rows = np.split(order, [test_size, test_size + valid_size])
    if isinstance(test, tuple | list):
        test_inputs, test_labels = _as_inputs(test[0]), _as_labels(test[1])
        check_examples(f"{name}: the test data", test_inputs, test_labels, num_classes)
    else:
        test_inputs, test_labels = inputs[test_rows], labels[test_rows]
    train_inputs = inputs[train_rows]
    sizes = {"train": len(train_rows), "validation": len(valid_rows), "test": len(test_labels)}
    if not all(sizes.values()):
        raise ValueError(f"{name}: expected examples in every part, got {sizes}; change valid_fraction or test")
    if num_classes is None:
        num_classes = 1 + int(max(labels.max(), test_labels.max()))
    if num_classes < 2:
        raise ValueError(f"{name}: expected at least two classes, got {num_classes}; there is nothing to learn")
    return Dataset(
        train_inputs, labels[train_rows].astype(np.int32), inputs[valid_rows], labels[valid_rows].astype(np.int32),
        test_inputs, test_labels.astype(np.int32), *_moments(train_inputs), num_classes, name,
    )  # fmt: skip


def load(
    name: str,
    *,
    valid_size: int | None = None,
    normalise: Normalisation = "standard",
    split: int = 0,
    download: bool = False,
) -> Dataset:
    """A data set by name: "digits" (embedded in scikit-learn), "mnist", "cifar10" or "cifar100" (TFDS).

    Args:
        name: one of `NAMES`.
        valid_size: number of validation examples, the last of the training set; default 10,000 (digits 397). 0 uses the
            test set for validation, as the published scripts of importance-based optimisation do, which makes
            errors optimistic.
        normalise: "standard" subtracts the mean of each channel of the training part and divides by its standard
            deviation; "unit" divides by the largest possible value; "zca" whitens (fitted on the training part, stored
            as float32 in the cache: 0.7 GB for CIFAR).
        split: seed of the split of the digits into 1,000 / 397 / 400; the others have one split, 0.
        download: let TFDS fetch and prepare what is missing (needs the internet).

    Examples:
        >>> data = load("digits")
        >>> data.train_inputs.shape, data.train_inputs.dtype, len(data.valid_labels), len(data.test_labels)
        ((1000, 8, 8, 1), dtype('uint8'), 397, 400)

    Raises:
        ValueError: unknown name, normalisation, size or split.
        FileNotFoundError: TFDS has no prepared copy; the message says how to provide one.
    """
    if name not in NAMES:
        raise ValueError(f"expected a data set of {NAMES}, got {name!r}; for your own arrays use split_arrays")
    if normalise not in (known := get_args(Normalisation)):
        raise ValueError(f"{name}: expected normalise to be one of {known}, got {normalise!r}; choose one")
    if split and name != "digits":
        raise ValueError(f"{name}: expected split=0, the official one, got {split}; only digits has others")
    if split < 0:
        raise ValueError(f"{name}: expected a split from 0, got {split}; number it from 0")
    if name == "digits":
        arrays, num_classes, top, valid_size = _digits(split), 10, 16, 397 if valid_size is None else valid_size
    else:
        arrays, num_classes, top = image_files.images(name, download), CLASSES[name], 255
        valid_size = 10_000 if valid_size is None else valid_size
    inputs, labels, test_inputs, test_labels = arrays
    if not 0 <= valid_size < len(labels):
        raise ValueError(f"{name}: expected a validation size in 0..{len(labels) - 1}, got {valid_size}; lower it")
    cut = len(labels) - valid_size
    mean, scale = np.zeros(1, np.float32), np.full(1, top, np.float32)
    if normalise == "standard":
        mean, scale = _moments(inputs[:cut])
    if normalise == "zca":
        inputs, test_inputs = image_files.whitened(f"{name}-{split}", cut, top, inputs, test_inputs)
        # The published scripts divide each split by a maximum of its own; the training set's is the honest constant.
        scale = np.full(1, inputs[:cut].max(), np.float32)
    valid = (inputs[cut:], labels[cut:]) if valid_size else (test_inputs, test_labels)
    parts = (inputs[:cut], labels[:cut], *valid, test_inputs, test_labels)
    return Dataset(*parts, mean, scale, num_classes, name, valid_is_test=valid_size == 0)


def merged(dataset: Dataset) -> Dataset:
    """The same with training and validation examples together in the training part, for the final training.

    If the test set stands in for validation, the training part already is all there is.

    Examples:
        >>> len(merged(load("digits")).train_labels)
        1397
    """
    if dataset.valid_is_test:
        return dataset
    return dataset._replace(
        train_inputs=np.concatenate([dataset.train_inputs, dataset.valid_inputs]),
        train_labels=np.concatenate([dataset.train_labels, dataset.valid_labels]),
    )


def take(dataset: Dataset, *, train: int | None = None, valid: int | None = None, test: int | None = None) -> Dataset:
    """The first examples of each part; `mean` and `scale` stay those of the whole.

    Examples:
        >>> len(take(load("digits"), train=100).train_labels)
        100
    """
    return dataset._replace(
        train_inputs=dataset.train_inputs[:train], train_labels=dataset.train_labels[:train],
        valid_inputs=dataset.valid_inputs[:valid], valid_labels=dataset.valid_labels[:valid],
        test_inputs=dataset.test_inputs[:test], test_labels=dataset.test_labels[:test],
    )  # fmt: skip


def guessing_error(labels: np.ndarray) -> float:
    """Error of always naming the most frequent class.

    Examples:
        >>> guessing_error(np.array([0, 2, 2, 2]))
        0.25
    """
    return 1 - float(np.bincount(np.ravel(labels)).max()) / labels.size


def fingerprint(dataset: Dataset) -> str:
    """What distinguishes the training part from others of its size, in words; rounded, as last digits vary.

    Examples:
        >>> fingerprint(load("digits"))
        '(8, 8, 1) of mean 4.89, deviation 6.02, labels 1849'
    """
    sample = np.asarray(dataset.train_inputs[:: max(1, len(dataset.train_inputs) // SAMPLED)], np.float64)
    labels = zlib.crc32(np.ascontiguousarray(dataset.train_labels, np.int32).tobytes()) & 0xFFFF
    return f"{sample.shape[1:]} of mean {sample.mean():.3g}, deviation {sample.std():.3g}, labels {labels:04x}"


def check(dataset: Dataset) -> None:
    """Refuse data on which training is meaningless.

    Raises:
        ValueError: a part is empty, lengths or shapes differ, an input is no real number or not finite, a label is out
            of range, or the validation examples are all of one class.
    """
    for part in ("train", "valid", "test"):
        inputs, labels = getattr(dataset, f"{part}_inputs"), getattr(dataset, f"{part}_labels")
        check_examples(f"{dataset.name}: the {part} part", inputs, labels, dataset.num_classes)
        if inputs.shape[1:] != dataset.train_inputs.shape[1:]:
            raise ValueError(
                f"{dataset.name}: expected {part} examples of shape {dataset.train_inputs.shape[1:]} as in training, "
                f"got {inputs.shape[1:]}; reshape them"
            )
    mean, scale, one = np.asarray(dataset.mean), np.asarray(dataset.scale), (1, *dataset.train_inputs.shape[1:])
    if not (np.isfinite(mean).all() and np.isfinite(scale).all() and np.all(scale > 0)):
        raise ValueError(f"{dataset.name}: expected finite means and positive scales, got {mean} and {scale}; "
                         "divide constant features by one")  # fmt: skip
    if not (broadcasts(mean.shape, one) and broadcasts(scale.shape, one)):
        raise ValueError(f"{dataset.name}: expected means and scales for examples of shape {one[1:]}, got shapes "
                         f"{mean.shape} and {scale.shape}; give one number, or one for each channel")  # fmt: skip
    low, high = dataset.valid_labels.min(), dataset.valid_labels.max()
    if low == high:  # a network that knows nothing would make no error there
        raise ValueError(f"{dataset.name}: expected several classes in the valid part, got {low} only; make it larger, "
                         "or split the classes evenly")  # fmt: skip


def _as_inputs(inputs: Inputs) -> Inputs:
    """Numbers as float32, or uint8; anything else unchanged, to be refused."""
    inputs = as_array("inputs", inputs)
    return inputs if inputs.dtype == np.uint8 or not is_real(inputs) else inputs.astype(np.float32, copy=False)


def _as_labels(labels: np.ndarray) -> np.ndarray:
    """Whole numbers of any type as int32; anything else unchanged, to be refused."""
    labels = as_array("labels", labels)
    whole = labels.dtype == bool or (np.issubdtype(labels.dtype, np.floating) and np.all(labels == np.rint(labels)))
    return labels.astype(np.int32) if whole else labels


def _moments(inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over all axes but the last; a constant feature is divided by one."""
    flat = inputs.reshape(-1, inputs.shape[-1])
    if inputs.dtype == np.uint8:  # by counting values: exact, and no float copy of the images
        counts = np.zeros((flat.shape[-1], 256), np.int64)
        for start in range(0, len(flat), COUNTED_AT_ONCE):
            block = flat[start : start + COUNTED_AT_ONCE]
            counts += [np.bincount(channel, minlength=256) for channel in block.T]
        values = np.arange(256)
        mean = counts @ values / len(flat)
        deviation = np.sqrt(counts @ values**2 / len(flat) - mean**2)
    else:
        mean, size = flat.mean(0, dtype=np.float64), max(1, COUNTED_AT_ONCE // flat.shape[-1])
        squares = sum(((flat[i : i + size] - mean) ** 2).sum(0) for i in range(0, len(flat), size))
        deviation = np.sqrt(squares / len(flat))
    return mean.astype(np.float32), np.where(deviation > 0, deviation, 1).astype(np.float32)


def _digits(split: int) -> tuple[np.ndarray, ...]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(split).permutation(len(digits.target))
    inputs = digits.images[order, :, :, None].astype(np.uint8)
    labels = digits.target[order].astype(np.int32)
    return inputs[:1397], labels[:1397], inputs[1397:], labels[1397:]
