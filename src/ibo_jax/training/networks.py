"""Networks as pairs of pure functions, and the Flax modules that the built-in problems train.

`Network` is all that the trainer knows; `as_network` makes one of a Flax Linen module and `from_nnx` of a Flax NNX
one. Examples must not influence one another (no batch normalisation): importance sampling scores them one by one.

References:
    [AriafarEtAl2021] Faster & more reliable tuning of neural networks: Bayesian optimization with importance sampling.
        AISTATS 2021; the networks of sections 4.1-4.3 and appendix D.
    [ZagoruykoKomodakis2016] Wide residual networks. BMVC 2016.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen, nnx
from jax import lax

from ibo_jax.training import layers
from ibo_jax.training.convolution import conv
from ibo_jax.training.layers import Penalised, Rate
from ibo_jax.types import Array, Float, PRNGKeyArray

__all__ = ["CNN", "MLP", "Network", "WideResNet", "as_network", "from_nnx", "squared_kernels"]

Params = Any


class Network(NamedTuple):
    """A network as two pure functions.

    Attributes:
        init: `init(key, inputs) -> params`, for one batch of inputs of the right shape.
        apply: `apply(params, inputs, *, train, key) -> logits (example, class_)`; `key` feeds dropout while `train`
            and may be None otherwise. In training it may return `layers.Penalised`, to penalise activations.
    """

    init: Callable[[PRNGKeyArray, Array], Params]
    apply: Callable[..., Array | Penalised]


def as_network(module: Any) -> Network:
    """The `Network` of a Flax Linen module; a `Network` is returned as it is.

    The module is called with `(inputs)` and, where it has such a parameter, `train`, `training`, `is_train`,
    `is_training` or `deterministic`.

    Examples:
        >>> network = as_network(MLP(classes=10, units=16, layers=2))
        >>> params = network.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
        >>> network.apply(params, jnp.zeros((3, 8, 8, 1)), train=False, key=None).shape
        (3, 10)

    Raises:
        TypeError: it is neither.
        ValueError: the module keeps state besides its parameters, as batch normalisation does (raised on `init`).
    """
    if isinstance(module, Network):
        return module
    if not isinstance(module, linen.Module):
        raise TypeError(
            f"expected a Flax Linen module or a Network(init, apply), got {type(module).__name__}; wrap two functions "
            "in Network, or an NNX module as from_nnx(lambda rngs: MyModule(..., rngs=rngs))"
        )

    def flags(train: bool) -> dict[str, Any]:
        return {name: flag for name, flag in _flags(module, train).items() if getattr(module, name, None) is None}

    def init(key: PRNGKeyArray, inputs: Array) -> Params:
        variables = module.init(key, inputs, **flags(False))
        _refuse_state(type(module).__name__, set(variables) - {"params"})
        return variables.get("params", {})

    def apply(params: Params, inputs: Array, *, train: bool, key: PRNGKeyArray | None) -> Array | Penalised:
        rngs = {"dropout": key} if train and key is not None else None
        return module.apply({"params": params}, inputs, rngs=rngs, **flags(train))  # type: ignore[return-value]

    return Network(init, apply)


def from_nnx(build: Callable[[nnx.Rngs], nnx.Module]) -> Network:
    """The `Network` of a Flax NNX module, given as the function that builds it from its `rngs`.

    The module is rebuilt inside every trace and its weights replaced; none of this reaches the compiled program. It is
    called with `(inputs)` and with whichever of `train`, `training`, `is_train`, `is_training` and `deterministic` it
    takes; the attribute `deterministic` of its layers is set as well.

    Examples:
        >>> network = from_nnx(lambda rngs: nnx.Linear(4, 3, rngs=rngs))
        >>> params = network.init(jax.random.key(0), jnp.zeros((1, 4)))
        >>> network.apply(params, jnp.zeros((2, 4)), train=False, key=None).shape
        (2, 3)
    """

    def init(key: PRNGKeyArray, inputs: Array) -> Params:
        del inputs
        _, params, rest = nnx.split(build(nnx.Rngs(key)), nnx.Param, ...)  # type: ignore[misc]
        states = {type(variable).__name__ for _, variable in nnx.to_flat_state(rest)}
        _refuse_state("the NNX module", {name for name in states if not name.startswith("Rng")})
        return nnx.to_pure_dict(params)

    def apply(params: Params, inputs: Array, *, train: bool, key: PRNGKeyArray | None) -> Array | Penalised:
        module = build(nnx.Rngs(jax.random.key(0) if key is None else key))
        nnx.update(module, params)
        module.set_attributes(deterministic=not train, raise_if_not_found=False)
        return module(inputs, **_flags(module, train))  # type: ignore[operator]

    return Network(init, apply)


class MLP(linen.Module):
    """Hidden layers of equal width with ReLU and dropout after each, on flattened inputs [AriafarEtAl2021, appendix D].

    The dropout rate, of all layers or one for each, may be traced; width and depth are static.
    """

    classes: int
    units: int = 128
    layers: int = 2
    dropout: Rate | tuple[Rate, ...] = 0.0

    @linen.compact
    def __call__(self, inputs: Array, train: bool = False) -> Array:
        x = inputs.reshape(len(inputs), -1)
        rates = self.dropout if isinstance(self.dropout, tuple) else (self.dropout,) * self.layers
        for layer, rate in zip(range(self.layers), rates, strict=True):
            x = linen.relu(_dense(self.units, name=f"hidden_{layer}")(x))
            if train and not _is_zero(rate):
                x = layers.dropout(self.make_rng("dropout"), x, rate)
        return _dense(self.classes, name="output")(x)


class CNN(linen.Module):
    """Three times convolution 5 x 5, ReLU and max-pooling by 3, then a hidden dense layer [AriafarEtAl2021, 4.1]."""

    classes: int
    filters: int = 32
    units: int = 128

    @linen.compact
    def __call__(self, inputs: Array) -> Array:
        x = _check_images(inputs)
        for layer in range(3):
            x = Conv(
                self.filters, 5, use_bias=True, initialise=linen.initializers.glorot_uniform(), name=f"conv_{layer}"
            )(x)
            x = linen.relu(layers.max_pool(x, 3))  # pooled first: the same function, a ninth of the work
        x = linen.relu(_dense(self.units, name="hidden")(x.reshape(len(x), -1)))
        return _dense(self.classes, name="output")(x)


class WideResNet(linen.Module):
    """Pre-activation wide residual network with LayerNorm, WRN-depth-widen [ZagoruykoKomodakis2016], no dropout.

    Three groups of (depth - 4) / 6 blocks with 16, 32, 64 times `widen` filters, the last two halving the image; a
    1 x 1 projection of the raw block input where shapes differ; no biases in convolutions [AriafarEtAl2021, 4.2].
    """

    classes: int
    depth: int = 28
    widen: int = 2

    @linen.compact
    def __call__(self, inputs: Array) -> Array:
        blocks, remainder = divmod(self.depth - 4, 6)
        if remainder or blocks < 1:
            raise ValueError(f"expected a depth of 6 n + 4 (10, 16, 22, 28, ...), got {self.depth}; choose one of them")
        x = Conv(16, 3, name="conv")(_check_images(inputs))
        for group in range(3):
            for block in range(blocks):
                stride = 2 if group and not block else 1
                x = _Block(16 * 2**group * self.widen, stride, name=f"block_{group}_{block}")(x)
        x = linen.relu(LayerNorm(name="norm")(x)).mean((1, 2))
        return _dense(self.classes, name="output")(x)


class Conv(linen.Module):
    """`convolution.conv` with its parameters: `filters` kernels of `window` x `window` pixels."""

    filters: int
    window: int
    stride: int = 1
    use_bias: bool = False
    initialise: linen.initializers.Initializer = linen.initializers.he_normal()

    @linen.compact
    def __call__(self, inputs: Array) -> Array:
        shape = (self.window, self.window, inputs.shape[-1], self.filters)
        kernel = self.param("kernel", self.initialise, shape, jnp.float32)
        x = conv(inputs, kernel.astype(inputs.dtype), self.stride)
        if not self.use_bias:
            return x
        bias = self.param("bias", linen.initializers.zeros, (self.filters,), jnp.float32).astype(x.dtype)
        return x + lax.broadcast_to_rank(bias, x.ndim)


class LayerNorm(linen.Module):
    """`layers.layer_norm` with its parameters: one gain and a bias a channel."""

    @linen.compact
    def __call__(self, inputs: Array) -> Array:
        gain = self.param("gain", linen.initializers.ones, (), jnp.float32)
        bias = self.param("bias", linen.initializers.zeros, (inputs.shape[-1],), jnp.float32)
        return layers.layer_norm(inputs, gain, bias)


class _Block(linen.Module):
    filters: int
    stride: int

    @linen.compact
    def __call__(self, inputs: Array) -> Array:
        x = linen.relu(LayerNorm(name="norm_0")(inputs))
        x = Conv(self.filters, 3, self.stride, name="conv_0")(x)
        x = linen.relu(LayerNorm(name="norm_1")(x))
        x = Conv(self.filters, 3, name="conv_1")(x)
        if inputs.shape != x.shape:
            inputs = Conv(self.filters, 1, self.stride, name="projection")(inputs)
        return inputs + x


def squared_kernels(params: Params, *, exclude: str = "") -> Float[Array, ""]:
    """Sum of squares of all kernels except those of the layers named `exclude`; biases and gains do not count.

    Times a weight it is Keras' L2 penalty.

    Examples:
        >>> params = {"hidden": {"kernel": jnp.full((2,), 3.0), "bias": jnp.ones(2)}, "output": {"kernel": jnp.ones(4)}}
        >>> float(squared_kernels(params)), float(squared_kernels(params, exclude="output"))
        (22.0, 18.0)

    Raises:
        ValueError: no parameter is named "kernel".
    """
    total, found = jnp.zeros((), jnp.float32), False
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        names = [getattr(entry, "key", None) for entry in path]
        if names[-1:] == ["kernel"]:
            found = True
            if exclude not in names:
                total += jnp.sum(jnp.square(leaf), dtype=jnp.float32)
    if not found:
        raise ValueError(f"expected parameters with layers that have a 'kernel', as those of Flax, got "
                         f"{jax.tree.map(jnp.shape, params)}; sum the squares of your own")  # fmt: skip
    return total


def _flags(module: Any, train: bool) -> dict[str, Any]:
    """Whether it is trained, by the names that the module has for it."""
    taken = inspect.signature(type(module).__call__).parameters
    known = {"deterministic": not train} | dict.fromkeys(("train", "training", "is_train", "is_training"), train)
    return {name: flag for name, flag in known.items() if name in taken}


def _dense(features: int, name: str) -> linen.Dense:
    return linen.Dense(features, kernel_init=linen.initializers.glorot_uniform(), name=name)


def _is_zero(rate: Rate) -> bool:
    return isinstance(rate, int | float) and rate == 0


def _check_images(inputs: Array) -> Array:
    if inputs.ndim != 4:
        raise ValueError(
            f"expected images (example, height, width, channel), got shape {inputs.shape}; "
            "add a channel axis with inputs[..., None] or use the MLP"
        )
    return inputs


def _refuse_state(name: str, kinds: set[str]) -> None:
    if kinds:
        raise ValueError(
            f"expected {name} to hold parameters only, got also {sorted(kinds)}; layers with running statistics "
            "(batch normalisation) couple the examples, use LayerNorm or GroupNorm"
        )
