"""Time to target: how soon each method has an answer as good as that for which random search needs its whole budget."""

import numpy as np

from experiments.common.curves import QUARTILES, Curves, Run

REFERENCE = "random"


def shares(curves: Curves) -> dict[str, dict[int, float]]:
    """By method and seed: seconds, of compilation and suggestions too, until its test error is first at most the last
    one of random search with the same seed, as a share of all that the latter takes; infinite if it never is. Empty
    without random search.

    Examples:
        >>> cost = np.array([2.0, 4.0])
        >>> runs = {"ibo": np.array([0.3, 0.2]), "random": np.array([0.4, 0.3])}
        >>> shares({method: {0: Run(*4 * [cost], error)} for method, error in runs.items()})
        {'ibo': {0: 0.5}, 'random': {0: 1.0}}
    """
    whole = curves.get(REFERENCE, {})
    found = {
        method: {seed: _first(run, whole[seed].error[-1]) / float(whole[seed].total[-1])
                 for seed, run in runs.items() if seed in whole}
        for method, runs in curves.items()
    }  # fmt: skip
    return {method: by_seed for method, by_seed in found.items() if by_seed}


def markdown(curves: Curves) -> list[str]:
    """Lines of a table of them, none without random search."""
    found = shares(curves)
    if not found:
        return []
    said = (f"Seconds to the error at which `{REFERENCE}` ends, as shares of all that it takes, compilation and "
            "suggestions included:")  # fmt: skip
    lines = [said, "", "| method | reached | median [quartiles] |", "|---|---|---|"]
    for method, by_seed in found.items():
        values = np.array(list(by_seed.values()))
        median = _number(np.median(values))  # quartiles are not interpolated: some may be infinite
        low, high = map(_number, np.quantile(values, QUARTILES[::2], method="nearest"))
        lines.append(f"| {method} | {np.isfinite(values).sum()} of {len(values)} | {median} [{low}, {high}] |")
    return lines


def _first(run: Run, goal: float) -> float:
    reached = np.flatnonzero(run.error <= goal)  # NaN, before the first answer, is not
    return float(run.total[reached[0]]) if len(reached) else float("inf")


def _number(share: float) -> str:
    return f"{share:.2f}" if np.isfinite(share) else "never"
