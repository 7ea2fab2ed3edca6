"""The distribution of the minimiser and the information about it, by brute force, in plain NumPy and SciPy.

f ~ N(mean, covariance) over a few points; x* is the point where f is smallest; y = f(candidate) + noise is jointly
normal with f. With S = cov(f, f(candidate)), v = var f(candidate) and a standard normal u [1, eqs. 5 to 8],

    f | y ~ N(mean + g u, covariance - g g^T),  g = S / sqrt(v + noise),
    gain = H[x*] - E_u H[x* | y(u)].

[1] Hennig and Schuler, "Entropy search for information-efficient global optimization", JMLR 2012.
[2] Genz, "Numerical computation of multivariate normal probabilities", JCGS 1992 (SciPy's cdf).
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import multivariate_normal

JITTER = 1e-10


class Belief(NamedTuple):
    """f over the points, and how the candidate's f relates to it; `noise` is the variance that y adds."""

    mean: np.ndarray  # [point]
    covariance: np.ndarray  # [point, point]
    cross: np.ndarray  # [point]
    variance: float
    noise: float


def entropy(p: np.ndarray) -> np.ndarray:
    """Shannon entropy over the last axis, nats."""
    return -np.sum(np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0)), 0.0), axis=-1)


def sample(mean: np.ndarray, covariance: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Joint samples [count, point], by the symmetric root: exact for singular covariances too."""
    variances, axes = np.linalg.eigh(covariance)
    root = axes * np.sqrt(np.maximum(variances, 0.0))
    return mean + rng.normal(size=(count, len(mean))) @ root.T


def minimiser_frequencies(values: np.ndarray) -> np.ndarray:
    """Share of the samples [sample, point] whose smallest value is at each point."""
    return np.bincount(np.argmin(values, axis=-1), minlength=values.shape[-1]) / len(values)


def minimiser_probabilities(mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """P[x* = r] exactly, as the orthant probability that f_r - f_q < 0 for every other q [2]. For a few points only."""
    n = len(mean)
    probabilities = np.empty(n)
    for r in range(n):
        contrast = np.delete(np.eye(n)[r] - np.eye(n), r, axis=0)
        difference = contrast @ covariance @ contrast.T + JITTER * np.eye(n - 1)
        normal = multivariate_normal(contrast @ mean, difference, allow_singular=True, abseps=1e-5, releps=1e-5)
        probabilities[r] = normal.cdf(np.zeros(n - 1))
    return probabilities / probabilities.sum()


def gain_by_quadrature(belief: Belief, nodes: int = 32) -> float:
    """Information gain about x*, with exact probabilities inside Gauss-Hermite quadrature over y."""
    g = belief.cross / np.sqrt(belief.variance + belief.noise)
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    after = [minimiser_probabilities(belief.mean + g * u, belief.covariance - np.outer(g, g)) for u in points]
    before = minimiser_probabilities(belief.mean, belief.covariance)
    return float(entropy(before) - weights @ entropy(np.stack(after)) / weights.sum())


def gain_pathwise(belief: Belief, count: int, rng: np.random.Generator, nodes: int = 9) -> float:
    """The same by samples: every joint sample of (f, f(candidate)) moved to a fantasised y by Matheron's rule."""
    mean, covariance, cross, variance, noise = belief
    joint = np.block([[covariance, cross[:, None]], [cross[None, :], np.atleast_2d(variance)]])
    values = sample(np.append(mean, 0.0), joint, count, rng)
    residual = (values[:, -1] + np.sqrt(noise) * rng.normal(size=count)) / (variance + noise)
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    moved = (values[:, :-1] + cross * (u / np.sqrt(variance + noise) - residual[:, None]) for u in points)
    after = np.stack([minimiser_frequencies(paths) for paths in moved])
    return float(entropy(minimiser_frequencies(values[:, :-1])) - weights @ entropy(after) / weights.sum())
