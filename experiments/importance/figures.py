"""The figures as functions of rows, and the series in them."""

from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from experiments.importance import summary
from experiments.importance.summary import Runs
from ibo_jax.study.figures import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, STYLE

NETWORKS = {"mlp": "MLP", "cnn": "CNN", "resnet": "wide ResNet"}
NAMES = {"sgd": "SGD, momentum", "rmsprop": "RMSprop", "adam": "Adam"}
WIDE = 300.0  # ratio of its ends from which a log axis has ticks at powers of ten only
LOOKS = {
    "uniform": ("uniform", GREY), "loss": ("loss", ORANGE), "upper_bound": ("upper bound", BLUE),
    "gradient_norm": ("gradient norm", GREEN),
}  # fmt: skip
SWITCHES = {"published": (BLUE, "o"), "variance": (ORANGE, "s")}
RATIOS = {1: ("uniform", GREY), 2: ("ratio 2", GREEN), 3: ("ratio 3", BLUE), 6: ("ratio 6", ORANGE)}
RATIOS |= {5: ("ratio 5", ORANGE), 12: ("ratio 12", PURPLE)}
HEADLINES = (3, 5, 6)  # ratios whose curves are drawn
GOAL = 0.95  # of the exact norm's gain, for the upper bound on a trained network


class Series(NamedTuple):
    """A line and its band: median or mean, and the lower and upper end."""

    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray


def variance_series(rows: list[dict[str, Any]], network: str, score: str) -> Series:
    """Normalised distance by step: mean over seeds, with two standard errors (over redraws, and over seeds if
    several)."""
    here = [row for row in rows if row.get("network") == network and row["score"] == score]
    steps = sorted({row["step"] for row in here})
    means, halves = [], []
    for step in steps:
        values = np.array([row["normalised"] for row in here if row["step"] == step])
        errors = np.array([row["normalised_error"] for row in here if row["step"] == step])
        spread = values.std(ddof=1) if len(values) > 1 else 0.0
        means.append(values.mean())
        halves.append(2 * max(np.sqrt(np.sum(errors**2)) / len(values), spread / len(values) ** 0.5))
    mean, half = np.array(means), np.array(halves)
    return Series(np.array(steps), mean, mean - half, mean + half)


def share_series(rows: list[dict[str, Any]], network: str, score: str) -> Series:
    """The score's exact gain in variance over that of the gradient norm, by step: mean and range over seeds."""
    gains = {(row["step"], row["seed"], row["score"]): row["gain"] for row in rows if row.get("network") == network}
    steps = sorted({step for step, _, _ in gains})
    shares = [[gains[step, seed, score] / gains[step, seed, "gradient_norm"]
               for seed in sorted({key[1] for key in gains if key[0] == step})
               if (step, seed, "gradient_norm") in gains] for step in steps]  # fmt: skip
    low, mean, high = (np.array([end(values) for values in shares]) for end in (np.min, np.mean, np.max))
    return Series(np.array(steps), mean, low, high)


def curve_series(runs: Runs, key: summary.Key, name: str) -> Series:
    """Training loss or test error by seconds: median and range over seeds."""
    series = [row["series"] for _, row in sorted(runs[key].items())]
    values = np.array([each[name] for each in series])
    seconds = np.median([each["at"] for each in series], axis=0)
    return Series(seconds, np.median(values, axis=0), values.min(0), values.max(0))


@matplotlib.rc_context(STYLE)
def variance(rows: list[dict[str, Any]]) -> Figure:
    """Above, the published figure: distance to the pool's gradient over that of uniform batches, one line per score;
    below, the share of the exact gain."""
    rows = [row for row in rows if "score" in row]
    networks = [name for name in NETWORKS if any(row["network"] == name for row in rows)]
    figure = Figure(figsize=(1.0 + 3.1 * len(networks), 5.6), layout="constrained")
    panels = figure.subplots(2, len(networks), squeeze=False, sharex="col", sharey="row")
    for (above, below), network in zip(panels.T, networks, strict=True):
        for score, (label, colour) in LOOKS.items():
            series = variance_series(rows, network, score)
            _line(above, series, colour, label, marker="o")
            if score in ("loss", "upper_bound"):
                _line(below, share_series(rows, network, score), colour, "", marker="o")
        below.axhline(GOAL, color=INK, lw=0.6, ls=":")
        seeds = len({row["seed"] for row in rows if row["network"] == network})
        above.set_title(f"{NETWORKS[network]}, {seeds} seed{'s' * (seeds > 1)}", loc="left", fontsize=9.5)
        _step_axis(below, series.x)
        below.set(xlabel="step of the training", ylim=(0, 1.1))
    panels[0, 0].set(ylabel="distance to the mean gradient\n(uniform batches: 1)", ylim=(0, None))
    panels[1, 0].set_ylabel("variance gain, share of\nthe gradient norm's")
    figure.legend(
        *panels[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=4 if len(networks) > 1 else 2
    )
    return figure


@matplotlib.rc_context(STYLE)
def forest(runs: Runs) -> Figure:
    """Every cell of importance sampling against uniform: ratio of losses and difference of errors, with intervals."""
    compared = summary.compare(runs)
    lines = sorted({key[:4] for key in compared}, key=lambda line: (list(NETWORKS).index(line[0]), line))
    groups = list(dict.fromkeys(line[:3] for line in lines))
    heights = {line: -index - 0.7 * groups.index(line[:3]) for index, line in enumerate(lines)}
    figure = Figure(figsize=(9.4, 1.4 + 0.24 * len(lines) + 0.15 * len(groups)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for column, (switch, (colour, marker)) in enumerate(SWITCHES.items()):
        cells = {key: cell for key, cell in compared.items() if key[4] == switch}
        at = np.array([heights[key[:4]] + 0.17 - 0.34 * column for key in cells])
        for axes, values in ((left, [cell.ratio for cell in cells.values()]),
                             (right, [cell.difference for cell in cells.values()])):  # fmt: skip
            mean, low, high = np.array(values).T * (100.0 if axes is right else 1.0)
            axes.hlines(at, low, high, color=colour, lw=1.2)
            axes.plot(mean, at, marker, color=colour, ms=4, label=f"switch: {switch}")
        for height, cell in zip(at, cells.values(), strict=True):
            right.annotate(f"{cell.share:.2f}", (1.01 + 0.075 * column, height), fontsize=7, color=colour,
                           xycoords=("axes fraction", "data"), va="center")  # fmt: skip
    right.annotate("share of\nimportance\nsteps", (1.01, 1.0), xycoords="axes fraction", fontsize=7.5)
    left.set_yticks(list(heights.values()), [_label(line, lines) for line in lines], fontsize=8)
    for axes, null in ((left, 1.0), (right, 0.0)):
        axes.axvline(null, color=INK, lw=0.8)
        axes.grid(visible=False, axis="y")
    left.set_xscale("log")
    _plain_log(left.xaxis)
    left.set_xlabel("final training loss\nimportance / uniform, below 1: better")
    right.set_xlabel("final test error, percentage points\nimportance - uniform, below 0: better")
    title = f"{summary.CONFIDENCE:.0%} intervals over paired seeds (of two seeds: both)"
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=2, title=title, title_fontsize=8.5)
    return figure


@matplotlib.rc_context(STYLE)
def curves(runs: Runs, network: str) -> Figure:
    """Training loss and test error against seconds, with the published switch and published ratios: medians."""
    groups = [group for group in dict.fromkeys(key[:3] for key in runs) if group[0] == network]
    figure = Figure(figsize=(1.0 + 2.3 * len(groups), 4.8), layout="constrained")
    panels = figure.subplots(2, len(groups), squeeze=False, sharex="col", sharey="row")
    for (above, below), group in zip(panels.T, groups, strict=True):
        for ratio in (1, *HEADLINES):
            key = (*group, ratio, "published")
            if key in runs:
                label, colour = RATIOS[ratio]
                _line(above, curve_series(runs, key, "train_loss"), colour, label)
                error = curve_series(runs, key, "test_error")
                _line(below, error._replace(y=100 * error.y, low=100 * error.low, high=100 * error.high), colour, "")
        above.set_title(f"{NAMES[group[1]]},\n{group[2]} rate", loc="left", fontsize=9)
        above.set_yscale("log")
        _plain_log(above.yaxis)
        below.set(xlabel="training seconds")
    panels[0, 0].set_ylabel("training loss")
    panels[1, 0].set_ylabel("test error, %")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=4,
                  title=f"{NETWORKS[network]}: medians and ends over seeds", title_fontsize=8.5)  # fmt: skip
    return figure


def _line(axes: Axes, series: Series, colour: str, label: str, marker: str = "") -> None:
    axes.plot(series.x, series.y, color=colour, marker=marker, ms=3, lw=1.3, label=label or None)
    axes.fill_between(series.x, series.low, series.high, color=colour, alpha=0.18, linewidth=0)


def _label(line: tuple[str, str, str, int], lines: list[tuple[str, str, str, int]]) -> str:
    """Names the training beside the first of its ratios only."""
    network, optimizer, schedule, ratio = line
    first = next(other for other in lines if other[:3] == line[:3]) == line
    return f"{NETWORKS[network]}, {NAMES[optimizer]}, {schedule}   r = {ratio}" if first else f"r = {ratio}"


def _step_axis(axes: Axes, steps: np.ndarray) -> None:
    """Logarithmic from the first step after 0 on, with 0 to its left."""
    first = next((int(step) for step in steps if step > 0), 1)
    axes.set_xscale("symlog", linthresh=first, linscale=0.5)
    axes.set_xticks([0, *(10**k for k in range(1, 7) if first <= 10**k <= max(steps))])
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(left=-0.3 * first)


def _plain_log(axis: Axis) -> None:
    """Plain numbers as ticks: powers of ten, and on a short range also 2 and 5 times these."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < WIDE * low else (1.0,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())
