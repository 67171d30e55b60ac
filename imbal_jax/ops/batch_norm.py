"""Batch normalisation with its activation, in few passes over memory: two for the moments, one for the result.

Ioffe, Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift", ICML 2015.
Reverse-mode differentiation of the separate steps reads and writes large images about twice as often.

The variance is the mean of (x - mean)^2: E[x^2] - E[x]^2 loses (mean / sd)^2 of float32's digits, all of them from a ratio of
3,000 on. The mean is summed about a value near it, for a float32 sum of many large numbers drifts as well.
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
    factor = scale.astype(jnp.float32) * lax.rsqrt(variance + epsilon)
    return _activated(_line(_centred(x, mean), factor, bias), activation).astype(x.dtype)


def _forward(x, scale, bias, epsilon, activation):
    mean, variance = moments(x)
    y = normalize(x, mean, variance, scale, bias, epsilon, activation)
    # Whoever reads y several times (a pool, the taps of a depthwise convolution) must not compute it as often.
    return (lax.optimization_barrier(y), mean, variance), (x, scale, bias, mean, variance)


def moments(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and variance (divided by the count) of all axes of x [..., C] but the last, float32 [C]."""
    axes, count = tuple(range(x.ndim - 1)), x.size // x.shape[-1]
    # The central position of every example: where a batch is divided among devices, each has a part of it.
    near = x[(slice(None), *(size // 2 for size in x.shape[1:-1]))].astype(jnp.float32).mean(0)
    mean = near + _centred(x, near).sum(axes) / count
    return mean, (_centred(x, mean) ** 2).sum(axes) / count


def _backward(epsilon, activation, saved, cotangents):
    x, scale, bias, mean, variance = saved
    axes, count = tuple(range(x.ndim - 1)), x.size // x.shape[-1]
    inverse = lax.rsqrt(variance + epsilon)
    factor = scale.astype(jnp.float32) * inverse
    du = cotangents[0].astype(jnp.float32) * _slope(_line(_centred(x, mean), factor, bias), activation)
    du = lax.optimization_barrier(du.astype(x.dtype)).astype(jnp.float32)  # made once, for the sums and for dx
    dbias = du.sum(axes)
    # After the other sum, not in the same loop: a CPU is three times as slow with both in one loop once x is centred.
    after, _ = lax.optimization_barrier((mean, dbias))
    dscale = inverse * (du * _centred(x, after)).sum(axes)
    slope, level = factor * inverse * dscale / count, factor * dbias / count
    dx = _wide(factor, x) * du - _wide(slope, x) * x.astype(jnp.float32) + _wide(slope * mean - level, x)
    return dx.astype(x.dtype), dscale.astype(scale.dtype), dbias.astype(bias.dtype)


batch_norm.defvjp(_forward, _backward)


def _centred(x: jax.Array, at: jax.Array) -> jax.Array:
    """x - at, float32."""
    return x.astype(jnp.float32) - _wide(at, x)


def _line(centred: jax.Array, factor: jax.Array, bias: jax.Array) -> jax.Array:
    """x - mean, scaled and moved. With the mean inside the bias, x and mean would be rounded before they are subtracted."""
    return centred * _wide(factor, centred) + _wide(bias.astype(jnp.float32), centred)


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
