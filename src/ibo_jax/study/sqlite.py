"""Open the SQLite file of a study, so that a viewer never breaks a writer, and never touch a file that is not ours."""

import contextlib
import sqlite3
from pathlib import Path

import sqlalchemy
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import BaseModel

__all__ = ["open_sqlite"]

BUSY_SECONDS = 60  # how long a writer waits for another one
TABLES = {"alembic_version", *BaseModel.metadata.tables}


def open_sqlite(path: Path) -> RDBStorage:
    """The storage in a file, created if there is none; in write-ahead mode, in which readers block nobody.

    Raises:
        ValueError: the file is damaged, no SQLite file, or belongs to another program.
    """
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            foreign = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            foreign -= TABLES
            if verdict == "ok" and not foreign:
                connection.execute("PRAGMA journal_mode=WAL")  # the file remembers it
    except sqlite3.DatabaseError as error:
        verdict, foreign = str(error), set()
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
    return RDBStorage(url, engine_kwargs={"connect_args": {"timeout": BUSY_SECONDS}})
