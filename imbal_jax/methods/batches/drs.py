"""Deferred re-sampling: batches as the rows come first, class-balanced ones for the last part of the training."""

import jax.numpy as jnp

from imbal_jax.methods.batches.sampling import class_probabilities
from imbal_jax.methods.method import Method, Task, check_range

TRACED = ("start",)


def make(task: Task, start: float = 0.8) -> Method:
    """Draw the classes equally often once `start` of the training is done.

    Paper: Cao et al.: Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss. NeurIPS 2019.

    Class k is drawn with probability n_k / N while progress < start, then with 1 / K (of the classes that have rows).
    start = 0 is sampling(kind=balanced). With start = 1 the classes come as often as in plain training, but rows are
    drawn with replacement, not once an epoch each.

    Args:
        task: the problem.
        start: share of the steps, from 0 to 1.

    Raises:
        UserError: start outside its range.
    """
    check_range("drs", "start", start, 0, 1)
    before, after = class_probabilities(task.counts, 1.0), class_probabilities(task.counts, 0.0)
    return Method(sample=lambda progress: jnp.where(progress < start, before, after))
