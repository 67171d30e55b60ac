"""Metrics by name, as functions of many confusion matrices at once: for resampling. Host-side NumPy, float64."""

from collections.abc import Callable, Sequence

import numpy as np

from imbal_jax.evaluate import aami, confusion_matrix, grades
from imbal_jax.evaluate.metrics import class_key

_COMMON = {
    "accuracy": confusion_matrix.accuracy,
    "balanced_accuracy": confusion_matrix.balanced_accuracy,
    "macro_f1": confusion_matrix.macro_f1,
    "g_mean": confusion_matrix.g_mean,
}


def by_name(name: str, classes: Sequence[str]) -> Callable[[np.ndarray], np.ndarray] | None:
    """The function that computes a metric of `metrics.from_confusion`, `aami.measures` or `grades.quadratic_kappa`.

    Args:
        name: as in a row.
        classes: [K], the classes' names, or their part of the rows' keys 'recall_<class>'.

    Returns:
        [..., K, K] (rows true, columns predicted) -> float64 [...], NaN if undefined; None if the metric needs more than
        the confusion matrix.
    """
    if name in _COMMON:
        return lambda table: _whole(table, _COMMON[name])
    if name == "mcc":
        return lambda table: confusion_matrix.mcc(_counts(table))
    if name == "quadratic_kappa":
        return grades.quadratic_kappa
    for label, of_class in enumerate(classes):
        if name == class_key("recall", of_class):
            return lambda table: confusion_matrix.recall(_counts(table))[..., label]
        if name == class_key("precision", of_class):
            return lambda table: confusion_matrix.precision(_counts(table))[..., label]
    if name in aami.measures(np.ones((len(classes),) * 2, int), classes):
        return lambda table: np.asarray(aami.measures(table, classes)[name])
    return None


def _counts(table: np.ndarray) -> confusion_matrix.Counts:
    return confusion_matrix.counts(np.asarray(table, np.float64))


def _whole(table: np.ndarray, of: Callable[[confusion_matrix.Counts], np.ndarray]) -> np.ndarray:
    counts = _counts(table)
    return confusion_matrix.defined(counts, of(counts))
