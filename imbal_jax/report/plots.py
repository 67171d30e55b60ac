"""The plots of a run: curves, confusion matrices, recalls, class counts. Numpy arrays in, PNG out."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from imbal_jax.data.imbalance import minority
from imbal_jax.report.style import (
    ARMS,
    DOING_NOTHING,
    GRID,
    INK,
    MINORITY,
    SOFT,
    arm_colours,
    canvas,
    folded,
    legend_below,
    panel,
    short,
)

MOST_BARS = 20  # classes; with more, points are drawn instead of bars
MOST_INSIDE = 4  # curves whose legend fits inside the panel
MOST_PANELS = 4  # panels of curves in a row
MOST_LINES = 8  # arms whose curves share a panel
MOST_GROUPS = 8  # arms side by side, one colour each; with more, a heat map


def losses(path: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Curves by epoch in small panels: GAN losses, the discriminator's accuracy, the classifier's loss of every arm.

    Thin lines are seeds, bold ones their median (robust against a seed that diverged). Panels without data
    are left out; outliers do not set the scale (the panel says how many lie outside).

    Args:
        path: the PNG to write.
        history: dicts as in metrics.jsonl: "stage" ('gan' or 'classifier'), "seed", "epoch", and the curves' values.
    """
    gan = [line for line in history if line.get("stage") == "gan"]
    fits = [line for line in history if line.get("stage") == "classifier"]
    arms = list(dict.fromkeys(line["method"] for line in fits))
    colours = arm_colours(arms)
    d, g = ARMS[0], MINORITY
    networks = list(dict.fromkeys(line.get("method") for line in gan))  # one GAN per class, or a single one
    panels = []
    for name in networks:
        of_network, of = [line for line in gan if line.get("method") == name], f", {name}" if len(networks) > 1 else ""
        losses = [("discriminator", d, _curves(of_network, "d_loss")), ("generator", g, _curves(of_network, "g_loss"))]
        right = [
            ("on real", d, _curves(of_network, "d_real_accuracy", 100)),
            ("on generated", g, _curves(of_network, "d_fake_accuracy", 100)),
        ]
        panels += [(f"GAN losses{of}", "loss", losses), (f"Discriminator's accuracy{of}", "accuracy (%)", right)]
    panels += [
        (
            "Classifier's training loss",
            "loss (nats)",
            [(arm, colours[arm], _curves([x for x in fits if x["method"] == arm], "loss")) for arm in arms],
        ),
    ]
    panels = [panel for panel in panels if any(curves for _, _, curves in panel[2])]
    aside = 2.3 if len(arms) > MOST_INSIDE else 0.0  # inches for a legend beside the last panel
    across = min(max(len(panels), 1), MOST_PANELS)
    down = ceil(max(len(panels), 1) / across)
    with canvas(path, (4.1 * across + aside, 3.5 * down)) as figure:
        for index, (title, unit, lines) in enumerate(panels):
            axes = figure.add_subplot(down, across, index + 1)
            panel(axes, title, "epoch", unit)
            _draw_curves(axes, lines, percent="%" in unit)
        if not panels:
            figure.text(0.5, 0.5, "no curves yet", ha="center", color=SOFT)
        elif len({line.get("seed") for line in history if line.get("stage") in ("gan", "classifier")}) > 1:
            figure.text(0.995, 0.015, "thin: seeds, bold: their median", ha="right", size=7.5, color=SOFT)
        figure.tight_layout(pad=1.0, w_pad=2.0, rect=(0, 0.03, 1, 1))


def confusion(path: Path, matrices: Mapping[str, np.ndarray], class_names: Sequence[str]) -> None:
    """Confusion matrices side by side: blue for correctly classified shares of the true class, orange for incorrect ones.

    Args:
        path: the PNG to write.
        matrices: for each arm int [K, K], rows true, columns predicted (sums over seeds are fine).
        class_names: K names.
    """
    classes = len(class_names)
    across = min(len(matrices), 4 if classes <= 6 else 3)
    side = float(np.clip(0.4 * classes, 2.4, 9.0))
    down = ceil(len(matrices) / across)
    titles = {arm: folded(arm, int(side * 13)) for arm in matrices}
    lines = 1 + max(title.count("\n") for title in titles.values())
    with canvas(path, (across * (side + 1.1), down * (side + 1.05 + 0.2 * lines))) as figure:
        for index, (arm, matrix) in enumerate(matrices.items()):
            axes = figure.add_subplot(down, across, index + 1)
            _draw_confusion(axes, np.asarray(matrix, np.float64), class_names, side / classes)
            axes.set_title(titles[arm], size=10, weight="bold", loc="left")
            axes.set_xlabel("predicted class", size=9, color=SOFT)
            axes.set_ylabel("true class", size=9, color=SOFT)
        figure.tight_layout(pad=1.0)


def recalls(path: Path, per_arm: Mapping[str, np.ndarray], class_names: Sequence[str], minority: AbstractSet[int]) -> None:
    """Recall of every class and arm: bars are means over seeds, whiskers reach from the lowest to the highest seed.

    More than 8 arms become the rows of a heat map of the means, in the given order.

    Args:
        path: the PNG to write.
        per_arm: for each arm float [L, K] in [0, 1], one row for each seed; rows with NaN are left out of the mean.
        class_names: K names.
        minority: class numbers, printed in the minority's colour.
    """
    if len(per_arm) > MOST_GROUPS:
        return _recall_map(path, per_arm, class_names, minority)
    seeds = max(len(np.atleast_2d(values)) for values in per_arm.values())
    whiskers = "whiskers: lowest and highest seed" if seeds > 1 else "one seed"
    bars = {arm: 100 * np.atleast_2d(np.asarray(values, np.float64)) for arm, values in per_arm.items()}
    with canvas(path, (_bars_width(len(class_names), len(bars)), 3.9)) as figure:
        axes = figure.add_subplot()
        panel(axes, f"Recall by class ({whiskers})", "", "recall (%)")
        _draw_groups(axes, {arm: _low_mean_high(values) for arm, values in bars.items()}, arm_colours(list(bars)))
        _class_axis(axes, class_names, minority)
        axes.set_ylim(0, 102)
        legend_below(figure, axes, len(bars))


def class_counts(path: Path, before: Sequence[int], after: Mapping[str, Sequence[int]], class_names: Sequence[str]) -> None:
    """Training rows of every class before balancing and after it; arms with equal counts share bars.

    At most 7 different results are drawn; the title says how many are left out.

    Args:
        path: the PNG to write.
        before: int [K].
        after: for each arm int [K].
        class_names: K names.
    """
    bars: dict[str, np.ndarray] = {"before": np.asarray(before)}
    same: dict[tuple[int, ...], list[str]] = {}
    for arm, counts in after.items():
        same.setdefault(tuple(int(c) for c in counts), []).append(arm)
    same.pop(tuple(int(c) for c in before), None)
    hidden = max(0, len(same) + 1 - MOST_GROUPS)
    same = dict(list(same.items())[: MOST_GROUPS - 1])
    bars |= {"after " + ", ".join(arms): np.asarray(counts) for counts, arms in same.items()}
    colours = arm_colours(list(after))
    not_drawn = f" ({hidden} more results of balancing are not drawn)" if hidden else ""
    paint = {"before": DOING_NOTHING} | {"after " + ", ".join(arms): colours[arms[0]] for arms in same.values()}
    with canvas(path, (_bars_width(len(class_names), len(bars)), 3.7)) as figure:
        axes = figure.add_subplot()
        panel(axes, f"Training rows by class{not_drawn}", "", "rows")
        _draw_groups(axes, {name: np.stack([counts] * 3) for name, counts in bars.items()}, paint, numbers=True)
        _class_axis(axes, class_names, minority(before))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_ylim(0, 1.2 * max(max(counts) for counts in bars.values()))  # room for the numbers
        legend_below(figure, axes, len(bars))


def _recall_map(path: Path, per_arm: Mapping[str, np.ndarray], class_names: Sequence[str], minority: AbstractSet[int]) -> None:
    from matplotlib import colormaps

    names = [short(arm, 38) for arm in per_arm]
    means = np.stack([_low_mean_high(100 * np.atleast_2d(np.asarray(v, np.float64)))[1] for v in per_arm.values()])
    low = min(95.0, 5 * np.floor(np.nanmin(means, initial=100.0) / 5))
    share = (means - low) / (100 - low)
    margin = 0.3 + 0.075 * max(len(name) for name in names)  # inches for the arms' names
    cell = float(np.clip(6.0 / len(class_names), 0.12, 0.62))
    with canvas(path, (margin + cell * len(class_names) + 0.3, 0.27 * len(names) + 1.3)) as figure:
        axes = figure.add_subplot()
        axes.imshow(np.where(np.isfinite(share)[..., None], colormaps["Blues"](0.85 * share), 1.0), aspect="auto")
        axes.set_title(f"Recall by class (%; colours from {low:.0f} to 100)", size=10.5, weight="bold", loc="left", pad=9)
        _class_axis(axes, class_names, minority)
        axes.set_xlim(-0.5, len(class_names) - 0.5)
        axes.set_yticks(range(len(names)), names, size=8, color=INK)
        axes.tick_params(length=0)
        axes.spines[:].set_color(GRID)
        for row, column in np.ndindex(means.shape) if len(class_names) <= MOST_BARS else ():
            if np.isfinite(means[row, column]):
                colour = "white" if share[row, column] > 0.65 else INK
                text = f"{means[row, column]:.1f}" if cell > 0.4 else f"{means[row, column]:.0f}"
                axes.text(column, row, text, ha="center", va="center", size=7, color=colour)
        figure.tight_layout(pad=1.0)


def _curves(lines: Sequence[Mapping[str, Any]], name: str, scale: float = 1.0) -> list[np.ndarray]:
    """For each seed float [epochs, 2] (epoch, value), by epoch; a later line replaces an earlier one."""
    seeds: dict[Any, dict[int, float]] = {}
    for line in lines:
        value = line.get(name)
        if value is not None and np.isfinite(value):
            seeds.setdefault((line.get("method"), line.get("seed")), {})[line["epoch"]] = scale * value
    return [np.array(sorted(points.items())) for points in seeds.values()]


def _draw_curves(axes: Any, lines: Sequence[tuple[str, str, list[np.ndarray]]], percent: bool) -> None:
    for label, colour, curves in lines:
        if not curves:
            continue
        if len(curves) > 1:
            faint = max(0.12, 0.5 / len(curves) ** 0.4)
            for curve in curves:
                axes.plot(*curve.T, color=colour, linewidth=0.7, alpha=faint)
        middle = _middle(curves)
        marker = "o" if len(middle) == 1 else None
        axes.plot(*middle.T, color=colour, linewidth=2.0, marker=marker, markersize=4, label=short(label, 34))
    axes.xaxis.get_major_locator().set_params(integer=True)
    if percent:
        axes.set_ylim(-3, 103)
    else:
        _robust_limits(axes, np.concatenate([curve[:, 1] for _, _, curves in lines for curve in curves]))
    style = {"framealpha": 0.8, "edgecolor": "none", "handlelength": 1.4}
    if len(lines) > MOST_INSIDE:
        axes.legend(fontsize=7.5, loc="upper left", bbox_to_anchor=(1.01, 1.03), **style)
    else:
        axes.legend(fontsize=8, loc="best", **style)


def _middle(curves: Sequence[np.ndarray]) -> np.ndarray:
    """float [epochs, 2]: the median over seeds, at every epoch that any seed has."""
    epochs = np.unique(np.concatenate([curve[:, 0] for curve in curves]))
    values = [[c[c[:, 0] == epoch, 1][0] for c in curves if (c[:, 0] == epoch).any()] for epoch in epochs]
    return np.array([[epoch, np.median(value)] for epoch, value in zip(epochs, values, strict=True)])


def _robust_limits(axes: Any, values: np.ndarray) -> None:
    low, high = np.percentile(values, [10, 90])
    room = 4.0 * (high - low) + 1e-6
    outside = int(((values > high + room) | (values < low - room)).sum())
    if outside:
        axes.set_ylim(max(values.min(), low - room), min(values.max(), high + room))
        note = f"{outside} value{'s' if outside > 1 else ''} beyond the scale"
        axes.text(0.01, 0.01, note, size=7, color=SOFT, transform=axes.transAxes)


def _draw_confusion(axes: Any, matrix: np.ndarray, class_names: Sequence[str], cell: float) -> None:
    from matplotlib import colormaps

    classes = len(class_names)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    right = np.eye(classes, dtype=bool)
    # Errors are small shares: the square root keeps 1 % visible beside 30 %.
    paint = np.where(right[..., None], colormaps["Blues"](0.85 * share), colormaps["Oranges"](0.75 * np.sqrt(share)))
    paint[matrix == 0] = 1.0
    axes.imshow(paint)
    ticks = range(0, classes, max(1, ceil(classes / 25)))
    names = [short(class_names[i], 12) for i in ticks]
    tilted = max(len(name) for name in names) > 3
    axes.set_xticks(ticks, names, rotation=45 if tilted else 0, ha="right" if tilted else "center", size=8)
    axes.set_yticks(ticks, names, size=8)
    axes.tick_params(length=0, colors=INK)
    axes.spines[:].set_color(GRID)
    if classes <= MOST_BARS:
        for row, column in np.ndindex(classes, classes):
            number, dark = int(matrix[row, column]), share[row, column] > (0.6 if row == column else 0.5)
            size = min(8.0, 72 * cell * 0.92 / (0.62 * max(len(_compact(number)), 3)))
            colour = "white" if dark else (INK if number else "#c3c9d4")
            axes.text(column, row, _compact(number), ha="center", va="center", size=size, color=colour)


def _compact(number: int) -> str:
    return str(number) if number < 100_000 else f"{number / 1000:.0f}k"


def _low_mean_high(values: np.ndarray) -> np.ndarray:
    """float [L, K] to [3, K]; NaN if no seed has a value."""
    finite = np.isfinite(values)
    total = np.where(finite, values, 0.0).sum(axis=0)
    mean = np.where(finite.any(axis=0), total / np.maximum(finite.sum(axis=0), 1), np.nan)
    low = np.where(finite, values, np.inf).min(axis=0)
    high = np.where(finite, values, -np.inf).max(axis=0)
    return np.stack([np.where(np.isfinite(low), low, np.nan), mean, np.where(np.isfinite(high), high, np.nan)])


def _draw_groups(axes: Any, bars: Mapping[str, np.ndarray], colours: Mapping[str, str], numbers: bool = False) -> None:
    """Grouped bars of [3, K] (low, middle, high); points instead of bars where there are many classes.

    Numbers are printed above the first group, and above the others where they differ from it.
    """
    first = next(iter(bars.values()))[1]
    arms, classes = len(bars), len(first)
    width = 0.82 / arms
    for group, (arm, (low, middle, high)) in enumerate(bars.items()):
        x = np.arange(classes) + (group - (arms - 1) / 2) * width
        reach = np.stack([middle - low, high - middle])
        if classes > MOST_BARS:
            axes.plot(x, middle, "o", color=colours[arm], markersize=3, label=arm)
        else:
            axes.bar(x, np.nan_to_num(middle), 0.9 * width, color=colours[arm], label=arm)
        if np.nanmax(reach, initial=0) > 0:
            as_points = classes > MOST_BARS
            line, cap = (colours[arm], 0.0) if as_points else (INK, 2.5)
            axes.errorbar(x, middle, reach, fmt="none", ecolor=line, elinewidth=0.9, capsize=cap)
        if numbers and classes <= MOST_BARS:
            room = 72 * axes.figure.get_size_inches()[0] * 0.88 / (classes * (arms + 0.2))  # points for a bar
            new = middle != first if group else np.full(classes, True)
            _numbers_above(axes, x[new], middle[new], upright=room < 19.5)


def _numbers_above(axes: Any, x: np.ndarray, values: np.ndarray, upright: bool) -> None:
    style = {"ha": "center", "va": "bottom", "size": 6.5, "color": SOFT, "rotation": 90 if upright else 0}
    for at, value in zip(x, values, strict=True):
        axes.annotate(f"{value:,.0f}", (at, value), (0, 3), textcoords="offset points", **style)


def _class_axis(axes: Any, class_names: Sequence[str], minority: AbstractSet[int]) -> None:
    classes = len(class_names)
    step = max(1, ceil(classes / 40))
    long = max(len(name) for name in class_names) > 9 or classes > MOST_BARS
    ticks = range(0, classes, step)
    names = [short(class_names[i], 16) for i in ticks]
    axes.set_xticks(ticks, names, rotation=40 if long else 0, ha="right" if long else "center")
    axes.set_xlim(-0.6, classes - 0.4)
    for i, tick in zip(ticks, axes.get_xticklabels(), strict=True):
        tick.set_color(MINORITY if i in minority else INK)
        tick.set_fontweight("bold" if i in minority else "normal")
    axes.set_xlabel("class (minority in orange)" if minority else "class", color=SOFT)


def _bars_width(classes: int, arms: int) -> float:
    return float(np.clip(classes * (0.34 + 0.2 * arms), 6.4, 13.0))
