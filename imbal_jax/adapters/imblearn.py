"""imbalanced-learn's samplers, with exact neighbours and draws of their own, for rows of any shape.

Each class is a subclass of its namesake in imbalanced-learn (0.14 or later, `pip install imbalanced-learn`): the same
arguments, attributes, checks and errors, in the same pipelines. What differs:

- X may be an array [n, ...] of any rank (images, signals); its dtype stays, and integers are rounded. So it is with each
  column of a data frame, nullable types included; booleans become the nearer of the two. Categories are not interpolated.
- Neighbours are the nearest by Euclidean distance. A row is never its own neighbour, even among equal rows; of equally
  near rows, the first comes first. Rows are joined in X's own precision.
- Small sets are searched by SciPy and scikit-learn, without jax; large ones (see `neighbours.LIMIT`) on the device in
  float32, by programs that do not depend on the classes' sizes and are kept on the disk. Random draws are NumPy's on both
  sides, so that the rows of a `random_state` are the same, except where distances differ by less than the precision of float32.
- `k_neighbors` and its like may be a number or an estimator of which only `n_neighbors` is read; an estimator with another
  metric is refused. `n_jobs` has no effect.
- A `random_state` gives other rows than there, with the same distribution; ADASYN draws the base of each new row, in
  place of rounding the share of each base, so that the classes come out at their exact sizes.
- Sparse X is made dense where distances are needed, and new rows are dense until they are returned.
"""

import numbers
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from imblearn import combine, over_sampling, under_sampling
from sklearn.utils import check_array, check_random_state

from imbal_jax.adapters import draws, neighbours
from imbal_jax.adapters.rows import as_vectors, cast, dense, rows_of, stacked, stacked_frames, typed, with_new


class _AnyRank:
    """Takes rows of any shape [n, ...] to a sampler of vectors and back."""

    def fit(self, X: Any, y: Any, **params: Any) -> Any:
        """Check inputs, as in imbalanced-learn, and X may be an array [n, ...]."""
        return super().fit(as_vectors(X), y, **params)  # type: ignore[misc]

    def fit_resample(self, X: Any, y: Any, **params: Any) -> Any:
        """X and y resampled, as in imbalanced-learn, and X may be an array [n, ...]."""
        if hasattr(X, "iloc") and getattr(X, "ndim", 0) == 2:
            return self._resample_frame(X, y, **params)
        resampled, *rest = super().fit_resample(as_vectors(X), y, **params)  # type: ignore[misc]
        return (resampled.reshape(-1, *X.shape[1:]) if getattr(X, "ndim", 2) > 2 else resampled, *rest)

    def _resample_frame(self, X: Any, y: Any, **params: Any) -> Any:
        """X, a data frame, and y resampled; the rows of X that stay are unchanged."""
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
            return (stacked_frames(X, typed(resampled.iloc[len(X) :], X)), *rest)
        return (typed(resampled, X), *rest)

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
        seed = _seed(self.random_state)
        rng = draws.generator(seed, "repeat")
        repeats = groups.order[draws.uniform_rows(rng, groups.counts, draws.labels_of(missing))]
        self.sample_indices_ = np.concatenate([np.arange(len(y)), repeats])
        if factors is None:
            rows = rows_of(X, self.sample_indices_)
            return rows.reset_index(drop=True) if hasattr(rows, "reset_index") else rows, y[self.sample_indices_]
        try:
            X = check_array(X, accept_sparse=["csr", "csc"], dtype="numeric")
        except ValueError as error:
            raise ValueError("With shrinkage, X needs to contain only numerical data, to which noise is added.") from error
        noise = draws.generator(seed, "noise").standard_normal((len(repeats), X.shape[1]))
        new = dense(X, repeats) + noise * _bandwidths(X, y, factors)[draws.labels_of(missing)]
        return stacked(X, cast(new, X.dtype)), y[self.sample_indices_]


class RandomUnderSampler(_AnyRank, under_sampling.RandomUnderSampler):
    """Random rows of the larger classes are removed. Without replacement, a class's rows stay in their order.

    Args, attributes and errors: see `imblearn.under_sampling.RandomUnderSampler`.
    """

    def _makes_rows(self) -> bool:
        return False

    def _fit_resample(self, X: Any, y: np.ndarray) -> tuple[Any, np.ndarray]:
        groups = _grouped(y)
        wanted = _asked(self.sampling_strategy_, groups, None)
        rng = draws.generator(_seed(self.random_state), "stay")
        if self.replacement:
            labels = draws.labels_of(wanted)
            random = np.asarray([label in self.sampling_strategy_ for label in groups.classes])[labels]
            drawn = np.empty(len(labels), np.intp)
            drawn[random] = draws.uniform_rows(rng, groups.counts, labels[random])
            drawn[~random] = np.flatnonzero([label not in self.sampling_strategy_ for label in y[groups.order]])
        else:
            drawn = draws.distinct_rows(rng, groups.counts, wanted)
        self.sample_indices_ = groups.order[drawn]
        return rows_of(X, self.sample_indices_), y[self.sample_indices_]


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
        growing = np.asarray(missing)[draws.labels_of(groups.counts)] > 0
        counts = tuple(have if more else 0 for have, more in zip(groups.counts, missing, strict=True))
        x = dense(X, groups.order[growing])
        around = neighbours.same_class(x, counts, missing, k)
        joins = draws.joins(_seed(self.random_state), counts, missing, around)
        return with_new(X, y, x, joins, np.repeat(groups.classes, missing))


class BorderlineSMOTE(_AnyRank, over_sampling.BorderlineSMOTE):
    """SMOTE that starts only from rows close to other classes; a class without such rows gets no new rows.

    In 'borderline-2', the step towards a row of another class is a product of two random numbers, on [0, 1) and [0, 0.5),
    as in imbalanced-learn; in the paper and in `imbal_jax.methods.rows.borderline_smote` it is uniform on [0, 0.5).

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
        x = dense(X, groups.order)
        anywhere = self.kind == "borderline-2"
        near = neighbours.among_all(x, groups.counts, missing, max(m, min(k, len(y) - 1)) if anywhere else m)
        foreign = neighbours.foreign(near[:, :m], groups.counts) * (np.asarray(missing) > 0)[draws.labels_of(groups.counts)]
        danger = (2 * foreign >= m) & (foreign < m)
        endangered = groups.order[danger]
        self.in_danger_indices = {label: endangered[y[endangered] == label] for label in np.unique(y[endangered])}
        missing = tuple(
            more if label in self.in_danger_indices else 0 for label, more in zip(groups.classes, missing, strict=True)
        )
        _check_enough(k, everything if anywhere else groups.counts, missing)
        around = near[:, :k] if anywhere else neighbours.same_class(x, groups.counts, missing, k)
        seed = _seed(self.random_state)
        joins = draws.joins(seed, groups.counts, missing, around, danger)
        if anywhere:
            joins = draws.shortened(seed, joins, groups.counts, missing)
        return with_new(X, y, x, joins, np.repeat(groups.classes, missing))


class ADASYN(_AnyRank, over_sampling.ADASYN):
    """SMOTE that makes more rows where other classes are close. Classes have exactly the requested sizes.

    Args, attributes and errors: see `imblearn.over_sampling.ADASYN`.
    """

    def _fit_resample(self, X: Any, y: np.ndarray) -> tuple[Any, np.ndarray]:
        self._validate_estimator()
        k = _wanted_neighbours("n_neighbors", self.nn_)
        groups = _grouped(y)
        missing = _asked(self.sampling_strategy_, groups, 0)
        _check_enough(k, groups.counts, missing)
        x = dense(X, groups.order)
        foreign = neighbours.foreign(neighbours.among_all(x, groups.counts, missing, k), groups.counts)
        totals = np.bincount(draws.labels_of(groups.counts), foreign, minlength=len(missing))
        for label, more, total in zip(groups.classes, missing, totals, strict=True):
            if more and not total:
                raise RuntimeError(
                    f"No row of class {label!r} has a neighbour of another class, so that ADASYN cannot tell where to make"
                    " new ones. Use SMOTE instead."
                )
        around = neighbours.same_class(x, groups.counts, missing, k)
        joins = draws.joins(_seed(self.random_state), groups.counts, missing, around, foreign)
        return with_new(X, y, x, joins, np.repeat(groups.classes, missing))


class TomekLinks(_AnyRank, under_sampling.TomekLinks):
    """Rows in a Tomek link are removed: two of different classes, each the other's nearest neighbour.

    Args, attributes and errors: see `imblearn.under_sampling.TomekLinks`.
    """

    def _fit_resample(self, X: Any, y: np.ndarray) -> tuple[Any, np.ndarray]:
        groups = _grouped(y)
        x = dense(X, groups.order)
        nearest = neighbours.among_all(x, groups.counts, groups.counts, 1)
        mutual = nearest[nearest[:, 0], 0] == np.arange(len(y))
        keep = ~(mutual & (neighbours.foreign(nearest, groups.counts) > 0))
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
        near = neighbours.among_all(dense(X, groups.order), groups.counts, groups.counts, k)
        if self.kind_sel == "all":
            keep = neighbours.foreign(near, groups.counts) == 0
        else:
            keep = neighbours.most_frequent(near, groups.counts) == draws.labels_of(groups.counts)
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
    """Rows that a checked sampling strategy names for each class; for classes that it does not name, `otherwise` or all."""
    return tuple(
        int(strategy.get(label, have if otherwise is None else otherwise))
        for label, have in zip(groups.classes, groups.counts, strict=True)
    )


def _seed(random_state: Any) -> int:
    return int(check_random_state(random_state).randint(2**31 - 1))


def _wanted_neighbours(name: str, estimator: Any) -> int:
    """The number of neighbours besides the row itself that an estimator of imbalanced-learn's kind looks for."""
    if not hasattr(estimator, "n_neighbors"):
        raise ValueError(f"{name}={estimator!r} has no n_neighbors, and only this is read; give a number of neighbours.")
    metric, p = getattr(estimator, "metric", "euclidean"), getattr(estimator, "p", 2)
    if metric not in ("euclidean", "l2") and not (metric == "minkowski" and p == 2):
        raise ValueError(f"{name}={estimator!r}: neighbours are the nearest by Euclidean distance; imblearn has other metrics.")
    return int(estimator.n_neighbors) - 1


def _check_enough(k: int, rows: Sequence[int], asked: Sequence[int]) -> None:
    """Raise scikit-learn's error for k neighbours among too few rows, where any are requested."""
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
        factors.get(label, 0.0) * rule * dense(X, np.flatnonzero(y == label)).std(axis=0, dtype=np.float64)
        for label in np.unique(y)
    ]
    return np.stack(spread)


def _kept(keep: np.ndarray, groups: _Groups, strategy: Mapping) -> np.ndarray:
    """The rows that stay, class by class: all those of classes that are not in the strategy."""
    aside = np.asarray([label not in strategy for label in groups.classes])
    return groups.order[keep | aside[draws.labels_of(groups.counts)]]
