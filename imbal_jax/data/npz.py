"""Labelled arrays from an .npz file, checked: no pickles, the shapes that belong together, pixels as bytes."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from imbal_jax.errors import UserError, nearest

ENTRIES = ("x", "y", "group", "x_test", "y_test", "group_test")


class Arrays(NamedTuple):
    """The rows of an .npz file, those of the test set last.

    Attributes:
        x: uint8 [N, ...example].
        y: int32 [N].
        class_names: [K]; numbers in their order, words by the alphabet.
        groups: [N], whatever numbers or words the file has, or None.
        test: bool [N], or None where the file has no test set.
    """

    x: np.ndarray
    y: np.ndarray
    class_names: tuple[str, ...]
    groups: np.ndarray | None
    test: np.ndarray | None


def read(path: Path) -> Arrays:
    """Read x and y, and group, x_test, y_test and group_test where the file has them.

    - x of two axes [N, D] are vectors, of four [N, H, W, C] images. Of three it is images [N, H, W] where they are bytes
      (uint8) or square, else signals [N, T, C]; a fourth axis of length 1 leaves no doubt.
    - Whole numbers from 0 to 255 are taken as they are. Floats from 0 to 1 are multiplied by 255 and rounded, floats from 0
      to 255 are rounded. True is 255. The scale is that of train and test together.
    - y and group are whole numbers or words.

    Raises:
        UserError: no .npz, a pickle in it, entries missing or of shapes that do not fit, other numbers.
    """
    stored = _load(path)
    testing = "x_test" in stored
    parts = [_part(path, stored, "")] + ([_part(path, stored, "_test")] if testing else [])
    if len({x.shape[1:] for x, _, _ in parts}) > 1:
        raise UserError(f"{path}: the examples of x {parts[0][0].shape} and x_test {parts[1][0].shape} differ in shape")
    if ("group" in stored) != ("group_test" in stored) and testing:
        raise UserError(f"{path}: group and group_test go together; give both or none")
    x = _pixels(path, np.concatenate([x for x, _, _ in parts]))
    y = np.concatenate([y for _, y, _ in parts])
    if len({y.dtype.kind in "iu" for _, y, _ in parts}) > 1:
        raise UserError(f"{path}: y and y_test must both hold whole numbers, or both words")
    names, codes = np.unique(y, return_inverse=True)
    test = np.repeat([False, True], [len(parts[0][1]), len(y) - len(parts[0][1])]) if testing else None
    groups = np.concatenate([group for _, _, group in parts]) if "group" in stored else None
    return Arrays(x, codes.astype(np.int32), tuple(str(name) for name in names), groups, test)


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file:
            opened = np.load(file, allow_pickle=False)
            if not isinstance(opened, np.lib.npyio.NpzFile):
                raise UserError(f"{path} is no .npz file: save it with numpy.savez")
            stored = {name: opened[name] for name in opened.files if name in ENTRIES}
            others = sorted(set(opened.files) - set(ENTRIES))
    except (OSError, ValueError, KeyError, EOFError, SyntaxError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"cannot read {path}: {error}; save it anew with numpy.savez, without objects") from error
    for name in others:
        if nearest(name, ENTRIES):
            raise UserError(f"{path} has an entry {name!r}{nearest(name, ENTRIES)}; known: {', '.join(ENTRIES)}")
    for name in ("x", "y") + (("x_test", "y_test") if {"x_test", "y_test", "group_test"} & set(stored) else ()):
        if name not in stored:
            raise UserError(f"{path} has no entry {name!r}: it needs x and y, and for a test set x_test and y_test")
    return stored


def _part(path: Path, stored: Mapping[str, np.ndarray], suffix: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, y and group (zeros where there is none) of train or of test."""
    x, y = stored[f"x{suffix}"], stored[f"y{suffix}"]
    group = stored.get(f"group{suffix}", np.zeros(len(y) if y.ndim else 0, np.int64))
    if not 2 <= x.ndim <= 4:
        raise UserError(f"{path}: x{suffix} has the shape {x.shape}; it must be [N, D], [N, T, C], [N, H, W] or [N, H, W, C]")
    if x.dtype.kind not in "biuf":
        raise UserError(f"{path}: x{suffix} is of type {x.dtype}; it must hold numbers")
    for name, values in ((f"y{suffix}", y), (f"group{suffix}", group)):
        if values.shape != x.shape[:1]:
            raise UserError(f"{path}: {name} has the shape {values.shape}, x{suffix} {x.shape}: one number for each row")
        if values.dtype.kind not in "iuU":
            raise UserError(f"{path}: {name} is of type {values.dtype}; it must hold whole numbers or words")
    images = x.ndim == 3 and (x.dtype == np.uint8 or x.shape[1] == x.shape[2])
    return (x[..., None] if images else x), y, group


def _pixels(path: Path, x: np.ndarray) -> np.ndarray:
    """The numbers as uint8."""
    if x.dtype == np.uint8 or not x.size:
        return x.astype(np.uint8)
    if x.dtype == bool:
        return x.astype(np.uint8) * np.uint8(255)
    low, high = x.min(), x.max()  # not a number if any is none, and then no comparison holds
    if not (low >= 0 and high <= 255):
        advice = "scale them to 0 to 1 or 0 to 255 by the training rows' limits"
        raise UserError(f"{path}: x goes from {low:.6g} to {high:.6g}, which are no pixels: {advice}")
    if x.dtype.kind == "f":
        return np.round(x * 255 if high <= 1 else x).astype(np.uint8)
    return x.astype(np.uint8)
