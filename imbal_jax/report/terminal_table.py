"""The summary table of a run for a terminal of 80 columns."""

import textwrap
from collections.abc import Iterable
from typing import Any

from imbal_jax.evaluate.metrics import LOWER_IS_BETTER, bounds

COLUMNS = ("accuracy", "balanced_accuracy", "macro_f1", "g_mean", "ece")
PLAIN = ("mcc", "brier", "nll", "kappa", "j_kappa", "quadratic_kappa")  # not shares, so not in percent
WIDTH = 80  # columns of a terminal
NAME = 22  # columns for an arm's name
CELL = 18


def text(results: dict[str, Any]) -> str:
    """Method by metric, from the content of results.json, sorted by its chosen metric.

    Means and half widths of the 95% intervals over seeds, and the verdict against the baseline. No line is longer than 80
    characters: columns that do not fit follow in further blocks, and long names are listed in full below.
    """
    metric, arms = results["metric"], results["methods"]
    order = sorted(arms, key=lambda name: _place(arms[name], metric))
    short_names, legend = shortened(order, NAME)
    width = max(map(len, short_names.values()))
    seeds = len(results["seeds"])
    rows = results.get("test_rows", "whole test set")
    title = f"{results['name']}: {seeds} seed{'s' if seeds > 1 else ''}, {rows}, {results['selection']}"
    lines = wrapped(title)
    for number, columns in enumerate(_blocks(_columns(results), WIDTH - width)):
        lines += [""] if number else []
        lines.append(f"{'method':<{width}}" + "".join(f" {head:>{size}}" for head, size, _ in columns))
        for name in order:
            lines.append(f"{short_names[name]:<{width}}" + "".join(f" {cells[name]:>{size}}" for _, size, cells in columns))
    reasons: dict[str, int] = {}
    lines += ["", f"{'against':<{width}} {results['baseline']}"]
    for name in order:
        verdict = _said(results, name, reasons)
        lines += wrapped(f"{short_names[name]:<{width}} {verdict}", " " * (width + 1))
    lines += [line for reason, number in reasons.items() for line in wrapped(f"({number}) {reason}", "    ")]
    return "\n".join([*lines, *([""] if legend else []), *legend])


def shortened(names: Iterable[str], width: int) -> tuple[dict[str, str], list[str]]:
    """Names shortened to the width of a column, and a legend of those that were shortened.

    Args:
        names: each once.
        width: characters, at least 10.

    Returns:
        {name: itself, or 'its begi... [1]'} and the lines '[1] the whole name', each at most 80 characters long.
    """
    short_names: dict[str, str] = {}
    legend: list[str] = []
    number = 0
    for name in names:
        short_names[name] = name
        if len(name) > width:
            number += 1
            mark = f"... [{number}]"
            short_names[name] = name[: width - len(mark)].rstrip() + mark
            legend += wrapped(f"[{number}] {name}", "    ")
    return short_names, legend


def wrapped(line: str, indent: str = "") -> list[str]:
    """A line wrapped to 80 characters with a hanging indent; repeated spaces are preserved."""
    return textwrap.wrap(line, WIDTH, subsequent_indent=indent, replace_whitespace=False, drop_whitespace=True) or [""]


_Column = tuple[str, int, dict[str, str]]  # its head, its width, its cells by arm


def _columns(results: dict[str, Any]) -> list[_Column]:
    arms = results["methods"]
    columns = []
    for name in dict.fromkeys([results["metric"], *COLUMNS]):
        columns.append((name, max(CELL, len(name)), {arm: _cell(name, of["metrics"].get(name)) for arm, of in arms.items()}))
    columns.append(("s per seed", 11, {arm: f"{of['seconds']:.1f}" for arm, of in arms.items()}))
    columns.append(("failed", 6, {arm: str(of["failed"]) for arm, of in arms.items()}))
    return columns


def _blocks(columns: list[_Column], room: int) -> list[list[_Column]]:
    """The columns in order, split into blocks that fit the width."""
    blocks: list[list[_Column]] = [[]]
    for column in columns:
        if blocks[-1] and sum(size + 1 for _, size, _ in [*blocks[-1], column]) > room:
            blocks.append([])
        blocks[-1].append(column)
    return blocks


def _said(results: dict[str, Any], name: str, reasons: dict[str, int]) -> str:
    """The verdict on an arm; reasons for having none are numbered in `reasons`."""
    arm, pair = results["methods"][name], results["paired"].get(name, {}).get(results["metric"], {})
    verdict = {None: "-", "none": "no verdict"}.get(pair.get("verdict"), pair.get("verdict"))
    if pair.get("reason"):
        verdict += f" ({reasons.setdefault(pair['reason'], len(reasons) + 1)})"
    return verdict + (f"; collapsed in {arm['collapsed']} of {len(arm['seeds'])} seeds" if arm.get("collapsed") else "")


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
