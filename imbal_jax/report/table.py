"""The short table of a run, for a terminal."""

from typing import Any

COLUMNS = ("accuracy", "balanced_accuracy", "macro_f1", "g_mean", "ece")


def text(results: dict[str, Any]) -> str:
    """Method by metric, mean and half width of the 95% interval over seeds, from the content of results.json."""
    arms = results["methods"]
    width = max(len(name) for name in arms)
    seeds = len(results["seeds"])
    title = f"{results['name']}: {seeds} seed{'s' if seeds > 1 else ''}, test set whole, {results['selection']}"
    head = f"{'method':<{width}} " + " ".join(f"{name:>18}" for name in COLUMNS) + f" {'s per seed':>11} {'failed':>6}"
    lines = [title, head]
    for name, arm in arms.items():
        cells = " ".join(f"{_cell(arm['metrics'].get(column)):>18}" for column in COLUMNS)
        lines.append(f"{name:<{width}} {cells} {arm['seconds']:>11.1f} {arm['failed']:>6}")
    return "\n".join(lines)


def _cell(metric: dict[str, Any] | None) -> str:
    if not metric or metric.get("mean") is None:
        return "-"
    if not metric.get("ci95"):
        return f"{100 * metric['mean']:.2f} %"
    return f"{100 * metric['mean']:.2f} ± {50 * (metric['ci95'][1] - metric['ci95'][0]):.2f} %"
