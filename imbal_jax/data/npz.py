"""Labelled arrays from an .npz file, checked: names of the entries, labels, and the order of the axes."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from imbal_jax.data import archive, labels
from imbal_jax.errors import UserError, nearest

ENTRIES = ("x", "y", "group", "x_val", "y_val", "group_val", "x_test", "y_test", "group_test")
KINDS = ("", "images", "signals", "vectors")
CHANNELS = (1, 3, 4)
_NAMES = {
    "x": "x|images?|imgs?|data|signals?|vectors?|features|inputs?|samples",
    "y": "y|labels?|targets?",
    "group": "groups?",
}
_PARTS = {"": "train|training|", "_val": "val|valid|validation", "_test": "test|testing"}


class Arrays(NamedTuple):
    """The rows of an .npz file, those of the test set last.

    Attributes:
        x: the numbers as stored: [N, D] vectors, [N, T, C] signals or [N, H, W, C] images.
        y: int32 [N].
        class_names: [K]; numbers in their order, words by the alphabet.
        groups: [N], whatever numbers or words the file has, or None.
        test: bool [N], or None where the file has no test set.
        notes: how they were changed, for a reader of the results.
    """

    x: np.ndarray
    y: np.ndarray
    class_names: tuple[str, ...]
    groups: np.ndarray | None
    test: np.ndarray | None
    notes: tuple[str, ...] = ()


def read(path: Path, kind: str = "") -> Arrays:
    """Read x and y, and group, x_test, y_test and group_test where the file has them.

    - The names of Keras (x_train, y_train, x_test, y_test), MedMNIST (train_images, train_labels, val_images, ...) and their
      like (X, images, data; labels, targets; X_train, train_x) mean the same. Validation rows are joined to the training rows.
    - x of two axes [N, D] are vectors; with kind='signals', signals [N, T] of one channel. x of three axes is images
      [N, H, W] where it is uint8 or square, else signals [N, T, C]; a last axis of length 1 means signals. x of four axes is
      images [N, H, W, C]. Channels first, as PyTorch has them, are recognised by a second axis of 1, 3 or 4, and refused
      where the last axis may be channels, too.
    - y and group: see `labels.plain`.

    Args:
        path: of the file.
        kind: 'images', 'signals' or 'vectors'; '' decides as above.

    Raises:
        UserError: no .npz, a pickle in it, more than the memory holds, entries missing or of shapes that do not fit, numbers
            that are NaN or infinite.
    """
    stored, names = _load(path)
    suffixes = [suffix for suffix in ("", "_val", "_test") if f"x{suffix}" in stored]
    xs = [stored[f"x{suffix}"] for suffix in suffixes]
    _check_alike(path, {names[f"x{suffix}"]: x for suffix, x in zip(suffixes, xs, strict=True)})
    ys = [labels.plain(path, names[f"y{suffix}"], stored[f"y{suffix}"], len(stored[f"x{suffix}"])) for suffix in suffixes]
    groups = None
    if "group" in stored:
        own = [(f"group{suffix}", len(x)) for suffix, x in zip(suffixes, xs, strict=True)]
        groups = _joined(path, [(names[n], labels.plain(path, names[n], stored[n], rows, classes=False)) for n, rows in own])
    x, note = ordered(path, names["x"], np.concatenate(xs) if len(xs) > 1 else xs[0], kind)
    y = _joined(path, [(names[f"y{suffix}"], part) for suffix, part in zip(suffixes, ys, strict=True)])
    classes, codes = np.unique(y, return_inverse=True)
    test = None
    if "_test" in suffixes:
        test = np.repeat([suffix == "_test" for suffix in suffixes], [len(part) for part in ys])
    joined = f"{len(stored['x_val'])} rows of {names['x_val']} are joined to the training set." if "x_val" in stored else ""
    notes = tuple(filter(None, (joined, note)))
    return Arrays(x, codes.reshape(-1).astype(np.int32), tuple(str(name) for name in classes), groups, test, notes)


def _load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays by the names of `ENTRIES`, and what the file calls them."""
    if not path.is_file():
        raise UserError(f"cannot read {path}: it is not a file; name an .npz file")
    with archive.opened(path) as (opened, members):
        names = _roles(path, list(members))
        stored = archive.read(path, opened, members, list(names.values()))
    return {role: stored[name] for role, name in names.items()}, names


def _roles(path: Path, entries: Sequence[str]) -> dict[str, str]:
    """The names of the entries by their roles in `ENTRIES`."""
    names: dict[str, str] = {}
    for entry in entries:
        role = _role(entry)
        if not role and nearest(entry, ENTRIES):
            raise UserError(f"{path} has an entry {entry!r}{nearest(entry, ENTRIES)}; known: {', '.join(ENTRIES)}")
        if role in names:
            raise UserError(f"{path} has the entries {names[role]!r} and {entry!r}, which mean the same: keep one of them")
        if role:
            names[role] = entry
    parts = [part for part in ("", "_val", "_test") if not part or any(f"{kind}{part}" in names for kind in _NAMES)]
    for role in (f"{kind}{part}" for part in parts for kind in ("x", "y")):
        if role not in names:
            there = ", ".join(entries[:20]) or "none"
            raise UserError(
                f"{path} has no entry {role!r} (its entries: {there}): it needs x and y, and for a test set x_test and y_test"
            )
    if len({f"group{part}" in names for part in parts}) > 1:
        raise UserError(f"{path}: group and group_test go together; give both or none")
    return names


def _role(entry: str) -> str:
    """Which of `ENTRIES` a name means; '' for none."""
    for kind, own in _NAMES.items():
        for part, where in _PARTS.items():
            for pattern in (f"({own})_?({where})", f"({where})_?({own})"):
                if re.fullmatch(pattern, entry.lower()):
                    return kind + part
    return ""


def _check_alike(path: Path, xs: Mapping[str, np.ndarray]) -> None:
    """Raise UserError for numbers that cannot be used, or parts of different shapes or types."""
    for name, x in xs.items():
        if not 2 <= x.ndim <= 4 or 0 in x.shape[1:]:
            raise UserError(f"{path}: {name} has the shape {x.shape}; it must be [N, D], [N, T, C], [N, H, W] or [N, H, W, C]")
        if x.dtype.kind not in "biuf":
            raise UserError(f"{path}: {name} is of type {x.dtype}; it must hold numbers")
        if x.dtype.kind == "f" and (bad := sum(int(row.size - np.isfinite(row).sum()) for row in x)):
            raise UserError(f"{path}: {name} holds {bad} values that are NaN or infinite: fill or leave out these rows")
    (first, x), *others = xs.items()
    for name, other in others:
        if other.shape[1:] != x.shape[1:]:
            raise UserError(f"{path}: the examples of {first} {x.shape} and {name} {other.shape} differ in shape")
        if other.dtype.kind != x.dtype.kind and {other.dtype.kind, x.dtype.kind} != {"i", "u"}:
            raise UserError(f"{path}: {first} is {x.dtype} and {name} {other.dtype}: store both in the same type and scale")


def _joined(path: Path, parts: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """Labels of train, validation and test one after the other."""
    (first, own), *others = parts
    for name, other in others:
        if (own.dtype.kind == "U") != (other.dtype.kind == "U"):
            raise UserError(f"{path}: {first} and {name} must both hold whole numbers, or both words")
    return np.concatenate([own, *(other for _, other in others)])


def ordered(path: Path, name: str, x: np.ndarray, kind: str) -> tuple[np.ndarray, str]:
    """x as vectors [N, D], signals [N, T, C] or images [N, H, W, C], and a note where its axes were reordered."""
    if kind == "vectors":
        return x.reshape(len(x), -1), ""
    if x.ndim == 2:
        if kind == "images":
            raise UserError(f"{path}: {name} has the shape {x.shape}, config.data.kind is 'images': save it as [N, H, W]")
        return (x[..., None] if kind == "signals" else x), ""
    if x.ndim == 3:
        return _signals_or_images(path, name, x, kind)
    if kind == "signals":
        raise UserError(f"{path}: {name} has the shape {x.shape}, config.data.kind is 'signals': save it as [N, T, C]")
    return _images(path, name, x)


def _signals_or_images(path: Path, name: str, x: np.ndarray, kind: str) -> tuple[np.ndarray, str]:
    _, second, third = x.shape
    column = third == 1 and second > 1
    if kind == "images" or (not kind and not column and second > 1 and (x.dtype in (np.uint8, bool) or second == third)):
        return x[..., None], ""
    if second == 1 and third > 1:
        return np.swapaxes(x, 1, 2), f"{name} {x.shape} was taken as channels-first signals, [N, C, T]."
    if not kind and second <= 16 and third >= 8 * second:
        raise UserError(
            f"{path}: {name} {x.shape} looks like channels-first signals, [N, C, T]: save numpy.swapaxes({name}, 1, 2); "
            f"or set config.data.kind=signals if each has {second} samples of {third} channels"
        )
    return x, ""


def _images(path: Path, name: str, x: np.ndarray) -> tuple[np.ndarray, str]:
    """Images [N, H, W, C] of [N, H, W, C] or [N, C, H, W]."""
    _, second, third, last = x.shape
    first_fits, last_fits = second in CHANNELS, last in CHANNELS
    if first_fits and last_fits:  # only a square is unambiguous
        first_fits, last_fits = third == last and second != third, second == third and third != last
        if first_fits == last_fits:
            raise UserError(
                f"{path}: {name} {x.shape} may be [N, H, W, C] or channels-first [N, C, H, W]: save images whose channels are "
                "last and whose sides are not 1, 3 or 4 pixels"
            )
    if first_fits:
        return np.moveaxis(x, 1, 3), f"{name} {x.shape} was taken as channels-first images, [N, C, H, W]."
    if not last_fits and second < third == last:
        raise UserError(
            f"{path}: {name} {x.shape} looks like channels-first images, [N, C, H, W]: save numpy.moveaxis({name}, 1, 3)"
        )
    return x, ""
