"""Entropy search at one fidelity: what is left of IBO when presamples are not searched.

References:
    [HennigSchuler2012] Entropy search for information-efficient global optimization. JMLR 13.
    [AriafarEtAl2021] Faster & more reliable tuning of neural networks. AISTATS 2021, section 4 (ES and ES-IS).
"""

from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from ibo_jax.methods import ibo
from ibo_jax.methods.base import State, Suggestion, generator
from ibo_jax.methods.initial import importance_fidelities
from ibo_jax.observations import Observations
from ibo_jax.space import Fidelity

__all__ = ["suggest"]


def suggest(
    key: PRNGKeyArray,
    observations: Observations,
    state: State | None = None,
    *,
    fidelity: Fidelity,
    drawn: bool = False,
    **settings: Any,
) -> tuple[Suggestion, State | None]:
    """Where to evaluate next, with a surrogate that treats all evaluations as evaluations at the target.

    Args:
        key: source of randomness.
        observations: at least one evaluated.
        state: that of the previous suggestion.
        fidelity: the axis that is not searched.
        drawn: evaluate at a random fidelity (importance sampling with a random presample: ES-IS) instead of the
            plain one (ES).
        settings: further arguments of `ibo.suggest`.
    """
    key_suggest, key_fidelity = jax.random.split(key)
    blind = observations._replace(fidelity=np.ones_like(observations.fidelity))
    suggestion, state = ibo.suggest(key_suggest, blind, state, levels=(1.0,), guarded=False, **settings)
    s = fidelity.plain_s
    if drawn:
        s = float(importance_fidelities(generator(key_fidelity), fidelity, 1)[0])
    return suggestion._replace(fidelity=s), state
