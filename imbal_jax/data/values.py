"""Numbers of an array file as rows are stored: bytes stay bytes, other numbers are scaled by limits of the training rows.

The limits are the whiskers of a box plot: the smallest and largest value no further from the inner values (all but the
lowest and the highest 1 %, at least one on each side) than these are apart. So they are the extremes where nothing stands
out, and a single outlier does not move them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imbal_jax.data.dataset import Scale
from imbal_jax.data.storage_types import ONE
from imbal_jax.errors import UserError

OUTSIDE = 0.01  # of the values on each side, which count as outer ones
FEW = 8  # of fewer values none counts as an outer one
FAR = 4.0  # ranges beyond the limits, where values are clipped: one of 10^6 would undo a training
FULL = (1, 255, 1023, 4095, 16383, 65535)  # whites of images; of 1, 8, 10, 12, 14 and 16 bits
USED = 0.5  # of a full scale that images use at least; others are stretched
DARK = 64  # the brightest of 255, below which images look black
BLOCK = 2**22  # numbers converted at a time


class Stored(NamedTuple):
    """Rows as they are stored.

    Attributes:
        x: uint8 in [0, 255], int16 in [-32767, 32767] or float32 [N, ...], see `imbal_jax.data.storage_types`.
        scale: how they were made; None where they are the file's bytes.
        notes: what a reader of the results must know.
    """

    x: np.ndarray
    scale: Scale | None
    notes: tuple[str, ...] = ()


def limits_of(wanted: str) -> tuple[float, float] | None:
    """LOW and HIGH of config.data.range; None for '' (from the training rows) and 'none' (as they are).

    Raises:
        UserError: any other text.
    """
    if wanted in ("", "none"):
        return None
    parts = wanted.split(",") if isinstance(wanted, str) else []
    try:
        low, high = (float(part) for part in parts)
    except ValueError:
        low, high = 1.0, 0.0
    if not -np.inf < low < high < np.inf:
        raise UserError(
            f"config.data.range must be '' (limits of the training rows), 'none' (values as they are), or "
            f"LOW,HIGH with LOW below HIGH, as 0,4095 (got {wanted!r})"
        )
    return low, high


def stored(path: Path, x: np.ndarray, training: np.ndarray, wanted: str = "") -> Stored:
    """Rows of an array file as they are stored.

    - Images [N, H, W, C]: uint8 stay as they are, but 0/1 become 0/255, as booleans do. Of other types, whole numbers from 0
      to 255 become uint8, unless they use less than half of it. All others become float32 in [0, 1], from one range for
      all channels: the smallest of 1, 255 and the whites of 10 to 16 bits that the limits fit in and use half of, [-1, 1]
      for such, else the limits themselves.
    - Signals [N, T, C]: each channel's limits become -1 and 1; int8 and int16 stay int16 where no value is outside.
    - Vectors [N, D]: float32; each column less its mean, divided by its standard deviation, both of the training rows with
      values beyond the limits set to these.

    Values outside the limits stay outside, up to `FAR` ranges beyond. Validation rows count as training rows.

    Args:
        path: of the file, for errors.
        x: numbers without NaN.
        training: bool [N], the rows that limits are taken from; at least one.
        wanted: '' as above; 'LOW,HIGH' become 0 and 1 (images) or -1 and 1 (signals and vectors), in all channels, nothing
            is clipped; 'none': bytes as they are, other numbers as float32.

    Raises:
        UserError: another `wanted`, numbers beyond float32.
    """
    explicit = limits_of(wanted)
    images = x.ndim == 4
    if wanted == "none":
        rows = np.ascontiguousarray(x) if x.dtype == np.uint8 else _float32(path, x)
        return Stored(rows, Scale("as in the file", (0.0,), (1.0,)))
    if explicit:
        low, high = explicit
        offset, factor = (low, high - low) if images else ((low + high) / 2, (high - low) / 2)
        how = f"{low:g} to {high:g} (config.data.range) became {'0 to 1' if images else '-1 to 1'}"
        return Stored(_scaled(path, x, [offset], [factor]), Scale(how, (offset,), (factor,)))
    if images:
        return _images(path, x, training)
    return (_vectors if x.ndim == 2 else _signals)(path, x, training)


def limits(values: np.ndarray) -> tuple[float, float]:
    """The whiskers of one array of numbers, see above; its only value twice where it is constant. Reorders `values`."""
    flat = values.reshape(-1)
    low, high = _inner(flat)
    if low == high:  # most are equal, as in images of dots: the others decide
        rest = flat[flat != flat.dtype.type(low)]
        if not rest.size:
            return low, high
        inner = _inner(rest)
        low, high = min(low, inner[0]), max(high, inner[1])
    reach = high - low
    inside = flat[(flat >= low - reach) & (flat <= high + reach)]
    return float(inside.min()), float(inside.max())


def _inner(flat: np.ndarray) -> tuple[float, float]:
    """The lowest and the highest value without the outliers."""
    out = max(1, int(OUTSIDE * flat.size)) if flat.size >= FEW else 0
    flat.partition([out, flat.size - 1 - out])
    return float(flat[out]), float(flat[flat.size - 1 - out])


# Images


def _images(path: Path, x: np.ndarray, training: np.ndarray) -> Stored:
    if x.dtype == bool:
        return Stored(x.astype(np.uint8) * np.uint8(255), None)
    low, high = limits(x[training])
    whole = x.dtype.kind in "iu" or _whole(x)
    top = float(x.max())
    if whole and x.min() >= 0 and top <= 1:
        note = "The images hold 0 and 1 only: 1 is taken as white, 255." if x.dtype == np.uint8 and top else ""
        return Stored(x.astype(np.uint8) * np.uint8(255), None, _notes(note, constant_note(low, high)))
    bottom, full = _full(low, high, whole)
    if x.dtype == np.uint8 or (whole and full == 255 and bottom == 0 and x.min() >= 0 and top <= 255):
        return Stored(np.ascontiguousarray(x.astype(np.uint8)), None, _notes(dark_note(low, high) or constant_note(low, high)))
    how = "as in the file" if (bottom, full) == (0, 1) else f"{bottom:g} to {full:g} became 0 to 1"
    factor = full - bottom
    bounds = _bounds(np.array([bottom]), np.array([full]))
    rows = _scaled(path, x, [bottom], [factor], bounds)
    return Stored(rows, Scale(how, (bottom,), (factor,)), _notes(_clipped_note(x, bounds, "images"), constant_note(low, high)))


def _full(low: float, high: float, whole: bool) -> tuple[float, float]:
    """The range of images whose limits these are: black and white."""
    for full in FULL if whole else (1, 255):
        if low >= 0 and high <= full:
            if high >= USED * full:
                return 0.0, float(full)
            break
    if not whole and -1 <= low < 0 < high <= 1 and high - low >= 2 * USED:
        return -1.0, 1.0
    return low, high


def dark_note(low: float, high: float) -> str:
    """A warning for bytes that look black, '' for others; the advice is one that takes effect."""
    if high < DARK and high > low:
        return f"The images are nearly black: their brightest value is {high:g} of 255. Set --config.data.range=0,{high:g}."
    return ""


def constant_note(low: float, high: float) -> str:
    """A warning for images of a single value, '' for others."""
    return f"All images are constant: nearly every pixel is {low:g}." if low == high else ""


def _whole(x: np.ndarray) -> bool:
    return all(bool((row == np.round(row)).all()) for row in x)


# Signals and vectors


def _signals(path: Path, x: np.ndarray, training: np.ndarray) -> Stored:
    found = np.array([limits(np.array(x[training, :, c])) for c in range(x.shape[2])])
    low, high = found[:, 0], found[:, 1]
    offset, factor = low / 2 + high / 2, high / 2 - low / 2
    bounds = _bounds(low, high)
    rows = _scaled(path, x, offset, factor, bounds)
    if x.dtype in (np.int8, np.int16) and np.abs(rows).max(initial=0.0) <= 1:
        rows = np.rint(rows * ONE["int16"]).astype(np.int16)
    scale = Scale("limits of each channel became -1 to 1", tuple(offset.tolist()), tuple(factor.tolist()))
    return Stored(rows, scale, _notes(_clipped_note(x, bounds, "channels"), _constants(factor, "channels")))


def _vectors(path: Path, x: np.ndarray, training: np.ndarray) -> Stored:
    found, moments = [], []
    for column in range(x.shape[1]):
        values = x[training, column].astype(np.float64)
        found.append(limits(values))
        inside = np.clip(values, *found[-1])
        centre = inside[0]  # so that large numbers that differ little lose no digits
        moments.append((centre + (inside - centre).mean(), (inside - centre).std()))
    (low, high), (offset, factor) = np.array(found).T, np.array(moments).T
    factor = np.where(low == high, 0.0, factor)
    bounds = _bounds(low, high)
    rows = _scaled(path, x, offset, factor, bounds)
    how = "each column less its mean, divided by its standard deviation"
    scale = Scale(how, tuple(offset.tolist()), tuple(factor.tolist()))
    return Stored(rows, scale, _notes(_clipped_note(x, bounds, "columns"), _constants(factor, "columns")))


def _constants(factor: np.ndarray, what: str) -> str:
    if not (constant := np.flatnonzero(factor == 0)).size:
        return ""
    which = f" (the first: {constant[0]})" if len(factor) > 1 else ""
    return f"{constant.size} of {len(factor)} {what}{which} are constant in the training rows and stored as 0."


# Conversion


def _bounds(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where values are clipped, by channel or column: far beyond the limits; nowhere for constants."""
    reach = np.where(high > low, FAR * (high - low), np.inf)
    return low - reach, high + reach


def _clipped_note(x: np.ndarray, bounds: tuple[np.ndarray, np.ndarray], what: str) -> str:
    """A sentence that says how many values are clipped, '' for none."""
    count, where = 0, np.zeros(len(bounds[0]), bool)
    for rows in _blocks(x):
        outside = (x[rows] < bounds[0]) | (x[rows] > bounds[1])
        count += int(outside.sum())
        where |= outside.reshape(-1, outside.shape[-1]).any(0) if len(where) > 1 else outside.any()
    if not count:
        return ""
    place = f" of {where.sum()} {what} (the first: {np.argmax(where)})" if len(where) > 1 else ""
    return (
        f"{count} values{place} lie more than {FAR:g} ranges beyond the training rows' limits and are clipped there; "
        "set --config.data.range=none to keep them."
    )


def _scaled(path: Path, x: np.ndarray, offset: Any, factor: Any, bounds: Any = (-np.inf, np.inf)) -> np.ndarray:
    """(x - offset) / factor, computed in float64, as float32; 0 where the factor is 0."""
    offset, factor = np.asarray(offset, np.float64), np.asarray(factor, np.float64)
    divisor = np.where(factor == 0, np.inf, factor)
    out = np.empty(x.shape, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for rows in _blocks(x):
            out[rows] = (np.clip(x[rows].astype(np.float64), *bounds) - offset) / divisor
    return _checked(path, out)


def _blocks(x: np.ndarray) -> Iterator[slice]:
    step = max(1, BLOCK // max(1, x[:1].size))
    return (slice(start, start + step) for start in range(0, len(x), step))


def _float32(path: Path, x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return _checked(path, np.ascontiguousarray(x, np.float32))


def _checked(path: Path, x: np.ndarray) -> np.ndarray:
    if not np.isfinite(x.min(initial=0.0)) or not np.isfinite(x.max(initial=0.0)):
        raise UserError(f"{path}: x holds numbers beyond 3e38, the largest of 32 bits: scale them down")
    return x


def _notes(*texts: str) -> tuple[str, ...]:
    return tuple(filter(None, texts))
