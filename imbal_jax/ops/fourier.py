"""Correlation of long 1-D kernels by discrete Fourier transforms that are matrix products.

A kernel of k taps between C and F channels costs k C F products an output sample; in the frequency domain it costs 3 C F,
and the transforms, which are small dense matrices here, about n (C + F) for n samples. XLA's own FFT is no faster at a few
hundred samples and stops the lanes from sharing large products; a matrix product is fast in loops and over lanes, and so
are its derivatives of any order.

Everything is float32, whatever the dtype of the arrays, and the products ask for all of float32's digits: rounded to TF32,
the default of a GPU, the transforms' error would be several times that of a plain product (docs/precision.md).

Mathieu, Henaff, LeCun, "Fast Training of Convolutional Networks through FFTs", ICLR 2014.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

LONG = 16  # taps
matmul = partial(jnp.matmul, precision=lax.Precision.HIGHEST)


class Transforms(NamedTuple):
    """Real matrices of the transforms of length n, float32.

    The cosines of samples t and n - t are equal and their sines opposite, so sums and differences of the two are
    transformed: matrices of half the size. J = n // 2 + 1 frequencies, as many sums (samples 0 and n / 2 stand alone),
    P = (n - 1) // 2 pairs.
    """

    cosine: np.ndarray  # [J, J], sums -> real parts
    sine: np.ndarray  # [J, P], differences -> imaginary parts
    back_cosine: np.ndarray  # [J, J], real parts -> half the sums
    back_sine: np.ndarray  # [P, J], imaginary parts -> half the differences


@lru_cache(maxsize=16)
def transforms(n: int) -> Transforms:
    """The matrices for n samples."""
    half, pairs = n // 2 + 1, (n - 1) // 2
    turn = 2 * np.pi * (np.outer(np.arange(half), np.arange(half)) % n) / n
    weight = np.full((half, 1), 2.0 / n)  # each frequency but the first represents its negative, too
    weight[0] = 1.0 / n
    if n % 2 == 0:
        weight[-1] = 1.0 / n
    cosine, sine = np.cos(turn), -np.sin(turn)[:, 1 : pairs + 1]
    matrices = (cosine, sine, (weight * cosine).T, (weight * sine).T)
    return Transforms(*(m.astype(np.float32) for m in matrices))


def spectrum(x: jax.Array, n: int) -> tuple[jax.Array, jax.Array]:
    """Real and imaginary parts [J, M] of the discrete Fourier transforms of the columns of x, float32 [n, M]."""
    table, pairs = transforms(n), (n - 1) // 2
    first, mirrored = x[1 : pairs + 1], x[n - pairs :][::-1]
    sums = jnp.concatenate([x[:1], first + mirrored, x[pairs + 1 : n // 2 + 1]])
    return matmul(table.cosine, sums), matmul(table.sine, first - mirrored)


def samples(real: jax.Array, imaginary: jax.Array, n: int) -> jax.Array:
    """The inverse of `spectrum`: [J, M] twice -> float32 [n, M]."""
    table, pairs = transforms(n), (n - 1) // 2
    even, odd = matmul(table.back_cosine, real), matmul(table.back_sine, imaginary)
    middle = even[1 : pairs + 1]
    return jnp.concatenate([even[:1], middle + odd, even[pairs + 1 :], (middle - odd)[::-1]])


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
    columns = jnp.pad(x.transpose(1, 0, 2).reshape(length, many * c), ((before, n - before - length), (0, 0)))
    real, imaginary = (part.reshape(-1, many, c) for part in spectrum(columns, n))
    kernel = jnp.pad(w.reshape(taps, c * f), ((0, n - taps), (0, 0)))
    w_real, w_conjugate = (part.reshape(-1, c, f) for part in spectrum(kernel, n))
    both = matmul(real + imaginary, w_real)  # three real products make a complex one, with the kernel's conjugate
    y_real, y_imaginary = both - matmul(imaginary, w_real - w_conjugate), both - matmul(real, w_real + w_conjugate)
    y = samples(y_real.reshape(-1, many * f), y_imaginary.reshape(-1, many * f), n)
    return y[:out].reshape(out, many, f).transpose(1, 0, 2).astype(kind)
