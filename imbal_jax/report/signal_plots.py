"""Plots of generated signals, with or without real ones: numpy arrays in, PNG out."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import numpy as np

from imbal_jax.report.style import MAJORITY, MINORITY, SOFT, canvas

SAMPLES = 3  # single signals drawn below the bands
BAND = (10, 90)  # percentiles


def overlaid(
    path: Path,
    fake: np.ndarray,
    real: Sequence[np.ndarray] | None,
    class_names: Sequence[str],
    minority: AbstractSet[int],
    title: str,
) -> None:
    """Per class the median and the band from the 10th to the 90th percentile of real and generated signals, and single signals.

    Args:
        path: the PNG to write.
        fake: float [K, n, T], generated.
        real: for each class float [m, T], m from 1 on; or None.
        class_names: K names.
        minority: class numbers, printed in orange.
        title: one line above the picture.
    """
    classes = len(class_names)
    with canvas(path, (max(3.1 * classes, 5.0), 4.6)) as page:
        page.text(0.01, 0.965, title, size=11, weight="bold", color=MAJORITY)
        grid = page.add_gridspec(2, classes, height_ratios=(3, 2), top=0.85, bottom=0.08, left=0.05, right=0.99, wspace=0.16)
        for label, name in enumerate(class_names):
            bands, singles = (page.add_subplot(grid[row, label]) for row in range(2))
            colour = MINORITY if label in minority else MAJORITY
            head = name if real is None else f"{name}  ({len(real[label]):,} real shown)"
            bands.set_title(head, size=10, loc="left", color=colour)
            kinds = [("generated", fake[label], MINORITY, 0.7)]
            if real is not None:
                kinds.insert(0, ("real", real[label], MAJORITY, 0.9))
            for kind, rows, line, _ in kinds:
                _band(bands, rows, line, kind)
            for i in range(SAMPLES):
                for _, rows, line, alpha in kinds:
                    if i < len(rows):
                        singles.plot(rows[i] - 2.2 * i, color=line, linewidth=0.9, alpha=alpha)
            for axes in (bands, singles):
                _bare(axes)
            if label == classes - 1:  # above the panels: signals may run anywhere within them
                page.legend(*bands.get_legend_handles_labels(), loc="upper right", ncols=2, fontsize=9, edgecolor="none")


def _band(axes: Any, rows: np.ndarray, colour: str, label: str) -> None:
    low, middle, high = np.percentile(rows, (BAND[0], 50, BAND[1]), axis=0)
    axes.fill_between(np.arange(rows.shape[1]), low, high, color=colour, alpha=0.22, linewidth=0)
    axes.plot(middle, color=colour, linewidth=1.8, label=label)


def _bare(axes: Any) -> None:
    axes.tick_params(length=0, labelsize=7, colors=SOFT)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    axes.set_yticks([])
    axes.margins(x=0)
