"""Importance sampling of training examples, usable alone in any JAX training loop.

Examples:
    One importance-sampled step of any network and any Optax optimiser:

    >>> import jax, jax.numpy as jnp, optax
    >>> from ibo_jax.importance import loss, presample, resample, upper_bound
    >>> images, labels = jax.random.normal(jax.random.key(0), (100, 4)), jnp.arange(100) % 3
    >>> params, optimizer, apply = jnp.zeros((4, 3)), optax.sgd(0.1), lambda params, images: images @ params
    >>> state, (key_pool, key_draw) = optimizer.init(params), jax.random.split(jax.random.key(1))

    >>> pool = presample(key_pool, len(images), 32)
    >>> chosen, weights = resample(key_draw, upper_bound(apply(params, images[pool]), labels[pool]), 8)
    >>> batch = pool[chosen]
    >>> gradient = jax.grad(lambda p: jnp.mean(weights * loss(apply(p, images[batch]), labels[batch])))(params)
    >>> updates, state = optimizer.update(gradient, state)
"""

from ibo_jax.importance.sampling import Draw, Selection, draw, presample, probabilities, resample, weights
from ibo_jax.importance.scores import gradient_norm, loss, upper_bound
from ibo_jax.importance.switch import Switch, moving_average, pays, tau, threshold

__all__ = [
    "Draw",
    "Selection",
    "Switch",
    "draw",
    "gradient_norm",
    "loss",
    "moving_average",
    "pays",
    "presample",
    "probabilities",
    "resample",
    "tau",
    "threshold",
    "upper_bound",
    "weights",
]
