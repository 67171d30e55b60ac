"""Batch sampling: class-balanced, square-root or progressively balanced batches."""

import jax.numpy as jnp
import numpy as np

from imbal_jax.errors import UserError, nearest
from imbal_jax.methods.method import Method, Task

KINDS = ("balanced", "sqrt", "progressive")


def make(task: Task, kind: str = "balanced") -> Method:
    """Draw the class of each row of a batch first, then one of its rows with replacement.

    Paper: Kang et al.: Decoupling Representation and Classifier for Long-Tailed Recognition. ICLR 2020.

    p_k = n_k^q / sum_j n_j^q: 'balanced' has q = 0, 'sqrt' q = 1/2; 'progressive' goes from q = 1 to q = 0 along a straight
    line, p = (1 - progress) n / N + progress / K (the paper moves once an epoch, here every step does). Classes without
    rows have probability 0.

    Args:
        task: the problem.
        kind: 'balanced', 'sqrt' or 'progressive'.

    Raises:
        UserError: an unknown kind.
    """
    if kind not in KINDS:
        raise UserError(f"sampling: unknown kind {kind!r}{nearest(kind, KINDS)}; known: {', '.join(KINDS)}")
    if kind == "progressive":
        first, last = class_probabilities(task.counts, 1.0), class_probabilities(task.counts, 0.0)
        return Method(sample=lambda progress: (1.0 - progress) * first + progress * last)
    p = class_probabilities(task.counts, 0.0 if kind == "balanced" else 0.5)
    return Method(sample=lambda progress: jnp.asarray(p))


def class_probabilities(counts: tuple[int, ...], q: float) -> np.ndarray:
    """Class probabilities in proportion to counts^q, float32 [K]; 0 for classes without rows, whatever q."""
    n = np.asarray(counts, np.float64)
    powers = np.where(n > 0, n**q, 0.0)
    return (powers / powers.sum()).astype(np.float32)
