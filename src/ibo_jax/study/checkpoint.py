"""The one file of a run that is a single training: its state, its best answer and its rows, replaced in one step.

A process killed at any moment leaves the old file or the new one. It is MessagePack, by `flax.serialization`; nothing
is pickled.
"""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import serialization

__all__ = ["FILE", "Checkpoint", "facts_of", "read", "write"]

FILE = "checkpoint.msgpack"


class Checkpoint(NamedTuple):
    """What is kept: arrays as pytrees, and everything else as JSON."""

    state: Any
    best: Any  # parameters of the best epoch's network, those of the start before there is one
    facts: dict[str, Any]


def write(directory: Path, checkpoint: Checkpoint) -> None:
    """Replace the file."""
    arrays = jax.tree.map(_stored, {"state": checkpoint.state, "best": checkpoint.best})
    content = {
        **{name: serialization.to_state_dict(tree) for name, tree in arrays.items()},
        "facts": json.dumps(checkpoint.facts, allow_nan=False),
    }
    temporary = directory / f"{FILE}.tmp"
    with temporary.open("wb") as file:
        file.write(serialization.msgpack_serialize(content))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(directory / FILE)


def read(directory: Path, like: Checkpoint) -> Checkpoint:
    """The checkpoint, with the structure of `like`.

    Raises:
        ValueError: the file is damaged, or its arrays are not those of `like`.
    """
    content = _content(directory)
    try:
        models = [jax.tree.map(_stored, tree) for tree in (like.state, like.best)]
        trees = [serialization.from_state_dict(model, content[name])
                 for model, name in zip(models, ("state", "best"), strict=True)]  # fmt: skip
        found, wanted = ([(leaf.shape, leaf.dtype) for leaf in map(np.asarray, jax.tree.leaves(each))]
                         for each in (trees, models))  # fmt: skip
        if found != wanted:
            raise ValueError("arrays of other shapes")
        state, best = jax.tree.map(_restored, trees, [like.state, like.best])
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(
            f"expected the checkpoint in {directory} to be of this tuner and this problem, found {error}; "
            "repeat the command that started it with the same version, or use another folder"
        ) from error
    return Checkpoint(state, best, json.loads(content["facts"]))


def facts_of(directory: Path) -> dict[str, Any]:
    """What is kept beside the arrays.

    Raises:
        ValueError: there is no checkpoint, or it is damaged.
    """
    return json.loads(_content(directory)["facts"])


def _stored(leaf: Any) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _restored(leaf: Any, like: Any) -> Any:
    return jax.random.wrap_key_data(jnp.asarray(leaf), impl=jax.random.key_impl(like)) if _is_key(like) else leaf


def _is_key(leaf: Any) -> bool:
    """Typed keys, as in the state of `optax.add_noise`, are no arrays of numbers."""
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _content(directory: Path) -> dict[str, Any]:
    path = directory / FILE
    if not path.is_file():
        raise ValueError(f"expected a run in {directory}, found no {FILE} there; name the folder of a run")
    try:
        content = serialization.msgpack_restore(path.read_bytes())
        json.loads(content["facts"])
    except Exception as error:  # MessagePack has errors of many kinds
        raise ValueError(f"expected a checkpoint of ibo_jax in {path}, found a file that is damaged or something else; "
                         "remove it to start afresh") from error  # fmt: skip
    return content
