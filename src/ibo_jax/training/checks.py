"""What examples must be before anything is trained on them, and what to do where they are not."""

from typing import Any

import numpy as np

__all__ = ["advice", "as_array", "broadcasts", "check_examples", "is_real"]


def as_array(what: str, values: Any) -> np.ndarray:
    """An array; refuses what NumPy would take for an object, or for numbers that are there."""
    if hasattr(values, "toarray"):
        raise ValueError(f"expected {what} as a dense array, got {type(values).__name__}; give {what}.toarray()")
    if np.ma.is_masked(values):
        raise ValueError(f"expected {what} without masked values; drop those examples, or use {what}.filled(...)")
    return np.asarray(values)


def broadcasts(shape: tuple[int, ...], against: tuple[int, ...]) -> bool:
    """Whether an array of a shape broadcasts against one of another, which keeps its own."""
    try:
        return np.broadcast_shapes(shape, against) == against
    except ValueError:
        return False


def check_examples(what: str, inputs: np.ndarray, labels: np.ndarray, num_classes: int | None) -> None:
    """Refuse inputs (example, ...) and labels (example, *place) that no classifier can be trained on.

    Args:
        what: they are, as the message names them.
        num_classes: that there are, if it is known.

    Examples:
        >>> check_examples("mine", np.zeros((2, 3)), np.array([0, 7]), 2)
        Traceback (most recent call last):
        ValueError: mine: expected labels in 0..1, got 0..7; number the classes from 0 or raise num_classes

    Raises:
        ValueError: there are none, lengths differ, inputs have no features or are no finite numbers, labels are no
            classes.
    """
    if not (inputs.ndim and labels.ndim):
        raise ValueError(f"{what}: expected arrays of inputs and of labels, got shapes {inputs.shape} and "
                         f"{labels.shape}; a dictionary or a generator is none")  # fmt: skip
    if not len(labels):
        raise ValueError(f"{what}: expected at least one example, got none; check where the arrays come from")
    if len(inputs) != len(labels):
        raise ValueError(f"{what}: expected as many labels as inputs, got {len(labels)} and {len(inputs)}; align them")
    if inputs.ndim < 2 or not inputs[0].size:
        raise ValueError(f"{what}: expected examples along the first axis and features along others, got inputs of "
                         f"shape {inputs.shape}; one feature is inputs[:, None]")  # fmt: skip
    if not is_real(inputs):
        raise ValueError(f"{what}: expected inputs that are real numbers, got {inputs.dtype}; encode them as "
                         "numbers (those held as Python objects by inputs.astype(np.float32))")  # fmt: skip
    if labels.shape[1:] not in ((), inputs.shape[1:]) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"{what}: expected one class an example, a whole number from 0 (or one for each input, in text), got "
            f"{labels.dtype} of shape {labels.shape}; {advice(labels)}"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (num_classes is not None and high >= num_classes):
        top = "num_classes - 1" if num_classes is None else num_classes - 1
        raise ValueError(
            f"{what}: expected labels in 0..{top}, got {low}..{high}; number the classes from 0 or raise num_classes"
        )
    if inputs.dtype != np.uint8 and not np.isfinite(inputs).all():
        raise ValueError(f"{what}: expected finite inputs, got NaN or infinity; drop those examples or fill them in")


def is_real(inputs: np.ndarray) -> bool:
    """Whether they are numbers or flags that become float32 without losing more than digits."""
    return np.can_cast(inputs.dtype, np.float32, "same_kind")


def advice(labels: np.ndarray) -> str:
    """How to make classes of labels that are none."""
    if labels.dtype.kind in "OSU":
        return "names become numbers by np.unique(labels, return_inverse=True)[1]"
    if labels.ndim == 2 and labels.shape[1] == 1:
        return "flatten them"
    if labels.ndim > 1:
        return "one-hot labels need labels.argmax(-1)"
    unknown = np.isnan(labels) if labels.dtype.kind == "f" else np.zeros(len(labels), bool)
    if unknown.any() and np.all(labels[~unknown] == np.rint(labels[~unknown])):
        return f"drop the examples without a label (NaN), {unknown.sum()} of them"
    return "regression is not supported: state a Problem of your own, which returns its error"
