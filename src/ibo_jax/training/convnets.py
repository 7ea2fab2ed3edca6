"""Convolutional networks with a dropout rate for each layer and noise on their inputs, to be tuned while they train.

References:
    [LeCunEtAl1998] Gradient-based learning applied to document recognition.
    [MacKayEtAl2019] Self-Tuning Networks. ICLR 2019; the network of section 4.2 from the authors' code.
"""

from flax import linen

from ibo_jax.training import layers
from ibo_jax.training.layers import Rate
from ibo_jax.training.networks import Conv
from ibo_jax.types import Array

__all__ = ["AlexNet", "LeNet"]


class LeNet(linen.Module):
    """Two convolutions 5 x 5, each with ReLU and max-pooling by 2, and a hidden dense layer [LeCunEtAl1998].

    Dropout of whole channels after the two, and of units after the hidden layer.

    Attributes:
        dropout: dropout rates of the two convolutions and of the hidden layer.
        noise: see `layers.scale_noise`.
    """

    classes: int
    filters: tuple[int, int] = (8, 16)
    units: int = 64
    dropout: tuple[Rate, Rate, Rate] = (0.0, 0.0, 0.0)
    noise: Rate = 0.0

    @linen.compact
    def __call__(self, inputs: Array, train: bool = False) -> Array:
        *conv_rates, dense_rate = self.dropout
        x = layers.scale_noise(self.make_rng("dropout"), inputs, self.noise) if train else inputs
        for layer, (filters, rate) in enumerate(zip(self.filters, conv_rates, strict=True)):
            x = linen.relu(layers.max_pool(Conv(filters, 5, use_bias=True, name=f"conv_{layer}")(x), 2))
            x = layers.dropout(self.make_rng("dropout"), x, rate, whole=True) if train else x
        x = linen.relu(linen.Dense(self.units, name="hidden")(x.reshape(len(x), -1)))
        x = layers.dropout(self.make_rng("dropout"), x, dense_rate) if train else x
        return linen.Dense(self.classes, name="output")(x)


class AlexNet(linen.Module):
    """The AlexNet-like network for 32 x 32 images [MacKayEtAl2019]: five convolutions 3 x 3 and two hidden layers.

    The first convolution has stride 2; max-pooling by 2 follows the first, the second and the last.

    Attributes:
        filters: numbers of filters of the convolutions.
        units: sizes of the two hidden layers.
        conv_dropout: dropout rates of whole channels, after each convolution.
        dense_dropout: dropout rates of units, before each hidden layer.
        input_dropout: dropout rate of pixels, in all of their channels.
        noise: see `layers.scale_noise`.
    """

    classes: int
    filters: tuple[int, int, int, int, int] = (64, 192, 384, 256, 256)
    units: int = 4096
    conv_dropout: tuple[Rate, Rate, Rate, Rate, Rate] = (0.0,) * 5
    dense_dropout: tuple[Rate, Rate] = (0.0, 0.0)
    input_dropout: Rate = 0.0
    noise: Rate = 0.0

    @linen.compact
    def __call__(self, inputs: Array, train: bool = False) -> Array:
        x = inputs
        if train:
            x = layers.scale_noise(self.make_rng("dropout"), x, self.noise)
            x *= layers.dropout(self.make_rng("dropout"), x[..., :1] * 0 + 1, self.input_dropout)
        for layer, (filters, rate) in enumerate(zip(self.filters, self.conv_dropout, strict=True)):
            x = linen.relu(Conv(filters, 3, 1 if layer else 2, use_bias=True, name=f"conv_{layer}")(x))
            x = layers.max_pool(x, 2) if layer in (0, 1, 4) else x
            x = layers.dropout(self.make_rng("dropout"), x, rate, whole=True) if train else x
        x = x.reshape(len(x), -1)
        for layer, rate in enumerate(self.dense_dropout):
            x = layers.dropout(self.make_rng("dropout"), x, rate) if train else x
            x = linen.relu(linen.Dense(self.units, name=f"hidden_{layer}")(x))
        return linen.Dense(self.classes, name="output")(x)
