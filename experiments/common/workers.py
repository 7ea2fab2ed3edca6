"""Cells in processes of their own, several at once, one thread each; one that dies does not stop the others."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import NamedTuple, NoReturn

from experiments.common.settings import Cell, experiment

THREADS = {"OMP_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
ASKED, PATIENCE_SECONDS = 12, 5  # a process reacts between two epochs; after this it is killed


class Worker(NamedTuple):
    """A process and our end of the pipe to it."""

    process: multiprocessing.context.SpawnProcess
    pipe: Connection


def run_cells(
    cells: Sequence[Cell], jobs: int, path: Path, folder: Callable[[Cell], Path], ended: Callable[[Cell, str], None]
) -> None:
    """Run every cell, at most `jobs` at once.

    Args:
        cells: what to run, in this order.
        jobs: number of processes. Each runs one cell after another; a process that died is replaced.
        path: the file of rows.
        folder: where a cell's study is kept.
        ended: called with each cell that has ended, and with why it failed, or an empty text.
    """
    for name, value in THREADS.items():  # the processes inherit these before they import anything
        os.environ.setdefault(name, value)
    context = multiprocessing.get_context("spawn")
    waiting, idle = deque(cells), list[Worker]()
    busy: dict[Connection, tuple[Worker, Cell]] = {}
    try:
        while waiting or busy:
            while waiting and len(busy) < jobs:
                worker, cell = idle.pop() if idle else _start(context), waiting.popleft()
                busy[worker.pipe] = worker, cell
                worker.pipe.send((cell, path, folder(cell)))
            ready = multiprocessing.connection.wait(list(busy))
            for pipe in [pipe for pipe in busy if pipe in ready]:
                worker, cell = busy.pop(pipe)
                try:
                    message = worker.pipe.recv()
                    idle.append(worker)
                except (EOFError, OSError):
                    worker.process.join()
                    message = f"its process died with status {worker.process.exitcode}"
                ended(cell, message)
    finally:
        _end([worker.process for worker in [*idle, *(worker for worker, _ in busy.values())]])


def _start(context: multiprocessing.context.SpawnContext) -> Worker:
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    return Worker(process, ours)


def _end(processes: Sequence[multiprocessing.context.SpawnProcess]) -> None:
    """Ask the processes to give back what they run, repeatedly: an exception raised in a callback is lost."""
    for _ in range(ASKED):
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(PATIENCE_SECONDS)
        if not any(process.is_alive() for process in processes):
            return
    for process in processes:
        process.kill()


def _serve(pipe: Connection) -> None:
    """In the process: run each cell that arrives and report how it went, as long as somebody listens."""
    signal.signal(signal.SIGTERM, _terminate)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import optuna

    from experiments.common.cell import run_cell
    from ibo_jax.study.cache import enable_compilation_cache

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    enable_compilation_cache()
    try:
        while True:
            cell, path, folder = pipe.recv()
            try:
                run_cell(experiment(cell.experiment), cell, path, folder)
                message = ""
            except Exception as error:  # the other cells continue
                traceback.print_exc()
                message = f"{type(error).__name__}: {error}"
            pipe.send(message)
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    """Leave in such a way that the running evaluation is given back."""
    raise SystemExit(128 + signum)


def _end_with_parent() -> None:
    """End a search whose command was killed: the next command starts it again."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    for _ in range(ASKED):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
