"""Nearest neighbours against brute force."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import cKDTree

from imbal_jax.ops import knn


def brute(query, points, k, exclude=None):
    """Indices and squared distances by differences in float64; equally near points by index."""
    squared = ((query[:, None].astype(np.float64) - points[None]) ** 2).sum(axis=2)
    if exclude is not None:
        squared[np.arange(len(query)), exclude] = np.inf
    order = np.argsort(squared, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(squared, order, axis=1)


@pytest.mark.parametrize(
    ("queries", "rows", "k", "tile"), [(70, 300, 5, (32, 64)), (7, 65, 40, (4, 32)), (33, 20, 3, (256, 8192))]
)
def test_equals_a_tree(queries, rows, k, tile):
    rng = np.random.default_rng(0)
    query, points = rng.normal(size=(queries, 6)).astype(np.float32), rng.normal(size=(rows, 6)).astype(np.float32)
    index, squared = jax.jit(partial(knn.nearest, k=k, tile=tile))(query, points)
    distance, expected = cKDTree(points).query(query, k=k)
    assert index.dtype == jnp.int32 and squared.dtype == jnp.float32
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_allclose(squared, distance**2, rtol=1e-5)


def test_leaves_itself_out_and_breaks_ties_by_index():
    rng = np.random.default_rng(1)
    points = rng.integers(0, 3, size=(200, 3)).astype(np.float32)  # 27 places: many rows are equal
    own = np.arange(200)
    index, squared = knn.nearest(points, points, 4, exclude_self=jnp.asarray(own), tile=(64, 64))
    expected, distance = brute(points, points, 4, own)
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_array_equal(squared, distance)


def test_too_few_points():
    points = np.asarray([[0.0], [1.0], [5.0]], np.float32)
    index, squared = knn.nearest(points, points, 4, exclude_self=jnp.arange(3))
    np.testing.assert_array_equal(index, [[1, 2, -1, -1], [0, 2, -1, -1], [1, 0, -1, -1]])
    np.testing.assert_array_equal(squared, [[1, 25, np.inf, np.inf], [1, 16, np.inf, np.inf], [16, 25, np.inf, np.inf]])
    index, squared = knn.nearest(points, points[:0], 2)
    assert (np.asarray(index) == -1).all() and np.isinf(squared).all()
    assert knn.nearest(points[:0], points, 2)[0].shape == (0, 2)


def test_far_from_the_origin():
    rng = np.random.default_rng(2)
    points = (rng.normal(size=(100, 8)) + 3000).astype(np.float32)
    np.testing.assert_array_equal(knn.nearest(points[:20], points, 3)[0], brute(points[:20], points, 3)[0])


def test_within_classes():
    rng = np.random.default_rng(3)
    counts = (70, 0, 33, 1, 40)
    points = rng.normal(size=(sum(counts), 5)).astype(np.float32)
    index, squared = jax.jit(lambda x: knn.nearest_in_class(x, counts, 4, tile=(16, 32)))(points)
    start = 0
    for size in counts:
        own = slice(start, start + size)
        if size > 4:
            expected, distance = brute(points[own], points[own], 4, np.arange(size))
            np.testing.assert_array_equal(index[own], expected + start)
            np.testing.assert_allclose(squared[own], distance, rtol=1e-5)
        else:
            assert (np.asarray(index[own]) == -1).all() and np.isinf(squared[own]).all()
        start += size


def test_the_same_under_vmap():
    points = jax.random.normal(jax.random.key(4), (2, 60, 3))
    search = partial(knn.nearest_in_class, counts=(40, 20), k=3, tile=(32, 32))
    both, _ = jax.jit(jax.vmap(search))(points)
    for lane in range(2):
        np.testing.assert_array_equal(both[lane], jax.jit(search)(points[lane])[0])


@pytest.mark.parametrize(("numbers", "spread"), [(5, 1e-4), (360, 1e-4)])
def test_near_copies(numbers, spread):
    """Clusters of 20 rows so close that the product form of their distances is all rounding."""
    rng = np.random.default_rng(5)
    rows = np.repeat(rng.normal(size=(8, numbers)), 20, axis=0) + spread * rng.normal(size=(160, numbers))
    rows, own = rows.astype(np.float32), np.arange(160)
    expected, distance = brute(rows, rows, 5, own)
    index, squared = knn.nearest(rows, rows, 5, exclude_self=jnp.asarray(own))
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_allclose(squared, distance, rtol=1e-5)
    index, squared = knn.nearest_in_class(rows, (100, 60), 5, tile=(32, 64))
    np.testing.assert_array_equal(index, expected)  # a cluster lies in one class
    np.testing.assert_allclose(squared, distance, rtol=1e-5)


def test_rows_longer_than_their_differences_keep_their_digits():
    """Subtracting the centre would round what tells near copies about the origin apart."""
    rng = np.random.default_rng(6)
    points = np.concatenate([1e-6 * rng.normal(size=(30, 4)), rng.normal(size=(50, 4)) + 3]).astype(np.float32)
    expected, distance = brute(points[:30], points, 3, np.arange(30))
    index, squared = knn.nearest(points[:30], points, 3, exclude_self=jnp.arange(30))
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_allclose(squared, distance, rtol=1e-5)
