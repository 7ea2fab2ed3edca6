"""Array aliases with named axes, and the precision policy.

Training runs in float32 or bfloat16 on whatever device JAX finds; the search side (surrogate, acquisition, methods)
runs in float64 on the CPU, entered through `ibo_jax.numerics.in_float64`. Axis names used throughout:

    observation  rows of `Observations`, padded        point      points at which a posterior is asked
    dimension    coordinates of the unit cube          representer  support of the optimum's distribution
    draw         posterior draws of hyperparameters    sample     joint Monte-Carlo samples of function values
    example      training examples                     class_     output classes
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt8

__all__ = ["AnyArray", "Array", "Bool", "Float", "Hyperparameters", "Int", "PRNGKeyArray", "UInt8", "Value"]

Value = float | int | str | bool
Hyperparameters = Mapping[str, Value]
AnyArray = Array | np.ndarray
"""An array of JAX or of NumPy: what enters a jitted program, and leaves it through `numerics.in_float64`."""
