"""A batch augmentation: noise on the examples of the rare classes, which fades out over the training."""

import jax
import jax.numpy as jnp

from imbal_jax.data.batches import Batch
from imbal_jax.methods import Method, Task
from imbal_jax.methods.method import check_range

TRACED = ("strength",)


def make(task: Task, strength: float = 0.1) -> Method:
    """Add noise of standard deviation `strength` (of the full range of the values) to the minority's examples."""
    check_range("fading_noise", "strength", strength, 0)
    rare = jnp.asarray([label in task.minority for label in range(len(task.counts))])

    def transform(key, batch: Batch, draw, progress) -> Batch:
        chosen = rare[jnp.argmax(batch.t, axis=1)].reshape(-1, *[1] * (batch.x.ndim - 1))
        noise = strength * (1 - progress) * jax.random.normal(key, batch.x.shape)
        return Batch(jnp.where(chosen, batch.x + noise.astype(batch.x.dtype), batch.x), batch.t)

    return Method(transform=transform)
