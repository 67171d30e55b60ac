"""Batch normalisation with its activation, in few passes over memory: one for the moments, one for the result.

Ioffe, Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift", ICML 2015.
What reverse-mode differentiation makes of the separate steps reads and writes large images about twice as often.
"""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

Activation = Literal["", "relu", "swish"]


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def batch_norm(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, activation: Activation
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """activation((x - mean) / sqrt(variance + epsilon) * scale + bias), with the moments of all axes but the last.

    Args:
        x: [..., C], floating; sums and moments are in float32, whatever its dtype.
        scale: [C].
        bias: [C].
        epsilon: what keeps a constant channel finite.
        activation: '' (none), 'relu' or 'swish', u sigmoid(u).

    Returns:
        y (x's shape and dtype), mean and variance (float32 [C], divided by the count), which count as constants in gradients.
    """
    return _forward(x, scale, bias, epsilon, activation)[0]


def normalize(
    x: jax.Array,
    mean: jax.Array,
    variance: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    epsilon: float,
    activation: Activation,
) -> jax.Array:
    """The same with given moments, as in evaluation: plain operations."""
    factor, shift = _line(mean, lax.rsqrt(variance + epsilon), scale, bias)
    return _activated(x.astype(jnp.float32) * _wide(factor, x) + _wide(shift, x), activation).astype(x.dtype)


def _forward(x, scale, bias, epsilon, activation):
    axes, wide = tuple(range(x.ndim - 1)), x.astype(jnp.float32)
    count = x.size // x.shape[-1]
    mean = wide.sum(axes) / count
    variance = jnp.maximum((wide * wide).sum(axes) / count - mean * mean, 0)
    y = normalize(x, mean, variance, scale, bias, epsilon, activation)
    # Whoever reads y several times (a pool, the taps of a depthwise convolution) must not compute it as often.
    return (lax.optimization_barrier(y), mean, variance), (x, scale, bias, mean, variance)


def _backward(epsilon, activation, saved, cotangents):
    x, scale, bias, mean, variance = saved
    axes, count, wide = tuple(range(x.ndim - 1)), x.size // x.shape[-1], x.astype(jnp.float32)
    inverse = lax.rsqrt(variance + epsilon)
    factor, shift = _line(mean, inverse, scale, bias)
    du = cotangents[0].astype(jnp.float32) * _slope(wide * _wide(factor, x) + _wide(shift, x), activation)
    du = lax.optimization_barrier(du.astype(x.dtype)).astype(jnp.float32)  # made once, for the sums and for dx
    dbias = du.sum(axes)
    dscale = inverse * ((du * wide).sum(axes) - mean * dbias)
    slope, level = factor * inverse * dscale / count, factor * dbias / count
    dx = _wide(factor, x) * du - _wide(slope, x) * wide + _wide(slope * mean - level, x)
    return dx.astype(x.dtype), dscale.astype(scale.dtype), dbias.astype(bias.dtype)


batch_norm.defvjp(_forward, _backward)


def _line(mean: jax.Array, inverse: jax.Array, scale: jax.Array, bias: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Normalisation as x * factor + shift, both float32 [C]."""
    factor = scale.astype(jnp.float32) * inverse
    return factor, bias.astype(jnp.float32) - mean * factor


def _wide(a: jax.Array, x: jax.Array) -> jax.Array:
    return a.reshape((1,) * (x.ndim - 1) + (-1,))


def _activated(u: jax.Array, activation: Activation) -> jax.Array:
    return {"": lambda u: u, "relu": jax.nn.relu, "swish": jax.nn.swish}[activation](u)


def _slope(u: jax.Array, activation: Activation) -> jax.Array:
    """The activation's derivative."""
    if activation == "relu":
        return (u > 0).astype(u.dtype)
    if activation == "swish":
        gate = jax.nn.sigmoid(u)
        return gate * (1 + u * (1 - gate))
    return jnp.ones_like(u)
