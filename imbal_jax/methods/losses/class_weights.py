"""Class weights: the loss of a class counts the more, the fewer rows the class has."""

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax.methods.method import Method, Task, check_range, full

TRACED = ("power",)


def make(task: Task, power: float = 1.0) -> Method:
    """Weight the loss of class k by n_k^-power.

    weight_k = N n_k^-power / sum_j n_j^(1 - power): the mean over the N training rows is 1 for every power, so the size of
    the loss stays what it was. power = 1 gives N / (K n_k), the common 'balanced' weights; power = 0.5 their milder form;
    power = 0 gives 1. The loss of a batch is the sum of its rows' weighted losses divided by their number, as with Keras's
    `class_weight`; PyTorch's CrossEntropyLoss(weight=...) divides by the batch's weights instead, as drw here does.

    Args:
        task: the problem.
        power: 0 or more.

    Raises:
        UserError: a negative power; a class without a training row.
    """
    check_range("class_weights", "power", power, 0)
    full(task, "class_weights")
    weights = inverse_frequency(task.counts, power)
    return Method(weight=lambda progress: jnp.asarray(weights))


def inverse_frequency(counts: tuple[int, ...], power: jax.Array | float) -> np.ndarray | jax.Array:
    """Weights in proportion to counts^-power, with mean 1 over the rows.

    Args:
        counts: rows of each class, [K], all above 0.
        power: 0 or more.

    Returns:
        float32 [K].
    """
    n = np.asarray(counts, np.float32)
    weights = (n / n.min()) ** -power  # at most 1, so that large powers stay in range
    return n.sum() * weights / (n * weights).sum()
