"""OSS Vizier's Gaussian process bandit, at the target fidelity, padded so that it does not compile for every trial."""

import jax
import numpy as np
from vizier import algorithms as vza
from vizier import pyvizier as vz
from vizier._src.algorithms.designers.gp_bandit import VizierGPBandit
from vizier.pyvizier.converters import padding

jax.config.update("jax_enable_x64", True)  # its models ask for it, and warn if they do not get it


_PLAIN = {"real": float, "integer": int, "choice": lambda u: str(int(u))}


def suggest(seed, x, s, y, fixed_cost, *, axes=None):
    """The next x."""
    del s, fixed_cost
    axes = {f"x{axis}": kind for axis, kind in enumerate(axes or [("real", 0)] * x.shape[1])}
    problem = vz.ProblemStatement()
    root = problem.search_space.root
    for name, (kind, n) in axes.items():
        if kind == "real":
            root.add_float_param(name, 0.0, 1.0)
        elif kind == "integer":
            root.add_int_param(name, 0, n - 1)
        else:
            root.add_categorical_param(name, list(map(str, range(n))))
    problem.metric_information.append(vz.MetricInformation("y", goal=vz.ObjectiveMetricGoal.MINIMIZE))
    by_two = padding.PaddingType.POWERS_OF_2
    designer = VizierGPBandit(
        problem,
        rng=jax.random.PRNGKey(seed),
        padding_schedule=padding.PaddingSchedule(num_trials=by_two, num_features=by_two),
    )
    trials = []
    for number, (point, value) in enumerate(zip(x, y, strict=True), 1):
        told = {name: _PLAIN[kind](u) for (name, (kind, _)), u in zip(axes.items(), point, strict=True)}
        trial = vz.Trial(id=number, parameters=told)
        trials.append(trial.complete(vz.Measurement({"y": float(value)})))
    designer.update(vza.CompletedTrials(trials), vza.ActiveTrials())
    asked = designer.suggest(1)[0].parameters
    best = x[np.argmin(y)]
    return np.array([float(asked.get_value(name)) for name in axes]), 1.0, best, best
