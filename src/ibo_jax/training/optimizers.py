"""The optimisers and schedules of the experiments, as Optax chains in which every rate may be a traced number.

They follow Keras, which the published experiments used: RMSprop divides by sqrt(v) + epsilon, the learning rate of
step t is lr / (1 + decay t), and a momentum buffer holds steps (rates included), not gradients.
"""

import jax.numpy as jnp
import optax

from ibo_jax.types import Array, Count, Float

__all__ = ["adam", "inverse_time_decay", "momentum_sgd", "rmsprop", "step_drop"]

Rate = float | Float[Array, ""]
DROP_EPOCHS = 40


def inverse_time_decay(learning_rate: Rate, decay: Rate) -> optax.Schedule:
    """lr / (1 + decay t) at step t = 0, 1, ... (Keras' `decay`)."""
    return lambda step: learning_rate / (1 + decay * step)


def step_drop(learning_rate: Rate, factor: Rate, steps_per_epoch: Count, every: int = DROP_EPOCHS) -> optax.Schedule:
    """lr factor^floor((1 + e) / every) in epoch e = 0, 1, ...: the first drop comes at epoch `every` - 1.

    Examples:
        >>> schedule = step_drop(1.0, 0.5, steps_per_epoch=10, every=3)
        >>> [float(schedule(10 * epoch)) for epoch in range(6)]
        [1.0, 1.0, 0.5, 0.5, 0.5, 0.25]
    """
    return lambda step: learning_rate * jnp.float32(factor) ** ((1 + step // steps_per_epoch) // every)


def rmsprop(learning_rate: Rate, decay: Rate = 0.0) -> optax.GradientTransformation:
    """RMSprop whose learning rate falls as lr / (1 + decay t)."""
    return optax.chain(
        optax.scale_by_rms(0.9, eps=1e-7, eps_in_sqrt=False),
        optax.scale_by_learning_rate(inverse_time_decay(learning_rate, decay)),
    )


def momentum_sgd(learning_rate: Rate | optax.Schedule, momentum: Rate = 0.9) -> optax.GradientTransformation:
    """Gradient descent with heavy-ball momentum; a change of the rate acts on new gradients only."""
    return optax.chain(optax.scale_by_learning_rate(learning_rate), optax.trace(momentum))


def adam(learning_rate: Rate, decay: Rate = 0.0) -> optax.GradientTransformation:
    """Adam whose learning rate falls as lr / (1 + decay t)."""
    return optax.adam(inverse_time_decay(learning_rate, decay), eps=1e-7)
