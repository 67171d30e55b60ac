"""What a field measures besides the common metrics: chosen by the data set, computed from confusion matrices on the host."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from imbal_jax.evaluate import aami
from imbal_jax.evaluate.metrics import SCALARS


def of(kind: str, confusion: Any, class_names: Sequence[str]) -> dict[str, float | None]:
    """The measures of a kind that `metrics.classification` does not give.

    Args:
        kind: '' (none), 'aami' (heartbeats, see `aami.measures`) or 'grades' (classes in their order: `quadratic_kappa`).
        confusion: int [K, K], rows true, columns predicted.
        class_names: [K].

    Returns:
        {name: value}, None where it has no meaning.
    """
    table = np.asarray(confusion)
    if kind == "aami":
        found = aami.measures(table, class_names)
    elif kind == "grades":
        found = {"quadratic_kappa": quadratic_kappa(table)}
    else:
        found = {}
    return {name: value if np.isfinite(value) else None for name, value in found.items() if name not in SCALARS}


def quadratic_kappa(confusion: np.ndarray) -> float:
    """Cohen's kappa for classes in their order, errors weighted by the square of their distance.

    Cohen 1968, "Weighted kappa". At most 1; NaN where all rows are of one class and predicted so.

    Args:
        confusion: int [K, K], rows true, columns predicted.
    """
    table = np.asarray(confusion, np.float64)
    place = np.arange(len(table))
    weights = (place[:, None] - place[None, :]) ** 2
    chance = np.outer(table.sum(1), table.sum(0)) / max(table.sum(), 1.0)
    expected = (weights * chance).sum()
    return float(1 - (weights * table).sum() / expected) if expected else float("nan")
