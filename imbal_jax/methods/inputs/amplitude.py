"""Amplitude: each signal is made larger or smaller as a whole."""

import jax
import jax.numpy as jnp

from imbal_jax.methods.inputs._signal import transforming
from imbal_jax.methods.method import Method, Task, check_range

TRACED = ("sigma",)


def make(task: Task, sigma: float = 0.1, classes: int | str = "all", tail: int = 0) -> Method:
    """Multiply each example by its own factor, drawn around 1; what leaves [-1, 1] is cut off, as an amplifier does.

    Paper: Um, Pfister, Pichler, Endo, Lang, Hirche, Fietzek, Kulic, "Data Augmentation of Wearable Sensor Data for
    Parkinson's Disease Monitoring using Convolutional Neural Networks", ICMI 2017 ("scaling").

    Rows that were scaled to fill [-1, 1] lose their peaks where the factor is above 1.

    Args:
        task: the problem; signals [T, C].
        sigma: standard deviation of the factor, which is normal with mean 1 (below 0 it counts as 0). 0 has no effect.
        classes: as for `affine`.
        tail: the number of last samples that stay as they are (features that follow a signal).
    """
    check_range("amplitude", "sigma", sigma, 0)
    return transforming(lambda key, x: amplitude(key, x, sigma), task, "amplitude", classes, tail)


def amplitude(key: jax.Array, x: jax.Array, sigma: jax.Array | float) -> jax.Array:
    """The signals x float32 [B, T, C], each times its own factor, in [-1, 1]."""
    factor = jnp.maximum(1 + sigma * jax.random.normal(key, (x.shape[0],)), 0.0)
    return jnp.clip(x * factor[:, None, None], -1.0, 1.0)
