"""Image files to arrays: bounded, antialiased, with a reason for each file that cannot be used."""

import hashlib
import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from imbal_jax.progress import Progress

if TYPE_CHECKING:
    from PIL import Image

MOST_PIXELS = 50_000_000
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".jp2")
# Pillow knows more, some of which start other programs.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000")
Item = TypeVar("Item")
Result = TypeVar("Result")


class Unusable(Exception):
    """A file that cannot be used; the text says why, so that it reads on after the file's name."""


def shorter_side(content: bytes, most_pixels: int = MOST_PIXELS) -> int:
    """The smaller of an image's height and width, from its header alone.

    Raises:
        Unusable: as `decode`, as far as the header shows it.
    """
    with _opened(content, most_pixels) as image:
        return min(image.size)


def fill(image: "Image.Image", size: tuple[int, int]) -> "Image.Image":
    """The image scaled, antialiased and with its aspect kept, until it fills (W, H); what then stands out is cut off evenly."""
    from PIL import Image, ImageOps

    return image if image.size == size else ImageOps.fit(image, size, Image.Resampling.BILINEAR)


def decode(
    content: bytes,
    size: tuple[int, int] | None = None,
    channels: int = 0,
    most_pixels: int = MOST_PIXELS,
    fit: Callable[["Image.Image", tuple[int, int]], "Image.Image"] = fill,
) -> np.ndarray:
    """One image file as uint8 [H, W, C], upright as its EXIF data says; of several frames the first.

    An image of another size is brought to it by `fit`: by default scaled until it fills the size, and cut. Transparency is
    dropped; 16 bits become 8.

    Args:
        content: the file's bytes: JPEG, PNG, BMP, GIF, TIFF, WebP, PPM or JPEG 2000.
        size: (H, W); None keeps the image's own.
        channels: 1 for grey, 3 for red, green and blue, 0 for 3 where any pixel has colour, else 1.
        most_pixels: an image of more is refused before it is decoded. Beyond 178 million Pillow refuses by itself.
        fit: brings an image, in mode L or RGB, to the size (W, H) where one is given; may raise `Unusable`.

    Raises:
        Unusable: empty, no image, too many pixels, truncated or damaged, or pixels that are no bytes and no 16-bit numbers.
        MemoryError: which says nothing about the image.
    """
    from PIL import ImageOps

    with _opened(content, most_pixels) as image:
        try:
            if size:  # a JPEG is decoded at a half, a quarter, an eighth where that is still twice the size
                image.draft(None, (2 * max(size), 2 * max(size)))
            plain = _plain(ImageOps.exif_transpose(image))
            if channels:
                plain = plain.convert("L" if channels == 1 else "RGB")
            if size:
                plain = fit(plain, (size[1], size[0]))
            pixels = np.asarray(plain)
        except (Unusable, MemoryError):
            raise
        # Whatever Pillow's decoders make of damaged bytes: their errors share no base class.
        except Exception as error:
            raise Unusable(f"is truncated or damaged: {_line(error)}") from error
    if pixels.ndim == 2:
        return pixels[..., None]
    grey = channels == 0 and (pixels[..., :1] == pixels).all()
    return np.ascontiguousarray(pixels[..., :1]) if grey else pixels


def _opened(content: bytes, most_pixels: int) -> "Image.Image":
    from PIL import Image

    if not content:
        raise Unusable("is empty")
    Image.init()
    try:
        image = Image.open(io.BytesIO(content), formats=[form for form in FORMATS if form in Image.OPEN])
    except Image.UnidentifiedImageError as error:
        raise Unusable("is no image that can be read") from error
    except MemoryError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Unusable(f"has too many pixels: {_line(error)}") from error
    except Exception as error:  # as in `decode`
        raise Unusable(f"is truncated or damaged: {_line(error)}") from error
    width, height = image.size
    if width * height > most_pixels:
        image.close()
        raise Unusable(f"has {width}x{height} pixels, more than {most_pixels:,}")
    return image


def _plain(image: "Image.Image") -> "Image.Image":
    """The image in mode L or RGB."""
    from PIL import Image

    if image.mode in ("1", "L", "LA", "La"):
        return image.convert("L")
    if image.mode.startswith("I"):  # converting would cut at 255 instead of scaling
        deep = np.asarray(image)
        if deep.min() < 0 or deep.max() > 65535:
            raise Unusable("has pixels of 32 bits; save it with 8 or 16")
        return Image.fromarray(np.round(deep / 257).astype(np.uint8))
    if image.mode == "F":
        raise Unusable("has pixels of floating point; save it with 8 or 16 bits")
    if "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def _line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def in_parallel(function: Callable[[Item], Result], items: Sequence[Item], label: str = "") -> list[Result | Unusable]:
    """What the function gives for each item, in order, or the `Unusable` that it raised; on as many threads as cores.

    Pillow's warnings about odd files are silenced: what matters of them comes back as a reason. With a label, a line that
    begins with it tells the progress.
    """
    from PIL import Image

    def attempt(item: Item) -> Result | Unusable:
        try:
            return function(item)
        except Unusable as reason:
            return Unusable(str(reason))  # without its traceback, which holds the file's bytes

    Image.init()  # here, since the threads would do it at once
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = pool.map(attempt, items)
            return list(_told(results, label, len(items)) if label else results)


def _told(results: Iterable[Result], label: str, total: int) -> Iterator[Result]:
    with Progress(label, total, unit="image") as progress:
        for number, result in enumerate(results, 1):
            progress.update(number)
            yield result


def alike(x: np.ndarray) -> np.ndarray:
    """For each row of x [N, ...] the number of the first row with the very same content, int64 [N]."""
    first: dict[bytes, int] = {}
    rows = np.ascontiguousarray(x)
    hashes = (hashlib.blake2b(row.data, digest_size=16).digest() for row in rows)
    return np.fromiter((first.setdefault(own, number) for number, own in enumerate(hashes)), np.int64, len(x))
