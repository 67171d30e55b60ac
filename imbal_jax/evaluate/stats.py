"""What may be said after some seeds: intervals over seeds and paired comparisons on the same seeds. Host-side numpy."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from imbal_jax.evaluate.metrics import LOWER_IS_BETTER, is_metric
from imbal_jax.lanes import purpose

EXACT_UP_TO = 12  # seeds: 2**12 sign patterns are still listed in full
RESAMPLES = 10_000
FEWEST_TO_RESAMPLE = 6  # the range of n paired differences covers the median with 1 - 2**(1-n): 95 % needs 6
LEVEL = 0.05  # of the tests, over all methods compared
MARGIN = 0.002  # differences below it are of no interest, unless said otherwise
COSTS = ("seconds", "gan_seconds", "classifier_seconds", "examples_seen")


def summary(name: str, values: Iterable[float | None]) -> dict[str, Any]:
    """Mean, spread and worst seed of one metric.

    Args:
        name: the metric's name; it decides whether the worst seed is the lowest or (ece, brier, nll) the highest.
        values: one number for each seed; None and NaN mark seeds without a meaningful number and are left out.

    Returns:
        {"mean", "std" (n - 1 in the denominator), "ci95": [low, high] (Student's t), "worst", "n" (seeds used),
        "left_out"}; std and ci95 are None with fewer than two seeds, mean and worst None with none.
    """
    given = [float("nan") if value is None else float(value) for value in values]
    used = np.array([value for value in given if np.isfinite(value)])
    worst = np.max if name in LOWER_IS_BETTER else np.min
    return {
        "mean": float(used.mean()) if used.size else None,
        "std": float(used.std(ddof=1)) if used.size > 1 else None,
        "ci95": _t_interval(used),
        "worst": float(worst(used)) if used.size else None,
        "n": int(used.size),
        "left_out": len(given) - int(used.size),
    }


def paired(a: Iterable[float | None], b: Iterable[float | None], key: jax.Array) -> dict[str, Any]:
    """The difference a - b between two methods on the same seeds.

    The interval is the expanded percentile bootstrap (Hesterberg 2015, "What teachers should know about the
    bootstrap") from 6 pairs on, and Student's t below: with fewer pairs no resample leaves the range of the
    differences, and that range itself covers less than 95 %. The p-value is that of the two-sided sign-flip
    permutation test of the mean: exact up to 12 pairs (so never below 2 / 2**n), from 10,000 random flips with more.

    Args:
        a, b: numbers in the order of the same seeds; a pair with None or NaN on either side is left out.
        key: typed key, the source of resamples and flips.

    Returns:
        {"mean", "ci95": [low, high], "p", "n" (pairs used), "interval": "t" or "bootstrap", "effect" (mean / standard
        deviation of the differences, Cohen's d_z; None where they are all the same)}; ci95, p and interval are None with
        fewer than two pairs, mean None with none.

    Raises:
        ValueError: when a and b differ in length.
    """
    left, right = (np.array([np.nan if v is None else v for v in side], np.float64) for side in (a, b))
    if left.shape != right.shape:
        raise ValueError(f"paired() needs the same seeds on both sides: got {left.size} and {right.size} numbers")
    difference = (left - right)[np.isfinite(left - right)]
    n = int(difference.size)
    if n < 2:
        return {"mean": float(difference[0]) if n else None, "ci95": None, "p": None, "n": n, "interval": None, "effect": None}
    resampled = n >= FEWEST_TO_RESAMPLE
    interval = _bootstrap(difference, _generator(key, "bootstrap")) if resampled else _t_interval(difference)
    p = _sign_flips(difference, _generator(key, "flips"))
    kind = "bootstrap" if resampled else "t"
    mean, spread = float(difference.mean()), float(difference.std(ddof=1))
    effect = mean / spread if spread > 0 else None
    return {"mean": mean, "ci95": interval, "p": p, "n": n, "interval": kind, "effect": effect}


def holm(p: Mapping[str, float | None]) -> dict[str, float | None]:
    """p-values adjusted for several tests (Holm 1979, "A simple sequentially rejective multiple test procedure").

    Args:
        p: p-values by name; None (no test was possible) stays None and does not count.

    Returns:
        by name: the largest of p_(j) (m - j + 1) over the j-th smallest p-values up to its own, at most 1.
    """
    tested = sorted((value, name) for name, value in p.items() if value is not None)
    adjusted: dict[str, float | None] = dict.fromkeys(p)
    highest = 0.0
    for rank, (value, name) in enumerate(tested):
        highest = max(highest, min(1.0, value * (len(tested) - rank)))
        adjusted[name] = highest
    return adjusted


def verdict(name: str, interval: Sequence[float] | None, p: float | None, margin: float = MARGIN) -> str:
    """What a paired comparison says of a method against the baseline.

    Args:
        name: the metric, which decides whether more is better.
        interval: 95 % interval of the difference method - baseline, or None.
        p: p-value, adjusted where several methods were compared, or None.
        margin: differences below it are of no interest, in the metric's units.

    Returns:
        'better' or 'worse' (p below 0.05, and the interval without 0), 'equivalent' (the interval within the margin on
        both sides; also where there is a difference, but a small one), else 'undecided'.
    """
    if interval is None:
        return "undecided"
    low, high = interval
    if -margin < low and high < margin:
        return "equivalent"
    if p is None or p >= LEVEL or low <= 0 <= high:
        return "undecided"
    return "better" if (low > 0) != (name in LOWER_IS_BETTER) else "worse"


def results(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The aggregates of a run, by method in order of first appearance.

    A failed lane whose metrics are None is left out of the means and still counted in "failed"; one that has numbers
    counts in both.

    Args:
        rows: flat dicts, one for each (seed, method), as in rows.jsonl.

    Returns:
        {method: {"metrics": {name: summary}, "class_counts": {"before": [K], "after": [K]}, "confusion": [K][K]
        summed over seeds or None, "seeds": [...], "failed": number of lanes, and the means over lanes of "seconds",
        "gan_seconds", "classifier_seconds", "examples_seen" (None where no lane has it)}}.
    """
    return {method: _method(lanes) for method, lanes in _by_method(rows).items()}


def comparisons(
    rows: Sequence[Mapping[str, Any]], key: jax.Array, baseline: str = "none", margin: float = MARGIN
) -> dict[str, dict[str, dict[str, Any]]]:
    """Every method against a baseline, paired by seed.

    Args:
        rows: flat dicts, one for each (seed, method).
        key: typed key; each (method, metric) draws from its own fold of it.
        baseline: the method compared against.
        margin: see `verdict`.

    Returns:
        {method: {metric: paired(method, baseline) with "p_holm" (adjusted over the methods) and "verdict"}} for the
        methods other than the baseline; {} without a baseline.
    """
    arms = _by_method(rows)
    reference = {row["seed"]: row for row in arms.pop(baseline, [])}
    table: dict[str, dict[str, dict[str, Any]]] = {}
    draw = functools.partial(purpose, key)
    for method, lanes in arms.items() if reference else ():
        shared = [(row, reference[row["seed"]]) for row in lanes if row["seed"] in reference]
        table[method] = {
            name: paired([a.get(name) for a, _ in shared], [b.get(name) for _, b in shared], draw(method + name))
            for name in _metric_names(lanes)
        }
    for name in {name for metrics in table.values() for name in metrics}:
        having = {method: metrics[name] for method, metrics in table.items() if name in metrics}
        adjusted = holm({method: found["p"] for method, found in having.items()})
        for method, found in having.items():
            p = adjusted[method]
            found |= {"p_holm": p, "verdict": verdict(name, found["ci95"], p, margin)}
    return table


def _by_method(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    arms: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        arms.setdefault(row["method"], []).append(row)
    return {method: sorted(lanes, key=lambda row: row["seed"]) for method, lanes in arms.items()}


def _method(lanes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    matrices = [np.asarray(row["confusion"]) for row in lanes if row.get("confusion") is not None]
    return {
        "metrics": {name: summary(name, [row.get(name) for row in lanes]) for name in _metric_names(lanes)},
        "class_counts": {"before": lanes[0].get("counts_before"), "after": lanes[0].get("counts_after")},
        "confusion": np.sum(matrices, axis=0).tolist() if matrices else None,
        "seeds": [row["seed"] for row in lanes],
        "failed": sum(row.get("failed") is not None for row in lanes),
        **{name: summary(name, [row.get(name) for row in lanes])["mean"] for name in COSTS},
    }


def _metric_names(lanes: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in lanes for name in row if is_metric(name)))


def _t_interval(values: np.ndarray) -> list[float] | None:
    from scipy import stats

    if values.size < 2:
        return None
    half = stats.t.ppf(0.975, values.size - 1) * values.std(ddof=1) / np.sqrt(values.size)
    return [float(values.mean() - half), float(values.mean() + half)]


def _bootstrap(difference: np.ndarray, generator: np.random.Generator) -> list[float]:
    from scipy import stats

    n = difference.size
    means = difference[generator.integers(0, n, (RESAMPLES, n))].mean(axis=1)
    # The plain percentiles are too narrow by sqrt((n - 1) / n) and take the normal's quantile for t's.
    tail = stats.norm.cdf(np.sqrt(n / (n - 1)) * stats.t.ppf(0.025, n - 1))
    return [float(v) for v in np.quantile(means, [tail, 1.0 - tail])]


def _sign_flips(difference: np.ndarray, generator: np.random.Generator) -> float:
    n = difference.size
    exact = n <= EXACT_UP_TO
    if exact:
        signs = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)[None, :]) & 1)
    else:
        signs = generator.choice([-1.0, 1.0], (RESAMPLES, n))
    observed = abs(difference.mean())
    as_far = np.abs(signs @ difference / n) >= observed - 1e-12 * np.abs(difference).max()  # rounding is no evidence
    return float(as_far.mean()) if exact else float((as_far.sum() + 1) / (RESAMPLES + 1))


def _generator(key: jax.Array, name: str) -> np.random.Generator:
    return np.random.default_rng(np.asarray(jax.random.key_data(purpose(key, name))).tolist())
