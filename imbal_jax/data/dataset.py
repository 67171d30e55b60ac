"""What a data source returns: rows with ids and groups, and their origin."""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from imbal_jax.errors import UserError

STORED = ("uint8", "int16", "float32")


class Rows(NamedTuple):
    """The examples of one split, on the host.

    Attributes:
        x: [N, ...example]: uint8, pixels as published; int16, samples of a signal; or float32, scaled; see `stored`.
        y: int32 [N], class indices.
        ids: int64 [N], the row's number in its source, unique over train and test.
        groups: int64 [N], what must not be split between train and test (a patient); the id where there is none.
    """

    x: np.ndarray
    y: np.ndarray
    ids: np.ndarray
    groups: np.ndarray


class Scale(NamedTuple):
    """How stored values were made: (value - offset) / factor, for all alike or for each channel or column.

    Attributes:
        how: in words.
        offset: of each channel or column, or one for all.
        factor: likewise; 0 for a constant, which is stored as 0.
    """

    how: str
    offset: tuple[float, ...]
    factor: tuple[float, ...]


class Dataset(NamedTuple):
    """A train and a test split with their origin.

    Attributes:
        name: the data set's name, such as 'mnist'.
        source: which of its sources was read, such as 'tfds'.
        digest: SHA-256 (hex) of x and y of train and test as they are here; equal for sources that give equal rows.
        class_names: one name per class, [K].
        train: the training rows.
        test: the test rows.
        fraction: loaded training rows / training rows of the published set; 1.0 for a whole data set.
        note: what a reader of the results must know (a small subset, say), or ''.
        duplicates: test rows that are equal to a training row of the source, bool [N test]; of length 0 where
            there are none or this was not checked.
        left_out: "path: why" of every file that could not be used.
        measures: which further metrics are usual in its field, a kind of `evaluate.measures`.
        clusters: int64 [N test], what bootstrap intervals resample as a whole (a patient) where, in a split by row, the
            `test.groups` are the rows themselves; of length 0 elsewhere, where intervals resample the groups.
        scale: how the values were made from those of the source; None where they are the source's own.
    """

    name: str
    source: str
    digest: str
    class_names: tuple[str, ...]
    train: Rows
    test: Rows
    fraction: float
    note: str
    duplicates: np.ndarray = np.zeros(0, bool)
    left_out: tuple[str, ...] = ()
    measures: str = ""
    clusters: np.ndarray = np.zeros(0, np.int64)
    scale: Scale | None = None

    @property
    def twins(self) -> np.ndarray:
        """The former name of `duplicates`, for scripts that were written for it."""
        return self.duplicates


class Absent(UserError):
    """A source is not there; the next one in the chain may be. Damaged files are a plain `UserError`: they stop it."""


def take(rows: Rows, index: np.ndarray) -> Rows:
    """The rows that `index` (row numbers, or a mask [N]) names, in its order."""
    return Rows(*(column[index] for column in rows))


def digest(train: Rows, test: Rows) -> str:
    """SHA-256 (hex) of the arrays x and y of both splits: their types, shapes and values, the same on every machine."""
    total = hashlib.sha256()
    for array in (train.x, train.y, test.x, test.y):
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        total.update(f"{little.dtype.str}{little.shape}".encode())
        total.update(little.data)
    return total.hexdigest()


def rank_in_class(y: np.ndarray) -> np.ndarray:
    """For each row of y [N] how many rows before it are of its class, int64 [N]; `rank < k` is the first k of each."""
    order = np.argsort(y, kind="stable")
    counts = np.bincount(y)
    rank = np.empty(len(y), np.int64)
    rank[order] = np.arange(len(y)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rank


def group_ids(values: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """For each row the first id among the rows with its value, int64 [N]: the form in which rows carry their groups."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    return ids[first][inverse]


def first_rows(data: Dataset, per_class: int | None) -> Dataset:
    """The data set with the first so many training rows of each class, in their order; None keeps all of them."""
    if per_class is None:
        return data
    published = round(len(data.train.y) / data.fraction)
    train = take(data.train, rank_in_class(data.train.y) < per_class)
    return data._replace(train=train, digest=digest(train, data.test), fraction=len(train.y) / published)


def check_duplicates(data: Dataset) -> None:
    """Raise UserError where each test row is also a training row, so that no test row is unseen."""
    if len(data.duplicates) and data.duplicates.all():
        what = f"{data.name}: each of the {len(data.duplicates)} test rows is also a training row"
        raise UserError(f"{what}, so the test set measures nothing: replace it, or remove it and let one be drawn")


def check_dataset(data: object, owner: str) -> None:
    """Check that what a data set's `load` returned is as `Dataset` and `Rows` describe it.

    Args:
        data: the returned value.
        owner: the config field and its value, for messages.

    Raises:
        UserError: the first thing that is not.
    """
    if not isinstance(data, Dataset):
        raise UserError(f"{owner}: load must return an imbal_jax.data.dataset.Dataset (got {type(data).__name__})")
    problem = _problem_of_rows(data, data.train, "train") or _problem_of_rows(data, data.test, "test")
    if problem is None and data.train.x.shape[1:] != data.test.x.shape[1:]:
        problem = f"train.x and test.x must have examples of one shape (got {data.train.x.shape} and {data.test.x.shape})"
    if problem is None and len(np.unique(ids := np.concatenate([data.train.ids, data.test.ids]))) != len(ids):
        problem = "ids must be unique over train and test"
    if problem is None and not data.fraction > 0:
        problem = f"fraction must be above 0, 1.0 for a whole data set (got {data.fraction})"
    if problem is not None:
        raise UserError(f"{owner}: {problem}; see docs/extending.md")


def _problem_of_rows(data: Dataset, rows: Rows, side: str) -> str | None:
    classes = len(data.class_names)
    if rows.x.dtype.name not in STORED or rows.x.ndim not in (2, 3, 4) or not len(rows.x):
        return (
            f"{side}.x must be {', '.join(STORED)} of shape [N, D], [N, T, C] or [N, H, W, C] with N above 0 "
            f"(got {rows.x.dtype} of shape {rows.x.shape})"
        )
    if rows.x.dtype == np.float32 and not np.isfinite(rows.x).all():
        return f"{side}.x must be finite"
    for name, column in (("y", rows.y), ("ids", rows.ids), ("groups", rows.groups)):
        if column.shape != rows.x.shape[:1] or not np.issubdtype(column.dtype, np.integer):
            return f"{side}.{name} must be integers of shape [{len(rows.x)}] (got {column.dtype} of shape {column.shape})"
    if rows.y.min() < 0 or rows.y.max() >= classes:
        return f"{side}.y must lie from 0 to {classes - 1}, for {classes} class_names (got {rows.y.min()} to {rows.y.max()})"
    return None


def cache_folder() -> Path:
    """Where decoded and downloaded data is kept: $IMBAL_CACHE_DIR, else ~/.cache/imbal_jax. It may not exist yet."""
    return Path(os.environ.get("IMBAL_CACHE_DIR") or os.path.expanduser("~/.cache/imbal_jax"))
