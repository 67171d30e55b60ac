"""Metrics by name from confusion matrices, on the host and for many matrices at once: for resampling. NumPy, float64."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from imbal_jax.evaluate import aami, grades
from imbal_jax.evaluate.metrics import class_key


def measure(name: str, classes: Sequence[str]) -> Callable[[np.ndarray], np.ndarray] | None:
    """The function that computes a metric of `metrics.from_confusion`, `aami.measures` or `grades.quadratic_kappa`.

    Args:
        name: as in a row.
        classes: [K], the classes' names, or what follows 'recall_' in the rows' keys.

    Returns:
        [..., K, K] (rows true, columns predicted) -> float64 [...], NaN without a meaningful number; None where the metric
        needs more than the confusion matrix.
    """
    common = {
        "accuracy": lambda table: _share(_hits(table).sum(-1), table.sum((-2, -1))),
        "balanced_accuracy": lambda table: _mean(_recall(table)),
        "macro_f1": _macro_f1,
        "g_mean": _g_mean,
        "mcc": _matthews,
        "quadratic_kappa": grades.quadratic_kappa,
    }
    if name in common:
        return common[name]
    for label, of_class in enumerate(classes):
        if name == class_key("recall", of_class):
            return lambda table: _recall(table)[..., label]
        if name == class_key("precision", of_class):
            return lambda table: _hits(table)[..., label] / np.maximum(table.sum(-2)[..., label], 1.0)
    of_beats: Any = lambda table: aami.measures(table, classes)  # noqa: E731
    if name in of_beats(np.ones((len(classes),) * 2, int)):
        return lambda table: np.asarray(of_beats(table)[name])
    return None


def collapsed(confusion: Any) -> int | None:
    """The class that a classifier predicts for every row of a test set with two classes or more; None for others.

    Args:
        confusion: int [K, K], rows true, columns predicted; or None.
    """
    if confusion is None:
        return None
    table = np.asarray(confusion)
    predicted = np.flatnonzero(table.sum(axis=0))
    return int(predicted[0]) if predicted.size == 1 and np.count_nonzero(table.sum(axis=1)) > 1 else None


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1.0), np.nan)


def _mean(values: np.ndarray) -> np.ndarray:
    """Over the last axis, without NaN; NaN where there is nothing else."""
    there = ~np.isnan(values)
    return _share(np.where(there, values, 0.0).sum(-1), there.sum(-1))


def _hits(table: np.ndarray) -> np.ndarray:
    return np.diagonal(table, axis1=-2, axis2=-1).astype(np.float64)


def _recall(table: np.ndarray) -> np.ndarray:
    return _share(_hits(table), table.sum(-1))


def _macro_f1(table: np.ndarray) -> np.ndarray:
    actual, predicted = table.sum(-1), table.sum(-2)
    return _mean(np.where(actual > 0, 2 * _hits(table) / np.maximum(actual + predicted, 1.0), np.nan))


def _g_mean(table: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):  # log(0) = -inf, so one class lost makes it 0
        return np.exp(_mean(np.log(_recall(table))))


def _matthews(table: np.ndarray) -> np.ndarray:
    total = np.maximum(table.sum((-2, -1)), 1.0)[..., None]
    hit, actual, predicted = _hits(table).sum(-1) / total[..., 0], table.sum(-1) / total, table.sum(-2) / total
    spread = (1.0 - (predicted**2).sum(-1)) * (1.0 - (actual**2).sum(-1))
    covariance = hit - (actual * predicted).sum(-1)
    return np.where(spread > 0, covariance / np.sqrt(np.where(spread > 0, spread, 1.0)), 0.0)
