"""LDAM, label-distribution-aware margins: rarer classes have to win by more."""

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax.methods.method import Method, Task, check_range, full

TRACED = ("max_margin", "scale")


def make(task: Task, max_margin: float = 0.5, scale: float = 1.0) -> Method:
    """Subtract a margin from the true class's logit in training.

    Paper: Cao et al.: Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss. NeurIPS 2019.

    The loss sees scale (z - t m), m_k = max_margin n_k^(-1/4) / max_j n_j^(-1/4): the rarest class's margin is max_margin.
    max_margin = 0 with scale = 1 is the cross-entropy. With deferred re-weighting: 'ldam | drw'.

    The paper's last layer is normalised, its logits are cosines in [-1, 1], and its scale of 30 brings them to the range
    that a softmax needs. The networks here end in an ordinary linear layer, whose logits have that range already: times
    30 they would start saturated. Therefore scale is 1 here, and the margin is in units of the logits themselves. Among
    cosines 0.5 is a large margin, among these logits a very mild one, and a network can make up for any margin with larger
    logits. So this is LDAM's formula, not a replication of the paper's classifier, and max_margin is worth choosing on
    validation data, between 0.5 and 15 (0.5 x 30, the paper's margin in units of the softmax's input). With scale s the
    test metrics see s z, so that probabilities are those that were trained.

    Args:
        task: the problem.
        max_margin: the rarest class's margin, 0 or more.
        scale: factor of the logits, above 0.

    Raises:
        UserError: an option outside its range; a class without a training row.
    """
    check_range("ldam", "max_margin", max_margin, 0)
    check_range("ldam", "scale", scale, 0, above=True)
    full(task, "ldam")
    m = margins(task.counts, max_margin)
    # Always with `predict`: arms that differ in traced numbers alone have the same hooks.
    return Method(logits=lambda z, t, progress: ldam(z, t, m, scale), predict=lambda z, fitted: z * scale)


def ldam(z: jax.Array, t: jax.Array, margin: np.ndarray | jax.Array, scale: jax.Array | float) -> jax.Array:
    """Logits with the true class's margin taken off.

    Args:
        z: float [B, K], logits.
        t: float [B, K], soft targets: each class gives its share of its margin.
        margin: float32 [K].
        scale: factor of the result.

    Returns:
        float32 [B, K].
    """
    return scale * (z.astype(jnp.float32) - t.astype(jnp.float32) * margin[None, :])


def margins(counts: tuple[int, ...], max_margin: jax.Array | float) -> np.ndarray | jax.Array:
    """Margins in proportion to counts^(-1/4), the largest being max_margin: float32 [K]; counts [K] all above 0."""
    m = np.asarray(counts, np.float64) ** -0.25
    return max_margin * (m / m.max()).astype(np.float32)
