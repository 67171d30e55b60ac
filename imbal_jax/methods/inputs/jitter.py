"""Jitter: Gaussian noise on signals."""

import jax
import jax.numpy as jnp

from imbal_jax.methods.inputs._signal import transforming
from imbal_jax.methods.method import Method, Task, check_range

TRACED = ("sigma",)


def make(task: Task, sigma: float = 0.05, classes: int | str = "all", tail: int = 0) -> Method:
    """Add independent Gaussian noise to every sample; what leaves [-1, 1] is cut off.

    Paper: Um, Pfister, Pichler, Endo, Lang, Hirche, Fietzek, Kulic, "Data Augmentation of Wearable Sensor Data for
    Parkinson's Disease Monitoring using Convolutional Neural Networks", ICMI 2017.

    Args:
        task: the problem; signals [T, C].
        sigma: the noise's standard deviation; samples lie in [-1, 1]. 0 has no effect.
        classes: as for `affine`.
        tail: the number of last samples that stay as they are (features that follow a signal).
    """
    check_range("jitter", "sigma", sigma, 0)
    return transforming(lambda key, x: jitter(key, x, sigma), task, "jitter", classes, tail)


def jitter(key: jax.Array, x: jax.Array, sigma: jax.Array | float) -> jax.Array:
    """The signals x float32 [B, T, C] with noise of standard deviation sigma, in [-1, 1]."""
    return jnp.clip(x + sigma * jax.random.normal(key, x.shape), -1.0, 1.0)
