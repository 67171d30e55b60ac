"""Image files to arrays: bounded, antialiased, with a reason for each file that cannot be used."""

import hashlib
import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from imbal_jax.data import values
from imbal_jax.runtime.progress import Progress

if TYPE_CHECKING:
    from PIL import Image

MOST_PIXELS = 50_000_000
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".jp2")
# Pillow reads more formats, some of which start other programs.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000")
DEEP = ("I", "F")  # what Pillow's modes of more than 8 bits begin with
Item = TypeVar("Item")
Result = TypeVar("Result")


class Unusable(Exception):
    """A file that cannot be used; the text says why, so that it reads on after the file's name."""


class Survey(NamedTuple):
    """What is known of an image before it is decoded to bytes.

    Attributes:
        side: the smaller of its height and width.
        limits: of an image of 9 to 16 bits and one channel its lowest and highest value, without outliers; else None.
    """

    side: int
    limits: tuple[float, float] | None


def survey(content: bytes, most_pixels: int = MOST_PIXELS) -> Survey:
    """The size of an image file, from its header alone, and the values of one of 9 to 16 bits.

    Raises:
        Unusable: as `decode`, as far as it is read.
    """
    with _opened(content, most_pixels) as image:
        side = min(image.size)
        if not image.mode.startswith("I"):
            return Survey(side, None)
        try:
            pixels = np.array(image)
        except Exception as error:  # as in `decode`
            raise Unusable(f"is truncated or damaged: {_line(error)}") from error
        low, high = values.limits(pixels)
        return Survey(side, (low, high) if low >= 0 and high <= 65535 else None)


def depth(surveys: Iterable[Survey]) -> tuple[float, float] | None:
    """What becomes black and white of a set's images of 9 to 16 bits; None where there are none, or all 16 bits are used."""
    found = [one.limits for one in surveys if one.limits is not None]
    if not found:
        return None
    low, high = min(low for low, _ in found), max(high for _, high in found)
    return None if high > 32767 or low == high else (low, high)


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
    limits: tuple[float, float] | None = None,
    deep: tuple[float, float] | None = None,
) -> np.ndarray:
    """One image file as uint8 [H, W, C], upright as its EXIF data says; of several frames the first.

    An image of another size is brought to it by `fit`: by default scaled until it fills the size, and cut. What is
    transparent is shown on white; on black where nothing would be seen on white. 16 bits become 8.

    Args:
        content: the file's bytes: JPEG, PNG, BMP, GIF, TIFF, WebP, PPM or JPEG 2000.
        size: (H, W); None keeps the image's own.
        channels: 1 for grey, 3 for red, green and blue, 0 for 3 where any pixel has colour, else 1.
        most_pixels: larger images are rejected before they are decoded. Beyond 178 million Pillow rejects them itself.
        fit: brings an image, in mode L or RGB, to the size (W, H) where one is given; may raise `Unusable`.
        limits: the values that become black and white; None for 0 and 255, or `deep`.
        deep: the same, for images of more than 8 bits only; None for 0 and 65535.

    Raises:
        Unusable: empty, not an image, too many pixels, truncated or damaged, or pixels of neither 8 nor 16 bits.
        MemoryError: it does not mean that the image is damaged.
    """
    from PIL import ImageOps

    with _opened(content, most_pixels) as image:
        try:
            if size:  # a JPEG is decoded at a half, a quarter, an eighth where that is still twice the size
                image.draft(None, (2 * max(size), 2 * max(size)))
            plain = _plain(ImageOps.exif_transpose(image), limits, deep)
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
        raise Unusable("is not a readable image") from error
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


def _plain(image: "Image.Image", limits: tuple[float, float] | None, deep: tuple[float, float] | None) -> "Image.Image":
    """The image in mode L or RGB."""
    from PIL import Image

    if image.mode.startswith(DEEP):
        return Image.fromarray(_stretched(image, limits or deep))
    grey = image.mode in ("1", "L", "LA", "La")
    if image.mode.endswith(("A", "a")) or "transparency" in image.info:
        image = _on_background(image)
    image = image.convert("L" if grey else "RGB")
    if limits:
        image = image.point(_bytes(np.arange(256), *limits).tolist() * len(image.getbands()))
    return image


def _stretched(image: "Image.Image", limits: tuple[float, float] | None) -> np.ndarray:
    """Values of more than 8 bits as uint8 [H, W]."""
    pixels = np.asarray(image)
    if not limits:
        if image.mode == "F":
            raise Unusable("has pixels of floating point; save it with 8 or 16 bits, or set config.data.range")
        if pixels.min() < 0 or pixels.max() > 65535:
            raise Unusable("has pixels of 32 bits; save it with 8 or 16, or set config.data.range")
    low, high = limits or (0.0, 65535.0)
    if not np.isfinite(pixels).all():
        raise Unusable("has pixels that are NaN or infinite")
    return _bytes(pixels, low, high)


def _bytes(pixels: np.ndarray, low: float, high: float) -> np.ndarray:
    """Numbers as uint8: `low` and what is below is 0, `high` and what is above 255."""
    return np.rint(np.clip((pixels.astype(np.float64) - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def _on_background(image: "Image.Image") -> "Image.Image":
    """A transparent image on white, or on black where it is white itself, so that its shape is lost on neither."""
    from PIL import Image

    image = image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")
    shown = [Image.alpha_composite(Image.new("RGBA", image.size, colour), image) for colour in ("white", "black")]
    lost = [bool((pixels == pixels[:1, :1]).all()) for pixels in (np.asarray(one) for one in shown)]
    return shown[1] if lost == [True, False] else shown[0]


def _line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def in_parallel(function: Callable[[Item], Result], items: Sequence[Item], label: str = "") -> list[Result | Unusable]:
    """What the function gives for each item, in order, or the `Unusable` that it raised; on as many threads as cores.

    Pillow's warnings about odd files are silenced: what matters of them comes back as a reason. With a label, a line that
    the progress line begins with it.
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
