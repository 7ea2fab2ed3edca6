"""Training of a hypernetwork and of the hyperparameters through it: two kinds of step on one state.

A *response* step moves the hypernet down the training loss at hyperparameters drawn around the current ones; a *hyper*
step moves the current ones down the validation loss of the network that the hypernet makes from them. Both losses are
supplied by the caller, on batches of any kind (put a key into the batch if a loss is random).

Lorraine and Duvenaud, "Stochastic Hyperparameter Optimization through Hypernetworks", arXiv 1802.09419 (2018).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ibo_jax.bilevel.hypernets import Hypernet
from ibo_jax.types import Array, Float, Int, PRNGKeyArray

__all__ = ["Conditional", "State", "Steps", "Update", "clipped", "everywhere", "global_update", "local_update",
           "nearby", "point_mass", "steps"]  # fmt: skip

Vector = Float[Array, "hyperparameter"]
Bound = float | Float[np.ndarray, "hyperparameter"]
Conditional = Callable[[PRNGKeyArray, Vector, int], Float[Array, "sample hyperparameter"]]
"""p(lambda given lambda-hat): key, lambda-hat, how many to draw."""


class State(NamedTuple):
    """What the next step needs; `lam` is lambda-hat, the current hyperparameters, `done` the number of updates."""

    phi: Any
    lam: Vector
    response_optimizer: Any
    hyper_optimizer: Any
    done: Int[Array, ""]


class Steps(NamedTuple):
    """The two kinds of step, as pure functions; compile the code that calls them.

    Attributes:
        init: `init(key, lam) -> state`.
        respond: `respond(key, state, batch) -> (state, loss)`: phi down the mean training loss of the drawn samples.
        tune: `tune(state, batch) -> (state, loss)`: lambda-hat down the validation loss.
    """

    init: Callable[[PRNGKeyArray, Vector], State]
    respond: Callable[[PRNGKeyArray, State, Any], tuple[State, Float[Array, ""]]]
    tune: Callable[[State, Any], tuple[State, Float[Array, ""]]]


Update = Callable[[PRNGKeyArray, State, Any, Any], tuple[State, tuple[Array, Array]]]
"""`update(key, state, train_batch, valid_batch) -> (state, (train_loss, valid_loss))`, NaN for a step not made."""


def steps(
    hypernet: Hypernet,
    train_loss: Callable[[Any, Vector, Any], Float[Array, ""]],
    valid_loss: Callable[[Any, Any], Float[Array, ""]],
    conditional: Conditional,
    response_optimizer: optax.GradientTransformation,
    hyper_optimizer: optax.GradientTransformation,
    *,
    samples: int = 2,
    bounds: tuple[Bound, Bound] = (-np.inf, np.inf),
) -> Steps:
    """The steps of one problem.

    Args:
        hypernet: from hyperparameters to parameters.
        train_loss: `train_loss(params, lam, batch)`, its regulariser included.
        valid_loss: `valid_loss(params, batch)`: it does not see the hyperparameters, so its gradient reaches them only
            through the hypernet.
        conditional: distribution over which the response is learnt.
        samples: hyperparameters drawn per response step.
        bounds: lambda-hat is moved back between them.

    Examples:
        >>> from ibo_jax.bilevel.hypernets import mlp
        >>> def train_loss(w, lam, batch):  # one weight that is drawn to 1 by data and to 0 by exp(lam)
        ...     return (w[0] - 1.0) ** 2 + jnp.exp(lam[0]) * w[0] ** 2
        >>> made = steps(mlp(lambda key: jnp.zeros(1), 1), train_loss, lambda w, batch: (w[0] - 0.5) ** 2,
        ...              everywhere(-2.0, 2.0), optax.adam(0.01), optax.adam(0.01))
        >>> state = made.init(jax.random.key(0), jnp.array([-1.0]))
        >>> update = jax.jit(global_update(made, 1000))
        >>> for key in jax.random.split(jax.random.key(1), 1500):
        ...     state, losses = update(key, state, None, None)
        >>> bool(abs(state.lam[0]) < 0.1)  # w = 1 / (1 + exp(lam)) is a half at 0
        True
    """

    def init(key: PRNGKeyArray, lam: Vector) -> State:
        phi = hypernet.init(key)
        return State(phi, lam, response_optimizer.init(phi), hyper_optimizer.init(lam), jnp.zeros((), jnp.int32))

    def respond(key: PRNGKeyArray, state: State, batch: Any) -> tuple[State, Array]:
        drawn = conditional(key, state.lam, samples)

        def objective(phi: Any) -> Array:
            return jnp.mean(jax.vmap(lambda lam: train_loss(hypernet.apply(phi, lam), lam, batch))(drawn))

        loss, gradient = jax.value_and_grad(objective)(state.phi)
        updates, optimizer = response_optimizer.update(gradient, state.response_optimizer, state.phi)
        return state._replace(phi=optax.apply_updates(state.phi, updates), response_optimizer=optimizer), loss

    def tune(state: State, batch: Any) -> tuple[State, Array]:
        loss, gradient = jax.value_and_grad(lambda lam: valid_loss(hypernet.apply(state.phi, lam), batch))(state.lam)
        updates, optimizer = hyper_optimizer.update(gradient, state.hyper_optimizer, state.lam)
        moved = jnp.clip(optax.apply_updates(state.lam, updates), *bounds).astype(state.lam.dtype)  # type: ignore[arg-type]
        lam = jnp.where(jnp.isfinite(moved), moved, state.lam)  # if phi diverges, lambda-hat stays a valid answer
        return state._replace(lam=lam, hyper_optimizer=optimizer), loss

    return Steps(init, respond, tune)


def global_update(made: Steps, responses: int) -> Update:
    """First `responses` response steps, then hyper steps only (Algorithm 2); for `everywhere`.

    The printed algorithm uses lambda-hat in the response step; its text draws samples, and so does this function.
    """

    def respond(key: PRNGKeyArray, state: State, train: Any, valid: Any) -> tuple[State, tuple[Array, Array]]:
        del valid
        state, loss = made.respond(key, state, train)
        return state, (loss.astype(float), jnp.array(jnp.nan, float))

    def tune(key: PRNGKeyArray, state: State, train: Any, valid: Any) -> tuple[State, tuple[Array, Array]]:
        del key, train
        state, loss = made.tune(state, valid)
        return state, (jnp.array(jnp.nan, float), loss.astype(float))  # losses may differ in type

    def update(key: PRNGKeyArray, state: State, train: Any, valid: Any) -> tuple[State, tuple[Array, Array]]:
        state, losses = jax.lax.cond(state.done < responses, respond, tune, key, state, train, valid)
        return state._replace(done=state.done + 1), losses

    return update


def local_update(made: Steps) -> Update:
    """A response step and a hyper step (Algorithm 3); with `point_mass` the simplified Algorithm 4."""

    def update(key: PRNGKeyArray, state: State, train: Any, valid: Any) -> tuple[State, tuple[Array, Array]]:
        state, train_loss = made.respond(key, state, train)
        state, valid_loss = made.tune(state, valid)
        return state._replace(done=state.done + 1), (train_loss, valid_loss)

    return update


def everywhere(low: Bound, high: Bound) -> Conditional:
    """Uniform between the bounds, wherever lambda-hat is."""
    return lambda key, lam, count: jax.random.uniform(key, (count, len(lam)), jnp.float32, low, high)


def nearby(scale: float) -> Conditional:
    """Normal around lambda-hat, with standard deviation `scale`."""
    return lambda key, lam, count: lam[None] + scale * jax.random.normal(key, (count, len(lam)), jnp.float32)


def point_mass(key: PRNGKeyArray, lam: Vector, count: int) -> Float[Array, "sample hyperparameter"]:
    """Lambda-hat itself."""
    del key
    return jnp.broadcast_to(lam, (count, len(lam)))


def clipped(conditional: Conditional, low: Bound, high: Bound) -> Conditional:
    """What falls outside goes to the bound: where a loss means nothing beyond it, as of a dropout rate."""
    return lambda key, lam, count: jax.vmap(lambda sample: jnp.clip(sample, low, high).astype(sample.dtype))(
        conditional(key, lam, count)
    )
