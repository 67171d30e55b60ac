"""Measures from confusion matrices: one implementation for device and host, for a single matrix and for many.

The arrays are those of numpy or jax.numpy, whose functions are taken from the matrix itself (`__array_namespace__`): inside
`jax.jit` float32 [K, K], on the host, for resampling, float64 [..., K, K]. K classes.

Classes without a row are left out of every mean over classes. A matrix without any row gives 0; `defined` makes that NaN.
"""

from typing import Any, NamedTuple

import numpy as np

Array = Any  # of numpy or jax.numpy


class Counts(NamedTuple):
    """The counts from which all measures are computed.

    Attributes:
        xp: numpy or jax.numpy.
        hits, actual, predicted: float [..., K], rows of each class that are classified correctly, that
            belong to it, and that are predicted as it.
    """

    xp: Any
    hits: Array
    actual: Array
    predicted: Array


def counts(table: Array) -> Counts:
    """The counts of a confusion matrix, float [..., K, K], rows true, columns predicted."""
    xp = table.__array_namespace__()
    return Counts(xp, xp.diagonal(table, axis1=-2, axis2=-1), table.sum(axis=-1), table.sum(axis=-2))


def recall(of: Counts) -> Array:
    """float [..., K], NaN where a class has no row."""
    return of.xp.where(of.actual > 0, _hit_rate(of), of.xp.nan)


def precision(of: Counts) -> Array:
    """float [..., K], 0 where a class is never predicted."""
    return of.hits / of.xp.maximum(of.predicted, 1.0)


def f1(of: Counts) -> Array:
    """float [..., K]: 2 hits / (actual + predicted), NaN where a class has no row."""
    return of.xp.where(of.actual > 0, _overlap(of), of.xp.nan)


def accuracy(of: Counts) -> Array:
    """float [...]."""
    return of.hits.sum(axis=-1) / of.xp.maximum(of.actual.sum(axis=-1), 1.0)


def balanced_accuracy(of: Counts) -> Array:
    """float [...]: the mean recall."""
    return mean_where(of.xp, _hit_rate(of), of.actual > 0)


def macro_f1(of: Counts) -> Array:
    """float [...]: the mean F1."""
    return mean_where(of.xp, _overlap(of), of.actual > 0)


def g_mean(of: Counts) -> Array:
    """float [...]: the geometric mean of the recalls."""
    with np.errstate(divide="ignore"):  # log(0) = -inf, so one class lost makes it 0
        return of.xp.exp(mean_where(of.xp, of.xp.log(_hit_rate(of)), of.actual > 0))


def mcc(of: Counts) -> Array:
    """float [...]: Matthews correlation for K classes (Gorodkin 2004); 0 where all rows are of one class or predicted so."""
    # By counts of each class against the rest, which are exact: 1 - sum of squares would cancel the digits of a rare class.
    xp = of.xp
    hits, actual, predicted = (xp.moveaxis(part, -1, 0) for part in (of.hits, of.actual, of.predicted))  # [K, ...]
    total = xp.maximum(actual.sum(axis=0), 1.0)
    missed, wrong = actual - hits, predicted - hits
    correct, neither = hits / total, (total - actual - wrong) / total  # shares: no overflow for large N
    covariance = xp.sum(correct * neither - (missed / total) * (wrong / total), axis=0)
    spread = xp.prod(xp.stack([xp.sum(n / total * ((total - n) / total), axis=0) for n in (actual, predicted)]), axis=0)
    return xp.where(spread > 0, covariance / xp.sqrt(xp.where(spread > 0, spread, 1.0)), 0.0)


def defined(of: Counts, value: Array) -> Array:
    """A measure [...], NaN where the matrix has no row."""
    return of.xp.where(of.actual.sum(axis=-1) > 0, value, of.xp.nan)


def mean_where(xp: Any, values: Array, where: Array) -> Array:
    """float [..., K], bool [..., K] -> float [...]: the mean of the selected values; 0 if there are none."""
    return xp.sum(xp.where(where, values, 0.0), axis=-1) / xp.maximum(xp.sum(where.astype(values.dtype), axis=-1), 1.0)


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


def _hit_rate(of: Counts) -> Array:
    """The recall, 0 where a class has no row."""
    return of.hits / of.xp.maximum(of.actual, 1.0)


def _overlap(of: Counts) -> Array:
    """The F1, 0 where a class has no row and is never predicted."""
    return 2.0 * of.hits / of.xp.maximum(of.actual + of.predicted, 1.0)
