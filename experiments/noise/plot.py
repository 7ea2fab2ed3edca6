"""Redraw the figures of this folder from the rows that are stored here: `make figures`."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import redraw, rows
from experiments.common.figures import save
from experiments.noise import believed
from experiments.noise.record import RATIO, SHARE
from experiments.noise.settings import SLICES, Scale, Slice
from ibo_jax.study.figures import BLUE, GREY, INK, ORANGE, STYLE

HERE = Path(__file__).parent
LABELS = {SHARE: "share of the training set, B / b = 1", RATIO: "presample ratio B / b, all examples"}
KINDS = {SHARE: ("noisy trainings", ORANGE), RATIO: ("precise trainings, as dear", BLUE)}


def errors(found: list[dict[str, Any]], part: str, axis: str) -> dict[float, np.ndarray]:
    """Errors of the repeats that ended well, by level."""
    here = [row for row in found if row.get("part") == part and row["axis"] == axis and row["state"] == "ok"]
    levels = sorted({row["level"] for row in here})
    return {level: np.array([row["error"] for row in here if row["level"] == level]) for level in levels}


@matplotlib.rc_context(STYLE)
def spread(found: list[dict[str, Any]]) -> Figure:
    """One row per configuration: errors of the repeats, by subset (left) and by presample (right), with their
    deviation."""
    parts = list(dict.fromkeys(row["part"] for row in found if row.get("part", "slice") != "slice"))
    figure = Figure(figsize=(10, 0.8 + 2.5 * len(parts)), layout="constrained")
    panels = figure.subplots(len(parts), 2, squeeze=False)
    for line, part in zip(panels, parts, strict=True):
        for axes, axis in zip(line, (SHARE, RATIO), strict=True):
            _spread(axes, errors(found, part, axis))
            axes.set_xlabel(LABELS[axis])
        line[0].set_title(part, loc="left", fontsize=9.5, pad=16)
        line[0].set_ylabel("validation error")
    return figure


def _spread(axes: Axes, by_level: dict[float, np.ndarray]) -> None:
    for place, values in enumerate(by_level.values()):
        axes.plot(np.full(len(values), place), values, "o", color=BLUE, ms=3.5, alpha=0.5)
        axes.plot([place - 0.25, place + 0.25], [np.median(values)] * 2, color=INK, lw=1.2)
        if len(values) > 1:
            axes.annotate(f"sd {values.std(ddof=1):.2g}", (place, 1.0), (0, 3), fontsize=8, ha="center",
                          xycoords=("data", "axes fraction"), textcoords="offset points")  # fmt: skip
    axes.set_xticks(range(len(by_level)), [f"{level:.3g}" for level in by_level])
    axes.set_xlim(-0.6, len(by_level) - 0.4)


@matplotlib.rc_context(STYLE)
def beliefs(found: list[dict[str, Any]], along: Slice) -> Figure:
    """Two studies of equal cost with what the surrogate believes after each; right, the answers of all such studies."""
    precise = [row for row in found if row.get("part") == "slice" and row["state"] == "ok"]
    true = np.exp(believed.truth(precise, along.bounds))
    x = np.geomspace(*along.bounds, len(believed.GRID))
    studies = {axis: [row for row in found if "study" in row and row["axis"] == axis] for axis in KINDS}
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(3, 3, 2))
    for axes, (axis, (label, colour)) in zip((left, middle), KINDS.items(), strict=True):
        first = studies[axis][0]
        mean, sd, position, log_error = (np.array(first[name]) for name in ("mean", "sd", "position", "log_error"))
        axes.plot(x, true, color=INK, lw=1.0, ls="--", label="mean of the precise trainings")
        axes.plot(x, np.exp(mean), color=colour, lw=1.4)
        axes.fill_between(x, np.exp(mean - 2 * sd), np.exp(mean + 2 * sd), color=colour, alpha=0.18, linewidth=0)
        axes.plot(x[0] * (x[-1] / x[0]) ** position, np.exp(log_error), "o", color=colour, ms=3.5)
        axes.plot(x[np.argmin(mean)], first["answer"], "v", color=colour, ms=8, mec=INK)
        axes.set(xscale="log", yscale="log", xlabel=along.of.replace("_", " "))
        axes.set_title(f"{first['observations']} {label}", loc="left", fontsize=9.5)
        axes.set_ylim(true.min() / 2, min(1.0, 4 * true.max()))
    left.set_ylabel("validation error")
    answers = [[study["answer"] for study in studies[axis]] for axis in KINDS]
    parts = right.boxplot(answers, widths=0.5, patch_artist=True, medianprops={"color": INK})
    for box, (_, colour) in zip(parts["boxes"], KINDS.values(), strict=True):
        box.set(facecolor=colour, alpha=0.5)
    right.axhline(true.min(), color=GREY, lw=0.8, ls=":")
    right.set_xticks([1, 2], ["many\nnoisy", "few\nprecise"])
    right.set_title(f"true error of the answer,\n{len(answers[0])} studies each", loc="left", fontsize=9.5)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper left")
    return figure


def draw(folder: Path) -> list[Path]:
    """Both figures of every scale that has rows; equal rows give equal bytes."""
    drawn: list[Path] = []
    for path in rows.files(folder, "noise-*.jsonl"):
        found, scale = rows.read(path), path.stem.removeprefix("noise-")
        if any(row.get("part", "slice") != "slice" for row in found):
            drawn.append(path.with_name(f"spread-{scale}.svg"))
            save(spread(found), drawn[-1])
        if any("study" in row for row in found):
            drawn.append(path.with_name(f"beliefs-{scale}.svg"))
            save(beliefs(found, SLICES[_scale(scale)]), drawn[-1])
    return drawn


def _scale(name: str) -> Scale:
    return next(scale for scale in SLICES if scale == name)


if __name__ == "__main__":
    redraw.main(draw, HERE)
