"""Measures for ordinal classes, such as grades of a disease, from confusion matrices. Host-side NumPy."""

from collections.abc import Sequence

import numpy as np

from imbal_jax.evaluate import confusion_matrix
from imbal_jax.evaluate.metrics import class_key


def measures(confusion: np.ndarray, class_names: Sequence[str]) -> dict[str, np.ndarray]:
    """All measures for ordinal classes.

    Args:
        confusion: int [..., K, K], rows true, columns predicted.
        class_names: [K], in their order.

    Returns:
        float64 [...] each: `quadratic_kappa`; `accuracy`; `balanced_accuracy` over the classes that have rows; and
        `recall_<class>`, NaN where the class has no row.
    """
    table = np.asarray(confusion, np.float64)
    counts = confusion_matrix.counts(table)
    recall = confusion_matrix.recall(counts)
    return {
        "quadratic_kappa": quadratic_kappa(table),
        "accuracy": confusion_matrix.accuracy(counts),
        "balanced_accuracy": confusion_matrix.balanced_accuracy(counts),
        **{class_key("recall", name): recall[..., label] for label, name in enumerate(class_names)},
    }


def quadratic_kappa(confusion: np.ndarray) -> np.ndarray:
    """Cohen's kappa for ordinal classes, errors weighted by their squared distance.

    Cohen 1968, "Weighted kappa". At most 1; NaN if all rows are of one class and predicted as it.

    Args:
        confusion: int [..., K, K], rows true, columns predicted.

    Returns:
        float64 [...].
    """
    table = np.asarray(confusion, np.float64)
    grades = np.arange(table.shape[-1])
    weights = (grades[:, None] - grades[None, :]) ** 2
    chance = table.sum(-1)[..., :, None] * table.sum(-2)[..., None, :] / np.maximum(table.sum((-2, -1)), 1.0)[..., None, None]
    expected, observed = (weights * chance).sum((-2, -1)), (weights * table).sum((-2, -1))
    return np.where(expected > 0, 1.0 - observed / np.where(expected > 0, expected, 1.0), np.nan)
