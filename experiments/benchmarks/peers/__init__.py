"""Other tools in current use, asked in the same way as our own methods: the same points, budget, threads and judgement.

A peer lives in an environment of its own (`make peers`), where `worker.py` answers over a pipe; nothing here imports
it. With each question it sees all points, encoded fidelities and objectives so far, and it says where to evaluate next
and what it would answer now. Points are those of the unit cube; in a space of whole numbers and choices, a peer is
told the kind of each coordinate and sees indices.
"""

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from ibo_jax.methods.initial import Design
from ibo_jax.observations import Observations
from ibo_jax.space import Categorical, Dimension, Float, SearchSpace
from ibo_jax.types import Value

__all__ = ["PEERS", "PYTHON", "Answer", "Peer", "suggesting"]

HERE = Path(__file__).parent
PYTHON = HERE.parents[2] / ".venv-peers" / "bin" / "python"


class Peer(NamedTuple):
    """How a peer is set up; one without fidelities starts and stays at the target."""

    adapter: str  # file beside this one
    settings: dict[str, Any]
    design: Design | None  # None: it evaluates the points of the design itself, at fidelities that it chooses


PEERS = {
    "optuna-tpe": Peer("optuna_adapter", {"sampler": "tpe"}, "plain"),
    "optuna-gp": Peer("optuna_adapter", {"sampler": "gp"}, "plain"),
    "botorch-mes": Peer("botorch_adapter", {"acquisition": "max-value entropy"}, "random"),
    "botorch-kg": Peer("botorch_adapter", {"acquisition": "knowledge gradient"}, "random"),
    "smac-gp": Peer("smac_adapter", {}, "plain"),
    "vizier-gp": Peer("vizier_adapter", {}, "plain"),
    "emukit-fabolas": Peer("emukit_adapter", {}, "growing"),
    "botorch-saas": Peer("saas_adapter", {}, "plain"),
    "smac-mf": Peer("smac_mf_adapter", {}, None),
}


class Answer(NamedTuple):
    """What regret is judged by; the fields are named as in `ibo_jax.methods.Suggestion`."""

    x: np.ndarray
    fidelity: float
    recommendation: np.ndarray
    incumbent: np.ndarray
    reason: str = "acquisition"
    warning: str = ""


Suggest = Callable[[Any, Observations, None], tuple[Answer, None]]


@contextlib.contextmanager
def suggesting(
    name: str, fixed_cost: float, space: SearchSpace | None = None, initial: np.ndarray | None = None
) -> Iterator[Suggest]:
    """A peer as a function like those of `ibo_jax.methods.make`; its process ends with the context.

    Args:
        name: one of `PEERS`.
        fixed_cost: an evaluation costs this much plus s, as the peer is told; our methods have to learn it.
        space: a space of whole numbers and choices only; None if x is real. For peers whose adapter takes `axes`.
        initial: x of the initial design, for peers that evaluate it themselves.

    Raises:
        FileNotFoundError: the environment has not been made.
        RuntimeError: raised by a question if the peer fails, with its message.
    """
    if not PYTHON.exists():
        raise FileNotFoundError(f"expected the peers' environment in {PYTHON.parents[1]}, found none; run `make peers`")
    command = [str(PYTHON), str(HERE / "worker.py"), PEERS[name].adapter, json.dumps(PEERS[name].settings)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:

        def suggest(key: Any, seen: Observations, state: None) -> tuple[Answer, None]:
            shown = {"x": seen.x, "s": seen.fidelity, "y": seen.objective}
            question = {name: values[: seen.size].tolist() for name, values in shown.items()}
            question |= {"seed": int(jax.random.randint(key, (), 0, 2**31 - 1)), "fixed_cost": fixed_cost}
            if initial is not None:
                question["initial"] = initial.tolist()
            if space is None:
                return _ask(worker, question), state
            axes = [("choice" if isinstance(dimension, Categorical) else "integer", len(_levels(dimension)))
                    for dimension in space.dimensions.values()]  # fmt: skip
            question |= {"x": [_indices(space, x) for x in seen.x[: seen.size]], "axes": axes}
            answer = _ask(worker, question)
            places = ("x", "recommendation", "incumbent")
            return answer._replace(**{name: _point(space, getattr(answer, name)) for name in places}), state

        try:
            yield suggest
        finally:
            assert worker.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # the process ended before it read a question
                worker.stdin.close()


def _levels(dimension: Dimension) -> Sequence[Value]:
    assert not isinstance(dimension, Float)
    return dimension.choices if isinstance(dimension, Categorical) else range(dimension.low, dimension.high + 1)


def _indices(space: SearchSpace, x: np.ndarray) -> list[int]:
    """A point of the unit cube as peers see it: the index of each value."""
    found = space.decode(x)
    return [_levels(dimension).index(found[name]) for name, dimension in space.dimensions.items()]


def _point(space: SearchSpace, indices: np.ndarray) -> np.ndarray:
    """The point of the unit cube for indices."""
    pairs = zip(space.dimensions.items(), indices, strict=True)
    return space.encode({name: _levels(dimension)[int(index)] for (name, dimension), index in pairs})


def _ask(worker: "subprocess.Popen[str]", question: dict[str, Any]) -> Answer:
    assert worker.stdin is not None
    assert worker.stdout is not None
    with contextlib.suppress(BrokenPipeError):  # there is no answer to read either
        worker.stdin.write(json.dumps(question) + "\n")
        worker.stdin.flush()
    line = worker.stdout.readline()
    found = json.loads(line) if line else {"error": f"its process ended, exit status {worker.wait()}"}
    if "error" in found:
        raise RuntimeError(found["error"])
    places = {name: np.array(found[name]) for name in ("x", "recommendation", "incumbent")}
    return Answer(fidelity=found["s"], **places)
