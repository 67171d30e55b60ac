"""Exact nearest neighbours among rows that lie class by class: by SciPy or scikit-learn where few are searched, else by jax.

A compiled search is faster per pair of rows, but loading jax and compiling take seconds. Both searches find the nearest rows
by differences; of equally near rows the first comes first. They differ only where two distances differ by less than the
rounding of float32, in which the device computes; the other side computes in float64.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from imbal_jax.adapters.draws import labels_of

LIMIT = 2**32  # the largest `cost` without jax: below a second on two cores; loading jax and compiling take a few
TREE_WIDTH = 15  # numbers in a row up to which a tree is faster than the comparison of all rows,
NARROW, FEW = 6, 4000  # but with more than NARROW numbers in a row only up to FEW rows
LEAF = 32  # rows in a leaf of the tree
SPARE = 1  # more candidates than needed, to detect whether others may be as near
ROUNDING = 2.0**-50  # of a squared distance from matrix products, times the square root of the addends, see `_doubtful`
NUMBERS = 2**20  # numbers that are in memory at once where candidates are compared


class Run(NamedTuple):
    """Consecutive rows, `begin` to `end`, whose neighbours are searched among the rows from `low` to `high`."""

    begin: int
    end: int
    low: int
    high: int


def same_class(x: np.ndarray, counts: Sequence[int], chosen: Sequence[int], k: int) -> np.ndarray:
    """The k nearest other rows of the same class, for the classes where `chosen` is above 0; 0 for other rows.

    Args:
        x: rows [M, D], class by class.
        counts: rows of each class, adding up to M; more than k where `chosen`.
        chosen: [K].
        k: neighbours.

    Returns:
        positions int [M, k].
    """
    ends = np.cumsum(counts).tolist()
    return _nearest(x, [Run(end - n, end, end - n, end) for n, end, c in zip(counts, ends, chosen, strict=True) if c and n], k)


def among_all(x: np.ndarray, counts: Sequence[int], chosen: Sequence[int], k: int) -> np.ndarray:
    """The k nearest other rows of all classes, for the rows of the classes where `chosen` is above 0; 0 for other rows.

    Arguments and result: see `same_class`; M must be more than k.
    """
    ends = np.cumsum(counts).tolist()
    return _nearest(x, [Run(end - n, end, 0, len(x)) for n, end, c in zip(counts, ends, chosen, strict=True) if c and n], k)


def foreign(index: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """How many of the neighbours `index` [M, k] of each row are of another class, int [M]."""
    y = labels_of(counts)
    return np.sum(y[index] != y[:, None], axis=1)


def most_frequent(index: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """The most frequent class among the neighbours `index` [M, k] of each row, int [M]; of equally frequent ones the first."""
    rows, classes = len(index), len(counts)
    places = classes * np.arange(rows)[:, None] + labels_of(counts)[index]
    return np.bincount(places.ravel(), minlength=rows * classes).reshape(rows, classes).argmax(axis=1)


def _nearest(x: np.ndarray, runs: Sequence[Run], k: int) -> np.ndarray:
    if cost(x.shape[1], runs) <= LIMIT:
        return on_host(x, runs, k)
    from imbal_jax.adapters.device_search import on_device  # loads jax

    return on_device(x, runs, k)


def cost(width: int, runs: Sequence[Run]) -> int:
    """How much there is to search: pairs of rows, times their width and 64 (choosing the nearest takes as long as that).

    In a tree, a narrow row is compared with few others; at most 1,000 are counted.
    """
    most = 1000 if width <= NARROW else 2**62
    return sum((run.end - run.begin) * min(run.high - run.low, most) for run in runs) * (width + 64)


def on_host(x: np.ndarray, runs: Sequence[Run], k: int) -> np.ndarray:
    """The k nearest other rows of the runs' rows [M, D]: positions int [M, k], 0 for rows in no run."""
    neighbours = np.zeros((len(x), k), np.intp)
    z = searchable(x) if runs else x
    for run in runs:
        points = z[run.low : run.high]
        candidate_count = min(k + 1 + SPARE, len(points))
        candidates = _candidates(z[run.begin : run.end], points, candidate_count)
        step = max(1, NUMBERS // (candidate_count * max(1, z.shape[1])))
        for begin in range(run.begin, run.end, step):
            end = min(begin + step, run.end)
            tile_candidates = candidates[begin - run.begin : end - run.begin] + run.low
            neighbours[begin:end] = _chosen(z, run._replace(begin=begin, end=end), tile_candidates, k)
    return neighbours


def _candidates(query: np.ndarray, points: np.ndarray, many: int) -> np.ndarray:
    """Positions int [Q, many] of the points nearest to each query up to rounding, in any order; at most all points."""
    rows, width = points.shape
    if width <= (TREE_WIDTH if rows <= FEW else NARROW):
        from scipy.spatial import cKDTree

        return cKDTree(points, leafsize=LEAF).query(query, np.arange(1, many + 1))[1]
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=many, algorithm="brute").fit(points).kneighbors(query, return_distance=False)


def _chosen(z: np.ndarray, run: Run, candidates: np.ndarray, k: int) -> np.ndarray:
    """The k nearest [Q, k] of the candidates [Q, c] of a run's rows, by differences; in doubt all rows are compared."""
    row_numbers = np.arange(run.begin, run.end)
    squared = np.sum((z[candidates] - z[row_numbers][:, None]) ** 2, axis=2)
    worst = squared.max(axis=1)
    squared[candidates == row_numbers[:, None]] = np.inf
    order = np.lexsort((candidates, squared))[:, :k]
    nearest = np.take_along_axis(candidates, order, axis=1)
    if candidates.shape[1] < run.high - run.low:
        farthest = np.take_along_axis(squared, order[:, -1:], axis=1)[:, 0]
        for row in np.flatnonzero(_doubtful(z[row_numbers], farthest, worst)):
            nearest[row] = _of_all(z, row_numbers[row], run, k)
    return nearest


def _doubtful(query: np.ndarray, farthest: np.ndarray, worst: np.ndarray) -> np.ndarray:
    """Whether a row that is no candidate may be as near as the k-th neighbour: bool [Q].

    Such a row is at most |q| + farthest long, which bounds the rounding of its distance from matrix products. That of the
    worst candidate is bounded in the same way.
    """
    longest = 2.0 * np.sqrt(np.sum(query**2, axis=1)) + np.sqrt(worst)
    return farthest >= worst - ROUNDING * np.sqrt(max(query.shape[1], 16)) * longest**2


def _of_all(z: np.ndarray, own: int, run: Run, k: int) -> np.ndarray:
    """The k nearest of all rows of a run's range, from differences."""
    squared = np.sum((z[run.low : run.high] - z[own]) ** 2, axis=1)
    squared[own - run.low] = np.inf
    near = np.flatnonzero(squared <= np.partition(squared, k - 1)[k - 1])
    return run.low + near[np.argsort(squared[near], kind="stable")[:k]]


def searchable(x: np.ndarray) -> np.ndarray:
    """Rows [M, D] in float64 that have the same neighbours: centred, and scaled so that squares do not overflow.

    The scale is a power of two, and the centre is rounded to one near the spread: whole numbers keep their equal distances.
    """
    _, exponent = np.frexp(np.abs(x, dtype=np.float64).max(initial=0.0))
    z = np.ldexp(x.astype(np.float64), -exponent)
    if len(z):
        mean = z.mean(axis=0)
        spread = np.sqrt(np.mean((z - mean) ** 2)) if z.size else 0.0
        step = np.ldexp(1.0, np.frexp(spread or 1.0)[1] - 1)
        z -= np.rint(mean / step) * step
    return z
