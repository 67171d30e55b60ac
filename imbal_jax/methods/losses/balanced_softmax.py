"""Balanced softmax: the training softmax counts each class as often as it has rows."""

import jax.numpy as jnp
import numpy as np

from imbal_jax.methods.method import Method, Task, full


def make(task: Task) -> Method:
    """Add log n_k to the logits in training and leave it off afterwards.

    Paper: Ren, Yu, Sheng, Ma, Zhao, Yi, Li: Balanced Meta-Softmax for Long-Tailed Visual Recognition. NeurIPS 2020.

    The loss is the cross-entropy of p_k = n_k exp(z_k) / sum_j n_j exp(z_j). It equals logit_adjust(tau=1), whose logits
    differ by the constant log N. The paper's meta sampler is not part of this.

    Args:
        task: the problem.

    Raises:
        UserError: a class without a training row.
    """
    full(task, "balanced_softmax")
    log_n = np.log(np.asarray(task.counts, np.float64)).astype(np.float32)
    return Method(logits=lambda z, t, progress: z.astype(jnp.float32) + log_n[None, :])
