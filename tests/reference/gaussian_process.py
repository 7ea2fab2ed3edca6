"""Gaussian process with a fidelity kernel, and a long reference chain over its hyperparameters, in plain NumPy.

    k((x, s), (z, t)) = constant + amplitude * M52(x, z) * ((1 + l P(s)) (1 + l P(t)) + d^2 phi(s) . phi(t))

with M52 the Matern-5/2 correlation [1, eq. 4.17] of per-axis scaled distance, l the `tilt`, d the `spread`, phi the
features (1 - s, (1 - s)^2) for the error, as published only the second [2, section 3.1], s for the cost, and P their
sum: the kernel of a function at the target, of variance `amplitude`, and an independent bias for each feature.

[1] Rasmussen and Williams, "Gaussian processes for machine learning", 2006.
[2] Klein et al., "Fast Bayesian optimization of machine learning hyperparameters on large datasets", AISTATS 2017.
[3] Haario, Saksman and Tamminen, "An adaptive Metropolis algorithm", Bernoulli 2001.

Every array may carry leading axes, one entry a set of hyperparameters.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

CONSTANT = 1.0
Points = tuple[np.ndarray, np.ndarray]  # x [n, dimension] and fidelity s [n]


class Kernel(NamedTuple):
    """Hyperparameters on their natural scale; `noise` is a variance."""

    length_scale: np.ndarray  # [..., dimension]
    amplitude: np.ndarray
    tilt: np.ndarray
    spread: np.ndarray
    noise: np.ndarray


def phi_error(s: np.ndarray) -> np.ndarray:
    return np.stack([1.0 - s, (1.0 - s) ** 2], axis=-1)


def phi_published(s: np.ndarray) -> np.ndarray:
    return ((1.0 - s) ** 2)[..., None]


def phi_cost(s: np.ndarray) -> np.ndarray:
    return np.asarray(s, np.float64)[..., None]


def matern52(x: np.ndarray, z: np.ndarray, length_scale: np.ndarray) -> np.ndarray:
    """Matern-5/2 correlation of points [n, dimension] and [m, dimension]."""
    scaled = (x[:, None, :] - z[None, :, :]) / np.asarray(length_scale)[..., None, None, :]
    r = np.sqrt(5.0 * np.sum(scaled**2, axis=-1))
    return (1.0 + r + r**2 / 3.0) * np.exp(-r)


def gram(kernel: Kernel, phi: Callable, left: Points, right: Points) -> np.ndarray:
    """Covariance of the latent function at the points `left` with that at `right`."""
    p, q = phi(left[1]), phi(right[1])
    amplitude, tilt, spread = (np.asarray(v)[..., None, None] for v in kernel[1:4])
    scaled = (1.0 + tilt * p.sum(-1)[:, None]) * (1.0 + tilt * q.sum(-1)[None, :])
    fidelity = scaled + spread**2 * (p @ q.T)
    return CONSTANT + amplitude * matern52(left[0], right[0], kernel.length_scale) * fidelity


def observed_covariance(kernel: Kernel, phi: Callable, points: Points) -> np.ndarray:
    """Covariance of noisy observations at the points."""
    return gram(kernel, phi, points, points) + np.asarray(kernel.noise)[..., None, None] * np.eye(len(points[0]))


def log_marginal_likelihood(kernel: Kernel, phi: Callable, points: Points, y: np.ndarray) -> np.ndarray:
    """log p(y) [1, eq. 2.30]."""
    covariance = observed_covariance(kernel, phi, points)
    _, log_determinant = np.linalg.slogdet(covariance)
    fit = np.sum(y * np.linalg.solve(covariance, y[:, None])[..., 0], axis=-1)
    return -0.5 * (fit + log_determinant + len(y) * np.log(2.0 * np.pi))


def posterior(
    kernel: Kernel, phi: Callable, points: Points, y: np.ndarray, targets: Points
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and full covariance of the latent function at `targets` given y at `points` [1, eqs. 2.25 and 2.26]."""
    cross = gram(kernel, phi, targets, points)
    weights = np.linalg.solve(observed_covariance(kernel, phi, points), np.swapaxes(cross, -1, -2))
    return np.swapaxes(weights, -1, -2) @ y, gram(kernel, phi, targets, targets) - cross @ weights


def metropolis(
    log_density: Callable[[np.ndarray], np.ndarray], start: np.ndarray, steps: int, rng: np.random.Generator
) -> np.ndarray:
    """Random-walk Metropolis on many chains at once, [chain, dimension] to [steps, chain, dimension].

    The proposal is normal with 2.38^2 / dimension of the covariance over chains [3], learnt during a first half as
    long again as `steps`, which is thrown away; afterwards it is fixed, so the kept chains are exact.
    """
    position, density = start, log_density(start)
    dimension, kept, recent = start.shape[1], [], []
    factor = 0.1 * np.eye(dimension)
    for step in range(2 * steps):
        if step % 50 == 0 and 0 < step <= steps:
            covariance = np.cov(np.concatenate(recent).T).reshape(dimension, dimension)
            factor = 2.38 / np.sqrt(dimension) * np.linalg.cholesky(covariance + 1e-6 * np.eye(dimension))
        recent = [] if step % 50 == 0 else recent
        proposal = position + rng.normal(size=position.shape) @ factor.T
        proposed = log_density(proposal)
        accept = np.log(rng.uniform(size=len(position))) < proposed - density
        position = np.where(accept[:, None], proposal, position)
        density = np.where(accept, proposed, density)
        recent.append(position)
        if step >= steps:
            kept.append(position)
    return np.stack(kept)
