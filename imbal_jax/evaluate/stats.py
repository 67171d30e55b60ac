"""Statistics over seeds: intervals, paired comparisons on the same seeds, and verdicts. Host-side NumPy."""

import functools
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from imbal_jax.evaluate import clustered, confusion_matrix, interim, metric_functions
from imbal_jax.evaluate.metrics import LOWER_IS_BETTER, bounds, is_metric

LISTED_UP_TO = 12  # seeds: all 2**12 sign patterns are enumerated
EXACT_UP_TO = 24  # seeds: all patterns are counted from sorted sums of two halves
ROUNDING = 1e-5  # relative, of float32 metrics: differences with a smaller spread are equal
RESAMPLES = 10_000
FLIPS = 49_999  # random sign patterns for more seeds
FEWEST_BEYOND = 20  # resamples beyond each end of an interval; with fewer the end is unreliable
FEWEST_TO_DECIDE = 6  # with 5 pairs the p-value of the sign-flip test is at least 2 / 2**5 = 0.0625
MOST_SEEDS = 64  # largest number advised; beyond it the random sign patterns limit p
LEVEL = 0.05  # of the tests, over all methods compared
POWER = 0.8  # of a comparison, at which the advised number of seeds aims
MOST_PAIRS = 10_000  # largest number advised for that power
MARGIN = 0.002  # equivalence margin, by default
COSTS = ("seconds", "gan_seconds", "classifier_seconds", "examples_seen")


def summary(name: str, values: Iterable[float | None]) -> dict[str, Any]:
    """Mean, spread and worst seed of one metric.

    Args:
        name: the metric's name; it decides whether the worst seed has the lowest or (ece, brier, nll) the highest value.
        values: one number for each seed; None and NaN (undefined) are left out.

    Returns:
        {"mean", "std" (n - 1 in the denominator), "ci95": [low, high] (Student's t, cut at the metric's bounds), "worst",
        "n" (seeds used), "left_out"}; std and ci95 are None with fewer than two seeds, mean and worst None with none.
    """
    numbers = [float("nan") if value is None else float(value) for value in values]
    used = np.array([value for value in numbers if np.isfinite(value)])
    worst = np.max if name in LOWER_IS_BETTER else np.min
    return {
        "mean": float(used.mean()) if used.size else None,
        "std": float(used.std(ddof=1)) if used.size > 1 else None,
        "ci95": _within(_t_interval(used), bounds(name)),
        "worst": float(worst(used)) if used.size else None,
        "n": int(used.size),
        "left_out": len(numbers) - int(used.size),
    }


def paired(a: Iterable[float | None], b: Iterable[float | None], key: jax.Array, level: float = LEVEL) -> dict[str, Any]:
    """The difference a - b between two methods on the same seeds.

    The interval is the expanded percentile bootstrap (Hesterberg 2015, "What teachers should know about the
    bootstrap") where at least 20 of the 10,000 resamples lie beyond each of its ends: from 6 pairs on for 95 %. Student's
    t elsewhere: with fewer pairs no resample leaves the range of the differences, which itself covers too little. The
    p-value is that of the two-sided sign-flip permutation test of the mean: exact up to 24 pairs (so never below 2 / 2**n),
    from 49,999 random flips with more.

    Args:
        a, b: numbers in the order of the same seeds; a pair with None or NaN on either side is left out.
        key: typed key, the source of resamples and flips.
        level: the interval covers 1 - level.

    Returns:
        {"mean", "ci95": [low, high], "p", "n" (pairs used), "interval": "t" or "bootstrap", "effect" (mean / standard
        deviation of the differences, Cohen's d_z; None where they are all the same)}; ci95, p and interval are None with
        fewer than two pairs, mean None with none.

    Raises:
        ValueError: when a and b differ in length.
    """
    return _paired(a, b, _seed(key), level)


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
    """The verdict of a paired comparison of a method with the baseline.

    Args:
        name: the metric, which decides whether higher is better.
        interval: 95 % interval of the difference method - baseline, or None.
        p: p-value, adjusted if several methods were compared, or None.
        margin: equivalence margin, in the metric's units.

    Returns:
        'better' or 'worse' (p below 0.05, and the interval excludes 0), 'equivalent' (the interval lies within the margin
        on both sides, even if it excludes 0), else 'undecided'.
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

    A failed lane whose metrics are None is left out of the means and counted in "failed"; one with values counts in both.

    Args:
        rows: flat dicts, one for each (seed, method), as in rows.jsonl.

    Returns:
        {method: {"metrics": {name: summary}, "class_counts": {"before": [K], "after": [K]}, "confusion": [K][K]
        summed over seeds or None, "seeds": [...], "failed": number of lanes, and the means over lanes of "seconds",
        "gan_seconds", "classifier_seconds", "examples_seen" (None where no lane has it)}}.
    """
    return {method: _method(lanes) for method, lanes in _by_method(rows).items()}


def comparisons(
    rows: Sequence[Mapping[str, Any]],
    key: jax.Array,
    baseline: str = "none",
    margin: float = MARGIN,
    history: interim.History | None = None,
    unequal_steps: bool = False,
    metrics: Container[str] | None = None,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Every method against a baseline, paired by seed; at a point of a grid as `opponent` says.

    If a growing set of seeds is analysed several times, each analysis spends a share of the error (`interim`):
    the p-values are divided by the share, the intervals cover 1 - 0.05 x share. So the chance of one wrong 'better' or
    'worse', over all methods and analyses, is at most 5 %, wherever the sweep ends. 'equivalent' is controlled per method
    (two one-sided tests at 2.5 % over all analyses), not over all methods.

    If the rows have a confusion matrix for each group of the test set (patients, records), the intervals are over both
    groups and seeds (`clustered.two_level`); the p-value is over seeds, and a verdict needs both.

    Args:
        rows: flat dicts, one for each (seed, method); a row's "point" ('' or absent without a grid) says which baseline
            it belongs to.
        key: typed key; all comparisons of n pairs share their resamples and flips.
        baseline: the method compared against.
        margin: see `verdict`.
        history: the earlier analyses; None for a single, final analysis.
        unequal_steps: whether arms whose classifiers trained for different numbers of steps get a verdict.
        metrics: those of interest; None for all.

    Returns:
        {method: {metric: paired(method, baseline) with "seeds" (that both have, failed ones included), "share" (of the
        error), "p_holm" (adjusted over the methods and analyses), "verdict" ('better', 'worse', 'equivalent', 'undecided' or
        'none': see `decide`) and "reason" (why there can be no verdict, or None)}} for the methods that have a baseline; {}
        without one. "interval" is 'two-level' if groups were resampled; these have "groups", their number.
    """
    arms = _by_method(rows)
    table: dict[str, dict[str, dict[str, Any]]] = {}
    refusals: dict[str, str | None] = {}
    seed = _seed(key)
    for method, lanes in arms.items():
        if (other := opponent(lanes[0], baseline, arms)) is None:
            continue
        reference = {row["seed"]: row for row in arms[other]}
        shared = [(row, reference[row["seed"]]) for row in lanes if row["seed"] in reference]
        share = interim.share(len(shared), method, history)
        refusals[method] = (history.changed if history else "") or _lengths_differ(shared, unequal_steps)
        table[method] = {
            name: _compared(name, shared, seed, share) | {"seeds": len(shared), "share": share}
            for name in _metric_names(lanes)
            if metrics is None or name in metrics
        }
        stuck = _collapsed(shared)
        for pair in table[method].values():
            pair["collapsed"] = stuck
    for name in {name for of_arm in table.values() for name in of_arm}:
        of_metric = {method: of_arm[name] for method, of_arm in table.items() if name in of_arm}
        adjusted = holm({method: _over_analyses(pair["p"], pair["share"]) for method, pair in of_metric.items()})
        for method, pair in of_metric.items():
            pair["p_holm"] = adjusted[method]
            word, reason = decide(name, pair, margin, len(of_metric), refusals[method], method, history)
            pair |= {"verdict": word, "reason": reason}
            del pair["collapsed"]
    return table


def decide(
    name: str,
    pair: Mapping[str, Any],
    margin: float,
    tests: int,
    refusal: str | None = None,
    arm: str = "",
    history: interim.History | None = None,
) -> tuple[str, str | None]:
    """The verdict on one comparison, or the reason for having none; all verdicts are decided here.

    Args:
        name: the metric.
        pair: "ci95", "p_holm", "n", "share", "interval", "collapsed" (see `comparisons`).
        margin: see `verdict`.
        tests: comparisons that Holm's adjustment is over at most.
        refusal: why the two arms cannot be compared at all, or None.
        arm, history: as `interim.share` takes them, to advise how many seeds are needed.

    Returns:
        the word of `verdict` and None; or 'undecided' and why, if more seeds would help; or 'none' and why, if they
        would not.
    """
    if refusal:
        return "none", refusal
    if not possible(pair["n"], tests, pair["share"]):
        return "undecided", too_few(pair["n"], tests, arm, history)
    if pair.get("interval") == "ungrouped":
        return "none", "no verdict: the test rows are in groups, and this metric is not known for each group"
    word = verdict(name, pair["ci95"], pair["p_holm"], margin)
    if pair["collapsed"] and (word == "equivalent" or (word == "better" and pair["collapsed"][0] == "this arm")):
        who, count = pair["collapsed"]
        return "none", f"no verdict: {who} collapsed to a single predicted class in {count} of {pair['seeds']} seeds"
    return word, None


def possible(n: int, tests: int, share: float = 1.0) -> bool:
    """Whether the sign-flip test of n pairs can reach p below 0.05 after Holm's adjustment for `tests` tests.

    Args:
        n: pairs.
        tests: comparisons, at least 1.
        share: of the error, see `interim.share`.
    """
    lowest = 2.0 / 2**n if n <= EXACT_UP_TO else 1.0 / (FLIPS + 1)
    return n >= FEWEST_TO_DECIDE and share > 0 and tests * lowest < LEVEL * share


def seeds_needed(tests: int, arm: str = "", history: interim.History | None = None) -> int | None:
    """The fewest seeds with which `tests` comparisons can have a verdict; None if more than 64 are needed.

    Args:
        tests: comparisons with the baseline, at least 1.
        arm, history: the earlier analyses, see `interim.share`; without them a single analysis of the seeds as planned.
    """
    for n in range(FEWEST_TO_DECIDE, MOST_SEEDS + 1):
        if possible(n, tests, interim.share(n, arm, history) if history else interim.PLANNED):
            return n
    return None


def pairs_needed(
    differences: Sequence[float], tests: int, margin: float = MARGIN, arm: str = "", history: interim.History | None = None
) -> int | None:
    """The number of seeds that decides a comparison with a power of 0.8, estimated from the finished pairs.

    For the observed mean difference, or the margin if that is larger, at the observed standard deviation of differences; the
    level is that of Holm's first step among so many tests, times the share of the error of an analysis of n seeds. See
    `power`; as many as `possible` asks for at least. Mean and deviation are themselves estimates: with five
    pairs the true deviation may be 0.6 to 2.9 times the observed one (95 %).

    Args:
        differences: of the pairs, at least two.
        tests: comparisons with the baseline.
        margin: see `verdict`.
        arm, history: as `interim.share` takes them.

    Returns:
        None if more than 10,000 are needed.
    """
    values = np.asarray(differences, np.float64)
    spread, effect = float(values.std(ddof=1)), max(abs(float(values.mean())), margin)
    if not effect:
        return None
    n = np.arange(2, MOST_PAIRS + 1)
    share = np.array([interim.share(int(count), arm, history) if history else interim.PLANNED for count in n])
    if spread <= ROUNDING * effect:
        return seeds_needed(tests, arm, history)
    enough = power(effect / spread, n, LEVEL * share / tests) >= POWER
    able = (int(count) for count, part in zip(n[enough], share[enough], strict=True) if possible(int(count), tests, part))
    return next(able, None)


def power(effect: float, n: np.ndarray, level: np.ndarray) -> np.ndarray:
    """The probability that a two-sided paired t-test finds a difference.

    P(|T| > t) with t the 1 - level / 2 quantile of Student's t at n - 1 degrees of freedom and T the noncentral t of
    noncentrality d sqrt(n) (Cohen 1988, "Statistical power analysis for the behavioral sciences", chapter 2; the smaller
    tail is left out). The sign-flip test that decides has asymptotically the same power (Hoeffding 1952, "The large-sample
    power of tests based on permutations of observations").

    Args:
        effect: d, the mean of the differences in their standard deviations, above 0.
        n: int [N], pairs, at least 2.
        level: float [N], of the tests.

    Returns:
        float [N].
    """
    from scipy import special

    level = np.clip(level, 1e-300, 1.0)
    center = effect * np.sqrt(n)
    limit = special.stdtrit(n - 1, 1.0 - level / 2)
    probability = 1.0 - special.nctdtr(n - 1, center, limit)
    return np.where(np.isfinite(probability), probability, special.ndtr(center - limit))


def too_few(n: int, tests: int, arm: str = "", history: interim.History | None = None) -> str:
    """One line: n seeds allow no verdict, and how many would."""
    needed = seeds_needed(tests, arm, history)
    counted = f"{n} seed{'s' if n != 1 else ''} and {tests} comparison{'s' if tests != 1 else ''}"
    if history and (times := len([earlier for earlier in history.seeds.get(arm, ()) if earlier < n])):
        counted += f" after {times} earlier analys{'es' if times > 1 else 'is'}"
    if history and n < history.plan.seeds:
        counted += f" ({history.plan.seeds} seeds were planned)"
    advice = f"add --config.seeds={needed}, same workdir" if needed else "compare fewer methods"
    if needed and history and history.joined:
        advice = f"all parts together need {needed} (others by --config.seeds=FIRST:END), joined by --report=DIR,DIR"
    return f"no verdict possible with {counted}: {advice}"


def undecided(
    rows: Sequence[Mapping[str, Any]],
    key: jax.Array,
    metric: str,
    *,
    methods: Iterable[str] = (),
    baseline: str = "none",
    margin: float = MARGIN,
    history: interim.History | None = None,
    unequal_steps: bool = False,
) -> list[str]:
    """The methods whose comparison with the baseline is undecided; a sweep may stop when there are none.

    A method is undecided while it has too few pairs for a verdict: see `possible`.

    Args:
        rows, key, baseline, margin, history, unequal_steps: as for `comparisons`.
        metric: the metric that decides.
        methods: names that must be decided even if they have no row yet, besides those in the rows.

    Returns:
        names, in the order of `methods`, then of the rows; baselines are not among them. A method without a baseline to
        compare with is undecided.
    """
    compared = comparisons(rows, key, baseline, margin, history, unequal_steps, (metric,))
    names = dict.fromkeys([*methods, *(row["method"] for row in rows)])
    without_opponent = {baseline} | {at_point(baseline, row.get("point")) for row in rows if baseline not in names}
    return [name for name in names if name not in without_opponent and _is_open(compared.get(name, {}).get(metric))]


def opponent(row: Mapping[str, Any], baseline: str, arms: Container[str]) -> str | None:
    """The arm that a row's arm is compared with: the baseline at the same point of a grid; None if there is none.

    The baseline at a point is itself compared with the baseline without a point, if there is one.

    Args:
        row: "method" and "point".
        baseline: the method compared against.
        arms: all names.
    """
    baseline_here = at_point(baseline, row.get("point"))
    other = baseline_here if row["method"] != baseline_here else baseline
    return other if other in arms and other != row["method"] else None


def at_point(method: str, point: str | None) -> str:
    """The name of a method's arm at a point of a grid: 'over [classifier.epochs=10]'; without a point the method's own."""
    return f"{method} [{point}]" if point else method


def off_point(row: Mapping[str, Any]) -> str:
    """The method of a row without its point: the inverse of `at_point`."""
    return str(row["method"]).removesuffix(f" [{row.get('point')}]")


def _is_open(pair: Mapping[str, Any] | None) -> bool:
    return pair is None or pair["verdict"] == "undecided"


def _compared(name: str, shared: Sequence[tuple[Any, Any]], seed: tuple[int, ...], share: float) -> dict[str, Any]:
    """`paired` at the given share of the error; the interval is over groups and seeds if the rows have groups."""
    level = LEVEL * max(share, 1e-9)
    result = _paired([a.get(name) for a, _ in shared], [b.get(name) for _, b in shared], seed, level)
    if result["n"] and any(row.get("confusion_by_group") for pair in shared for row in pair):
        result |= _over_groups(name, shared, seed, level)
    low, high = bounds(name)
    result["ci95"] = _within(result["ci95"], (low - high, high - low))
    return result


def _over_groups(name: str, shared: Sequence[tuple[Any, Any]], seed: tuple[int, ...], level: float) -> dict[str, Any]:
    pairs = [pair for pair in shared if all(row.get(name) is not None for row in pair)]
    matrices = [[row.get("confusion_by_group") for row in pair] for pair in pairs]
    classes = [key.removeprefix("recall_") for key in pairs[0][0] if key.startswith("recall_")]
    shapes = {np.shape(matrix) for pair in matrices for matrix in pair}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 3 or shape[-1] != len(classes):
        return {"interval": "ungrouped"}
    if (measure := metric_functions.by_name(name, classes)) is None:
        return {"interval": "ungrouped"}
    mine, theirs = (np.array([pair[side] for pair in matrices]) for side in (0, 1))
    difference = clustered.two_level(mine, theirs, measure, seed[-1], level)
    return (
        {} if difference is None else {"ci95": list(difference.interval), "interval": "two-level", "groups": difference.groups}
    )


def _over_analyses(p: float | None, share: float) -> float | None:
    return None if p is None else min(1.0, p / share) if share > 0 else 1.0


def _lengths_differ(shared: Sequence[tuple[Any, Any]], allowed: bool) -> str | None:
    """'trained N and M steps' if both rows of a pair have their number of steps and these differ; also for their GANs."""
    if allowed:
        return None
    fields = ["steps", *sorted({name for a, b in shared for name in a.keys() & b.keys() if name.startswith("gan_steps")})]
    for field in fields:
        lengths = [(a[field], b[field]) for a, b in shared if a.get(field) is not None and b.get(field) is not None]
        if differ := [pair for pair in lengths if pair[0] != pair[1]]:
            mine, theirs = ("/".join(f"{steps:,}" for steps in sorted({pair[side] for pair in differ})) for side in (0, 1))
            return f"{'' if field == 'steps' else 'GANs '}trained {mine} and {theirs} steps"
    return None


def _collapsed(shared: Sequence[tuple[Any, Any]]) -> tuple[str, int] | None:
    """Which side collapsed to a single class, and in how many seeds; this arm is checked first."""
    for side, who in enumerate(("this arm", "the baseline")):
        if count := sum(confusion_matrix.collapsed(pair[side].get("confusion")) is not None for pair in shared):
            return who, count
    return None


def _within(ends: Sequence[float] | None, limits: tuple[float, float]) -> list[float] | None:
    """The interval clipped to the limits."""
    return None if ends is None else [float(np.clip(end, *limits)) for end in ends]


def _paired(a: Iterable[float | None], b: Iterable[float | None], seed: tuple[int, ...], level: float) -> dict[str, Any]:
    left, right = (np.array([np.nan if v is None else v for v in side], np.float64) for side in (a, b))
    if left.shape != right.shape:
        raise ValueError(f"paired() needs the same seeds on both sides: got {left.size} and {right.size} numbers")
    difference = (left - right)[np.isfinite(left - right)]
    n = int(difference.size)
    if n < 2:
        return {"mean": float(difference[0]) if n else None, "ci95": None, "p": None, "n": n, "interval": None, "effect": None}
    resampled = _tail(n, level) * RESAMPLES >= FEWEST_BEYOND
    mean, spread = float(difference.mean()), float(difference.std(ddof=1))
    return {
        "mean": mean,
        "ci95": _bootstrap(difference, seed, level).tolist() if resampled else _t_interval(difference, level),
        "p": float(_sign_flips(difference, seed)),
        "n": n,
        "interval": "bootstrap" if resampled else "t",
        "effect": mean / spread if spread > ROUNDING * abs(mean) else None,
    }


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


def _t_interval(values: np.ndarray, level: float = LEVEL) -> list[float] | None:
    from scipy import special

    if values.size < 2:
        return None
    half = special.stdtrit(values.size - 1, 1.0 - level / 2) * values.std(ddof=1) / np.sqrt(values.size)
    return [float(values.mean() - half), float(values.mean() + half)]


@functools.cache
def _tail(n: int, level: float) -> float:
    """The share of resamples to leave out at each end, for n values.

    The plain percentiles are too narrow by sqrt((n - 1) / n) and take the normal's quantile for t's.
    """
    from scipy import special

    return float(special.ndtr(np.sqrt(n / (n - 1)) * special.stdtrit(n - 1, level / 2)))


def _bootstrap(differences: np.ndarray, seed: tuple[int, ...], level: float = LEVEL) -> np.ndarray:
    """[..., n] -> [..., 2]: the expanded percentile interval of each mean."""
    tail = _tail(differences.shape[-1], level)
    means = differences @ _weights(differences.shape[-1], seed)
    return np.moveaxis(np.quantile(means, [tail, 1.0 - tail], axis=-1), 0, -1)


def _sign_flips(differences: np.ndarray, seed: tuple[int, ...]) -> np.ndarray:
    """[..., n] -> [...]: the two-sided p-value of each mean."""
    n = differences.shape[-1]
    observed = np.abs(differences.mean(axis=-1)) - 1e-12 * np.abs(differences).max(axis=-1)  # tolerance for rounding
    if LISTED_UP_TO < n <= EXACT_UP_TO:
        return _count_flips(differences, observed)
    flipped = np.abs(differences @ _signs(n, seed)) / n
    as_far = (flipped >= observed[..., None]).sum(axis=-1)
    return as_far / 2**n if n <= LISTED_UP_TO else (as_far + 1) / (FLIPS + 1)


def _count_flips(differences: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """[..., n], [...] -> [...]: the share of all sign patterns whose mean is as far from 0, counted from sorted half sums."""
    n = differences.shape[-1]
    first, second = (part @ _patterns(part.shape[-1]) for part in np.array_split(differences, 2, axis=-1))
    second = np.sort(second, axis=-1)
    shares = np.empty(observed.shape)
    for index in np.ndindex(observed.shape):
        above = second.shape[-1] - np.searchsorted(second[index], n * observed[index] - first[index])
        shares[index] = 1.0 if observed[index] <= 0 else 2.0 * above.sum() / 2**n  # by symmetry as many are below
    return shares


@functools.lru_cache(maxsize=4)
def _weights(n: int, seed: tuple[int, ...]) -> np.ndarray:
    """float64 [n, RESAMPLES]: the weight of each value in the mean of each resample."""
    return np.random.default_rng((*seed, 0)).multinomial(n, np.full(n, 1.0 / n), RESAMPLES).T / n


@functools.lru_cache(maxsize=4)
def _signs(n: int, seed: tuple[int, ...]) -> np.ndarray:
    """float64 [n, P] of 1 and -1: all patterns up to 12 values, else 49,999 random ones."""
    if n <= LISTED_UP_TO:
        return _patterns(n)
    return np.random.default_rng((*seed, 1)).choice([-1.0, 1.0], (n, FLIPS))


@functools.cache
def _patterns(n: int) -> np.ndarray:
    """float64 [n, 2**n] of 1 and -1: all patterns of n signs."""
    return 1.0 - 2.0 * ((np.arange(2**n)[None, :] >> np.arange(n)[:, None]) & 1)


def _seed(key: jax.Array) -> tuple[int, ...]:
    return tuple(int(word) for word in np.asarray(jax.random.key_data(key)).ravel())
