"""Between what users give (arrays of any rank, data frames, sparse matrices) and rows [n, D]; new rows between two others."""

from typing import Any

import numpy as np
from scipy import sparse

NUMBERS = 2**18  # numbers joined at a time: few enough to stay in the cache


def as_vectors(X: Any) -> Any:
    """Rows [n, ...] as [n, D]; whatever has no more than two axes as it is."""
    return np.asarray(X).reshape(len(X), -1) if getattr(X, "ndim", 2) > 2 else X


def typed(frame: Any, like: Any) -> Any:
    """A data frame of floats in the columns' types of another: whole numbers rounded, booleans the nearer of the two."""
    import pandas as pd

    parts = []
    for place, dtype in enumerate(like.dtypes):
        column = frame.iloc[:, place]
        if dtype.kind in "biu":
            column = np.rint(column.astype("float64")).astype("int64" if dtype.kind in "bi" else "uint64")
        parts.append(column.astype(dtype))
    converted = pd.concat(parts, axis=1)
    converted.columns = like.columns
    return converted


def stacked_frames(above: Any, below: Any) -> Any:
    """One data frame below another, with a new index."""
    import pandas as pd

    return pd.concat([above, below], ignore_index=True)


def rows_of(X: Any, places: np.ndarray) -> Any:
    """Rows of an array, sparse or not, or of a data frame."""
    return X.iloc[places] if hasattr(X, "iloc") else X[places]


def dense(X: Any, places: np.ndarray) -> np.ndarray:
    """Rows of a matrix, sparse or not, as an array."""
    rows = X[places]
    return rows.toarray() if sparse.issparse(rows) else rows


def cast(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """In X's dtype; rounded if that has integers."""
    return (x if np.issubdtype(dtype, np.floating) else np.rint(x)).astype(dtype, copy=False)


def join(x: np.ndarray, parents: np.ndarray, weight: np.ndarray, out: np.ndarray) -> None:
    """Write x[parents[:, 0]] + weight * (x[parents[:, 1]] - x[parents[:, 0]]) into `out` [S, D], a few rows at a time."""
    exact = np.result_type(x.dtype, np.float32)
    step = max(1, NUMBERS // max(1, x.shape[1]))
    for start in range(0, len(out), step):
        rows = slice(start, start + step)
        base = x[parents[rows, 0]].astype(exact, copy=False)
        new = x[parents[rows, 1]].astype(exact, copy=False)
        new -= base
        new *= weight[rows, None]
        new += base
        out[rows] = cast(new, x.dtype)


def with_new(X: Any, y: np.ndarray, x: np.ndarray, joins: tuple[np.ndarray, np.ndarray], labels: np.ndarray):
    """X and y with new rows after them, each between two of the rows x [M, D]."""
    y = np.concatenate([y, labels.astype(y.dtype, copy=False)])
    if sparse.issparse(X):
        new = np.empty((len(labels), X.shape[1]), X.dtype)
        join(x, *joins, new)
        return stacked(X, new), y
    out = np.empty((len(y), X.shape[1]), X.dtype)
    out[: len(X)] = X
    join(x, *joins, out[len(X) :])
    return out, y


def stacked(X: Any, new: np.ndarray) -> Any:
    """X, sparse or not, with the rows `new` under it."""
    if sparse.issparse(X):
        return sparse.vstack([X, type(X)(new)], format=X.format)
    return np.concatenate([X, new])
