"""Linen layers over `imbal_jax.ops.conv`, with flax's parameter names and initialisers: weights are interchangeable."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from imbal_jax.errors import UserError, nearest
from imbal_jax.ops import conv as ops
from imbal_jax.ops.batch_norm import Activation, batch_norm, normalize
from imbal_jax.ops.depthwise import depthwise

INITIALIZERS = ("lecun_normal", "glorot_uniform", "he_normal", "he_fan_out")


def initializer(name: str) -> nn.initializers.Initializer:
    """Initial kernels by name.

    Args:
        name: 'lecun_normal' (flax's default), 'glorot_uniform' (that of Keras), 'he_normal' (He et al. 2015) or 'he_fan_out'
            (the same by the number of outputs: EfficientNet's).

    Raises:
        UserError: another name.
    """
    if name not in INITIALIZERS:
        raise UserError(f"unknown initializer {name!r}{nearest(name, INITIALIZERS)}; known: {', '.join(INITIALIZERS)}")
    if name == "he_fan_out":
        return nn.initializers.variance_scaling(2.0, "fan_out", "truncated_normal")
    return getattr(nn.initializers, name)()


def scaled(n: int, width: float) -> int:
    """n channels times a width, rounded; at least one."""
    return max(1, round(n * width))


def leaky_relu(x: jax.Array) -> jax.Array:
    """LeakyReLU with the slope 0.2 that GANs have below zero."""
    return nn.leaky_relu(x, 0.2)


class Conv(nn.Module):
    """`flax.linen.Conv` for [B, H, W, C] or [B, T, C], computed in the chosen form.

    Attributes:
        features: output channels F.
        kernel_size: one number per spatial axis.
        strides: one number for all spatial axes.
        padding: 'SAME' or 'VALID'.
        form: 'gemm' or 'lax' (see `imbal_jax.ops.conv`).
        kernel_init: initialiser of the kernel.
        use_bias: whether there is a bias.
    """

    features: int
    kernel_size: Sequence[int]
    strides: int = 1
    padding: ops.Padding = "SAME"
    form: ops.Form = "gemm"
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", self.kernel_init, (*self.kernel_size, x.shape[-1], self.features))
        y = ops.conv(x, kernel, stride=self.strides, padding=self.padding, form=self.form)
        return _add(y, self.param("bias", nn.initializers.zeros_init(), (self.features,))) if self.use_bias else y


class DepthwiseConv(nn.Module):
    """`flax.linen.Conv` with as many features and groups as x has channels, without a bias.

    For [B, H, W, C] or [B, T, C]; attributes as in `Conv`. The kernel is [kh, kw, 1, C] or [k, 1, C], as flax has it.
    """

    kernel_size: Sequence[int]
    strides: int = 1
    padding: ops.Padding = "SAME"
    form: ops.Form = "gemm"
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", self.kernel_init, (*self.kernel_size, 1, x.shape[-1]))
        return depthwise(x, kernel[..., 0, :], stride=self.strides, padding=self.padding, form=self.form)


class ConvTranspose(nn.Module):
    """`flax.linen.ConvTranspose` for [B, H, W, C] or [B, T, C]; attributes as in `Conv`."""

    features: int
    kernel_size: Sequence[int]
    strides: int = 1
    padding: ops.Padding = "SAME"
    form: ops.Form = "gemm"
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", self.kernel_init, (*self.kernel_size, x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        return _add(ops.conv_transpose(x, kernel, stride=self.strides, padding=self.padding, form=self.form), bias)


class Dropout(nn.Module):
    """`flax.linen.Dropout` on 8 random bits a number instead of 32, for the bits are what dropout costs.

    Attributes:
        rate: the share of numbers set to zero; rounded to a multiple of 1 / 256.
    """

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """As it is when not training; else needs a 'dropout' key, and what stays is divided by 1 - rate."""
        if not train:
            return x
        dropped = round(self.rate * 256)
        return jnp.where(_bytes(self.make_rng("dropout"), x.shape) >= dropped, x * (256 / (256 - dropped)), 0.0)


def _bytes(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Random numbers 0 .. 255, uint32 of that shape: four from each random word. Asked for bytes, jax draws a word for each."""
    words = jax.random.bits(key, (*shape[:-1], -(-shape[-1] // 4)))
    return jnp.concatenate([words >> shift & 255 for shift in (0, 8, 16, 24)], axis=-1)[..., : shape[-1]]


class BatchNorm(nn.Module):
    """`flax.linen.BatchNorm` over all axes but the last, with the activation that follows; names and values are flax's.

    Running averages are float32, in the collection 'batch_stats', mutable in training.

    Attributes:
        momentum: what an average keeps of itself at each step.
        epsilon: added to the variance.
        activation: '', 'relu' or 'swish'.
    """

    momentum: float = 0.99
    epsilon: float = 1e-5
    activation: Activation = ""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[..., C] -> the same shape and dtype: by the batch's own moments when training, else by the running averages."""
        mean = self.variable("batch_stats", "mean", jnp.zeros, (x.shape[-1],), jnp.float32)
        variance = self.variable("batch_stats", "var", jnp.ones, (x.shape[-1],), jnp.float32)
        scale = self.param("scale", nn.initializers.ones_init(), (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros_init(), (x.shape[-1],))
        if not train:
            return normalize(x, mean.value, variance.value, scale, bias, self.epsilon, self.activation)
        y, *moments = batch_norm(x, scale, bias, self.epsilon, self.activation)
        if not self.is_initializing():
            for average, now in zip((mean, variance), moments, strict=True):
                average.value = self.momentum * average.value + (1 - self.momentum) * now
        return y


class ConvNorm(nn.Module):
    """Convolution without a bias -> batch normalisation -> activation.

    Attributes: as in `Conv` and `BatchNorm`.
    """

    features: int
    kernel_size: Sequence[int]
    strides: int
    activation: Activation
    form: ops.Form
    kernel_init: nn.initializers.Initializer
    momentum: float
    epsilon: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[B, H, W, C] or [B, T, C] -> the same with F channels, the spatial axes divided by the strides and rounded up."""
        conv = Conv(self.features, self.kernel_size, self.strides, form=self.form, kernel_init=self.kernel_init, use_bias=False)
        return BatchNorm(self.momentum, self.epsilon, self.activation)(conv(x), train)


class StochasticDepth(nn.Module):
    """Whole examples are set to zero in training: a residual branch's output, so that they skip the block.

    Huang, Sun, Liu, Sedra, Weinberger, "Deep Networks with Stochastic Depth", ECCV 2016.

    Attributes:
        rate: the probability.
    """

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[B, ...] as it is when not training; else needs a 'dropout' key, and what stays is divided by 1 - rate."""
        if not train or self.rate == 0:
            return x
        keep = jax.random.bernoulli(self.make_rng("dropout"), 1 - self.rate, (x.shape[0], *[1] * (x.ndim - 1)))
        return x * (keep / (1 - self.rate)).astype(x.dtype)


def _add(y: jax.Array, bias: jax.Array) -> jax.Array:
    return y + bias.reshape((1,) * (y.ndim - 1) + (-1,))
