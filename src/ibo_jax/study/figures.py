"""Figures of one study: functions of arrays with one entry an evaluation, NaN where there is nothing to show.

Each returns a Matplotlib `Figure`, made without pyplot, so that nothing is global. Text and axes are drawn in `INK`,
which a web page may replace by its own text colour, as `svg` does. Trials are numbered from 1, as people see them.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.axis import Axis as MatplotlibAxis
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

__all__ = [
    "Axis",
    "choices_over_time",
    "entropy_over_time",
    "errors_over_time",
    "parallel_coordinates",
    "predicted_against_observed",
    "svg",
]

INK = "#24292f"
GREY, BLUE, ORANGE, GREEN, PURPLE = "#8c959f", "#3d85c6", "#e07b39", "#2f9e6e", "#9067c6"
NAVY = "#1f4e79"
REASON_COLOURS = {
    "initial": GREY,
    "acquisition": BLUE,
    "grid": BLUE,
    "nearby": NAVY,
    "guard": ORANGE,
    "recommendation": GREEN,
    "random": PURPLE,
}
FIDELITY_MAP = LinearSegmentedColormap.from_list("fidelity", [BLUE, PURPLE, ORANGE])  # legible on light and dark
ERROR_MAP = LinearSegmentedColormap.from_list("error", [GREEN, BLUE, "#b9bfc7"])
STYLE: dict[Any, Any] = {
    "font.family": ["sans-serif"],
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "ibo_jax",
}

Series = Float[np.ndarray, "trial"]


class Axis(NamedTuple):
    """One searched dimension as it is drawn: bounds and scale, or the choices of a categorical one.

    Examples:
        >>> Axis("learning_rate", 1e-4, 1e-2, log=True).unit(np.array([1e-3])).round(3).tolist()
        [0.5]
    """

    name: str
    low: float
    high: float
    log: bool = False
    choices: tuple[str, ...] = ()
    integer: bool = False

    @property
    def label(self) -> str:
        """The name as Matplotlib shows it, which reads formulas between dollars."""
        return self.name.replace("$", r"\$")

    def unit(self, values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Values to [0, 1] on this axis's scale."""
        low, high, scaled = (np.log(v) if self.log else np.asarray(v) for v in (self.low, self.high, values))
        return np.asarray((scaled - low) / ((high - low) or 1.0))

    def ticks(self) -> list[tuple[float, str]]:
        """Positions in [0, 1] and labels: both ends and round values well between them."""
        if self.choices:
            return [(i / (len(self.choices) - 1), choice.replace("$", r"\$")) for i, choice in enumerate(self.choices)]
        locator = LogLocator(numticks=5) if self.log else MaxNLocator(4, steps=[1, 2, 2.5, 5, 10], integer=self.integer)
        values = [self.low, *locator.tick_values(self.low, self.high), self.high]
        ticks = [(float(self.unit(np.array(float(value)))), f"{value:.4g}") for value in values]
        return [ticks[0], *(tick for tick in ticks if 0.12 < tick[0] < 0.88), ticks[-1]]


@matplotlib.rc_context(STYLE)
def errors_over_time(
    seconds: Series,
    number: Series,
    error: Series,
    predicted: Series,
    fidelity: Series,
    states: Sequence[str],
    *,
    log: bool,
    fidelity_name: str,
) -> Figure:
    """Every evaluation, the best so far and the predicted error of the incumbent, against seconds and against trial.

    A cross marks a diverged evaluation; a mark at the upper edge one without an error (crashed, pruned, infeasible).
    """
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    norm = Normalize(*_limits(fidelity))
    lost = ~np.isfinite(error)
    by_time = np.argsort(seconds, kind="stable")  # several workers, or a slot given back, end out of order
    for axes, x, order, label in ((left, seconds, by_time, "seconds since the start"),
                                  (right, number, np.arange(len(number)), "trial")):  # fmt: skip
        for state, marker in (("ok", "o"), ("diverged", "X")):
            here = (np.asarray(states) == state) & ~lost
            drawn = _positive(error, log)[here]
            axes.scatter(x[here], drawn, 26, fidelity[here], marker=marker, cmap=FIDELITY_MAP, norm=norm, alpha=0.85)
        axes.plot(x[lost], np.full(lost.sum(), 0.985), "v", color=ORANGE, ms=5, transform=axes.get_xaxis_transform())
        best, believed = best_so_far(_positive(error, log)[order]), _positive(predicted, log)[order]
        axes.step(x[order], best, color=BLUE, where="post", label="best observed so far")
        axes.step(x[order], believed, "--", color=ORANGE, lw=1.3, where="post",
                  label="incumbent, predicted at the target")  # fmt: skip
        axes.set_xlabel(label)
    left.set_xlim(left=0.0)
    _trial_axis(right, number, 10)
    left.set_ylabel("validation error" if log else "objective")
    _scale(left, np.concatenate([error, predicted]), log)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    _colour_bar(figure, norm, FIDELITY_MAP, fidelity_name, [left, right])
    return figure


@matplotlib.rc_context(STYLE)
def choices_over_time(
    number: Series, values: Mapping[str, Series], axes: Sequence[Axis], reasons: Sequence[str]
) -> Figure:
    """What was chosen at each trial, a panel a dimension, coloured by who chose it."""
    columns = min(len(axes), 3 if len(axes) in {5, 6, 9} else 4)
    rows = -(-len(axes) // columns)
    figure = Figure(figsize=(10, 0.3 + 2.0 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, squeeze=False).flat
    colours = [REASON_COLOURS.get(reason, GREY) for reason in reasons]
    for panel, axis in zip(panels, axes, strict=False):
        panel.scatter(number, axis.unit(values[axis.name]), 14, colours)
        panel.set_title(axis.label, fontsize=9.5, loc="left")
        panel.set_ylim(-0.06, 1.06)
        panel.set_yticks(*zip(*axis.ticks(), strict=True))
        panel.tick_params(labelbottom=True)
        _trial_axis(panel, number, 4)
    for panel in list(figure.axes)[len(axes) :]:
        panel.set_axis_off()
    for name in dict.fromkeys(reasons):
        figure.axes[0].plot([], [], "o", ms=4, color=REASON_COLOURS.get(name, GREY), label=name)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


@matplotlib.rc_context(STYLE)
def predicted_against_observed(
    predicted: Series,
    observed: Series,
    low: Series,
    high: Series,
    fidelity: Series,
    *,
    log: bool,
    label: str,
    fidelity_name: str,
) -> Figure:
    """What the surrogate said before the evaluation against what came; bars span [low, high], on the line is right."""
    figure = Figure(figsize=(4.9, 4.0), layout="constrained")
    axes = figure.subplots()
    here = np.isfinite(predicted) & np.isfinite(observed) & ((observed > 0) | (not log))
    ends = _limits(np.concatenate([predicted[here], observed[here]]))
    bars = np.clip(np.array([predicted - low, high - predicted]), 0, None)[:, here]
    norm = Normalize(*_limits(fidelity))
    axes.errorbar(
        observed[here], predicted[here], np.nan_to_num(bars), fmt="none", ecolor=GREY, elinewidth=0.8, alpha=0.6
    )
    axes.scatter(observed[here], predicted[here], 26, fidelity[here], cmap=FIDELITY_MAP, norm=norm, zorder=3)
    axes.plot(ends, ends, color=INK, lw=0.8)
    axes.set(xlabel=f"observed {label}", ylabel=f"predicted {label}")
    for scale in "xy":
        _scale(axes, np.array(ends), log, scale)
    _colour_bar(figure, norm, FIDELITY_MAP, fidelity_name, [axes])
    return figure


@matplotlib.rc_context(STYLE)
def entropy_over_time(number: Series, entropy: Series) -> Figure:
    """Entropy of the distribution of the optimum over the representers, when each trial was chosen."""
    figure = Figure(figsize=(10, 2.6), layout="constrained")
    axes = figure.subplots()
    known = np.isfinite(entropy)
    axes.plot(number[known], entropy[known], "o-", color=PURPLE, ms=3.5, lw=1.2)
    axes.set(xlabel="trial", ylabel="entropy of p_min in nats")
    _trial_axis(axes, number, 10)
    return figure


@matplotlib.rc_context(STYLE)
def parallel_coordinates(values: Mapping[str, Series], axes: Sequence[Axis], error: Series, *, log: bool) -> Figure:
    """One line per evaluation across all dimensions, coloured by its error; the best is drawn thick and on top."""
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    panel = figure.subplots()
    order = [i for i in np.argsort(-error) if np.isfinite(error[i])]
    shown = _positive(error, log)[order]
    ends = _limits(np.array([shown.min(), np.quantile(shown, 0.9)]) if order else shown)  # the worst share one colour
    norm = LogNorm(*ends) if log and ends[0] > 0 else Normalize(*ends)
    lines = np.stack([axis.unit(values[axis.name])[order] for axis in axes], axis=-1)
    widths = np.where(np.arange(len(order)) == len(order) - 1, 2.8, 1.0)
    segments = [np.column_stack([np.arange(len(axes)), line]) for line in lines]
    panel.add_collection(LineCollection(segments, array=shown, cmap=ERROR_MAP, norm=norm, linewidths=widths, alpha=0.8))
    panel.set(xlim=(-0.15, len(axes) - 0.6), ylim=(-0.04, 1.04), yticks=[])
    panel.set_xticks(range(len(axes)), [axis.label for axis in axes])
    panel.grid(False)
    panel.spines[:].set_visible(False)
    for position, axis in enumerate(axes):
        panel.axvline(position, color=INK, lw=0.6)
        for height, text in axis.ticks():
            panel.annotate(text, (position, height), (3, 0), textcoords="offset points", va="center", fontsize=8)
    _colour_bar(figure, norm, ERROR_MAP, "validation error" if log else "objective", [panel])
    return figure


@matplotlib.rc_context(STYLE)
def svg(figure: Figure) -> str:
    """The figure as an SVG element for a web page, in the text colour and font of the page; equal figures are equal."""
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
    )
    text = buffer.getvalue()
    return text[text.index("<svg") :].replace(INK, "currentColor")


def best_so_far(error: Series) -> Series:
    """Running minimum that ignores NaN.

    Examples:
        >>> best_so_far(np.array([np.nan, 0.3, 0.4, 0.1])).tolist()
        [nan, 0.3, 0.3, 0.1]
    """
    return np.fmin.accumulate(error) if len(error) else error


def _positive(values: Series, log: bool) -> Series:
    """On a log scale zero is drawn at half the smallest positive value."""
    positive = values[values > 0]
    return np.maximum(values, positive.min() / 2) if log and len(positive) else values


def _limits(values: Series) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)


def _trial_axis(axes: Axes, number: Series, ticks: int) -> None:
    """From before the first trial, yet without a tick at 0, to a little after the last, for its mark."""
    axes.set_xlim(0.5, 1.03 * _limits(number)[1] + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(ticks, integer=True))


def _scale(axes: Axes, values: Series, log: bool, which: str = "y") -> None:
    """Log scale with readable ticks, if asked for and if there is something positive to show."""
    if not log or not (values > 0).any():
        return
    axes.set(**{f"{which}scale": "log"})
    _log_ticks(getattr(axes, f"{which}axis"), *_limits(values[values > 0]))


def _log_ticks(axis: MatplotlibAxis, low: float, high: float) -> None:
    """Plain numbers as labels, the more of them the narrower the range."""
    subs = (1.0,) if high / low > 300 else (1.0, 2.0, 5.0) if high / low > 4 else (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _colour_bar(figure: Figure, norm: Normalize, cmap: Colormap, label: str, axes: list[Axes]) -> None:
    bar = figure.colorbar(ScalarMappable(norm, cmap), ax=axes, label=label, aspect=25, pad=0.01)
    bar.outline.set_visible(False)
    if isinstance(norm, LogNorm):
        _log_ticks(bar.ax.yaxis, *bar.ax.get_ylim())
    else:
        bar.ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
