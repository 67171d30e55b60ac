"""Horizontal flips: images are mirrored at random."""

import jax
import jax.numpy as jnp

from imbal_jax.data.batches import Batch
from imbal_jax.methods.method import Draw, Method, Task, check_range, images

TRACED = ("p",)


def make(task: Task, p: float = 0.5) -> Method:
    """Mirror each image, left for right, with probability p.

    Args:
        task: the problem.
        p: from 0 (never) to 1 (always).
    """
    images(task, "flip")
    check_range("flip", "p", p, 0, 1)

    def transform(key: jax.Array, batch: Batch, draw: Draw, progress: jax.Array) -> Batch:
        return batch._replace(x=flip(key, batch.x, p))

    return Method(transform=transform)


def flip(key: jax.Array, x: jax.Array, p: jax.Array | float = 0.5) -> jax.Array:
    """The images x [B, H, W, C], each mirrored left for right with probability p; x's shape and dtype."""
    mirrored = jax.random.bernoulli(key, p, (x.shape[0],))
    return jnp.where(mirrored[:, None, None, None], x[:, :, ::-1], x)
