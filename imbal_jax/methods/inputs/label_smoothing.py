"""Label smoothing: a little of each target is spread over all classes."""

import jax

from imbal_jax.data.batches import Batch
from imbal_jax.methods.method import Draw, Method, Task, check_range

TRACED = ("epsilon",)


def make(task: Task, epsilon: float = 0.1) -> Method:
    """Soften the targets.

    Paper: Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception Architecture for Computer Vision", CVPR 2016.

    t' = (1 - epsilon) t + epsilon / K

    Args:
        task: the problem, with K classes.
        epsilon: the share that is spread, from 0 (none) to below 1.
    """
    check_range("label_smoothing", "epsilon", epsilon, 0, 1, below=True)

    def transform(key: jax.Array, batch: Batch, draw: Draw, progress: jax.Array) -> Batch:
        return batch._replace(t=smooth(batch.t, epsilon))

    return Method(transform=transform)


def smooth(t: jax.Array, epsilon: jax.Array | float = 0.1) -> jax.Array:
    """(1 - epsilon) t + epsilon / K for targets t [B, K]; t's dtype."""
    return ((1 - epsilon) * t + epsilon / t.shape[-1]).astype(t.dtype)
