"""More workers on a study, in processes of their own: they share it as workers started by hand would.

A worker is told on its standard input what to tune, and leaves when that ends, even if its parent was killed.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from numbers import Integral
from typing import Any

import cloudpickle
import jax

from ibo_jax import bilevel
from ibo_jax.study.search import Search

__all__ = ["assist", "assistants", "check_parallel"]

COMMAND = "from ibo_jax.study.parallel import assist; assist()"
PATIENCE = 10.0  # seconds for an assistant to give its slot back


@contextlib.contextmanager
def assistants(search: Search, count: int) -> Iterator[None]:
    """Processes that evaluate for the search, beside this one, until its budget is spent or the block is interrupted.

    Raises:
        ValueError: the problem cannot be sent to another process.
    """
    call = {name: getattr(search, name) for name in ("problem", "method", "evaluations", "seconds", "seed", "cost",
                                                     "protocol")} | {"storage": search.store.directory}  # fmt: skip
    told = _pickled((call, search.began)) if count else b""
    cache = jax.config.values["jax_compilation_cache_dir"]
    paths = [path for path in sys.path if isinstance(path, str)]  # Python ignores the others too
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    environment |= {"JAX_COMPILATION_CACHE_DIR": cache} if cache else {}
    started = [
        # Ctrl-C is meant for this process, which then ends the others.
        subprocess.Popen(
            [sys.executable, "-c", COMMAND], stdin=subprocess.PIPE, env=environment, start_new_session=True
        )
        for _ in range(count)
    ]
    try:
        for process in started:
            _tell(process, told)
        yield
        for process in started:
            process.wait()  # its last evaluation finishes
    finally:
        for process in started:
            _dismiss(process)
        if not all([_part(process) for process in started]):  # a list, so that each is waited for
            with search.store.lock():
                search.store.reap(interrupted=True)


def assist() -> None:
    """A worker, in a process started by `assistants`."""
    from ibo_jax.study.cache import enable_compilation_cache
    from ibo_jax.study.search import prepare
    from ibo_jax.study.tune import evaluate_all

    call, began = cloudpickle.load(sys.stdin.buffer)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))  # the running evaluation is given back
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    if jax.config.values["jax_compilation_cache_dir"]:
        enable_compilation_cache()
    search = prepare(**call, progress=False)._replace(began=began)  # one clock for all: the system's
    try:
        evaluate_all(search)
    finally:
        search.store.leave()


def check_parallel(parallel: int, method: str, storage: Any) -> None:
    """Refuse invalid numbers of workers, and workers that share no folder."""
    if not isinstance(parallel, Integral) or parallel < 1:
        raise ValueError(f"expected a whole number of workers >= 1, got {parallel}; raise it")
    if parallel > 1 and method in bilevel.NAMES:
        raise ValueError(f"expected one worker for the one training of {method}, got {parallel}; leave it out")
    if parallel > 1 and storage is None:
        raise ValueError(f"expected a folder that the {parallel} workers can share, got none; give `storage`")


def _pickled(told: tuple[dict[str, Any], float]) -> bytes:
    try:
        return cloudpickle.dumps(told)
    except Exception as error:
        raise ValueError(
            f"expected a problem that can be sent to another process, got {type(error).__name__}: {error}; open files, "
            "locks and the like inside its functions, or use one worker"
        ) from error


def _tell(process: "subprocess.Popen[bytes]", told: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it has ended, which is noticed at the end
        process.stdin.write(told)
        process.stdin.flush()


def _dismiss(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()


def _part(process: "subprocess.Popen[bytes]") -> bool:
    """Whether it left by itself. Inside one long call, such as the compiler, a process hears nothing and is killed."""
    try:
        status = process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    if status:
        warnings.warn(f"a worker ended with exit status {status}; the others did its share", stacklevel=2)
    return True


def _leave_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)  # unbuffered, because a thread that holds the buffer's lock cannot be ended
    os.kill(os.getpid(), signal.SIGTERM)
