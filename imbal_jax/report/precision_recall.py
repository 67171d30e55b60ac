"""Precision-recall curves by class: numpy arrays in, PNG out."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from math import ceil
from pathlib import Path

import numpy as np

from imbal_jax.evaluate.metrics import RECALLS
from imbal_jax.report.plots import MOST_PANELS
from imbal_jax.report.style import INK, MINORITY, SOFT, arm_colours, canvas, legend_below, panel

MOST_CLASSES = 8


def rarest(counts: Sequence[int], minority: AbstractSet[int]) -> list[int]:
    """The classes whose curves are drawn: at most eight, rarest first; only minority classes if there are any."""
    among = sorted(minority) or range(len(counts))
    return sorted(among, key=lambda label: counts[label])[:MOST_CLASSES]


def curves(
    path: Path,
    per_arm: Mapping[str, np.ndarray],
    shares: Sequence[float],
    class_names: Sequence[str],
    shown: Sequence[int],
    minority: AbstractSet[int],
) -> None:
    """A panel for each class, a line for each arm: the mean over seeds of the precision at 5 %, 10 %, ... 100 % recall.

    Args:
        path: the PNG to write.
        per_arm: for each arm float [L, K, 20] in [0, 1], one table for each seed; NaN where a class has no test row.
        shares: [K], each class's share of the test set: the precision of random guessing, drawn as a dotted line.
        class_names: K names.
        shown: class numbers, in the panels' order.
        minority: class numbers, printed in the minority's colour.
    """
    shown = [label for label in shown if shares[label] > 0]
    across = min(max(len(shown), 1), MOST_PANELS)
    down, colours = ceil(max(len(shown), 1) / across), arm_colours(list(per_arm))
    below = 0.3 * ceil(len(per_arm) / 3)  # inches for the legend
    with canvas(path, (max(3.3 * across, 6.4), 3.1 * down + below)) as figure:
        for index, label in enumerate(shown):
            axes = figure.add_subplot(down, across, index + 1)
            colour = MINORITY if label in minority else INK
            panel(axes, class_names[label], "recall (%)", "" if index % across else "precision (%)", colour)
            for arm, tables in per_arm.items():
                axes.plot(100 * np.array(RECALLS), 100 * tables[:, label].mean(0), color=colours[arm], linewidth=1.7, label=arm)
            axes.axhline(100 * shares[label], color=SOFT, linewidth=1.0, linestyle=":")
            axes.set_xlim(0, 101)
            axes.set_ylim(0, 102)
        if shown:
            legend_below(figure, figure.axes[0], len(per_arm), below / (3.1 * down + below))
        else:
            figure.text(0.5, 0.5, "no class that is drawn has a test row", ha="center", color=SOFT)
