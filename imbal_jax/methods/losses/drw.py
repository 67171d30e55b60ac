"""Deferred re-weighting: an ordinary loss first, class-balanced weights for the last part of the training."""

import jax.numpy as jnp

from imbal_jax.methods.losses.class_balanced import effective_number
from imbal_jax.methods.method import Method, Task, check_range, full

TRACED = ("start", "beta")


def make(task: Task, start: float = 0.8, beta: float = 0.9999) -> Method:
    """Weight the classes by their effective number of rows (see class_balanced) once `start` of the training is done.

    Paper: Cao et al.: Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss. NeurIPS 2019.

    weight_k = 1 while progress < start, then proportional to (1 - beta) / (1 - beta^n_k), adding up to K. start = 1 or
    beta = 0 has no effect. As in the published code, whose cross-entropy is PyTorch's with `weight`, the loss of a batch is
    the weighted mean: the sum of its rows' weighted losses divided by the sum of their weights. So its size stays that of an
    unweighted loss, while class_balanced, as published, divides by the number of rows. The paper lowers the learning rate
    at the same point (epoch 160 of 200); here the schedule is the training's own.

    Args:
        task: the problem.
        start: share of the steps, from 0 to 1.
        beta: from 0 to below 1.

    Raises:
        UserError: an option outside its range; a class without a training row.
    """
    check_range("drw", "start", start, 0, 1)
    check_range("drw", "beta", beta, 0, 1, below=True)
    full(task, "drw")
    weights = effective_number(task.counts, beta)
    return Method(weight=lambda progress: jnp.where(progress < start, jnp.ones_like(weights), weights), weighted_mean=True)
