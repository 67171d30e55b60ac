"""Image grids: real next to generated images, and images before and after augmentation. Numpy arrays in, PNG out."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imbal_jax.report.style import MAJORITY, MINORITY, canvas, short

TILE = 0.84  # inches, one image before or after augmentation


class Block(NamedTuple):
    """Images under one heading.

    Attributes:
        head: the heading.
        images: at most nine, uint8 [H, W, C] with C 1 or 3; None leaves a gap.
        captions: beneath each image, of one or two lines.
    """

    head: str
    images: Sequence[np.ndarray | None]
    captions: Sequence[str]


def sample_grid(
    path: Path,
    fake: np.ndarray,
    real: np.ndarray | None,
    class_names: Sequence[str],
    minority: AbstractSet[int] | None,
    title: str,
) -> None:
    """Per class a row: real images on the left, generated ones on the right; minority rows marked.

    The background is transparent and the text of middle brightness, so the picture sits on light and dark pages.

    Args:
        path: the PNG to write.
        fake: uint8 [K, n, H, W, C], C 1 or 3.
        real: uint8 [K, r, H, W, C], where masked ones (np.ma) leave gaps, or None.
        class_names: K names; '' for a row that continues the one above.
        minority: class numbers; None if rows are not classes.
        title: one line above the picture.
    """
    blocks = [fake] if real is None else [real, fake]
    height, gap = fake.shape[2], max(2, fake.shape[3] // 14)
    mosaics = [_mosaic(block, gap) for block in blocks]
    classes, tile = len(class_names), min(0.52, 24 / len(class_names))
    names = max(len(name) for name in class_names) * 0.085 + 0.95
    widths = [m.shape[1] / m.shape[0] * (classes * tile) for m in mosaics]
    size = (max(sum(widths) + names + 0.35, 4.2), classes * tile + 1.05)
    with canvas(path, size, background="none") as figure:
        figure.text(0.14 / size[0], 1 - 0.28 / size[1], title, size=11, weight="bold", va="center", color=MAJORITY)
        left = names
        for mosaic, width, head in zip(mosaics, widths, ["real", "generated"][-len(mosaics) :], strict=True):
            axes = figure.add_axes((left / size[0], 0.25 / size[1], width / size[0], classes * tile / size[1]))
            axes.imshow(mosaic, interpolation="nearest", aspect="auto", vmin=0, vmax=255)
            axes.set_title(head, size=9, color=MAJORITY, loc="left", pad=5)
            axes.set_axis_off()
            if axes is figure.axes[0]:
                for i, name in enumerate(class_names):
                    y = 1 - (i * (height + gap) + height / 2) / mosaic.shape[0]
                    if name:
                        _row_name(axes, y, name, None if minority is None else i in minority, tile, width)
            left += width + 0.2


def transformed(path: Path, title: str, bands: Mapping[str, Sequence[Block]]) -> None:
    """Images before and after a method, side by side, three in a row.

    The background is transparent and the text of middle brightness, so the picture sits on light and dark pages.

    Args:
        path: the PNG to write.
        title: one line above the picture.
        bands: blocks side by side, by their heading; bands are stacked vertically.
    """
    across = max(len(blocks) for blocks in bands.values())
    cell_width, cell_height, spacing = TILE + 0.16, TILE + 0.34, 0.3
    block = 3 * cell_width
    heights = {line: 0.6 + cell_height * ceil(max(len(b.images) for b in blocks) / 3) for line, blocks in bands.items()}
    size = (max(across * block + (across - 1) * spacing + 0.2, 4.2), sum(heights.values()) + 0.42)
    grey: dict[str, Any] = {"color": MAJORITY, "va": "top"}
    with canvas(path, size, background="none") as figure:

        def write(x: float, y: float, words: str, **style: Any) -> None:
            figure.text(x / size[0], 1 - y / size[1], words, **grey, **style)

        write(0.1, 0.12, short(title, int(size[0] * 11)), size=11, weight="bold")
        top = 0.42
        for line, blocks in bands.items():
            write(0.1, top, line, size=9)
            for number, (head, images, captions) in enumerate(blocks):
                left = 0.1 + number * (block + spacing)
                write(left, top + 0.26, head, size=9, weight="bold")
                for i, (image, caption) in enumerate(zip(images, captions, strict=True)):
                    x, y = left + i % 3 * cell_width, top + 0.5 + i // 3 * cell_height
                    if image is not None:
                        box = (x / size[0], 1 - (y + TILE) / size[1], TILE / size[0], TILE / size[1])
                        axes = figure.add_axes(box)
                        axes.imshow(np.broadcast_to(image, (*image.shape[:2], 3)), interpolation="nearest")
                        axes.set_axis_off()
                        write(x + TILE / 2, y + TILE + 0.03, caption, size=6.5, ha="center", linespacing=1.1)
            top += heights[line]


def _mosaic(images: np.ndarray, gap: int) -> np.ndarray:
    """uint8 [K, n, H, W, C] laid out as RGBA uint8 [K * (H + gap) - gap, n * (W + gap) - gap, 4], clear between."""
    classes, n, height, width, _ = images.shape
    page = np.zeros((classes, n, height + gap, width + gap, 4), np.uint8)
    page[:, :, :height, :width, :3] = images  # one channel spreads over three
    page[:, :, :height, :width, 3] = np.where(np.ma.getmaskarray(images).any(axis=-1), 0, 255)
    return page.transpose(0, 2, 1, 3, 4).reshape(classes * (height + gap), n * (width + gap), 4)[:-gap, :-gap]


def _row_name(axes: Any, y: float, name: str, rare: bool | None, tile: float, width: float) -> None:
    size = min(10.0, tile * 60)
    colour = MINORITY if rare else MAJORITY
    style = {"x": -0.12 / width, "y": y, "color": colour, "ha": "right", "transform": axes.transAxes}
    two_lines = rare is not None and tile >= 0.3  # there is room for two lines
    axes.text(s=name, size=size, weight="bold", va="bottom" if two_lines else "center", **style)
    if two_lines:
        axes.text(s="minority" if rare else "majority", size=6.5, va="top", **style)
