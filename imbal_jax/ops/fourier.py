"""Correlation of long 1-D kernels by discrete Fourier transforms that are matrix products.

A kernel of k taps between C and F channels costs k C F products an output sample; in the frequency domain it costs 3 C F,
and the transforms, which are small dense matrices here, about 2 n (C + F) for n samples. XLA's own FFT gains nothing at a few
hundred samples and stops the lanes from sharing large products; a matrix product is fast in loops and over lanes, and so
are its derivatives of any order.

Mathieu, Henaff, LeCun, "Fast Training of Convolutional Networks through FFTs", ICLR 2014.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

LONG = 16  # taps


class Transforms(NamedTuple):
    """Real matrices of the transforms of length n, float32; J = n // 2 + 1 frequencies."""

    cosine: np.ndarray  # [J, n]
    sine: np.ndarray  # [J, n]
    back_cosine: np.ndarray  # [n, J], what gives samples of the real parts
    back_sine: np.ndarray  # [n, J], of the imaginary parts


@lru_cache(maxsize=16)
def transforms(n: int) -> Transforms:
    """The matrices for n samples."""
    turn = 2 * np.pi * (np.outer(np.arange(n // 2 + 1), np.arange(n)) % n) / n
    weight = np.full((n // 2 + 1, 1), 2.0 / n)  # each frequency stands for its negative too, but for the first
    weight[0] = 1.0 / n
    if n % 2 == 0:
        weight[-1] = 1.0 / n
    both = np.cos(turn), np.sin(turn)
    matrices = (*both, (weight * both[0]).T, -(weight * both[1]).T)
    return Transforms(*(m.astype(np.float32) for m in matrices))


def worth(x: jax.Array, kernel: jax.Array, stride: int | Sequence[int]) -> bool:
    """Whether `correlate` is faster than patches (measured on a CPU; products for each sample and example are compared).

    Args:
        x: [B, T, C]; images are never worth it.
        kernel: [k, C, F].
        stride: must be 1.
    """
    if x.ndim != 3 or kernel.shape[0] < LONG or stride not in (1, (1,), [1]):
        return False
    taps, c, f = kernel.shape
    direct, here = taps * c * f, (x.shape[1] + taps - 1) * (c + f) + 3 * c * f // 2
    return min(c, f) > 1 and here <= direct * taps / 8  # patches of long kernels move much memory


def correlate(x: jax.Array, w: jax.Array, before: int, out: int) -> jax.Array:
    """y[b, t, f] = sum over u and c of x[b, t + u - before, c] w[u, c, f], x being zero outside.

    Args:
        x: [B, T, C], floating; computed in float32.
        w: [k, C, F], same dtype.
        before: zeros before the first sample, not negative.
        out: samples of y.

    Returns:
        [B, out, F].
    """
    many, length, c = x.shape
    kind, x, w = x.dtype, x.astype(jnp.float32), w.astype(jnp.float32)
    taps, _, f = w.shape
    # The shortest circle on which what wraps round meets zeros alone.
    n = max(before + length, out + taps - 1 - before, out, taps)
    table = transforms(n)
    samples = x.transpose(1, 0, 2).reshape(length, many * c)
    real, imaginary = (
        jnp.matmul(m[:, before : before + length], samples).reshape(-1, many, c) for m in (table.cosine, -table.sine)
    )
    w_real, w_conjugate = (jnp.matmul(m[:, :taps], w.reshape(taps, c * f)).reshape(-1, c, f) for m in table[:2])
    both = (real + imaginary) @ w_real  # three real products make a complex one
    y_real, y_imaginary = both - imaginary @ (w_real + w_conjugate), both + real @ (w_conjugate - w_real)
    parts = (table.back_cosine[:out], y_real), (table.back_sine[:out], y_imaginary)
    y, rest = (jnp.matmul(matrix, part.reshape(-1, many * f)) for matrix, part in parts)
    return (y + rest).reshape(out, many, f).transpose(1, 0, 2).astype(kind)
