"""imbalanced-learn's samplers, with this library's neighbour search and random draws, for rows of any shape.

Each class is a subclass of its namesake in imbalanced-learn (0.14 or later, `pip install imbalanced-learn`): the same
arguments, attributes, checks and errors, in the same pipelines. What differs:

- X may be an array [n, ...] of any rank (images, signals); its dtype stays, and integers are rounded. So it is with each
  column of a data frame, nullable types included; booleans become the nearer of the two. Categories are not interpolated.
- Neighbours are the nearest by Euclidean distance, searched on the device in float32 (of wider types, after centring);
  rows are joined in X's own precision. A row is never its own neighbour, even among equal rows.
- `k_neighbors` and its like may be a number or an estimator of which only `n_neighbors` is read; an estimator with another
  metric is refused. `n_jobs` has no effect.
- A `random_state` gives other rows than there, with the same distribution; ADASYN draws the base of each new row, in
  place of rounding the share of each base, so that the classes come out at their exact sizes.
- Sparse X is made dense where distances are needed, and new rows are dense until they are returned.
"""

import numbers
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from imblearn import combine, over_sampling, under_sampling
from scipy import sparse
from sklearn.utils import check_array, check_random_state

from imbal_jax.lanes import purpose
from imbal_jax.methods import _layout as layout
from imbal_jax.methods import _neighbours as near
from imbal_jax.methods.borderline_smote import border
from imbal_jax.methods.enn import enn
from imbal_jax.methods.over import oversample
from imbal_jax.methods.smote import same_class
from imbal_jax.methods.tomek_links import tomek_links
from imbal_jax.methods.under import undersample
from imbal_jax.stored import flat

NUMBERS = 2**18  # numbers joined at a time: few enough to stay in the cache


class _AnyRank:
    """Takes rows of any shape [n, ...] to a sampler of vectors and back."""

    def fit(self, X: Any, y: Any, **params: Any) -> Any:
        """Check inputs, as in imbalanced-learn, and X may be an array [n, ...]."""
        return super().fit(_as_vectors(X), y, **params)  # type: ignore[misc]

    def fit_resample(self, X: Any, y: Any, **params: Any) -> Any:
        """X and y resampled, as in imbalanced-learn, and X may be an array [n, ...]."""
        if hasattr(X, "iloc") and getattr(X, "ndim", 0) == 2:
            return self._resample_frame(X, y, **params)
        resampled, *rest = super().fit_resample(_as_vectors(X), y, **params)  # type: ignore[misc]
        return (resampled.reshape(-1, *X.shape[1:]) if getattr(X, "ndim", 2) > 2 else resampled, *rest)

    def _resample_frame(self, X: Any, y: Any, **params: Any) -> Any:
        """X, a data frame, and y resampled; the rows of X that stay are exactly those of X."""
        if not self._makes_rows() or any(dtype.kind not in "biufO" or hasattr(dtype, "subtype") for dtype in X.dtypes):
            return super().fit_resample(X, y, **params)  # type: ignore[misc]
        categories = [name for name, dtype in X.dtypes.items() if dtype.name == "category"]
        if categories and not isinstance(self, under_sampling.base.BaseCleaningSampler):
            raise ValueError(f"Column {categories[0]!r} is categorical, which cannot be interpolated: use imblearn's SMOTENC.")
        numeric = X if any(dtype.kind == "O" for dtype in X.dtypes) else X.astype("float64")
        resampled, *rest = super().fit_resample(numeric, y, **params)  # type: ignore[misc]
        if hasattr(self, "sample_indices_") and len(self.sample_indices_) == len(resampled):
            return (X.iloc[self.sample_indices_].reset_index(drop=True), *rest)
        if isinstance(self, over_sampling.base.BaseOverSampler):  # new rows come after those of X
            return (_stacked_frames(X, _typed(resampled.iloc[len(X) :], X)), *rest)
        return (_typed(resampled, X), *rest)

    def _makes_rows(self) -> bool:
        """Whether rows may come out that are not rows of X, or X must be numbers."""
        return True


class RandomOverSampler(_AnyRank, over_sampling.RandomOverSampler):
    """Random rows of the smaller classes are repeated; with `shrinkage`, moved by normal noise.

    Args, attributes and errors: see `imblearn.over_sampling.RandomOverSampler`.
    """

    def _makes_rows(self) -> bool:
        return self.shrinkage is not None

    def _fit_resample(self, X: Any, y: np.ndarray) -> tuple[Any, np.ndarray]:
        self.shrinkage_ = factors = _shrinkage(self.shrinkage, self.sampling_strategy_)
        groups = _grouped(y)
        missing = _asked(self.sampling_strategy_, groups, 0)
        key = _key(self.random_state)
        wanted = tuple(have + more for have, more in zip(groups.counts, missing, strict=True))
        drawn = np.asarray(_oversampled(key, groups.counts, wanted))
        pieces = np.stack([groups.counts, missing], axis=1).ravel()  # each class: its rows, then the repeats
        repeats = groups.order[drawn[np.repeat(np.arange(pieces.size) % 2 == 1, pieces)]]
        self.sample_indices_ = np.concatenate([np.arange(len(y)), repeats])
        if factors is None:
            rows = _rows(X, self.sample_indices_)
            return rows.reset_index(drop=True) if hasattr(rows, "reset_index") else rows, y[self.sample_indices_]
        try:
            X = check_array(X, accept_sparse=["csr", "csc"], dtype="numeric")
        except ValueError as error:
            raise ValueError("With shrinkage, X needs to contain only numerical data, to which noise is added.") from error
        noise = jax.random.normal(purpose(key, "noise"), (len(repeats), X.shape[1]))
        new = _dense(X, repeats) + np.asarray(noise) * _bandwidths(X, y, factors)[np.searchsorted(groups.classes, y[repeats])]
        return _stacked(X, _cast(new, X.dtype)), y[self.sample_indices_]


class RandomUnderSampler(_AnyRank, under_sampling.RandomUnderSampler):
    """Random rows of the larger classes are left out. Without replacement, a class's rows stay in their order.

    Args, attributes and errors: see `imblearn.under_sampling.RandomUnderSampler`.
    """

    def _makes_rows(self) -> bool:
        return False

    def _fit_resample(self, X: Any, y: np.ndarray) -> tuple[Any, np.ndarray]:
        groups = _grouped(y)
        wanted = _asked(self.sampling_strategy_, groups, None)
        key = _key(self.random_state)
        if self.replacement:
            drawn = _redrawn(key, groups.counts, wanted, tuple(label in self.sampling_strategy_ for label in groups.classes))
        else:
            drawn = _undersampled(key, groups.counts, wanted)
        self.sample_indices_ = groups.order[np.asarray(drawn)]
        return _rows(X, self.sample_indices_), y[self.sample_indices_]


class SMOTE(_AnyRank, over_sampling.SMOTE):
    """New rows on the line between a row and one of its nearest neighbours of the same class.

    Args, attributes and errors: see `imblearn.over_sampling.SMOTE`.
    """

    def _fit_resample(self, X: Any, y: np.ndarray) -> tuple[Any, np.ndarray]:
        self._validate_estimator()
        k = _wanted_neighbours("k_neighbors", self.nn_k_)
        groups = _grouped(y)
        missing = _asked(self.sampling_strategy_, groups, 0)
        _check_enough(k, groups.counts, missing)
        x = _dense(X, groups.order[layout.positions_of(groups.counts, missing)])  # other classes stay off the device
        joins = _joins(_key(self.random_state), x, layout.only(groups.counts, missing), missing, k)
        return _with_new(X, y, x, joins, np.repeat(groups.classes, missing))


class BorderlineSMOTE(_AnyRank, over_sampling.BorderlineSMOTE):
    """SMOTE that starts only from rows close to other classes; a class without such rows gets none.

    In 'borderline-2', the step towards a row of another class is a product of two random numbers, on [0, 1) and [0, 0.5),
    as in imbalanced-learn; in the paper and in `imbal_jax.methods.borderline_smote` it is uniform on [0, 0.5).

    Args, attributes and errors: see `imblearn.over_sampling.BorderlineSMOTE`.
    """

    def _fit_resample(self, X: Any, y: np.ndarray) -> tuple[Any, np.ndarray]:
        self._validate_estimator()
        k = _wanted_neighbours("k_neighbors", self.nn_k_)
        m = _wanted_neighbours("m_neighbors", self.nn_m_)
        groups = _grouped(y)
        missing = _asked(self.sampling_strategy_, groups, 0)
        everything = (len(y),) * len(missing)
        _check_enough(m, everything, missing)
        x = _dense(X, groups.order)
        anywhere = self.kind == "borderline-2"
        danger, around = _border(_searchable(x), groups.counts, missing, m, k if anywhere else 0)
        endangered = groups.order[np.asarray(danger)]
        self.in_danger_indices = {label: endangered[y[endangered] == label] for label in np.unique(y[endangered])}
        missing = tuple(
            more if label in self.in_danger_indices else 0 for label, more in zip(groups.classes, missing, strict=True)
        )
        _check_enough(k, everything if anywhere else groups.counts, missing)
        joins = _joins(_key(self.random_state), x, groups.counts, missing, k, danger, around if anywhere else None)
        return _with_new(X, y, x, joins, np.repeat(groups.classes, missing))


class ADASYN(_AnyRank, over_sampling.ADASYN):
    """SMOTE that makes more rows where other classes are close. Classes come out at the exact sizes asked for.

    Args, attributes and errors: see `imblearn.over_sampling.ADASYN`.
    """

    def _fit_resample(self, X: Any, y: np.ndarray) -> tuple[Any, np.ndarray]:
        self._validate_estimator()
        k = _wanted_neighbours("n_neighbors", self.nn_)
        groups = _grouped(y)
        missing = _asked(self.sampling_strategy_, groups, 0)
        _check_enough(k, groups.counts, missing)
        x = _dense(X, groups.order)
        foreign = _foreign(_searchable(x), groups.counts, missing, k)
        totals = np.bincount(layout.labels_of(groups.counts), np.asarray(foreign), minlength=len(missing))
        for label, more, total in zip(groups.classes, missing, totals, strict=True):
            if more and not total:
                raise RuntimeError(
                    f"No row of class {label!r} has a neighbour of another class, so that ADASYN cannot tell where to make"
                    " new ones. Use SMOTE instead."
                )
        joins = _joins(_key(self.random_state), x, groups.counts, missing, k, foreign)
        return _with_new(X, y, x, joins, np.repeat(groups.classes, missing))


class TomekLinks(_AnyRank, under_sampling.TomekLinks):
    """Rows in a Tomek link are removed: two of different classes, each the other's nearest neighbour.

    Args, attributes and errors: see `imblearn.under_sampling.TomekLinks`.
    """

    def _fit_resample(self, X: Any, y: np.ndarray) -> tuple[Any, np.ndarray]:
        groups = _grouped(y)
        keep = _unlinked(_searchable(_dense(X, groups.order)), groups.counts)
        self.sample_indices_ = np.sort(_kept(keep, groups, self.sampling_strategy_))
        return X[self.sample_indices_], y[self.sample_indices_]


class EditedNearestNeighbours(_AnyRank, under_sampling.EditedNearestNeighbours):
    """Rows whose neighbours are of other classes are removed.

    Args, attributes and errors: see `imblearn.under_sampling.EditedNearestNeighbours`.
    """

    def _fit_resample(self, X: Any, y: np.ndarray) -> tuple[Any, np.ndarray]:
        self._validate_estimator()
        k = _wanted_neighbours("n_neighbors", self.nn_)
        groups = _grouped(y)
        _check_enough(k, (len(y),), (1,))
        keep = _confirmed(_searchable(_dense(X, groups.order)), groups.counts, k, self.kind_sel)
        self.sample_indices_ = _kept(keep, groups, self.sampling_strategy_)
        return X[self.sample_indices_], y[self.sample_indices_]


class SMOTETomek(_AnyRank, combine.SMOTETomek):
    """SMOTE, then the removal of Tomek links in all classes.

    Args, attributes and errors: see `imblearn.combine.SMOTETomek`.
    """

    def _validate_estimator(self) -> None:
        super()._validate_estimator()
        if self.smote is None:
            self.smote_ = SMOTE(sampling_strategy=self.sampling_strategy, random_state=self.random_state)
        if self.tomek is None:
            self.tomek_ = TomekLinks(sampling_strategy="all")


class SMOTEENN(_AnyRank, combine.SMOTEENN):
    """SMOTE, then edited nearest neighbours in all classes.

    Args, attributes and errors: see `imblearn.combine.SMOTEENN`.
    """

    def _validate_estimator(self) -> None:
        super()._validate_estimator()
        if self.smote is None:
            self.smote_ = SMOTE(sampling_strategy=self.sampling_strategy, random_state=self.random_state)
        if self.enn is None:
            self.enn_ = EditedNearestNeighbours(sampling_strategy="all")


class _Groups(NamedTuple):
    """Rows class by class.

    Attributes:
        classes: the labels [K], sorted.
        order: int [n], the rows of each class in their order.
        counts: rows of each class.
    """

    classes: np.ndarray
    order: np.ndarray
    counts: tuple[int, ...]


def _grouped(y: np.ndarray) -> _Groups:
    classes, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    return _Groups(classes, np.argsort(codes, kind="stable"), tuple(counts.tolist()))


def _asked(strategy: Mapping, groups: _Groups, otherwise: int | None) -> tuple[int, ...]:
    """Rows that a checked sampling strategy names for each class; for classes that it leaves out, `otherwise` or all."""
    return tuple(
        int(strategy.get(label, have if otherwise is None else otherwise))
        for label, have in zip(groups.classes, groups.counts, strict=True)
    )


def _key(random_state: Any) -> jax.Array:
    return jax.random.key(check_random_state(random_state).randint(2**31 - 1))


def _wanted_neighbours(name: str, estimator: Any) -> int:
    """The number of neighbours besides the row itself that an estimator of imbalanced-learn's kind looks for."""
    if not hasattr(estimator, "n_neighbors"):
        raise ValueError(f"{name}={estimator!r} has no n_neighbors, and only this is read; give a number of neighbours.")
    metric, p = getattr(estimator, "metric", "euclidean"), getattr(estimator, "p", 2)
    if metric not in ("euclidean", "l2") and not (metric == "minkowski" and p == 2):
        raise ValueError(f"{name}={estimator!r}: neighbours are the nearest by Euclidean distance; imblearn has other metrics.")
    return int(estimator.n_neighbors) - 1


def _check_enough(k: int, rows: Sequence[int], asked: Sequence[int]) -> None:
    """Raise scikit-learn's error for k neighbours among too few rows, where any are asked for."""
    for have, more in zip(rows, asked, strict=True):
        if more and have <= k:
            raise ValueError(
                f"Expected n_neighbors <= n_samples_fit, but n_neighbors = {k + 1}, n_samples_fit = {have}, n_samples = {have}"
            )


def _shrinkage(shrinkage: Any, strategy: Mapping) -> Mapping | None:
    """Shrinkage of each class, checked."""
    if isinstance(shrinkage, numbers.Real):
        shrinkage = dict.fromkeys(strategy, shrinkage)
    if shrinkage is None:
        return None
    missing = strategy.keys() - shrinkage.keys()
    if missing:
        raise ValueError(f"`shrinkage` should contain a shrinkage factor for each class; missing: {missing!r}")
    for label, factor in shrinkage.items():
        if factor < 0:
            raise ValueError(f"The shrinkage factor needs to be >= 0. Got {factor} for class {label}.")
    return shrinkage


def _bandwidths(X: Any, y: np.ndarray, factors: Mapping) -> np.ndarray:
    """Standard deviations [K, D] of a smoothed bootstrap's noise, by class; 0 for classes without a factor."""
    rule = (4 / ((X.shape[1] + 2) * X.shape[0])) ** (1 / (X.shape[1] + 4))
    spread = [
        factors.get(label, 0.0) * rule * _dense(X, np.flatnonzero(y == label)).std(axis=0, dtype=np.float64)
        for label in np.unique(y)
    ]
    return np.stack(spread)


# Random draws and neighbours, on the device. Programs are compiled for class sizes, so that a second call has them ready.


@partial(jax.jit, static_argnames=("counts", "wanted"))
def _oversampled(key, counts, wanted) -> jax.Array:
    return oversample(key, jnp.arange(sum(counts), dtype=jnp.int32), counts, wanted)


@partial(jax.jit, static_argnames=("counts", "wanted"))
def _undersampled(key, counts, wanted) -> jax.Array:
    return undersample(key, jnp.arange(sum(counts), dtype=jnp.int32), counts, wanted)


@partial(jax.jit, static_argnames=("counts", "wanted", "drawn"))
def _redrawn(key, counts, wanted, drawn) -> jax.Array:
    """Positions of random rows with replacement, for the classes where `drawn`; all rows of the others."""
    y = layout.labels_of(wanted)
    begin = np.cumsum(counts) - counts
    own = begin[y] + np.arange(len(y)) - np.repeat(np.cumsum(wanted) - wanted, wanted)
    random = near.draw(key, jnp.ones(sum(counts), jnp.int32), counts, y)
    return jnp.where(np.asarray(drawn)[y], random, jnp.asarray(own, jnp.int32))


def _joins(key, x: np.ndarray, counts, missing, k: int, weights=None, around=None) -> tuple[np.ndarray, np.ndarray]:
    """Parents int32 [S, 2] and weights float32 [S] of new rows, class by class.

    Args:
        key: typed key.
        x: rows [M, D], class by class.
        counts: rows of each class.
        missing: new rows of each class.
        k: neighbours to choose from.
        weights: bool or int32 [M], how likely each row is a base; None for equally likely.
        around: int32 [M, k], neighbours of all classes to choose from; None for the nearest of the same class.
    """
    if not any(missing):
        return np.empty((0, 2), np.int32), np.empty(0, np.float32)
    parents, weight = _drawn_joins(key, _searchable(x), weights, around, counts, missing, k)
    return np.asarray(parents), np.asarray(weight)


@partial(jax.jit, static_argnames=("counts", "missing", "k"))
def _drawn_joins(key, z, weights, around, counts, missing, k) -> tuple[jax.Array, jax.Array]:
    z, y = flat(z), layout.labels_of(missing)
    weights = jnp.ones(z.shape[0], jnp.int32) if weights is None else weights.astype(jnp.int32)
    bases = near.draw(purpose(key, "base"), weights, counts, y)
    others = same_class(z, counts, missing, k) if around is None else around
    new = near.between(key, z, bases, others[bases], jnp.full(y.shape, k), y)
    if around is None:
        return new.parents, new.weight
    foreign = jnp.asarray(layout.labels_of(counts))[new.parents[:, 1]] != y
    shorter = jax.random.uniform(purpose(key, "foreign"), y.shape, maxval=0.5)
    return new.parents, jnp.where(foreign, shorter * new.weight, new.weight)


@partial(jax.jit, static_argnames=("counts", "missing", "m", "k"))
def _border(z, counts, missing, m, k) -> tuple[jax.Array, jax.Array]:
    return border(flat(z), counts, missing, m, k)


@partial(jax.jit, static_argnames=("counts", "missing", "k"))
def _foreign(z, counts, missing, k) -> jax.Array:
    return near.foreign_neighbours(flat(z), counts, missing, k)[0]


@partial(jax.jit, static_argnames=("counts",))
def _unlinked(z, counts) -> jax.Array:
    return tomek_links(z, counts, "all")


@partial(jax.jit, static_argnames=("counts", "k", "vote"))
def _confirmed(z, counts, k, vote) -> jax.Array:
    return enn(z, counts, k, vote, "all")


# Between X and the device.


def _as_vectors(X: Any) -> Any:
    """Rows [n, ...] as [n, D]; whatever has no more than two axes as it is."""
    return np.asarray(X).reshape(len(X), -1) if getattr(X, "ndim", 2) > 2 else X


def _typed(frame: Any, like: Any) -> Any:
    """A data frame of floats in the columns' types of another: whole numbers rounded, booleans the nearer of the two."""
    import pandas as pd

    parts = []
    for place, dtype in enumerate(like.dtypes):
        column = frame.iloc[:, place]
        if dtype.kind in "biu":
            column = np.rint(column.astype("float64")).astype("int64" if dtype.kind in "bi" else "uint64")
        parts.append(column.astype(dtype))
    found = pd.concat(parts, axis=1)
    found.columns = like.columns
    return found


def _stacked_frames(above: Any, below: Any) -> Any:
    import pandas as pd

    return pd.concat([above, below], ignore_index=True)


def _rows(X: Any, places: np.ndarray) -> Any:
    """Rows of an array, sparse or not, or of a data frame."""
    return X.iloc[places] if hasattr(X, "iloc") else X[places]


def _dense(X: Any, places: np.ndarray) -> np.ndarray:
    rows = X[places]
    return rows.toarray() if sparse.issparse(rows) else rows


def _searchable(x: np.ndarray) -> np.ndarray:
    """Rows [M, D] in uint8 or float32 that have the same neighbours: what float32 cannot hold is centred and scaled."""
    if x.dtype in (np.uint8, np.float16, np.float32):
        return x.astype(np.float32, copy=False) if x.dtype == np.float16 else x
    x = x.astype(np.float64)
    x -= x.mean(axis=0)
    _, exponent = np.frexp(np.abs(x).max(initial=0.0))
    return np.ldexp(x, -exponent).astype(np.float32)


def _cast(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """In X's dtype; rounded if that has integers."""
    return (x if np.issubdtype(dtype, np.floating) else np.rint(x)).astype(dtype, copy=False)


def _join(x: np.ndarray, parents: np.ndarray, weight: np.ndarray, out: np.ndarray) -> None:
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
        out[rows] = _cast(new, x.dtype)


def _with_new(X: Any, y: np.ndarray, x: np.ndarray, joins: tuple[np.ndarray, np.ndarray], labels: np.ndarray):
    """X and y with new rows after them, each between two of the rows x [M, D]."""
    y = np.concatenate([y, labels.astype(y.dtype, copy=False)])
    if sparse.issparse(X):
        new = np.empty((len(labels), X.shape[1]), X.dtype)
        _join(x, *joins, new)
        return _stacked(X, new), y
    out = np.empty((len(y), X.shape[1]), X.dtype)
    out[: len(X)] = X
    _join(x, *joins, out[len(X) :])
    return out, y


def _stacked(X: Any, new: np.ndarray) -> Any:
    if sparse.issparse(X):
        return sparse.vstack([X, type(X)(new)], format=X.format)
    return np.concatenate([X, new])


def _kept(keep: jax.Array, groups: _Groups, strategy: Mapping) -> np.ndarray:
    """The rows that stay, class by class: all those of classes that are not in the strategy."""
    aside = np.asarray([label not in strategy for label in groups.classes])
    return groups.order[np.asarray(keep) | aside[layout.labels_of(groups.counts)]]
