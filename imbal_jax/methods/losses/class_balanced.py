"""Class-balanced loss: classes are weighted by their effective number of rows."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax.methods.method import Method, Task, check_range, full

TRACED = ("beta",)


def make(task: Task, beta: float = 0.9999) -> Method:
    """Weight the loss of each class by the inverse of its effective number of rows.

    Paper: Cui, Jia, Lin, Song, Belongie: Class-Balanced Loss Based on Effective Number of Samples. CVPR 2019.

    weight_k is proportional to (1 - beta) / (1 - beta^n_k), and the weights add up to K. beta = 0 gives 1; beta -> 1 weights
    in proportion to 1 / n_k. As in the published code the loss of a batch is the sum of its rows' weighted losses divided by
    their number. The classes' weights having mean 1, the mean over the rows is below 1: where the rows are imbalanced the
    loss, and with plain SGD the step, is smaller than without the method (drw divides by the rows' weights instead). It is
    a factor of any loss: 'class_balanced | focal' is the published class-balanced focal loss (of the softmax).

    Args:
        task: the problem.
        beta: from 0 to below 1.

    Raises:
        UserError: beta outside its range; a class without a training row.
    """
    check_range("class_balanced", "beta", beta, 0, 1, below=True)
    full(task, "class_balanced")
    weights = effective_number(task.counts, beta)
    return Method(weight=lambda progress: jnp.asarray(weights))


def effective_number(counts: tuple[int, ...], beta: jax.Array | float) -> np.ndarray | jax.Array:
    """Weights in proportion to (1 - beta) / (1 - beta^counts), adding up to K.

    Args:
        counts: rows of each class, [K], all above 0.
        beta: from 0 to below 1. An array has float32's precision, to which 0.9999 is 0.99989998: the weights then differ by
            less than 0.0002 of themselves; one that is rounded to 1 weights in proportion to 1 / counts.

    Returns:
        float32 [K].
    """
    n = np.asarray(counts, np.float32)
    # 1 - beta^n = -expm1(n log beta), exact for beta close to 1. beta - 1 is exact from 1/2 on.
    if isinstance(beta, jax.Array):
        weights = 1.0 / -jnp.expm1(n * jnp.minimum(jnp.log1p(beta - 1.0), -1e-12))
    else:
        weights = 1.0 / -np.expm1(n * (math.log(beta) if beta else -math.inf))
    return weights * len(n) / weights.sum()
