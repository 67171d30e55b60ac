"""LDAM, label-distribution-aware margins: rarer classes have to win by more."""

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax.methods.method import Method, Task, check_range, full

TRACED = ("max_margin", "scale")


def make(task: Task, max_margin: float = 0.5, scale: float = 30.0, cosine: bool = True) -> Method:
    """Subtract a margin from the true class's logit in training, with a normalised last layer.

    Paper: Cao et al.: Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss. NeurIPS 2019.

    The loss sees scale (z - t m), m_k = max_margin n_k^(-1/4) / max_j n_j^(-1/4): the rarest class's margin is max_margin.
    As published, z are the cosines of the features and the classes' weights: the last layer has no bias, and the scale of 30
    brings the cosines to the range that a softmax needs. The test metrics see scale z, so that probabilities are those that
    were trained. With deferred re-weighting, as published: 'ldam | drw'.

    `cosine=False` leaves the network's last layer as it is. Its logits have a softmax's range already: take scale=1 then, and
    max_margin in units of the logits themselves, between 0.5 and 15, chosen on validation data. cosine=False, scale=1 and
    max_margin=0 is the cross-entropy.

    Args:
        task: the problem.
        max_margin: the rarest class's margin, 0 or more.
        scale: factor of the logits, above 0.
        cosine: whether the last layer is normalised.

    Raises:
        UserError: an option outside its range; a class without a training row.
    """
    check_range("ldam", "max_margin", max_margin, 0)
    check_range("ldam", "scale", scale, 0, above=True)
    full(task, "ldam")
    m = margins(task.counts, max_margin)
    # Always with `predict`: arms that differ in traced numbers alone have the same hooks.
    return Method(logits=lambda z, t, progress: ldam(z, t, m, scale), predict=lambda z, fitted: z * scale, cosine=cosine)


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
