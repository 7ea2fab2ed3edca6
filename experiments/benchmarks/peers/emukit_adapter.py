"""Emukit's Fabolas with its defaults: sizes of a training set from 2^10 to 2^20, whose logarithm its kernel sees, stand
for the fidelity. Its answer is the evaluated point of lowest predicted mean at the target."""

import numpy as np
from emukit.core import ContinuousParameter, ParameterSpace
from emukit.examples.fabolas.fabolas_loop import FabolasLoop

LOW, HIGH = 10.0, 20.0  # log2 of the sizes


def suggest(seed, x, s, y, fixed_cost):
    """The next (x, s)."""
    np.random.seed(seed)  # noqa: NPY002 - what Emukit draws from
    space = ParameterSpace([ContinuousParameter(f"x{axis}", 0.0, 1.0) for axis in range(x.shape[1])])
    seen = np.column_stack([x, 2.0 ** (LOW + (HIGH - LOW) * s)])
    loop = FabolasLoop(space, seen, y[:, None], fixed_cost + s, s_min=2.0**LOW, s_max=2.0**HIGH)
    chosen = loop.get_next_points([])[0]
    target = np.column_stack([x, np.full(len(x), 2.0**HIGH)])
    best = x[np.argmin(loop.model_updaters[0].model.predict(target)[0])]
    return chosen[:-1], (np.log2(chosen[-1]) - LOW) / (HIGH - LOW), best, best
