"""Random crops: each image is padded, and a window of the image's size is cut out at random."""

import jax
import jax.numpy as jnp

from imbal_jax.data.batches import Batch
from imbal_jax.methods.method import Draw, Method, Task, check_range, images


def make(task: Task, pad: int = 4) -> Method:
    """Move each image by up to `pad` whole pixels each way; black comes in.

    Paper: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2 (CIFAR).

    Args:
        task: the problem.
        pad: pixels on each side; 0 has no effect.
    """
    images(task, "crop")
    check_range("crop", "pad", pad, 0, min(task.shape[:2]))

    def transform(key: jax.Array, batch: Batch, draw: Draw, progress: jax.Array) -> Batch:
        return batch._replace(x=crop(key, batch.x, pad))

    return Method(transform=transform)


def crop(key: jax.Array, x: jax.Array, pad: int) -> jax.Array:
    """The images x [B, H, W, C], each moved by its own whole numbers of pixels from -pad to pad; x's shape and dtype."""
    start = jax.random.randint(key, (x.shape[0], 2), 0, 2 * pad + 1)
    padded = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    window = lambda image, at: jax.lax.dynamic_slice(image, (at[0], at[1], 0), x.shape[1:])  # noqa: E731
    return jax.vmap(window)(padded, start)
