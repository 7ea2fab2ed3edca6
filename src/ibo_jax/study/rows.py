"""A study as rows, one a slot: what people, figures and `rows.jsonl` see. Times are the only fields that may differ
between two runs of one search by cost in work."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict, cast

from optuna.trial import FrozenTrial

from ibo_jax.space import PRESAMPLE_RATIO
from ibo_jax.study.storage import Store, is_final, open_readonly
from ibo_jax.types import Value

__all__ = ["TIMES", "Row", "read", "rows_of", "summary", "write"]

TIMES = ("cost_seconds", "compile_seconds", "suggest_seconds", "evaluate_seconds", "elapsed_seconds")


class Row(TypedDict):
    """One slot, with these keys in this order. What is unknown is None; what is predicted was so when the slot was
    chosen, before it was evaluated."""

    number: int  # the slot
    state: str  # how its last attempt ended, see `ibo_jax.outcomes`
    hyperparameters: dict[str, Value]
    presample_ratio: float | int | None  # B / b, None if nothing was trained
    fidelity: float | int
    s: float  # the fidelity encoded in [0, 1], 1 is the target
    error: float | None  # what is minimised; a pruned trial has it only in its history
    cost_seconds: float  # initialisation and training, without compilation
    cost_work: float  # floating-point operations of forward passes, the same on every machine
    compile_seconds: float
    suggest_seconds: float  # choosing the slot, without waiting for other workers
    evaluate_seconds: float  # wall time of the whole evaluation
    importance_share: float  # share of the steps that were importance-sampled
    reason: str  # "initial", "acquisition", "nearby", "guard", "recommendation", "random" or "grid"
    warning: str  # what fell back, or empty
    predicted_objective: float | None  # on the modelled scale, at the point and fidelity chosen
    predicted_sd: float | None
    predicted_log_cost: float | None  # of the cost in the study's unit
    entropy: float | None  # of the optimum's distribution, nats
    incumbent: dict[str, Value] | None  # evaluated hyperparameters of lowest predicted error at the target fidelity
    predicted_error: float | None  # of the incumbent at the target fidelity
    recommendation: dict[str, Value] | None  # hyperparameters of lowest predicted error anywhere
    elapsed_seconds: float | None  # wall time of the study up to the end of the slot, over all restarts
    history: dict[str, list[float | None]]  # per-epoch series by name
    message: str  # why, where the state is not ok


NOTHING: dict[str, Any] = {
    "error": None, "cost_seconds": 0.0, "cost_work": 0.0, "compile_seconds": 0.0, "evaluate_seconds": 0.0,
    "importance_share": 0.0, "presample_ratio": None, "elapsed_seconds": None, "history": {}, "message": "",
}  # fmt: skip
"""Of an attempt that left no outcome because its process died."""


def rows_of(store: Store) -> list[Row]:
    """A row for each slot that was evaluated at least once, in order."""
    settings = store.notes()["settings"]
    ended = [[attempt for attempt in attempts if attempt.state.is_finished()] for attempts in store.slots().values()]
    return [_row(attempts[-1], settings) for attempts in ended if attempts]


def read(directory: Path | str) -> list[Row]:
    """The rows of the study in a folder, from its `study.db`.

    Raises:
        ValueError: there is no study, or it is damaged or was not made by ibo_jax.
    """
    with open_readonly(Path(directory)) as store:
        return rows_of(store)


def summary(directory: Path | str) -> dict[str, Any]:
    """What the study in a folder tunes, and its result once it has ended.

    Keys: problem, method, seed, protocol, cost, transform, floor, initial, space (dimensions by name), fidelity (name,
    low, high, integer), evaluations (the total asked for, or None), versions. Once the search has ended also slots
    (how many), best (hyperparameters by name), predicted_error, validation_error, test_error, test_loss, the same two
    `_as_trained` (see `ibo_jax.study.result.Result`), message, and failed if a final training raised.

    Raises:
        ValueError: as for `read`.
    """
    with open_readonly(Path(directory)) as store:
        notes, ended = store.notes(), sum(is_final(attempts) for attempts in store.slots().values())
    result = notes.get("result", {})
    return {
        **notes["settings"],
        "evaluations": notes.get("evaluations"),
        "versions": notes.get("versions", {}),
        **(result if result.get("slots") == ended else {}),  # not the result of a search that has gone on since
    }


def write(directory: Path, rows: Sequence[Row]) -> None:
    """Replace `rows.jsonl` in one step, so that a reader sees the old file or the new one."""
    path = directory / "rows.jsonl"
    temporary = path.with_suffix(".jsonl.tmp")
    with temporary.open("w") as file:
        file.writelines(json.dumps(row, allow_nan=False) + "\n" for row in rows)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _row(attempt: FrozenTrial, settings: dict[str, Any]) -> Row:
    fidelity = settings["fidelity"]["name"]
    value = attempt.params[fidelity]
    fields = {
        **NOTHING,
        **attempt.user_attrs["suggestion"],
        **attempt.user_attrs["outcome"],
        "number": attempt.user_attrs["slot"],
        "hyperparameters": {name: attempt.params[name] for name in settings["space"]},
        "fidelity": value,
    }
    if fields["presample_ratio"] is None and fidelity == PRESAMPLE_RATIO.name:
        fields["presample_ratio"] = value
    return cast(Row, {name: fields[name] for name in Row.__annotations__})
