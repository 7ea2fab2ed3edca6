"""SMAC3's multi-fidelity facade: Hyperband over three fidelities, whose configurations a random forest proposes.

It chooses every evaluation itself, beginning with the points of the initial design, and is told one result at a time.
Its answer is the configuration of lowest objective at the highest fidelity so far.
"""

import tempfile
from typing import Any

import numpy as np
from ConfigSpace import Configuration, ConfigurationSpace
from smac import MultiFidelityFacade, Scenario
from smac.intensifier.hyperband import Hyperband
from smac.runhistory.dataclasses import TrialValue

LOWEST, REDUCTION = 1 / 9, 3
_search: dict[str, Any] = {}  # state of this process: the facade, its folder and the trial that it asked for last


def suggest(seed, x, s, y, fixed_cost, *, initial):
    """The next (x, s), after the last one has been evaluated."""
    del fixed_cost
    if not _search:
        _search["facade"] = _begin(seed, initial)
    else:
        _search["facade"].tell(_search["asked"], TrialValue(cost=float(y[-1])), save=False)
    _search["asked"] = asked = _search["facade"].ask()
    place = np.array([asked.config[f"x{axis}"] for axis in range(len(initial[0]))])
    best = x[np.argmin(np.where(s == s.max(), y, np.inf))] if len(y) else place
    return place, asked.budget, best, best


def _begin(seed, initial):
    _search["folder"] = folder = tempfile.TemporaryDirectory()  # removed as the process ends
    space = ConfigurationSpace({f"x{axis}": (0.0, 1.0) for axis in range(len(initial[0]))}, seed=seed)
    scenario = Scenario(space, deterministic=True, n_trials=10_000, min_budget=LOWEST, max_budget=1.0, seed=seed,
                        output_directory=folder.name)  # fmt: skip
    first = [Configuration(space, {f"x{axis}": u for axis, u in enumerate(point)}) for point in initial]
    return MultiFidelityFacade(
        scenario,
        lambda config, seed=0, budget=1.0: 0.0,
        initial_design=MultiFidelityFacade.get_initial_design(scenario, n_configs=0, additional_configs=first),
        intensifier=Hyperband(scenario, eta=REDUCTION, incumbent_selection="highest_budget"),
        overwrite=True,
        logging_level=False,
    )
