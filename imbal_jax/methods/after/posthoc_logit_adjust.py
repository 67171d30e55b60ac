"""Logit adjustment after the training: test logits are shifted by the log prior of their class."""

import jax.numpy as jnp

from imbal_jax.methods.losses.logit_adjust import adjustment
from imbal_jax.methods.method import Method, Task

TRACED = ("tau",)


def make(task: Task, tau: float = 1.0, counts: str = "resampled") -> Method:
    """Subtract tau log prior_k from the logits of a network trained in the ordinary way.

    Paper: Menon, Jayasumana, Rawat, Jain, Veit, Kumar: Long-tail learning via logit adjustment. ICLR 2021.

    The test metrics see z - tau log prior, prior_k = n_k / N of the training set that the resamplers before it left. tau = 0
    changes nothing. It is meant for a network that has learnt the prior: after logit_adjust, balanced_softmax, class
    weights, a batch sampler or crt the prior is corrected for twice.

    Repeating rows evens the prior out, yet rows that were seen often are fitted more closely than fresh ones of their class
    are, which so get smaller logits than those of the frequent classes (feature deviation: Ye, Chen, Zhan, Chao,
    "Identifying and Compensating for Feature Deviation in Imbalanced Deep Learning", arXiv:2001.01385, 2020). A fraction of
    the prior of the real rows makes up for it: 'over | posthoc_logit_adjust(tau=0.25, counts=real)'.

    Args:
        task: the problem.
        tau: strength, 0 or more.
        counts: n_k: 'resampled', or 'real', the rows before any resampler.

    Raises:
        UserError: a negative tau; a class without a training row; other counts.
    """
    shift = adjustment(task, tau, counts, "posthoc_logit_adjust")
    return Method(predict=lambda z, fitted: z.astype(jnp.float32) - shift[None, :])
