"""OSS Vizier's Gaussian process bandit, at the target fidelity, padded so that it does not compile for every trial."""

import jax
import numpy as np
from vizier import algorithms as vza
from vizier import pyvizier as vz
from vizier._src.algorithms.designers.gp_bandit import VizierGPBandit
from vizier.pyvizier.converters import padding

jax.config.update("jax_enable_x64", True)  # what its models ask for, and warn of not getting


def suggest(seed, x, s, y, fixed_cost):
    """The next x."""
    del s, fixed_cost
    names = [f"x{axis}" for axis in range(x.shape[1])]
    problem = vz.ProblemStatement()
    for name in names:
        problem.search_space.root.add_float_param(name, 0.0, 1.0)
    problem.metric_information.append(vz.MetricInformation("y", goal=vz.ObjectiveMetricGoal.MINIMIZE))
    by_two = padding.PaddingType.POWERS_OF_2
    designer = VizierGPBandit(
        problem,
        rng=jax.random.PRNGKey(seed),
        padding_schedule=padding.PaddingSchedule(num_trials=by_two, num_features=by_two),
    )
    trials = []
    for number, (point, value) in enumerate(zip(x, y, strict=True), 1):
        trial = vz.Trial(id=number, parameters=dict(zip(names, map(float, point), strict=True)))
        trials.append(trial.complete(vz.Measurement({"y": float(value)})))
    designer.update(vza.CompletedTrials(trials), vza.ActiveTrials())
    asked = designer.suggest(1)[0].parameters
    best = x[np.argmin(y)]
    return np.array([asked.get_value(name) for name in names]), 1.0, best, best
