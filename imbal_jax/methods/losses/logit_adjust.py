"""Logit adjustment in the loss: training logits are shifted by the log prior of their class."""

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax.errors import UserError
from imbal_jax.methods.method import Method, Task, check_range, full

TRACED = ("tau",)


def make(task: Task, tau: float = 1.0, counts: str = "resampled") -> Method:
    """Add tau log prior_k to the logits in training and leave it off afterwards.

    Paper: Menon, Jayasumana, Rawat, Jain, Veit, Kumar: Long-tail learning via logit adjustment. ICLR 2021.

    The loss is the cross-entropy of z + tau log prior, prior_k = n_k / N of the training set that the resamplers before it
    left: what the network itself learns in z is then, for tau = 1, the classifier for equally likely classes. tau = 0 is
    the cross-entropy. A batch sampler corrects for the same prior; with both it is corrected for twice.

    Args:
        task: the problem.
        tau: strength, 0 or more.
        counts: n_k: 'resampled', or 'real', the rows before any resampler (see posthoc_logit_adjust).

    Raises:
        UserError: a negative tau; a class without a training row; other counts.
    """
    shift = adjustment(task, tau, counts, "logit_adjust")
    return Method(logits=lambda z, t, progress: z.astype(jnp.float32) + shift[None, :])


def adjustment(task: Task, tau: jax.Array | float, counts: str, method: str) -> np.ndarray | jax.Array:
    """tau x log prior, float32 [K].

    Raises:
        UserError: a negative tau; a class without a training row; counts that are neither 'resampled' nor 'real'.
    """
    check_range(method, "tau", tau, 0)
    if counts not in ("resampled", "real"):
        raise UserError(f"{method}: counts must be 'resampled' or 'real' (got {counts!r})")
    if counts == "real" and task.real:
        task = task._replace(counts=task.real)
    full(task, method)
    return tau * log_prior(task.counts).astype(np.float32)


def log_prior(counts: tuple[int, ...]) -> np.ndarray:
    """log(counts / sum of counts), float64 [K]; all counts above 0."""
    n = np.asarray(counts, np.float64)
    return np.log(n / n.sum())
