"""Functions whose minimum is known, each with a fidelity s in [0, 1] that biases it; s = 1 is the target.

Where the literature has a cheap and an accurate version, s mixes them: s f + (1 - s) cheap, as for Borehole in [4].
Where it maximises (Currin), the function here is negated.

[1] Dixon and Szegoe, "The global optimization problem: an introduction", 1978 (Branin, Hartmann).
[2] Wu et al., "Practical multi-fidelity Bayesian optimization for hyperparameter tuning", UAI 2019 (with fidelity).
[3] Forrester, Sobester and Keane, "Engineering design via surrogate modelling", 2008, appendix A.1.
[4] Kandasamy et al., "Multi-fidelity Bayesian optimisation with continuous approximations", ICML 2017.
[5] Xiong, Qian and Wu, "Sequential design and analysis of high-accuracy and low-accuracy computer codes",
    Technometrics 55, 2013 (cheap Currin and Borehole).
[6] Chen et al., "A latent variable approach for non-hierarchical multi-fidelity adaptive sampling", Computer Methods in
    Applied Mechanics and Engineering 421, 2024 (cheap wing weight, its third).
"""

import math

import numpy as np

__all__ = [
    "augmented_branin", "augmented_hartmann", "borehole", "currin", "forrester", "stepped_branin", "wing_weight"
]  # fmt: skip

Values = np.ndarray | np.float64  # the latter for a single point

STEPS = 3  # steps of the fidelity of `stepped_branin`
CURRIN_SHIFT = 0.05
HARTMANN_WEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])
HARTMANN_RATES = np.array(
    [
        [10.0, 3.0, 17.0, 3.5, 1.7, 8.0],
        [0.05, 10.0, 17.0, 0.1, 8.0, 14.0],
        [3.0, 3.5, 1.7, 10.0, 17.0, 8.0],
        [17.0, 8.0, 0.05, 10.0, 0.1, 14.0],
    ]
)
HARTMANN_CENTRES = 1e-4 * np.array(
    [
        [1312.0, 1696.0, 5569.0, 124.0, 8283.0, 5886.0],
        [2329.0, 4135.0, 8307.0, 3736.0, 1004.0, 9991.0],
        [2348.0, 1451.0, 3522.0, 2883.0, 3047.0, 6650.0],
        [4047.0, 8828.0, 8732.0, 5743.0, 1091.0, 381.0],
    ]
)


def augmented_branin(x: np.ndarray, s: Values) -> Values:
    """Branin's valley, with curvature 5.1 / (4 pi^2) lowered by 0.1 (1 - s); three global minima at s = 1 [1, 2]."""
    curvature = 5.1 / (4.0 * math.pi**2) - 0.1 * (1.0 - s)
    valley = x[..., 1] - curvature * x[..., 0] ** 2 + 5.0 / math.pi * x[..., 0] - 6.0
    return valley**2 + 10.0 * (1.0 - 1.0 / (8.0 * math.pi)) * np.cos(x[..., 0]) + 10.0


def stepped_branin(x: np.ndarray, s: np.ndarray) -> Values:
    """Branin's valley at s rounded to thirds: a bias that jumps, as where s sets a mesh or a number of folds.

    From s = 5/6 on it is the target.
    """
    return augmented_branin(x, np.round(STEPS * s) / STEPS)


def augmented_hartmann(x: np.ndarray, s: np.ndarray) -> Values:
    """Minus Hartmann's four bumps in six dimensions, with the first lowered by 0.1 (1 - s) [1, 2]."""
    distances = np.sum(HARTMANN_RATES * (x[..., None, :] - HARTMANN_CENTRES) ** 2, axis=-1)
    bias = 0.1 * (1.0 - s) * np.exp(-distances[..., 0])
    return bias - np.exp(-distances) @ HARTMANN_WEIGHTS


def forrester(x: np.ndarray, s: np.ndarray) -> Values:
    """Forrester's function of one variable, between its cheap version f / 2 + 10 (x - 1/2) - 5 and itself [3]."""
    target = (6.0 * x[..., 0] - 2.0) ** 2 * np.sin(12.0 * x[..., 0] - 4.0)
    return _blend(s, target, 0.5 * target + 10.0 * (x[..., 0] - 0.5) - 5.0)


def currin(x: np.ndarray, s: np.ndarray) -> Values:
    """Minus Currin's exponential function; the cheap one is its mean over the corners of a square of side 0.1 [5]."""
    left, right = x[..., 0] - CURRIN_SHIFT, x[..., 0] + CURRIN_SHIFT
    below, above = np.maximum(x[..., 1] - CURRIN_SHIFT, 0.0), x[..., 1] + CURRIN_SHIFT
    cheap = np.mean([_currin(x1, x2) for x1 in (left, right) for x2 in (below, above)], axis=0)
    return -_blend(s, _currin(x[..., 0], x[..., 1]), cheap)


def borehole(x: np.ndarray, s: np.ndarray) -> Values:
    """Flow of water through a borehole; the cheap version has 5 in place of 2 pi and 1.5 in place of 1 [5].

    Coordinates: radius of the borehole and of influence, transmissivity and head of the upper aquifer, the same for
    the lower one, length, conductivity.
    """
    radius, influence, upper, upper_head, lower, lower_head, length, conductivity = np.moveaxis(x, -1, 0)
    spread = np.log(influence / radius)
    resistance = 2.0 * length * upper / (spread * radius**2 * conductivity) + upper / lower
    flow = upper * (upper_head - lower_head) / spread
    return _blend(s, 2.0 * math.pi * flow / (1.0 + resistance), 5.0 * flow / (1.5 + resistance))


def wing_weight(x: np.ndarray, s: np.ndarray) -> Values:
    """Weight of a light aircraft's wing; the cheap version has the exponent 0.9 in place of 0.758 and no paint [6].

    Coordinates: area, weight of the fuel in it, aspect ratio, sweep in degrees, dynamic pressure, taper, thickness over
    chord, ultimate load factor, gross weight, weight of paint per area.
    """
    area, fuel, aspect, sweep, pressure, taper, thickness, load, gross, paint = np.moveaxis(x, -1, 0)
    cosine = np.cos(np.deg2rad(sweep))
    shape = (aspect / cosine**2) ** 0.6 * taper**0.04 * (100.0 * thickness / cosine) ** -0.3
    rest = 0.036 * shape * fuel**0.0035 * pressure**0.006 * (load * gross) ** 0.49
    return _blend(s, area**0.758 * rest + area * paint, area**0.9 * rest)


def _currin(x1: Values, x2: Values) -> Values:
    damping = 1.0 - np.exp(-0.5 / np.maximum(x2, 1e-3))  # exactly 1 there and below
    numerator = 2300.0 * x1**3 + 1900.0 * x1**2 + 2092.0 * x1 + 60.0
    return damping * numerator / (100.0 * x1**3 + 500.0 * x1**2 + 4.0 * x1 + 20.0)


def _blend(s: Values, target: Values, cheap: Values) -> Values:
    return s * target + (1.0 - s) * cheap
