"""Intervals over groups of test rows, such as patients: the uncertainty due to the sample of patients, not of seeds.

Rows of one patient are correlated, so precision depends on the number of patients, not of rows (Field and Welsh 2007,
"Bootstrapping clustered data"). Metrics vary over seeds, too: `bootstrap` resamples both levels if it is given several seeds,
and `two_level` gives the interval of a difference over both. Host-side NumPy.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

Measure = Callable[[np.ndarray], Mapping[str, np.ndarray]]
DRAWS = 2000
CHUNK = 4_000_000  # numbers of resampled tables in memory at once


class Difference(NamedTuple):
    """The mean difference between two classifiers over seeds.

    Attributes:
        mean: over the seeds.
        interval: (low, high).
        df: degrees of freedom of its Student's t.
        groups: number of groups in the test set.
        seeds: number of pairs of classifiers.
    """

    mean: float
    interval: tuple[float, float]
    df: float
    groups: int
    seeds: int


def two_level(
    tables: np.ndarray,
    minus: np.ndarray,
    measure: Callable[[np.ndarray], np.ndarray],
    key_seed: int,
    level: float = 0.05,
    draws: int = DRAWS,
) -> Difference | None:
    """The interval of a paired difference over groups of test rows and seeds, both treated as random samples.

    The variance of the two-level bootstrap (Owen 2007, "The pigeonhole bootstrap"), which resamples groups and seeds
    independently, with its correction for few groups and few seeds: over groups by resampling, over seeds by the formula
    that resampling them would approach. The degrees of freedom of the sum are Satterthwaite's (1946).

    Args:
        tables: int [S, G, K, K], a confusion matrix (rows true, columns predicted) for each seed and group.
        minus: int [S, G, K, K], the other classifier's on the same seeds and groups.
        measure: [..., K, K] -> float [...], NaN if undefined.
        key_seed: seed of the resampling.
        level: the interval covers 1 - level.
        draws: number of resamples of the groups.

    Returns:
        None with fewer than two seeds or groups, or if a seed has no value.

    Raises:
        ValueError: shapes that differ.
    """
    from scipy import special

    mine, theirs = np.asarray(tables, np.float64), np.asarray(minus, np.float64)
    if mine.shape != theirs.shape or mine.ndim != 4:
        raise ValueError(f"two_level() needs tables [S, G, K, K] of one shape, not {mine.shape} and {theirs.shape}")
    seeds, groups = mine.shape[:2]
    if seeds < 2 or groups < 2:
        return None
    of_seeds = measure(mine.sum(1)) - measure(theirs.sum(1))
    if not np.isfinite(of_seeds).all():
        return None
    times = np.random.default_rng(key_seed).multinomial(groups, np.full(groups, 1.0 / groups), draws).astype(np.float64)
    drawn = np.mean([_redrawn(a, times, measure) - _redrawn(b, times, measure) for a, b in zip(mine, theirs, strict=True)], 0)
    over_groups = float(np.nanvar(drawn)) * groups / (groups - 1) if np.isfinite(drawn).any() else 0.0
    over_seeds = float(of_seeds.var(ddof=1)) / seeds
    variance = over_groups + over_seeds
    mean = float(of_seeds.mean())
    df = variance**2 / (over_groups**2 / (groups - 1) + over_seeds**2 / (seeds - 1)) if variance > 0 else float(seeds - 1)
    half = float(special.stdtrit(df, 1.0 - level / 2)) * variance**0.5
    return Difference(mean, (mean - half, mean + half), df, groups, seeds)


def _redrawn(table: np.ndarray, times: np.ndarray, measure: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """[G, K, K] and how often each group is drawn [B, G] -> the measure [B], in chunks."""
    groups, classes = table.shape[:2]
    parts = np.array_split(times, max(1, -(-len(times) * classes**2 // CHUNK)))
    return np.concatenate([measure((part @ table.reshape(groups, -1)).reshape(-1, classes, classes)) for part in parts])


def bootstrap(
    per_group: np.ndarray,
    measure: Measure,
    key_seed: int,
    draws: int = DRAWS,
    level: float = 0.95,
    minus: np.ndarray | None = None,
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of measures from resampling whole groups with replacement, and seeds if there are several.

    With seeds (a first axis of the tables) each draw takes as many groups and, independently, as many seeds with
    replacement, and measures their confusion matrices pooled: the two-level bootstrap. Draws in which a measure
    is undefined are left out of its interval, which is (NaN, NaN) if it is undefined in all. With few groups or seeds the
    intervals are too narrow rather than too wide.

    Args:
        per_group: int [G, K, K], one confusion matrix for each group of the test set; or [S, G, K, K] for each seed and group.
        measure: int [..., K, K] -> {name: float [...]}, NaN if undefined.
        key_seed: seed of the resampling; it determines the intervals on every machine.
        draws: number of resamples.
        level: the share of the draws within an interval.
        minus: of the same shape, another classifier's on the same groups: the intervals are then those of the difference
            of measures (the first minus this one's) on the same draws.

    Returns:
        {name: (low, high)}.

    Raises:
        ValueError: no group, other shapes, no draws, or a level that is not between 0 and 1.
    """
    table = _checked(per_group)
    seeds, groups, classes = table.shape[:3]
    if not groups or not seeds or draws < 1 or not 0 < level < 1:
        raise ValueError(f"bootstrap() got {groups} groups, {draws} draws and level {level}")
    rng = np.random.default_rng(key_seed)
    times = rng.multinomial(groups, np.full(groups, 1.0 / groups), draws)
    of_seed = rng.multinomial(seeds, np.full(seeds, 1.0 / seeds), draws)

    def drawn(table: np.ndarray) -> Mapping[str, np.ndarray]:
        pooled = sum(of_seed[:, s, None] * (times @ table[s].reshape(groups, -1)) for s in range(seeds))
        return measure(np.asarray(pooled).reshape(draws, classes, classes))

    measures, tail = drawn(table), (1.0 - level) / 2.0
    if minus is not None:
        other = _checked(minus)
        if other.shape != table.shape:
            raise ValueError(f"bootstrap() got {groups} groups, and {other.shape[1]} to compare with")
        subtracted = drawn(other)
        measures = {name: values - subtracted[name] for name, values in measures.items()}
    return {name: _interval(values, tail) for name, values in measures.items()}


def _checked(per_group: np.ndarray) -> np.ndarray:
    table = np.asarray(per_group)
    if table.ndim not in (3, 4) or table.shape[-1] != table.shape[-2]:
        raise ValueError(f"bootstrap() needs confusion matrices [G, K, K], not an array of shape {table.shape}")
    return (table if table.ndim == 4 else table[None]).astype(np.int64)


def _interval(values: np.ndarray, tail: float) -> tuple[float, float]:
    used = values[~np.isnan(values)]
    if not used.size:
        return float("nan"), float("nan")
    low, high = np.quantile(used, [tail, 1.0 - tail])
    return float(low), float(high)
