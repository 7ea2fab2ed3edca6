"""A monotone warping of the objective, after which a stationary Gaussian process fits it better.

A few good values in a long tail are what a search looks for and what a Gaussian process fits worst. A warping changes
no comparison: the optimum stays where it is, and so does everything that entropy search needs.

References:
    [YeoJohnson2000] A new family of power transformations to improve normality or symmetry. Biometrika 87.
    [CowenRiversEtAl2022] HEBO: pushing the limits of sample-efficient hyperparameter optimisation. JAIR 74, 3.2.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize_scalar
from scipy.stats import yeojohnson, yeojohnson_llf

__all__ = ["UNWARPED", "Warping", "fit_warping", "tamed"]

WILD, FEWEST = 10.0, 6  # a wild value is this many ranges above the others; at least this many values are needed
POWERS = (0.0, 2.0)  # within these, every real number has an inverse, so that any prediction can be shown


class Warping(NamedTuple):
    """y -> YeoJohnson((y - location) / scale); a `power` of 1 only standardises.

    Examples:
        >>> warping = fit_warping(np.array([-3.0, -1.0, -0.5, -0.2, -0.1, 0.0]))
        >>> warping.power > 1.0, warping.invert(warping(np.array([-0.7]))).round(6)
        (True, array([-0.7]))
    """

    location: float
    scale: float
    power: float

    def __call__(self, y: Float[np.ndarray, "value"]) -> Float[np.ndarray, "value"]:
        """Warped values; NaN stays NaN."""
        return yeojohnson((y - self.location) / self.scale, self.power)

    def invert(self, z: Float[np.ndarray, "value"]) -> Float[np.ndarray, "value"]:
        """What was warped to z."""
        size = np.where(z < 0.0, _inverse_rise(np.maximum(-z, 0.0), 2.0 - self.power),
                        _inverse_rise(np.maximum(z, 0.0), self.power))  # fmt: skip
        return self.location + self.scale * np.copysign(size, z)


UNWARPED = Warping(0.0, 1.0, 1.0)


def tamed(y: Float[np.ndarray, "observation"]) -> Float[np.ndarray, "observation"]:
    """The values, with a single extreme largest one lowered to one range of all others above them.

    Extreme means ten ranges above: otherwise the loss of a training that went astray would dominate a model of the
    others. The value remains the worst; by how much does not matter. Only one value is ever lowered, so that a search
    whose values draw together at the optimum is left alone.

    Examples:
        >>> tamed(np.array([0.3, 1e6, 0.1, 0.2, 0.15, 0.25])).round(6).tolist()
        [0.3, 0.5, 0.1, 0.2, 0.15, 0.25]
    """
    if len(y) < FEWEST or not np.isfinite(y).all():
        return y
    low, second, largest = np.sort(y)[[0, -2, -1]]
    wild = largest - second > WILD * (second - low) > 0
    return np.minimum(y, 2.0 * second - low) if wild else y


def fit_warping(y: Float[np.ndarray, "observation"]) -> Warping:
    """The warping of highest profile likelihood for values that should look normal.

    Nothing is done to values that are equal up to rounding, nor if one is not finite, which the surrogate's checks
    report.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        location, scale = float(np.mean(y)), float(np.std(y))
    if not np.isfinite(scale) or scale <= 1e-10 * abs(location):
        return UNWARPED
    z = (y - location) / scale
    best = minimize_scalar(lambda power: -yeojohnson_llf(power, z), bounds=POWERS, method="bounded")
    return Warping(location, scale, float(best.x))


def _inverse_rise(z: np.ndarray, power: float) -> np.ndarray:
    """x >= 0 with ((1 + x)^power - 1) / power = z."""
    return np.expm1(z) if abs(power) < 1e-8 else np.expm1(np.log1p(power * z) / power)
