"""Domain-specific measures besides the common metrics: chosen by the data set, computed on the host."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from imbal_jax.evaluate import aami, grades
from imbal_jax.evaluate.metrics import SCALARS


def of(kind: str, confusion: Any, class_names: Sequence[str]) -> dict[str, float | None]:
    """The measures of a kind that `metrics.classification` does not give.

    Args:
        kind: '' (none), 'aami' (heartbeats, see `aami.measures`) or 'grades' (classes in their order: `quadratic_kappa`).
        confusion: int [K, K], rows true, columns predicted.
        class_names: [K].

    Returns:
        {name: value}, None if undefined.
    """
    values: dict[str, np.ndarray] = {}
    if kind == "aami":
        values = aami.measures(confusion, class_names)
    elif kind == "grades":
        values = {"quadratic_kappa": grades.quadratic_kappa(confusion)}
    return {name: float(value) if np.isfinite(value) else None for name, value in values.items() if name not in SCALARS}
