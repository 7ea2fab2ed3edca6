"""Optuna's samplers, at the target fidelity. They have no model to ask for an answer: it is the best evaluated
point."""

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

optuna.logging.set_verbosity(optuna.logging.ERROR)


def suggest(seed, x, s, y, fixed_cost, *, sampler, axes=None):
    """TPE with its multivariate option, or the Gaussian process told that the objective has no noise."""
    del s, fixed_cost
    samplers = {
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed, multivariate=True),
        "gp": lambda: optuna.samplers.GPSampler(seed=seed, deterministic_objective=True),
    }
    space = {f"x{axis}": _distribution(*kind) for axis, kind in enumerate(axes or [("real", 0)] * x.shape[1])}
    study = optuna.create_study(sampler=samplers[sampler]())
    for point, value in zip(x, y, strict=True):
        params = {name: kind.to_external_repr(u) for (name, kind), u in zip(space.items(), point, strict=True)}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=float(value)))
    asked = study.ask(space)
    best = x[np.argmin(y)]
    return np.array([asked.params[name] for name in space]), 1.0, best, best


def _distribution(kind, count):
    if kind == "real":
        return FloatDistribution(0.0, 1.0)
    return IntDistribution(0, count - 1) if kind == "integer" else CategoricalDistribution(range(count))
