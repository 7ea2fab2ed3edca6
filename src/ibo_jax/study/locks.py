"""Locks that the operating system releases when a process dies, however it dies: who works on a study, and whose turn.

A held lock says that its owner is alive: nothing has to be refreshed, no clocks compared, no process numbers trusted.
They are `flock` locks: they work between processes of one machine, and on network folders whose server supports them.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

__all__ = ["exclusive", "hold", "is_held"]


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Wait for the lock and hold it inside the `with` block."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def hold(path: Path) -> IO[str]:
    """Take a lock that nobody else wants and keep it until the file that is returned is closed or the process ends.

    The processes that it forks do not inherit it: one that outlives it would count as its owner.
    """
    file = path.open("a")
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.register_at_fork(after_in_child=file.close)
    return file


def is_held(path: Path) -> bool:
    """Whether somebody alive holds the lock."""
    try:
        with path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
