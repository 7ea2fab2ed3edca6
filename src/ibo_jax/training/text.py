"""A text file as data for a character-level language model: windows, labelled with the next character at each place."""

from pathlib import Path

import numpy as np

from ibo_jax.training.datasets import Dataset

__all__ = ["windows"]


def windows(path: Path | str, *, length: int = 64, characters: int | None = None) -> Dataset:
    """The first 90 % of the text for training, the next 5 % for validation, the last 5 % for testing.

    Windows do not overlap, and a remainder too short for a window is dropped. Characters are numbered in order of code
    point; all that occur in the file are classes, so that every part can be judged. The network sees the numbers as
    float32.

    Args:
        path: path of any text file in UTF-8.
        length: length of a window.
        characters: use only the first so many characters of each part.

    Examples:
        >>> import calendar
        >>> data = windows(calendar.__file__, length=32)
        >>> data.train_inputs.shape == data.train_labels.shape, data.train_inputs[0, 1] == data.train_labels[0, 0]
        (True, np.True_)

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: windows are empty, the file is not in UTF-8, or a part of the text is shorter than one window and
            the character after it.
    """
    if length < 1:
        raise ValueError(f"{path}: expected windows of at least one character, got length={length}; take longer")
    try:
        text = np.array(list(Path(path).read_text(encoding="utf-8")))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected a text in UTF-8, got other bytes ({error}); convert it, for example by "
                         "iconv -f latin1 -t utf-8") from error  # fmt: skip
    alphabet, numbers = np.unique(text, return_inverse=True)
    train, valid, test = np.split(numbers, [int(0.9 * len(text)), int(0.95 * len(text))])
    parts = [_cut(part[:characters], length, path) for part in (train, valid, test)]
    (inputs, labels), (valid_inputs, valid_labels), (test_inputs, test_labels) = parts
    return Dataset(
        inputs, labels, valid_inputs, valid_labels, test_inputs, test_labels, np.zeros(1, np.float32),
        np.ones(1, np.float32), len(alphabet), Path(path).stem,
    )  # fmt: skip


def _cut(numbers: np.ndarray, length: int, path: Path | str) -> tuple[np.ndarray, np.ndarray]:
    count = (len(numbers) - 1) // length
    if count < 1:
        raise ValueError(f"{path}: expected parts of at least one window of {length} characters and one more, got "
                         f"{len(numbers)} characters; take a longer text or shorter windows")  # fmt: skip
    inputs, labels = (numbers[shift : shift + count * length].reshape(count, length) for shift in (0, 1))
    return inputs.astype(np.float32), labels.astype(np.int32)
