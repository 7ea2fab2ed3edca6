"""Array aliases with named axes, and the precision policy.

Training runs in float32 or bfloat16 on whatever device JAX finds; the search side (surrogate, acquisition, methods)
runs in float64 on the CPU, entered through `ibo_jax.numerics.in_float64`. Axis names used throughout:

    observation  rows of `Observations`, padded        point      points at which a posterior is asked
    dimension    coordinates of the unit cube          representer  support of the optimum's distribution
    draw         posterior draws of hyperparameters    sample     joint Monte-Carlo samples of function values
    example      training examples                     class_     output classes
"""

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

__all__ = [
    "PROTOCOLS", "AnyArray", "Array", "Axis", "Bool", "Count", "Float", "Hyperparameters", "Importance", "Int",
    "PRNGKeyArray", "Protocol", "Value",
]  # fmt: skip

Value = float | int | str | bool
Hyperparameters = Mapping[str, Value]
AnyArray = Array | np.ndarray
"""A JAX or NumPy array: what enters a jitted program, and what leaves it through `numerics.in_float64`."""
Count = int | Int[Array, ""]
"""A number, for example of steps in an epoch; traced when a training uses a subset of its examples."""

Axis = Literal["presample", "subset", "task"]
"""What the fidelity is: examples scored per step (B); examples trained on; a quarter of them, or all."""
Protocol = Literal["default", "paper", "scripts"]
"""Which procedure is followed: what works best, Algorithm 1 of Ariafar et al. (2021) to the letter, or their code."""
PROTOCOLS = get_args(Protocol)
Importance = Literal["searched", "random", "off"]
"""How the presample ratio of an evaluation is chosen; "off" is ordinary training."""
