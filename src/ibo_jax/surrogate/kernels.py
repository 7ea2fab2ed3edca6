"""The covariance over (x, s): ARD Matern-5/2 over hyperparameters times a finite-rank kernel over the fidelity.

References:
    [KleinEtAl2017] Fast Bayesian optimization of machine learning hyperparameters on large datasets. AISTATS 2017.
    [AriafarEtAl2021] Faster & more reliable tuning of neural networks. AISTATS 2021, equation 5.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import tinygp
from jaxtyping import Float

from ibo_jax.types import AnyArray

__all__ = [
    "CONSTANT_VARIANCE",
    "COST_BASIS",
    "ERROR_BASIS",
    "PUBLISHED_ERROR_BASIS",
    "TASK_BASIS",
    "Basis",
    "KernelParameters",
    "MultiTaskKernel",
    "matern52",
]

CONSTANT_VARIANCE = 1.0  # of the unknown mean, in units of the standardised outputs

Basis = tuple[float, float, float]
"""Weights of the features 1 - s, (1 - s)^2 and s, in which a fidelity differs from the target (or from none)."""
ERROR_BASIS: Basis = (1.0, 1.0, 0.0)  # a bias with slope and curvature: far from the target says little about it
PUBLISHED_ERROR_BASIS: Basis = (0.0, 1.0, 0.0)  # [KleinEtAl2017]: flat at the target
TASK_BASIS: Basis = (1.0, 0.0, 0.0)  # two tasks, s = 0 and 1, with any covariance: coregionalisation
COST_BASIS: Basis = (0.0, 0.0, 1.0)  # a larger fidelity costs more


class KernelParameters(NamedTuple):
    """Hyperparameters of one Gaussian process, unconstrained; outputs are standardised, x lives in the unit cube."""

    log_length_scale: Float[AnyArray, "*draw dimension"]
    log_amplitude: Float[AnyArray, "*draw"]
    tilt: Float[AnyArray, "*draw"]
    log_spread: Float[AnyArray, "*draw"]
    log_noise: Float[AnyArray, "*draw"]


@jax.custom_jvp
def matern52(r2: Float[AnyArray, "..."]) -> Float[AnyArray, "..."]:
    """Matern-5/2 correlation of a squared scaled distance, with a derivative that is finite at zero.

    Examples:
        >>> float(matern52(jnp.zeros(())))
        1.0
    """
    a = jnp.sqrt(5.0 * jnp.maximum(r2, 0.0))
    return (1.0 + a + a**2 / 3.0) * jnp.exp(-a)


@matern52.defjvp
def _matern52_jvp(primals, tangents):
    (r2,), (dr2,) = primals, tangents
    return matern52(r2), matern52_slope(r2) * dr2


def matern52_slope(r2: Float[AnyArray, "..."]) -> Float[AnyArray, "..."]:
    """Derivative of `matern52` with respect to the squared distance."""
    a = jnp.sqrt(5.0 * jnp.maximum(r2, 0.0))
    return -5.0 / 6.0 * (1.0 + a) * jnp.exp(-a)


@jax.custom_jvp
def squared_distances(a: Float[AnyArray, "n dimension"], b: Float[AnyArray, "m dimension"]) -> Float[AnyArray, "n m"]:
    """All squared distances, by differences: zero between equal points however far from the origin. A matrix product
    loses this property, and the kernel its positive definiteness, at the short lengths that a heavy-tailed prior draws;
    the derivative can use one, in a third of the time."""
    return sum((a[:, k, None] - b[None, :, k]) ** 2 for k in range(a.shape[1]))  # type: ignore[return-value]


@squared_distances.defjvp
def _differentiate(points, steps):
    (a, b), (da, db) = points, steps
    own = jnp.sum(a * da, -1)[:, None] + jnp.sum(b * db, -1)[None, :]
    return squared_distances(a, b), 2.0 * (own - a @ db.T - da @ b.T)


class MultiTaskKernel(tinygp.kernels.Kernel):
    """k((x, s), (x', s')) = c + amplitude * Matern52(x, x') * (r r' + d^2 phi . phi'), with r = 1 + l sum(phi).

    The function at fidelity s is (1 + l sum(phi(s))) times that at the target plus, for each feature in phi, a bias
    process of its own; l is `tilt`, d is exp(`log_spread`). With one feature this is the published (1, phi) Sigma
    (1, phi')^T, Sigma_11 = 1. The error's features vanish at the target s = 1: amplitude is the variance there.

    Examples:
        >>> parameters = KernelParameters(jnp.zeros(2), *jnp.zeros(4))
        >>> kernel = MultiTaskKernel(parameters, jnp.array(ERROR_BASIS))
        >>> kernel((jnp.zeros((3, 2)), jnp.ones(3)), (jnp.zeros((4, 2)), jnp.ones(4))).shape
        (3, 4)
    """

    parameters: KernelParameters
    basis: Float[AnyArray, "3"]

    def features(self, s: Float[AnyArray, "..."]) -> Float[AnyArray, "... feature"]:
        """phi(s): the weighted features, see `Basis`."""
        return self.basis * jnp.stack([1.0 - s, (1.0 - s) ** 2, s], axis=-1)

    def tasks(self, s: Float[AnyArray, "..."], other: Float[AnyArray, "..."]) -> Float[AnyArray, "..."]:
        """The fidelity's factor of the covariance, broadcast over both arguments."""
        phi, phi_other = self.features(s), self.features(other)
        tilt, spread = self.parameters.tilt, jnp.exp(self.parameters.log_spread)
        common = (1.0 + tilt * jnp.sum(phi, -1)) * (1.0 + tilt * jnp.sum(phi_other, -1))
        return common + spread**2 * jnp.sum(phi * phi_other, -1)

    def evaluate(self, X1, X2):
        (x, s), (x_other, s_other) = X1, X2
        r2 = jnp.sum(((x - x_other) / jnp.exp(self.parameters.log_length_scale)) ** 2)
        amplitude = jnp.exp(self.parameters.log_amplitude)
        return CONSTANT_VARIANCE + amplitude * matern52(r2) * self.tasks(s, s_other)

    def evaluate_diag(self, X):
        _, s = X
        return CONSTANT_VARIANCE + jnp.exp(self.parameters.log_amplitude) * self.tasks(s, s)

    def __call__(self, X1, X2=None):
        """The Gram matrix of two batches, or its diagonal; equals `evaluate` pair by pair and is much faster."""
        if X2 is None:
            return self.evaluate_diag(X1)
        (x, s), (x_other, s_other) = X1, X2
        scale = jnp.exp(-self.parameters.log_length_scale)
        correlation = matern52(squared_distances(x * scale, x_other * scale))
        amplitude = jnp.exp(self.parameters.log_amplitude)
        return CONSTANT_VARIANCE + amplitude * correlation * self.tasks(s[:, None], s_other[None, :])
