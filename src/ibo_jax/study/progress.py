"""What is shown while a search runs: a live table in a terminal, plain lines in a log, or nothing."""

import math
import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ibo_jax.study.rows import Row

__all__ = ["Progress", "best_error", "make_progress", "number", "say", "seconds_left", "table"]

SHOWN = 12  # newest rows of the live table
RECENT = 8  # slots whose ends predict the next ones


class Progress:
    """Shows nothing; its methods are what a search reports."""

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def note(self, text: str) -> None:
        """What this worker does now."""

    def update(self, rows: Sequence[Row], elapsed: float) -> None:
        """The study as it is."""


class Lines(Progress):
    """One line per slot, for logs."""

    def __init__(self, fidelity: str, evaluations: int | None, seconds: float | None):
        self.fidelity, self.evaluations, self.seconds = fidelity, evaluations, seconds
        self.said: set[tuple[int, str]] | None = None  # slots and how they ended: an interrupted slot ends again later

    def update(self, rows: Sequence[Row], elapsed: float) -> None:
        if self.said is None:
            self.said = {_end(row) for row in rows}
            if rows:
                say(f"resumed after {len(rows)} trials, lowest {number(best_error(rows))}")
        for row in rows:  # in the order of slots; workers may finish in another
            if _end(row) not in self.said:
                self.said.add(_end(row))
                say(self.line(row, [known for known in rows if _end(known) in self.said], elapsed))

    def line(self, row: Row, rows: Sequence[Row], elapsed: float) -> str:
        """One slot and what is known by then."""
        total = "" if self.evaluations is None else f"/{self.evaluations}"
        said = [
            f"trial {row['number'] + 1}{total}",
            f"{row['state']} {number(row['error'])}",
            f"lowest {number(best_error(rows))} (at any {self.fidelity})",
            f"predicted best {number(row['predicted_error'])}",
            f"{self.fidelity} {number(row['fidelity'])} ({row['reason']})",
            *_of_training(row),
            f"left {clock(seconds_left(rows, self.evaluations, self.seconds, elapsed))}",
        ]
        return ", ".join(text for text in (*said, row["warning"], row["message"]) if text)


class Screen(Progress):
    """A table that is redrawn four times a second."""

    def __init__(self, title: str, fidelity: str, evaluations: int | None, seconds: float | None):
        self.title, self.fidelity, self.evaluations, self.seconds = title, fidelity, evaluations, seconds
        self.rows: Sequence[Row] = []
        self.doing, self.since, self.elapsed, self.updated = "starting", time.monotonic(), 0.0, time.monotonic()
        self.live = Live(get_renderable=self.render, refresh_per_second=4)

    def __enter__(self) -> "Progress":
        self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.doing = ""
        self.live.stop()

    def note(self, text: str) -> None:
        self.doing, self.since = text, time.monotonic()

    def update(self, rows: Sequence[Row], elapsed: float) -> None:
        self.rows, self.elapsed, self.updated = rows, elapsed, time.monotonic()

    def render(self) -> Group:
        """The newest slots, then what happens and how long it will take."""
        now = time.monotonic()
        elapsed = self.elapsed + now - self.updated
        predicted = next((row["predicted_error"] for row in reversed(self.rows) if row["predicted_error"]), None)
        of = self.evaluations or "?"
        status = [
            f"{len(self.rows)} of {of} trials",
            f"lowest {number(best_error(self.rows))}",
            f"predicted best {number(predicted)}",
            f"elapsed {clock(elapsed)}",
            f"left {clock(seconds_left(self.rows, self.evaluations, self.seconds, elapsed))}",
        ]
        done = len(self.rows) / self.evaluations if self.evaluations else elapsed / (self.seconds or math.inf)
        line = Table.grid(padding=(0, 1))
        line.add_row(ProgressBar(total=1.0, completed=min(done, 1.0), width=24), Text(" · ".join(status)))
        doing = f"{self.doing} ({now - self.since:.0f} s)" if self.doing else ""
        return Group(
            table(self.rows[-SHOWN:], self.fidelity, title=self.title, best=best_error(self.rows)),
            line,
            Text(doing, style="cyan"),
        )


def make_progress(
    title: str, fidelity: str, evaluations: int | None, seconds: float | None, *, visible: bool
) -> Progress:
    """The display that fits where the output goes."""
    if not visible:
        return Progress()
    if Console().is_terminal:
        return Screen(title, fidelity, evaluations, seconds)
    return Lines(fidelity, evaluations, seconds)


def say(line: str) -> None:
    """Print at once; what the output's encoding lacks is escaped: an odd message must not end a search."""
    encoding = sys.stdout.encoding or "utf-8"
    print(line.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def table(rows: Sequence[Row], fidelity: str, *, title: str = "", best: float | None = None) -> Table:
    """Slots as a table that fits 80 columns, with the best one highlighted.

    "incumbent" is the error that was predicted for the best so far at the target, before the trial, "IS share" the
    share of importance steps, "cost" in seconds, if it is that of a training.
    """
    found = Table(title=Text(title), title_justify="left", box=None, padding=(0, 1, 0, 0), header_style="bold")
    axis = "B/b" if fidelity == "presample_ratio" else fidelity
    for name in ("trial", "error", "incumbent", axis, "IS share", "cost", "compile", "suggest"):
        found.add_column(Text(name), justify="right", no_wrap=True)
    found.add_column("by")  # this column and the next may shrink, the longer first: messages can be long
    found.add_column("state", max_width=60)
    for row in rows:
        style = "green" if row["error"] is not None and row["error"] == best else None
        state = " ".join(text for text in (row["state"], row["warning"], row["message"]) if text)
        found.add_row(
            str(row["number"] + 1), number(row["error"]), number(row["predicted_error"]), number(row["fidelity"]),
            f"{row['importance_share']:.0%}", f"{row['cost_seconds']:.2f}", f"{row['compile_seconds']:.1f}",
            f"{row['suggest_seconds']:.1f}", *(Text(said, no_wrap=True, overflow="ellipsis")
                                               for said in (row["reason"], state)), style=style,
        )  # fmt: skip
    return found


def best_error(rows: Sequence[Row]) -> float | None:
    """The lowest error observed, at any fidelity."""
    return min((row["error"] for row in rows if row["state"] == "ok" and row["error"] is not None), default=None)


def seconds_left(rows: Sequence[Row], evaluations: int | None, seconds: float | None, elapsed: float) -> float | None:
    """Wall seconds until the budget is spent, if the next slots are as fast as the last ones; None if unknown.

    Examples:
        >>> two_workers = [{"elapsed_seconds": end} for end in (3.0, 3.0, 6.0, 6.0)]
        >>> seconds_left(two_workers, 10, None, 6.0)
        9.0
    """
    limits = [] if seconds is None else [max(seconds - elapsed, 0.0)]
    ends = sorted(row["elapsed_seconds"] for row in rows if row["elapsed_seconds"] is not None)
    if evaluations is not None and ends:
        recent = [0.0, *ends][-RECENT - 1 :]
        each = (recent[-1] - recent[0]) / (len(recent) - 1)
        limits.append(each * max(evaluations - len(rows), 0))
    return min(limits, default=None)


def number(value: Any) -> str:
    """A value as short text: four significant digits, a dash where there is none.

    Examples:
        >>> number(0.000123456), number(128), number(None), number(math.nan)
        ('0.0001235', '128', '-', '-')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"  # in ASCII, for any log
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def clock(seconds: float | None) -> str:
    """Minutes and seconds, hours where there are any."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _of_training(row: Row) -> list[str]:
    """What a training did and took; of a function its cost, which may be in units of its own."""
    if row["presample_ratio"] is None:
        return [f"cost {row['cost_seconds']:.3g}"]
    return [f"importance steps {row['importance_share']:.0%}", f"cost {row['cost_seconds']:.2f} s"]


def _end(row: Row) -> tuple[int, str]:
    return row["number"], row["state"]
