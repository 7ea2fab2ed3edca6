"""The answers as their methods train them, beside the published protocol, which retrains all of them plainly.

IBO looks for the best x at its largest presample. Retrained without importance that x is another training, and the
optima of the two differ; so this is what its user gets: B / b at the target for those that search it, the mean over
what is drawn for those that draw it, plain training for all others.
"""

from typing import Any

import numpy as np

from experiments.common.curves import Curves
from experiments.tabular.problem import EXAMPLES, features, forests
from ibo_jax.methods import METHODS
from ibo_jax.problems.axes import RANDOM_RATIOS
from ibo_jax.space import PRESAMPLE_RATIO


def ratios(method: str) -> tuple[float, ...]:
    """Presample ratios at which a method's answer is trained.

    Example:
        >>> ratios("ibo"), ratios("fabolas"), ratios("tpe")
        ((6.0,), (1.0,), (1.0,))
    """
    importance = METHODS[method].importance if method in METHODS else "off"
    searched, drawn = (float(PRESAMPLE_RATIO.target),), tuple(map(float, RANDOM_RATIOS))
    return {"searched": searched, "random": drawn, "off": (1.0,)}[importance]


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
