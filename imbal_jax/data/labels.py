"""Labels of an array file as whole numbers or words, whatever of the usual forms they are stored in."""

from pathlib import Path

import numpy as np

from imbal_jax.errors import UserError

EXACT = 2**53  # whole floats beyond are not exact


def plain(path: Path, name: str, values: np.ndarray, rows: int, classes: bool = True) -> np.ndarray:
    """Labels or groups as int64 or str [N].

    Whole numbers, booleans, floats that are whole, words and bytes are read, as [N] or [N, 1]; labels also one-hot [N, K].

    Args:
        path: of the file, for errors.
        name: of the entry, for errors.
        values: as stored.
        rows: N.
        classes: whether one-hot is allowed.

    Raises:
        UserError: another shape or type, fractions, NaN, or rows that are not one-hot.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if classes and values.ndim == 2 and len(values) == rows:
        return _positions(path, name, values)
    if values.shape != (rows,):
        more = ", or one-hot" if classes else ""
        raise UserError(f"{path}: {name} has the shape {values.shape}, and there are {rows} rows: one label for each{more}")
    if values.dtype.kind == "S":
        try:
            return np.char.decode(values, "utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: {name} holds bytes that are not UTF-8 text: save words as text") from error
    if values.dtype.kind == "f":
        _check_whole(path, name, values)
    elif values.dtype.kind not in "biuU":
        raise UserError(f"{path}: {name} is of type {values.dtype}; it must hold whole numbers or words")
    if values.dtype.kind == "u" and values.size and values.max() > np.iinfo(np.int64).max:
        raise UserError(f"{path}: {name} holds {values.max()}, beyond 64 bits: use smaller numbers, or words")
    return values.astype(str if values.dtype.kind == "U" else np.int64)


def _positions(path: Path, name: str, values: np.ndarray) -> np.ndarray:
    """The place of the one in each row of one-hot labels [N, K]."""
    zero_or_one = values.dtype.kind in "biuf" and bool(((values == 0) | (values == 1)).all())
    if not zero_or_one or not ((values == 1).sum(1) == 1).all():
        raise UserError(
            f"{path}: {name} has the shape {values.shape} and is not one-hot (a single 1 in each row, else 0): give one label "
            "for each row; several labels of one row are not supported"
        )
    return np.argmax(values, axis=1).astype(np.int64)


def _check_whole(path: Path, name: str, values: np.ndarray) -> None:
    if bad := int(np.sum(~np.isfinite(values))):
        raise UserError(f"{path}: {name} holds {bad} values that are NaN or infinite: leave these rows out")
    fractions = values[(values != np.round(values)) | (np.abs(values) > EXACT)]
    if len(fractions):
        raise UserError(f"{path}: {name} holds {fractions[0]:g}: labels must be whole numbers or words")
