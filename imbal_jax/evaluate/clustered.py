"""Intervals over groups of test rows, such as patients: how far a figure would move with other patients, not other seeds.

Rows of one patient resemble each other, so the number of patients, not that of rows, says how sure a figure is (Field and
Welsh 2007, "Bootstrapping clustered data"). Host-side NumPy.
"""

from collections.abc import Callable, Mapping

import numpy as np

Measure = Callable[[np.ndarray], Mapping[str, np.ndarray]]


def bootstrap(
    per_group: np.ndarray,
    measure: Measure,
    key_seed: int,
    draws: int = 2000,
    level: float = 0.95,
    minus: np.ndarray | None = None,
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of measures when whole groups are drawn anew, with replacement.

    Draws in which a measure has no meaning are left out of its interval; it is (NaN, NaN) where none has. With few groups
    the intervals are too narrow rather than too wide.

    Args:
        per_group: int [G, K, K], one confusion matrix for each group of the test set.
        measure: int [..., K, K] -> {name: float [...]}, NaN where it has no meaning.
        key_seed: of the draws; the same one gives the same intervals on every machine.
        draws: how many.
        level: the share of the draws within an interval.
        minus: int [G, K, K], another classifier's on the same groups: then the intervals are of what the first one's
            measures have more than its own, on the same draws.

    Returns:
        {name: (low, high)}.

    Raises:
        ValueError: no group, other shapes, no draws, or a level that is not between 0 and 1.
    """
    table = _checked(per_group)
    groups, classes = table.shape[:2]
    if not groups or draws < 1 or not 0 < level < 1:
        raise ValueError(f"bootstrap() got {groups} groups, {draws} draws and level {level}")
    times = np.random.default_rng(key_seed).multinomial(groups, np.full(groups, 1.0 / groups), draws)

    def drawn(table: np.ndarray) -> Mapping[str, np.ndarray]:
        return measure((times @ table.reshape(groups, -1)).reshape(draws, classes, classes))

    found, tail = drawn(table), (1.0 - level) / 2.0
    if minus is not None:
        other = _checked(minus)
        if other.shape != table.shape:
            raise ValueError(f"bootstrap() got {groups} groups, and {len(other)} to compare with")
        less = drawn(other)
        found = {name: values - less[name] for name, values in found.items()}
    return {name: _interval(values, tail) for name, values in found.items()}


def _checked(per_group: np.ndarray) -> np.ndarray:
    table = np.asarray(per_group)
    if table.ndim != 3 or table.shape[1] != table.shape[2]:
        raise ValueError(f"bootstrap() needs confusion matrices [G, K, K], not an array of shape {table.shape}")
    return table.astype(np.int64)


def _interval(values: np.ndarray, tail: float) -> tuple[float, float]:
    used = values[~np.isnan(values)]
    if not used.size:
        return float("nan"), float("nan")
    low, high = np.quantile(used, [tail, 1.0 - tail])
    return float(low), float(high)
