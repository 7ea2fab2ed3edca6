"""Entropy search: how much an evaluation at (x, s) tells about where the optimum at the target fidelity lies.

The distribution of the optimum over the representers is estimated from joint samples of the function there. The
information gain of an observation y is the mutual information of y and the optimum's location, estimated in two ways:

    symmetric  H[y] - sum_r p_r H[y | x* = r], moments of y within the samples whose optimum is r. Smooth in (x, s),
               cheap, and what a search should use.
    pathwise   H[x*] - E_y H[x* | y], each sample moved by a fantasised y (Matheron's rule). Unbiased as the samples
               grow, but in steps of 1 / samples: the reference, at 4,096 samples and more.

The base measure of the representers cancels in the expected gain, so that plain entropies serve.

References:
    [HennigSchuler2012] Entropy search for information-efficient global optimization. JMLR 13.
    [AriafarEtAl2021] Faster & more reliable tuning of neural networks. AISTATS 2021, equation 6.
    [WilsonEtAl2020] Efficiently sampling functions from Gaussian process posteriors. ICML 2020 (Matheron's rule).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import ndtri
from jaxtyping import Float, Int, PRNGKeyArray

from ibo_jax.numerics import cholesky, entropy, inverse_of_lower
from ibo_jax.surrogate.posterior import Posterior, cross
from ibo_jax.types import AnyArray

__all__ = ["Belief", "base_samples", "believe", "pathwise_gain", "symmetric_gain"]

ROUNDING = 1e-12  # of the prior variance, added: where the function is known, what is left of it can be rounded below 0
MORE_ROUNDING = 1e-8  # where that fails, as with many exact observations side by side, whose own factor is inexact
SHRINKAGE = 4.0  # pseudo-samples that pull a group's variance to the common one, because small groups look too certain


class Belief(NamedTuple):
    """What one draw of the surrogate believes about the optimum at the target, by joint samples of the function there.

    The samples in which the same representer is optimal form a group; stored are the `group` of each sample, the size
    of each group and the mean of its base samples. In a space of few points representers repeat: `first` is the first
    copy of each and stands for all of them.
    """

    posterior: Posterior
    representers: Float[AnyArray, "representer dimension"]
    first: Int[AnyArray, "representer"]
    whitened: Float[AnyArray, "observation representer"]
    factor: Float[AnyArray, "representer representer"]
    inverse_factor: Float[AnyArray, "representer representer"]
    base: Float[AnyArray, "sample representer"]
    values: Float[AnyArray, "sample representer"]
    group: Int[AnyArray, "sample"]
    group_size: Float[AnyArray, "representer"]
    group_mean: Float[AnyArray, "representer representer"]

    @property
    def probabilities(self) -> Float[AnyArray, "*draw representer"]:
        """p_min: how probable each representer is the optimum."""
        return self.group_size / self.group.shape[-1]

    @property
    def entropy(self) -> Float[AnyArray, ""]:
        """H[x*] over the representers, nats."""
        return entropy(self.probabilities)


def base_samples(key: PRNGKeyArray, samples: int, representers: int) -> Float[AnyArray, "sample representer"]:
    """Standard normal draws whose sample mean is exactly 0 and covariance exactly the identity.

    With matched moments a gain of zero is estimated as zero, whatever the number of samples.
    Needs samples > representers.
    """
    normal = jax.random.normal(key, (samples, representers), jnp.result_type(float))
    centred = normal - jnp.mean(normal, axis=0)
    factor = jnp.linalg.cholesky(centred.T @ centred / samples)
    return solve_triangular(factor, centred.T, lower=True).T


def believe(
    posterior: Posterior,
    representers: Float[AnyArray, "representer dimension"],
    base: Float[AnyArray, "sample representer"],
) -> Belief:
    """The distribution of the optimum's place over the representers at s = 1, by joint samples of the function.

    Examples:
        >>> from ibo_jax.surrogate.kernels import ERROR_BASIS
        >>> from ibo_jax.surrogate.likelihood import TrainingData
        >>> from ibo_jax.surrogate.model import error_prior
        >>> from ibo_jax.surrogate.posterior import condition
        >>> x, y = jnp.array([[0.0], [0.6], [1.0]]), jnp.array([1.0, -1.0, 0.5])
        >>> seen = TrainingData(x, jnp.ones(3), y, jnp.ones(3, bool), jnp.array(ERROR_BASIS))
        >>> places = jnp.linspace(0, 1, 9)[:, None]
        >>> base = base_samples(jax.random.key(0), 512, 9)
        >>> belief = believe(condition(error_prior(1).location, seen), places, base)
        >>> bool(jnp.sum(belief.probabilities) == 1.0), bool(belief.probabilities[5] > belief.probabilities[0])
        (True, True)
        >>> gain = symmetric_gain(belief, jnp.array([[0.5], [0.0]]), jnp.ones(2))
        >>> bool(gain[0] > gain[1])  # between the best that was seen and the unknown, not where the value is known
        True
    """
    target = (representers, jnp.ones(len(representers)))
    whitened = cross(posterior, *target)
    mean = posterior.whitened @ whitened
    prior = posterior.kernel(target, target)
    diagonal = jnp.trace(prior) / len(prior) * jnp.eye(len(prior), dtype=prior.dtype)
    covariance = prior - whitened.T @ whitened
    factor = cholesky(covariance + ROUNDING * diagonal)
    factor = jnp.where(jnp.all(jnp.isfinite(factor)), factor, cholesky(covariance + MORE_ROUNDING * diagonal))
    values = mean + base @ factor.T
    first = jnp.argmax(jnp.all(representers[:, None] == representers, axis=-1), axis=1)
    group = first[jnp.argmin(values, axis=1)]
    group_size = jnp.bincount(group, length=len(representers)).astype(values.dtype)
    group_mean = jax.ops.segment_sum(base, group, len(representers)) / jnp.maximum(group_size, 1.0)[:, None]
    inverse_factor = inverse_of_lower(factor)
    return Belief(
        posterior, representers, first, whitened, factor, inverse_factor, base, values, group, group_size, group_mean
    )


def symmetric_gain(
    belief: Belief, x: Float[AnyArray, "point dimension"], s: Float[AnyArray, "point"]
) -> Float[AnyArray, "point"]:
    """Information about the optimum in an observation at each (x, s), nats: H[y] - sum_r p_r H[y | x* = r].

    y is Gaussian; given that r is optimal, it is taken to be Gaussian with the moments of the samples of r's group.
    The part of y that the representers explain is w . z for base samples z; the rest is independent of the optimum.
    """
    explained, variance = _explained(belief, x, s)
    total = jnp.sum(explained**2, axis=0)
    rest = jnp.maximum(variance - total, 0.0) + belief.posterior.noise
    count = belief.group_size[:, None]
    squares = jax.ops.segment_sum((belief.base @ explained) ** 2, belief.group, len(count))
    freedom = jnp.maximum(count - 1.0, 0.0)
    within = (squares - count * (belief.group_mean @ explained) ** 2 + SHRINKAGE * total) / (freedom + SHRINKAGE)
    # The log of an estimated variance is low by half its relative variance. Uncorrected, chance alone would make any y
    # look informative by representers / (2 samples) nats, and a maximiser would chase that.
    low = freedom * (within / ((within + rest) * (freedom + SHRINKAGE))) ** 2
    return 0.5 * (jnp.log(total + rest) - belief.probabilities @ (jnp.log(within + rest) + low))


def pathwise_gain(
    belief: Belief,
    key: PRNGKeyArray,
    x: Float[AnyArray, "point dimension"],
    s: Float[AnyArray, "point"],
    *,
    fantasies: int = 9,
) -> Float[AnyArray, "point"]:
    """Information about the optimum in an observation at each (x, s), nats: H[x*] - mean of H[x* | y] over fantasies.

    Each joint sample of the function is conditioned on y by f + S (y - f(x) - e) / (v + noise), at y of the middle
    quantiles of its distribution; e is observation noise, drawn with `key`.
    """
    explained, variance = _explained(belief, x, s)
    noise = belief.posterior.noise
    observed = jnp.sqrt(variance + noise)
    gain = belief.factor @ explained / observed  # S(r, x) / sqrt(v + noise)
    rest = jnp.maximum(variance - jnp.sum(explained**2, axis=0), 0.0) + noise
    own = jax.random.normal(key, (len(belief.base), len(x)), belief.base.dtype)
    residual = (belief.base @ explained + jnp.sqrt(rest) * own) / observed
    quantiles = ndtri((jnp.arange(fantasies) + 0.5) / fantasies)

    def after(quantile, gain, residual):
        values = belief.values + (quantile - residual)[:, None] * gain
        counts = jnp.bincount(belief.first[jnp.argmin(values, axis=1)], length=values.shape[1])
        return entropy(counts / len(values))

    def at_point(parts):
        return jnp.mean(jax.lax.map(lambda quantile: after(quantile, *parts), quantiles))

    return belief.entropy - jax.lax.map(at_point, (gain.T, residual.T))


def _explained(belief: Belief, x, s):
    """w with y = w . z + independent rest for the representers' base samples z, and the latent variance; by point."""
    whitened = cross(belief.posterior, x, s)
    target = (belief.representers, jnp.ones(len(belief.representers)))
    shared = belief.posterior.kernel(target, (x, s)) - belief.whitened.T @ whitened
    variance = belief.posterior.kernel((x, s)) - jnp.sum(whitened**2, axis=0)
    return belief.inverse_factor @ shared, jnp.maximum(variance, 1e-12)
