"""A character-level language model: an LSTM whose gates are dense layers, with the usual regularisers to be tuned.

References:
    [GalGhahramani2016] A theoretically grounded application of dropout in recurrent neural networks. NeurIPS 2016.
    [MerityEtAl2018] Regularizing and optimizing LSTM language models. ICLR 2018; the activation regularisers.
"""

import jax.numpy as jnp
from flax import linen
from jax.nn import one_hot, sigmoid

from ibo_jax.training import layers
from ibo_jax.training.layers import Penalised, Rate
from ibo_jax.types import Array

__all__ = ["CharacterLSTM"]

Carry = tuple[Array, Array]


class CharacterLSTM(linen.Module):
    """Embedding, LSTM layers and a dense layer: logits of the next character at every place of a window.

    Each dropout mask belongs to one example and stays the same over time ("locked") [GalGhahramani2016]. Inputs are
    windows (example, time) of whole numbers of any type; the state starts at zero in each. In training the logits come
    with the penalties of AR and TAR.

    Attributes:
        dropout_input: dropout rate of the embedding.
        dropout_recurrent: dropout rate of the state as it enters its own next step.
        dropout_output: dropout rate of each layer's outputs.
        activity: weight of the mean square of the last layer's outputs after dropout (AR) [MerityEtAl2018].
        change: weight of their change over time before dropout (TAR).
    """

    classes: int
    units: int = 64
    layers: int = 1
    dropout_input: Rate = 0.0
    dropout_recurrent: Rate = 0.0
    dropout_output: Rate = 0.0
    activity: Rate = 0.0
    change: Rate = 0.0

    @linen.compact
    def __call__(self, inputs: Array, train: bool = False) -> Array | Penalised:
        def dropped(values: Array, rate: Rate) -> Array:
            return layers.dropout(self.make_rng("dropout"), values, rate, whole=True) if train else values

        characters = one_hot(inputs.astype(jnp.int32), self.classes, dtype=jnp.float32)  # times a matrix: an embedding
        x = outputs = linen.Dense(self.units, use_bias=False, name="embed")(characters)
        x = dropped(x, self.dropout_input)
        for layer in range(self.layers):
            mask = dropped(jnp.ones((len(x), self.units), jnp.float32), self.dropout_recurrent)
            gates = linen.Dense(4 * self.units, name=f"input_{layer}")(x)
            outputs = _over_time(self.units, name=f"recurrent_{layer}")((jnp.zeros_like(mask),) * 2, gates, mask)[1]
            x = dropped(outputs, self.dropout_output)
        logits = linen.Dense(self.classes, name="output")(x)
        if not train:
            return logits
        activity = layers.of_examples(self.activity, x) * x**2
        change = layers.of_examples(self.change, x) * jnp.diff(outputs, axis=1) ** 2
        changes = max(1, change[0].size)  # a single character has no changes
        return Penalised(logits, jnp.mean(activity, (1, 2)) + jnp.sum(change, (1, 2)) / changes)


class _Step(linen.Module):
    """One step in time; `gates` is what the inputs add to the four gates (input, forget, candidate, output)."""

    units: int

    @linen.compact
    def __call__(self, carry: Carry, gates: Array, mask: Array) -> tuple[Carry, Array]:
        cell, state = carry
        initialise = linen.initializers.orthogonal()
        gates += linen.Dense(4 * self.units, use_bias=False, kernel_init=initialise, name="state")(mask * state)
        enter, forget, candidate, leave = jnp.split(gates, 4, -1)
        cell = sigmoid(forget + 1) * cell + sigmoid(enter) * jnp.tanh(candidate)
        state = sigmoid(leave) * jnp.tanh(cell)
        return (cell, state), state


_over_time = linen.scan(
    _Step, variable_broadcast="params", split_rngs={"params": False}, in_axes=(1, linen.broadcast), out_axes=1
)
