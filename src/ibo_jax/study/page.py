"""One self-contained page around what differs between kinds of studies, and its small parts. No request leaves it."""

import html
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ibo_jax.study import figures
from ibo_jax.study.figures import Series
from ibo_jax.study.progress import number

__all__ = ["Row", "captioned", "column", "duration", "fill", "write_or_warn"]

Row = Mapping[str, Any]


def fill(
    summary: Row, *, subtitle: str, answer: Iterable[tuple[str, str]], best: Row, warnings: str, figures: str,
    rows: str, table: str, footer: str,
) -> str:  # fmt: skip
    """The page around what differs between kinds of studies; warnings, figures and table are HTML, the rest is text."""
    template = Template(resources.files("ibo_jax.study").joinpath("report.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=html.escape(f"{summary['problem']} tuned by {summary['method']}"),
        subtitle=html.escape(subtitle),
        answer=_facts(answer),
        best=_facts((name, number(value)) for name, value in best.items()),
        warnings=warnings,
        figures=figures,
        rows=html.escape(rows),
        table=table,
        footer=html.escape(footer),
    )


def captioned(figure: Figure | None, caption: str, absent: str = "") -> str:
    """A figure as HTML, or the sentence that says why there is none."""
    if figure is None:
        return f'<p class="under">{html.escape(absent)}</p>'
    return f"<figure>{figures.svg(figure)}<figcaption>{html.escape(caption)}</figcaption></figure>"


def duration(seconds: float | None) -> str:
    """Seconds as a person says them.

    Examples:
        >>> duration(4.25), duration(133.0), duration(7300.0)
        ('4.2 s', '2 min 13 s', '2 h 1 min')
    """
    if seconds is None or math.isnan(seconds):
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def column(trials: Sequence[Row], name: str) -> Series:
    """One column as float64, NaN where a row has nothing."""
    return np.array([math.nan if row.get(name) is None else float(row[name]) for row in trials], np.float64)


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    return "".join(f"<div><b>{html.escape(value)}</b><span>{html.escape(name)}</span></div>" for name, value in facts)


def write_or_warn(write_report: Callable[[Path], Path], directory: Path) -> None:
    """Write the report of an answer, which is worth more than its figures."""
    try:
        write_report(directory)
    except Exception as error:
        warnings.warn(f"report.html was not written: {type(error).__name__}: {error}", stacklevel=2)
