"""A language model of the characters of any text file as a problem: dropout and activation regularisers are tuned."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optax

from ibo_jax.problems.base import Problem
from ibo_jax.problems.training import training_problem
from ibo_jax.space import Dimension, Float, SearchSpace
from ibo_jax.training import text
from ibo_jax.training.recurrent import CharacterLSTM

__all__ = ["SPACE", "text_problem"]

SPACE: dict[str, Dimension] = {
    "dropout_input": Float(0.0, 0.9),
    "dropout_recurrent": Float(0.0, 0.9),
    "dropout_output": Float(0.0, 0.9),
    "activity": Float(0.0, 4.0),
    "change": Float(0.0, 4.0),
}
"""The regularisers of `CharacterLSTM`; a tuner that can do without needs no upper bound for the last two weights."""


def text_problem(
    path: Path | str,
    *,
    length: int = 64,
    characters: int | None = None,
    units: int = 128,
    layers: int = 1,
    epochs: int = 20,
    batch_size: int = 32,
    learning_rate: float = 10.0,
    clip: float = 0.25,
    space: SearchSpace | Mapping[str, Dimension] | None = None,
) -> Problem:
    """The problem of regularising an LSTM, trained by SGD with clipped gradients on windows of the text.

    As published for word models; with Adam the small weights of a self-tuning network's response are lost in noise.

    Args:
        path: path of any text file in UTF-8.
        length: length of a window, in characters.
        characters: use only this many characters of each part.
        units: size of the embedding and of the state.
        layers: number of LSTM layers.
        epochs: length of one training.
        batch_size: windows per step.
        learning_rate: learning rate of SGD.
        clip: largest norm of a gradient.
        space: hyperparameters of `SPACE` to search, the others being zero; default all.

    Examples:
        >>> import calendar
        >>> problem = text_problem(calendar.__file__, length=16, units=8, epochs=1)
        >>> outcome = problem.evaluate(0, dict.fromkeys(problem.space.names, 0.1), 1)
        >>> outcome.state, outcome.error < problem.guess
        ('ok', True)

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the text is too short, or the space has a hyperparameter that the network lacks.
    """
    if min(length, units, layers, batch_size) < 1:
        raise ValueError(f"expected a length, units, layers and a batch size from 1, got {length}, {units}, {layers} "
                         f"and {batch_size}; raise them")  # fmt: skip
    data = text.windows(path, length=length, characters=characters)
    chosen = SPACE if space is None else space.dimensions if isinstance(space, SearchSpace) else space
    if unknown := sorted(chosen.keys() - SPACE.keys()):
        raise ValueError(f"expected hyperparameters of {list(SPACE)}, got {unknown}; drop those")

    def network(h: Mapping[str, Any]) -> CharacterLSTM:
        return CharacterLSTM(data.num_classes, units, layers, **{name: h[name] for name in chosen})

    return training_problem(
        f"text-{data.name}",
        SearchSpace(chosen),
        data,
        network=network,
        optimizer=lambda h, steps: optax.chain(optax.clip_by_global_norm(clip), optax.sgd(learning_rate)),
        epochs=epochs,
        batch_size=lambda h: batch_size,
        description=f"LSTM of {units} units on the characters of {data.name}: dropout and activation regularisers",
    )
