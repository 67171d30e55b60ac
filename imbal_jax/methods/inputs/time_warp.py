"""Time warping: signals run faster here and slower there, at random."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax.methods.inputs._signal import transforming
from imbal_jax.methods.method import Method, Task, check_range

TRACED = ("sigma",)


def make(task: Task, sigma: float = 0.2, knots: int = 4, classes: int | str = "all", tail: int = 0) -> Method:
    """Let each signal run at its own speed, which varies smoothly and is always positive; both ends stay in place.

    Paper: Um, Pfister, Pichler, Endo, Lang, Hirche, Fietzek, Kulic, "Data Augmentation of Wearable Sensor Data for
    Parkinson's Disease Monitoring using Convolutional Neural Networks", ICMI 2017.

    Here the speed is a cubic B-spline through random positive numbers near 1; a spline that meets them, as the paper's
    does, can swing below 0, and time would then run backwards.

    Args:
        task: the problem; signals [T, C].
        sigma: standard deviation of the logarithm of these numbers. 0 has no effect.
        knots: between the ends, 1 at least: the more, the faster the speed varies.
        classes: as for `affine`.
        tail: the number of last samples that stay as they are (features that follow a signal).
    """
    check_range("time_warp", "sigma", sigma, 0)
    check_range("time_warp", "knots", knots, 1)
    return transforming(lambda key, x: time_warp(key, x, sigma, knots), task, "time_warp", classes, tail)


def time_warp(key: jax.Array, x: jax.Array, sigma: jax.Array | float, knots: int) -> jax.Array:
    """The signals x float32 [B, T, C], each read at its own times, linearly interpolated."""
    return read(x, random_shifts(key, x.shape[0], x.shape[1], sigma, knots))


def random_shifts(key: jax.Array, many: int, length: int, sigma: jax.Array | float, knots: int) -> jax.Array:
    """How many samples further each output sample is read: float32 [many, length], 0 at both ends.

    The times t + shift rise from 0 to length - 1.
    """
    table = _integrals(length, knots)
    above = jnp.expm1(sigma * jax.random.normal(key, (many, table.shape[1])))  # speed - 1, exactly 0 for sigma = 0
    run = jnp.einsum("tk,bk->bt", table, above, precision="highest")
    last = max(length - 1, 1)
    share = jnp.arange(length, dtype=jnp.float32) / last
    return (run - share[None] * run[:, -1:]) / (1 + run[:, -1:] / last)


def read(x: jax.Array, shifts: jax.Array) -> jax.Array:
    """x [B, T, C] at the times t + shifts [B, T], linearly interpolated; beyond an end its sample goes on."""
    last = x.shape[1] - 1
    time = jnp.clip(jnp.arange(x.shape[1], dtype=jnp.float32)[None] + shifts, 0, last)
    first = jnp.floor(time).astype(jnp.int32)
    take = jax.vmap(lambda signal, at: signal.at[at].get(mode="promise_in_bounds"))
    before, after = take(x, first), take(x, jnp.minimum(first + 1, last))
    return before + (after - before) * (time - first)[:, :, None]


@lru_cache(maxsize=16)
def _integrals(length: int, knots: int) -> np.ndarray:
    """What a curve with each of the cubic B-splines adds up to before each sample: float32 [length, knots + 4]."""
    place = np.linspace(0, knots + 1, length)[:, None] - np.arange(-1, knots + 3)[None, :]
    distance = np.abs(place)
    near, far = 2 / 3 - distance**2 + distance**3 / 2, np.maximum(2 - distance, 0) ** 3 / 6
    splines = np.where(distance < 1, near, far)
    return (np.cumsum(splines, axis=0) - splines).astype(np.float32)
