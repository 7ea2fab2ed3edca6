"""Every answer as its method trains it (`common.as_trained` says why), by the forest of recorded trainings."""

from typing import Any

import numpy as np

from experiments.common.as_trained import ratios
from experiments.common.curves import Curves
from experiments.tabular.problem import EXAMPLES, features, forests


def errors(answers: list[tuple[str, dict[str, Any]]]) -> np.ndarray:
    """Mean error over the ratios of (method, hyperparameters), each distinct one predicted once."""
    wanted = [[features(h, ratio, EXAMPLES) for ratio in ratios(method)] for method, h in answers]
    distinct = sorted({tuple(row) for block in wanted for row in block})
    log_errors = forests().errors.predict(np.array(distinct))[:, -1]
    known = dict(zip(distinct, np.exp(log_errors), strict=True))
    return np.array([np.mean([known[tuple(row)] for row in block]) for block in wanted])


def curves(found: list[dict[str, Any]], plain: Curves) -> Curves:
    """The runs of `plain` with these errors instead; a trial before the first answer keeps its NaN."""
    trials = {(row["method"], row["seed"], row["slot"]): row["incumbent"] for row in found if "slot" in row}
    places = [(method, seed, slot) for method, runs in plain.items() for seed, run in runs.items()
              for slot in range(len(run.error)) if trials[method, seed, slot] is not None]  # fmt: skip
    values = dict(zip(places, errors([(place[0], trials[place]) for place in places]), strict=True))
    return {
        method: {seed: run._replace(error=np.array([values.get((method, seed, slot), np.nan)
                                                    for slot in range(len(run.error))]))
                 for seed, run in runs.items()}
        for method, runs in plain.items()
    }  # fmt: skip
