"""The short table of a run, for a terminal."""

from typing import Any

from imbal_jax.evaluate.metrics import LOWER_IS_BETTER, bounds

COLUMNS = ("accuracy", "balanced_accuracy", "macro_f1", "g_mean", "ece")
PLAIN = ("mcc", "brier", "nll", "kappa", "j_kappa", "quadratic_kappa")  # no shares of anything


def text(results: dict[str, Any]) -> str:
    """Method by metric, from the content of results.json, sorted by its chosen metric.

    Means and half widths of the 95% intervals over seeds; the verdict against the baseline.
    """
    metric, arms = results["metric"], results["methods"]
    columns = list(dict.fromkeys([metric, *COLUMNS]))
    width = max(len(name) for name in arms)
    seeds = len(results["seeds"])
    rows = results.get("test_rows", "test set whole")
    title = f"{results['name']}: {seeds} seed{'s' if seeds > 1 else ''}, {rows}, {results['selection']}"
    head = f"{'method':<{width}} " + " ".join(f"{name:>18}" for name in columns) + f" {'s per seed':>11} {'failed':>6}"
    reasons: dict[str, int] = {}
    lines = [title, f"{head}  against {results['baseline']}"]
    for name, arm in sorted(arms.items(), key=lambda item: _place(item[1], metric)):
        cells = " ".join(f"{_cell(column, arm['metrics'].get(column)):>18}" for column in columns)
        found = results["paired"].get(name, {}).get(metric, {})
        said = {None: "-", "none": "no verdict"}.get(found.get("verdict"), found.get("verdict"))
        if found.get("reason"):
            said += f" ({reasons.setdefault(found['reason'], len(reasons) + 1)})"
        said += f"; collapsed in {arm['collapsed']} of {len(arm['seeds'])} seeds" if arm.get("collapsed") else ""
        lines.append(f"{name:<{width}} {cells} {arm['seconds']:>11.1f} {arm['failed']:>6}  {said}")
    return "\n".join([*lines, *(f"({number}) {reason}" for reason, number in reasons.items())])


def _place(arm: dict[str, Any], metric: str) -> tuple[bool, float]:
    mean = (arm["metrics"].get(metric) or {}).get("mean")
    return mean is None, (mean or 0.0) * (1 if metric in LOWER_IS_BETTER else -1)


def _cell(name: str, metric: dict[str, Any] | None) -> str:
    if not metric or metric.get("mean") is None:
        return "-"
    mean, ends = metric["mean"], metric.get("ci95")
    scale, digits, unit = (1, 3, "") if name in PLAIN else (100, 2, " %")
    if not ends:
        return f"{scale * mean:.{digits}f}{unit}"
    low, high = bounds(name)
    if ends[0] < ends[1] and (ends[0] <= low or ends[1] >= high):  # the interval is cut there, and no longer symmetric
        return f"{scale * mean:.{digits}f} ({scale * ends[0]:.{digits}f}-{scale * ends[1]:.{digits}f})"
    return f"{scale * mean:.{digits}f} ± {scale * (ends[1] - ends[0]) / 2:.{digits}f}{unit}"
