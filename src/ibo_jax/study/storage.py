"""Where a search lives: an Optuna study in one SQLite file (or in memory), safe to kill and to share.

An attempt is an Optuna trial. It is created in one transaction, in state running, with its slot, hyperparameters and
the method's state; its outcome is committed before its final state. So a process killed at any moment leaves nothing
half done: an attempt without an outcome is given back to its slot, one with an outcome is finished by whoever opens
the study next.
"""

import contextlib
import copy
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage, get_storage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from ibo_jax.outcomes import FINAL_STATES
from ibo_jax.study import checkpoint, locks
from ibo_jax.study.checks import check_same
from ibo_jax.study.sqlite import open_sqlite, write_ahead

__all__ = ["Store", "is_final", "open_readonly", "open_store", "quiet"]

FILE = "study.db"
OPTUNA_STATES = {"ok": TrialState.COMPLETE, "diverged": TrialState.COMPLETE, "pruned": TrialState.PRUNED}


class Store(NamedTuple):
    """One study, joined by one worker; folder, file and lock are None if the study is in memory."""

    storage: BaseStorage
    study_id: int
    worker: str = ""
    directory: Path | None = None
    file: RDBStorage | None = None
    alive: IO[str] | None = None  # held open as a sign that this worker is alive

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """This worker's turn: to look at the attempts and to add one."""
        return contextlib.nullcontext() if self.directory is None else locks.exclusive(self.directory / ".lock")

    def attempts(self) -> list[FrozenTrial]:
        """Every attempt, oldest first. Trials that somebody added by other means have no slot and are left out."""
        trials = self.storage.get_all_trials(self.study_id, deepcopy=False)
        return [_with_outcome(trial) for trial in trials if "slot" in trial.user_attrs]

    def slots(self) -> dict[int, list[FrozenTrial]]:
        """Attempts by slot, in the order of slots."""
        found: dict[int, list[FrozenTrial]] = {}
        for attempt in sorted(self.attempts(), key=lambda trial: (trial.user_attrs["slot"], trial.number)):
            found.setdefault(attempt.user_attrs["slot"], []).append(attempt)
        return found

    def start(
        self,
        slot: int,
        parameters: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
        suggestion: dict[str, Any],
        state: dict[str, Any] | None,
    ) -> int:
        """A new running attempt; its number in the storage. One transaction."""
        template = create_trial(
            state=TrialState.RUNNING,
            params=dict(parameters),
            distributions=dict(distributions),
            user_attrs={"slot": slot, "suggestion": suggestion},
            system_attrs={"ibo_jax:worker": self.worker, "ibo_jax:state": state},
        )
        return self.storage.create_new_trial(self.study_id, template)

    def finish(self, trial_id: int, outcome: dict[str, Any]) -> None:
        """Record the outcome (a dict with the fields of a row), then close the attempt."""
        # Another worker closes an attempt only if it found this one dead; then what it recorded stands.
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            self.storage.set_trial_user_attr(trial_id, "outcome", outcome)
            self._close(trial_id, outcome)

    def reap(self, *, interrupted: bool = False) -> None:
        """Close attempts that dead workers left running: finished ones as they are, killed ones for one more attempt.

        Call it with the lock held. If workers were ended on purpose (`interrupted`), their attempts are given back
        and do not count as deaths.
        """
        for attempts in self.slots().values():
            last = attempts[-1]
            if last.state != TrialState.RUNNING or self._is_alive(last.system_attrs["ibo_jax:worker"]):
                continue
            if "outcome" in last.user_attrs:
                self._close(last._trial_id, last.user_attrs["outcome"])
                continue
            if interrupted:
                self.finish(last._trial_id, {"state": "preempted", "message": "interrupted"})
                continue
            again = any(attempt.user_attrs["outcome"].get("killed", False) for attempt in attempts[:-1])
            how = "the process died during this evaluation" + (", twice" if again else "; it is tried once more")
            self.finish(last._trial_id, {"state": "crashed" if again else "preempted", "killed": True, "message": how})

    def note(self, name: str, value: Any) -> None:
        """Store a JSON value with the study."""
        self.storage.set_study_user_attr(self.study_id, name, value)

    def notes(self) -> dict[str, Any]:
        """The values stored with the study."""
        return self.storage.get_study_user_attrs(self.study_id)

    def leave(self) -> None:
        """Close the file and take leave as a worker."""
        if self.file is not None:
            _close(self.file)
        if self.alive is not None and self.directory is not None:
            _lock_of(self.directory, self.worker).unlink(missing_ok=True)
            self.alive.close()

    def _close(self, trial_id: int, outcome: dict[str, Any]) -> None:
        state, error = OPTUNA_STATES.get(outcome["state"], TrialState.FAIL), outcome.get("error")
        if state != TrialState.COMPLETE:
            self.storage.set_trial_state_values(trial_id, state)
        elif error is None:  # diverged, and the error of guessing is unknown
            self.storage.set_trial_state_values(trial_id, TrialState.FAIL)
        else:
            self.storage.set_trial_state_values(trial_id, state, [error])

    def _is_alive(self, worker: str) -> bool:
        return worker == self.worker or (self.directory is not None and locks.is_held(_lock_of(self.directory, worker)))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress the log line that Optuna writes for a new study."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def is_final(attempts: list[FrozenTrial]) -> bool:
    """Whether a slot is finished: its last attempt ended, and not because it was interrupted."""
    return attempts[-1].user_attrs.get("outcome", {}).get("state") in FINAL_STATES


def open_store(directory: Path | None, settings: dict[str, Any], versions: dict[str, str]) -> Store:
    """Open or create a study and join it as a worker.

    Args:
        directory: the study's folder, created if needed; None keeps the study in memory.
        settings: what makes two runs the same search; they must equal those of an existing study.
        versions: versions of the packages, stored with a new study.

    Raises:
        ValueError: the folder is a file or holds a training by a gradient-based tuner; or its study.db is damaged, was
            not made by ibo_jax, or was started with other settings (the message names them).
    """
    worker = uuid.uuid4().hex
    if directory is None:
        memory = InMemoryStorage()
        return Store(memory, _study(memory, settings, versions, "memory"), worker)
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"expected a folder for the study, got the file {directory}; choose another folder")
    if (directory / checkpoint.FILE).exists():
        raise ValueError(f"expected an empty folder or a search's, found one training's checkpoint in {directory}; "
                         "use another folder")  # fmt: skip
    directory.mkdir(parents=True, exist_ok=True)
    with locks.exclusive(directory / ".lock"):
        file = open_sqlite(directory / FILE)
        storage = get_storage(file)
        study_id = _study(storage, settings, versions, str(directory))
        write_ahead(directory / FILE)
        _sweep(directory)
        return Store(storage, study_id, worker, directory, file, locks.hold(_lock_of(directory, worker)))


@contextlib.contextmanager
def open_readonly(directory: Path) -> Iterator[Store]:
    """Look at a study without joining it.

    Raises:
        ValueError: there is no study, or it is damaged or not one of ours.
    """
    path = directory / FILE
    if not path.is_file():
        raise ValueError(f"expected a study in {directory}, found no {FILE} there; name the folder of a run")
    file = open_sqlite(path)
    try:
        storage = get_storage(file)
        yield Store(storage, _only_study(storage, str(directory)), directory=directory, file=file)
    finally:
        _close(file)


def _with_outcome(trial: FrozenTrial) -> FrozenTrial:
    """The attempt; one that was closed by other means, as by `study.tell` of Optuna, is given back to its slot."""
    if "outcome" in trial.user_attrs or not trial.state.is_finished():
        return trial
    given_back = copy.copy(trial)  # the storage keeps the other
    given_back.user_attrs = {
        **trial.user_attrs, "outcome": {"state": "preempted", "message": "closed by something else"}
    }  # fmt: skip
    return given_back


def _close(file: RDBStorage) -> None:
    file.remove_session()
    file.engine.dispose()


def _lock_of(directory: Path, worker: str) -> Path:
    return directory / f".worker-{worker}"


def _sweep(directory: Path) -> None:
    """Remove the lock files of dead workers."""
    for path in directory.glob(".worker-*"):
        if not locks.is_held(path):
            path.unlink(missing_ok=True)


def _study(storage: BaseStorage, settings: dict[str, Any], versions: dict[str, str], where: str) -> int:
    """The one study of a storage, created if there is none, checked if there is."""
    if not storage.get_all_studies():
        name = f"{settings['problem']}-{settings['method']}-{settings['seed']}"
        with quiet():
            study_id = storage.create_new_study([StudyDirection.MINIMIZE], name)
    else:
        study_id = _only_study(storage, where, allow_new=True)
    notes = storage.get_study_user_attrs(study_id)
    if "settings" not in notes:
        storage.set_study_user_attr(study_id, "versions", versions)
        storage.set_study_user_attr(study_id, "settings", settings)
        return study_id
    check_same(where, notes["settings"], settings)
    return study_id


def _only_study(storage: BaseStorage, where: str, *, allow_new: bool = False) -> int:
    studies = storage.get_all_studies()
    ours = len(studies) == 1 and (
        "settings" in studies[0].user_attrs or (allow_new and not storage.get_all_trials(studies[0]._study_id))
    )
    if not ours:
        raise ValueError(
            f"expected one study of ibo_jax in {where}, found {[study.study_name for study in studies]} "
            "made by something else; use another folder"
        )
    return studies[0]._study_id
