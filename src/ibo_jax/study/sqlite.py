"""The SQLite file of a study: a viewer never disturbs a writer, and a file of another program is never touched."""

import contextlib
import sqlite3
from pathlib import Path

import sqlalchemy
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import BaseModel

__all__ = ["open_sqlite", "write_ahead"]

BUSY_SECONDS = 60  # how long a writer waits for another one
TABLES = {"alembic_version", *BaseModel.metadata.tables}


def open_sqlite(path: Path) -> RDBStorage:
    """The storage in a file, created if there is none.

    Raises:
        ValueError: the file is damaged, is not an SQLite file, belongs to another program or to an Optuna that this one
            cannot read, or cannot be opened for writing.
    """
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            foreign = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            foreign -= TABLES
    except sqlite3.OperationalError as error:  # the file may be sound
        raise ValueError(
            f"expected a study that can be read and written at {path}, got: {error}; copy its folder to where you may "
            "write, or use another one"
        ) from error
    except sqlite3.DatabaseError as error:
        verdict, foreign = str(error), set()
    verdict = " ".join(verdict.split())
    if verdict != "ok":
        raise ValueError(
            f"expected {path} to be a sound SQLite study, got: {verdict}; restore it from a copy or use another folder"
        )
    if foreign:
        raise ValueError(
            f"expected {path} to hold an Optuna study, found the tables {sorted(foreign)}; use another folder"
        )
    url = sqlalchemy.engine.URL.create("sqlite", database=str(path)).render_as_string()
    url = url.replace("{", "{{").replace("}", "}}")  # Optuna takes the URL for a template
    try:
        return RDBStorage(url, engine_kwargs={"connect_args": {"timeout": BUSY_SECONDS}})
    except RuntimeError as error:  # its schema is of another version
        raise ValueError(f"expected {path} to be readable by this Optuna, got: {error}; install the other") from error


def write_ahead(path: Path) -> None:
    """From now on readers of the file do not block writers; the setting is stored in the file."""
    with contextlib.closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
