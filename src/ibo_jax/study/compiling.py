"""How long JAX traces and compiles while something runs, so that training can be timed without it."""

import contextlib
from collections.abc import Iterator

import jax

__all__ = ["Stopwatch", "stopwatch"]

PARTS = ("jaxpr_trace_duration", "jaxpr_to_mlir_module_duration", "backend_compile_duration")


class Stopwatch:
    """Seconds so far."""

    def __init__(self) -> None:
        self.seconds = 0.0


_running: list[Stopwatch] = []


def _listen(event: str, duration_secs: float, **_: str | int) -> None:
    if event.rsplit("/", 1)[-1] in PARTS:
        for watch in _running:
            watch.seconds += duration_secs


jax.monitoring.register_event_duration_secs_listener(_listen)  # once a process: JAX has no way to take one back


@contextlib.contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """Counts while the block runs.

    Examples:
        >>> with stopwatch() as watch:
        ...     _ = jax.jit(lambda x: x + 1)(1.0)
        >>> watch.seconds > 0
        True
    """
    watch = Stopwatch()
    _running.append(watch)
    try:
        yield watch
    finally:
        _running.remove(watch)
