"""SMAC3's facade for continuous spaces (a Gaussian process marginalised by MCMC is an option of it, not its default),
at the target fidelity. Its multi-fidelity facade cannot be given evaluations and asked; see `smac_mf_adapter`."""

import tempfile

import numpy as np
from ConfigSpace import Configuration, ConfigurationSpace
from smac import BlackBoxFacade, Scenario
from smac.runhistory.dataclasses import TrialInfo, TrialValue


def suggest(seed, x, s, y, fixed_cost, *, axes=None):
    """The next x, after SMAC has been told all evaluations as if it had asked for them."""
    del s, fixed_cost
    axes = axes or [("real", 0)] * x.shape[1]
    kinds = {"real": lambda n: (0.0, 1.0), "integer": lambda n: (0, n - 1), "choice": lambda n: list(range(n))}
    space = ConfigurationSpace({f"x{axis}": kinds[kind](n) for axis, (kind, n) in enumerate(axes)}, seed=seed)
    plain = [float if kind == "real" else int for kind, _ in axes]
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(space, deterministic=True, n_trials=10_000, seed=seed, output_directory=folder)
        told = [Configuration(space, {f"x{axis}": plain[axis](u) for axis, u in enumerate(point)}) for point in x]
        smac = BlackBoxFacade(
            scenario,
            lambda config, seed=0: 0.0,
            initial_design=BlackBoxFacade.get_initial_design(scenario, n_configs=0, additional_configs=told[:1]),
            intensifier=BlackBoxFacade.get_intensifier(scenario, max_config_calls=1),
            overwrite=True,
            logging_level=False,
        )
        for configuration, value in zip(told, y, strict=True):
            smac.tell(TrialInfo(configuration, seed=0), TrialValue(cost=float(value)), save=False)
        asked = smac.ask().config
    best = x[np.argmin(y)]
    return np.array([asked[f"x{axis}"] for axis in range(x.shape[1])]), 1.0, best, best
