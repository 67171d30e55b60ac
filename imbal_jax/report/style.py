"""Shared by all plots: colours, saving a figure, axes, legends, file names.

Colours have one meaning everywhere: orange is the minority, slate the majority, and an arm has the same colour in all plots
(by its position in the given order; 'none' is grey). Matplotlib is imported on the first call and needs no display.
"""

import re
import textwrap
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any

from imbal_jax.artifacts import json_files

INK, SOFT, GRID = "#1d2530", "#667085", "#e4e7ec"
MINORITY, MAJORITY = "#d4590f", "#73809a"  # both readable on light and dark backgrounds
DOING_NOTHING = "#8a94a6"
ARMS = ("#2563eb", "#0f9d76", "#a445c9", "#d9456b", "#0e96b5", "#a07f10", "#5b57d6", "#6b8e23")
DPI = 160
LONGEST = 100  # characters of a name in a file name


def slug(name: str) -> str:
    """An arm's name as part of a file name: 'over | affine(zoom=0.2)' -> 'over_affine(zoom=0.2)'."""
    plain = re.sub(r"[^0-9A-Za-z=.,()-]+", "_", name).strip("_")
    return plain if len(plain) <= LONGEST else f"{plain[:LONGEST]}-{zlib.crc32(name.encode()):08x}"


def arm_colours(arms: Sequence[str]) -> dict[str, str]:
    """A colour for each arm: grey for 'none', the others along the palette in the given order."""
    others = [arm for arm in arms if arm != "none"]
    return {"none": DOING_NOTHING} | {arm: ARMS[i % len(ARMS)] for i, arm in enumerate(others)}


@contextmanager
def canvas(path: Path, size: tuple[float, float], background: str = "white") -> Iterator[Any]:
    """A figure outside pyplot (no shared state, nothing to close), saved atomically."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {"font.family": "DejaVu Sans", "font.size": 9, "text.color": INK, "axes.edgecolor": SOFT}
    with mpl.rc_context(style | {"xtick.color": SOFT, "ytick.color": SOFT}):
        figure = Figure(figsize=size, facecolor=background)
        FigureCanvasAgg(figure)
        yield figure
        with json_files.whole(path) as file:
            figure.savefig(file, dpi=DPI, format="png")
        figure.clear()


def panel(axes: Any, title: str, x: str, y: str, colour: str = INK) -> None:
    """Title (in a colour), axis labels and a light grid."""
    axes.set_title(title, size=10.5, weight="bold", loc="left", pad=9, color=colour)
    axes.set_xlabel(x, color=SOFT)
    axes.set_ylabel(y, color=SOFT)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0)


def legend_below(figure: Any, axes: Any, entries: int, room: float | None = None) -> None:
    """Lay the figure out with the legend of one of its axes below, in rows of three; `room`: its share of the height."""
    figure.tight_layout(pad=1.0, rect=(0, 0.07 * ceil(entries / 3) if room is None else room, 1, 1))
    handles, names = axes.get_legend_handles_labels()
    labels = [short(name, 60) for name in names]
    layout = {"loc": "lower left", "ncols": min(entries, 3), "frameon": False}
    figure.legend(handles, labels, fontsize=8.5, handlelength=1.0, **layout)


def folded(text: str, width: int, lines: int = 2) -> str:
    """The text wrapped to at most `lines` lines of `width` characters; the rest is cut off."""
    return "\n".join(textwrap.wrap(text, width, max_lines=lines, placeholder="…"))


def short(text: str, length: int) -> str:
    """The text, truncated to `length` characters."""
    return text if len(text) <= length else text[: length - 1] + "…"
