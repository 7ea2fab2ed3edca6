"""Figures of curves, as functions of arrays. Redrawing the same rows gives the same file, byte for byte."""

import io
import re
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from experiments.common.curves import AXES, Band, Cost, Curves, Runs, band, common_end, last_end
from experiments.common.settings import METHODS, TOOLS
from ibo_jax.study.figures import INK, STYLE

COLOURS = dict(
    zip(
        (*METHODS, *TOOLS),
        ("#d1495b", "#2e6fb7", "#6fb1e8", "#2f8f5b", "#8cc63f", "#8e63c7",
         "#2e6fb7", "#6b7280", "#b08968", "#2f8f5b", "#e0a100", "#8e63c7", "#17a2a2",
         "#2e6fb7", "#2f8f5b"),
        strict=True,
    )
)  # fmt: skip
"""Told apart within each group of `settings.GROUPS`; IBO is the same in all."""
PANELS: dict[Cost, tuple[str, ...]] = {"training": ("training", "total", "trials", "worst"),
                                       "work": ("work", "trials", "worst")}  # fmt: skip


@matplotlib.rc_context(STYLE)
def comparison(curves: Curves, title: str, cost: Cost = "training") -> Figure:
    """Test error of the answer: median and quartiles by cost, by all seconds if the cost is seconds, and by trials; and
    the worst run by cost. Each curve goes on until its last run stops, with a line where the first method does."""
    names = PANELS[cost]
    figure = Figure(figsize=(10, 7.2) if len(names) == 4 else (12, 4.2), layout="constrained")
    panels = dict(zip(names, figure.subplots(2, 2).flat if len(names) == 4 else figure.subplots(1, 3), strict=True))
    for name, axes in panels.items():
        axis = cost if name == "worst" else name
        ends = {method: last_end(runs, axis) for method, runs in curves.items()}
        for method, runs in curves.items():
            _draw(axes, method, band(runs, axis, ends[method]), f"{method} ({len(runs)} seeds)", worst=name == "worst")
        if (first := common_end(curves, axis)) < max(ends.values()):
            axes.axvline(first, color=INK, lw=0.8, ls=":", label="end of the common budget")
        axes.set_title("worst run" if name == "worst" else "median and quartiles")
        axes.set(xlabel=AXES[axis], xlim=(0, 1.02 * max(ends.values())), ylabel="test error of the answer")
        if top := max(_top(runs, worst=name == "worst") for runs in curves.values()):
            _log_scale(axes, 1.1 * top)
        if axes is not panels[cost] and name != "worst":
            axes.sharey(panels[cost])
    panels["trials"].xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.suptitle(title, fontsize=11)
    handles, labels = panels[cost].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 5))
    return figure


def save(figure: Figure, path: Path) -> None:
    """Save as SVG without a date, positions to a tenth of a point: small files that change only if the rows do."""
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = re.sub(r' d="[^"]*"', lambda found: re.sub(r"(\d+\.\d)\d+", r"\1", found[0]), buffer.getvalue())
    text = _counted(re.sub(r"(?m)^(L .*\n)\1+", r"\1", text))  # a point drawn twice is drawn once
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n")


def _counted(text: str) -> str:
    """SVG whose shapes are named by number: Matplotlib names them by a hash of all bits of their positions, in which
    processors differ."""
    names = dict.fromkeys(re.findall(r' id="([pm][0-9a-f]{10})"', text))
    number = {name: f"{name[0]}{place}" for place, name in enumerate(names)}
    return re.sub(r"\b[pm][0-9a-f]{10}\b", lambda found: number.get(found[0], found[0]), text)


def _draw(axes: Axes, method: str, band: Band, label: str, *, worst: bool) -> None:
    colour, first = COLOURS.get(method, "#000000"), method == METHODS[0]
    x, line = _changes(band.x, band.worst if worst else band.median)
    axes.plot(x, line, drawstyle="steps-post", color=colour, label=label, lw=2.0 if first else 1.3, zorder=2 + first,
              marker="o", ms=3.5, markevery=[-1] if len(x) else None)  # fmt: skip
    if not worst:
        x, low, high = _changes(band.x, band.low, band.high)
        axes.fill_between(x, low, high, step="post", color=colour, alpha=0.18 if first else 0.1, linewidth=0)


def _top(runs: Runs, *, worst: bool) -> float:
    """The upper quartile after a quarter of the trials, or the worst run after half of them: what lies above earlier
    would squeeze everything else. 0 if a run never has an answer."""
    until = last_end(runs, "trials")
    whole = band(runs, "trials", until)
    shown, share = (whole.worst, 0.5) if worst else (whole.high, 0.25)
    return float(shown[whole.x >= share * until].max(initial=0.0))


def _changes(x: np.ndarray, *values: np.ndarray) -> list[np.ndarray]:
    """Only the points where a step begins, and the end: otherwise half of the file would repeat what was drawn
    before."""
    kept = np.append(True, np.any(np.diff(values, axis=1) != 0, axis=0))[: len(x)]
    kept[-1:] = True
    return [array[kept] for array in (x, *values)]


def _log_scale(axes: Axes, top: float) -> None:
    """Plain numbers as ticks, more of them if the range is narrow."""
    axes.set_yscale("log")
    axes.set_ylim(top=top)
    low, high = axes.get_ylim()
    subs = (1.0,) if high / low > 300 else (1.0, 2.0, 5.0) if high / low > 4 else tuple(np.arange(1.0, 10.0, 0.5))
    axes.yaxis.set_major_locator(LogLocator(subs=subs))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
