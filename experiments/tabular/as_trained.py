"""Every answer as its method trains it (`common.as_trained` says why), predicted by the forest of recorded
trainings."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from experiments.common.answers import Answer, answers, judged, ratios
from experiments.common.curves import Curves
from experiments.tabular.problem import EXAMPLES, features, forests

Places = tuple[tuple[float, ...], ...]


def curves(found: list[dict[str, Any]]) -> Curves:
    """The runs in the rows with the mean predicted errors over the ratios."""
    predicted = errors(answer for given in answers(found).values() for answer in given if answer)
    return judged(found, lambda answer: predicted[_places(answer)])


def errors(given: Iterable[Answer]) -> dict[Places, float]:
    """Errors averaged over the ratios; each distinct question to the forest is asked once, because predictions cost
    time."""
    wanted = {_places(answer) for answer in given}
    distinct = sorted({place for places in wanted for place in places})
    known = dict(zip(distinct, np.exp(forests().errors.predict(np.array(distinct))[:, -1]), strict=True))
    return {places: float(np.mean([known[place] for place in places])) for places in wanted}


def _places(answer: Answer) -> Places:
    return tuple(tuple(features(answer.hyperparameters, ratio, EXAMPLES)) for ratio in ratios(answer.method))
