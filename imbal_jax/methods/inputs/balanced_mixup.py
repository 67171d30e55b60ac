"""Balanced-MixUp: each example is blended with one from a batch in which all classes are equally likely."""

import jax
import jax.numpy as jnp

from imbal_jax.data.batches import Batch
from imbal_jax.methods.batches.sampling import class_probabilities
from imbal_jax.methods.inputs.mixup import mix
from imbal_jax.methods.method import Draw, Method, Task, check_range

TRACED = ("alpha",)


def make(task: Task, alpha: float = 0.2) -> Method:
    """Blend each example with one of a second batch that is drawn class-balanced.

    Paper: Galdran, Carneiro, Gonzalez Ballester, "Balanced-MixUp for Highly Imbalanced Medical Image Classification",
    MICCAI 2021.

    x = (1 - lambda) x1 + lambda x2, t = (1 - lambda) t1 + lambda t2, lambda ~ Beta(alpha, 1) for each example: on the
    average, alpha / (1 + alpha) of what is seen is balanced.

    Args:
        task: the problem.
        alpha: above 0; towards 0 examples stay as they are.
    """
    check_range("balanced_mixup", "alpha", alpha, 0, above=True)
    p = class_probabilities(task.counts, 0.0)

    def transform(key: jax.Array, batch: Batch, draw: Draw, progress: jax.Array) -> Batch:
        share, second = jax.random.split(key)
        balanced = balanced_share(share, alpha, batch.x.shape[0])
        return mix(batch, draw(second, jnp.asarray(p)), 1 - balanced)

    return Method(transform=transform)


def balanced_share(key: jax.Array, alpha: jax.Array | float, many: int) -> jax.Array:
    """Draws from Beta(alpha, 1), float32 [many]: u^(1 / alpha) with u uniform."""
    return jnp.exp(-jax.random.exponential(key, (many,)) / alpha)
