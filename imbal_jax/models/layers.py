"""Linen layers over `imbal_jax.ops.conv`, with flax's parameter names and initialisers: weights are interchangeable."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from imbal_jax.errors import UserError, nearest
from imbal_jax.ops import conv as ops

INITIALIZERS = ("lecun_normal", "glorot_uniform")


def initializer(name: str) -> nn.initializers.Initializer:
    """Initial kernels by name: 'lecun_normal' (flax's default) or 'glorot_uniform' (that of Keras).

    Raises:
        UserError: another name.
    """
    if name not in INITIALIZERS:
        raise UserError(f"unknown initializer {name!r}{nearest(name, INITIALIZERS)}; known: {', '.join(INITIALIZERS)}")
    return getattr(nn.initializers, name)()


class Conv(nn.Module):
    """`flax.linen.Conv` for [B, H, W, C] or [B, T, C], computed in the chosen form.

    Attributes:
        features: output channels F.
        kernel_size: one number per spatial axis.
        strides: one number for all spatial axes.
        padding: 'SAME' or 'VALID'.
        form: 'gemm' or 'lax' (see `imbal_jax.ops.conv`).
        kernel_init: initialiser of the kernel.
    """

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
        return _add(ops.conv(x, kernel, stride=self.strides, padding=self.padding, form=self.form), bias)


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
        keep = jax.random.bits(self.make_rng("dropout"), x.shape, jnp.uint8) >= dropped
        return jnp.where(keep, x * (256 / (256 - dropped)), 0.0)


def _add(y: jax.Array, bias: jax.Array) -> jax.Array:
    return y + bias.reshape((1,) * (y.ndim - 1) + (-1,))
