"""Class-balanced loss: classes are weighted by their effective number of rows."""

import math

import jax.numpy as jnp
import numpy as np

from imbal_jax.errors import UserError
from imbal_jax.methods.method import Method, Task, full


def make(task: Task, beta: float = 0.9999) -> Method:
    """Weight the loss of each class by the inverse of its effective number of rows.

    Paper: Cui, Jia, Lin, Song, Belongie: Class-Balanced Loss Based on Effective Number of Samples. CVPR 2019.

    weight_k is proportional to (1 - beta) / (1 - beta^n_k), and the weights add up to K. beta = 0 gives 1; beta -> 1 weights
    in proportion to 1 / n_k. The classes' weights having mean 1, the mean over the rows is below 1: where the rows are
    imbalanced the loss, and with plain SGD the step, is smaller than without the method. It is a factor of any loss:
    'class_balanced | focal' is the published class-balanced focal loss (of the softmax).

    Args:
        task: the problem.
        beta: from 0 to below 1.

    Raises:
        UserError: beta outside its range; a class without a training row.
    """
    check(beta, "class_balanced")
    full(task, "class_balanced")
    weights = effective_number(task.counts, beta)
    return Method(weight=lambda progress: jnp.asarray(weights))


def check(beta: float, method: str) -> None:
    """Raise UserError unless 0 <= beta < 1."""
    if not 0 <= beta < 1:
        raise UserError(f"{method}: beta={beta}, it must be from 0 to below 1")


def effective_number(counts: tuple[int, ...], beta: float) -> np.ndarray:
    """Weights in proportion to (1 - beta) / (1 - beta^counts), adding up to K.

    Args:
        counts: rows of each class, [K], all above 0.
        beta: from 0 to below 1.

    Returns:
        float32 [K].
    """
    n = np.asarray(counts, np.float64)
    if beta == 0:
        return np.ones(len(n), np.float32)
    weights = 1.0 / -np.expm1(n * math.log(beta))  # 1 - beta^n, exact for beta close to 1
    return (weights * len(n) / weights.sum()).astype(np.float32)
