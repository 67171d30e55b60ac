"""Winograd's minimal filtering for stride-1 correlations: fewer multiplications, and less memory moved than patches.

A tile of m x m outputs of an r x r kernel is computed from t x t inputs, t = m + r - 1, with t**2 products instead of
(m r)**2 [Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016]:

    Y = A' [ (G w G') * (B' d B) ] A

The products over channels of all tiles are t**2 plain matrix products. The transforms are sums of strided views.
The matrices are Cook and Toom's for small interpolation points, derived here in exact rational arithmetic.

The transforms cancel digits: a rounding of the factors comes back several times as large in the result. So everything is
float32 here, whatever the dtype of the arrays, and the products ask for all of float32's digits (docs/precision.md).
"""

from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Pads = tuple[tuple[int, int], tuple[int, int]]
Grid = list[list[jax.Array]]

PRECISION = lax.Precision.HIGHEST  # float32 on every device: the default of a GPU is TF32
POINTS = (Fraction(0), Fraction(1), Fraction(-1), Fraction(2), Fraction(-2))


class Transform(NamedTuple):
    """One axis of F(m, r)."""

    at: np.ndarray  # [m, t] products -> outputs
    g: np.ndarray  # [t, r] kernel -> factors
    bt: np.ndarray  # [t, t] inputs -> factors


@lru_cache(maxsize=16)
def transform(m: int, r: int) -> Transform:
    """The matrices of F(m, r), m outputs and r taps, on the first m + r - 2 points and infinity."""
    points = POINTS[: m + r - 2]
    t = len(points) + 1
    at = [[p**i for p in points] + [Fraction(i == m - 1)] for i in range(m)]
    scale = [_product([p - q for q in points if q != p]) for p in points]
    g = [[p**j / s for j in range(r)] for p, s in zip(points, scale, strict=True)]
    g += [[Fraction(j == r - 1) for j in range(r)]]
    bt = [_polynomial([q for q in points if q != p], t) for p in points] + [_polynomial(points, t)]
    return Transform(*(np.array(rows, dtype=np.float64) for rows in (at, g, bt)))


def _product(values) -> Fraction:
    total = Fraction(1)
    for value in values:
        total *= value
    return total


def _polynomial(roots, length: int) -> list[Fraction]:
    """Coefficients, lowest first, of the product of (x - root), padded to `length`."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted, scaled = [Fraction(0), *coefficients], [-root * c for c in coefficients] + [Fraction(0)]
        coefficients = [a + b for a, b in zip(shifted, scaled, strict=True)]
    return coefficients + [Fraction(0)] * (length - len(coefficients))


def correlate(x: jax.Array, w: jax.Array, pads: Pads, out: tuple[int, int], m: int) -> jax.Array:
    """[B, H, W, C], [r, r, C, F] -> [B, *out, F] of x's dtype; `pads` are zeros around x (negative: cut)."""
    dtype, x, w = x.dtype, _wide(x), _wide(w)
    axis = transform(m, w.shape[0])
    tiles = _count(out, m)
    products = _each(_matmul, _input_factors(x, pads, axis, tiles), _combine(axis.g, _nested(w)))
    y = _side_by_side(_combine(axis.at, products), m)
    return y[:, : out[0], : out[1]].astype(dtype)


def input_gradient(dy: jax.Array, w: jax.Array, pads: Pads, size: tuple[int, int], m: int) -> jax.Array:
    """The adjoint in x: [B, *out, F], [r, r, C, F] -> [B, *size, C] of dy's dtype.

    Its factors of dy are those of `kernel_gradient`, so that the compiler makes them once for both.
    """
    dtype, dy, w = dy.dtype, _wide(dy), _wide(w)
    axis, out = transform(m, w.shape[0]), dy.shape[1:3]
    tiles = _count(out, m)
    kernels = _combine(axis.g, _nested(w.swapaxes(2, 3)))
    factors = _each(_matmul, _output_factors(dy, axis, tiles), kernels)
    wide = [_overlap([_weighted(weights, row) for weights in axis.bt.T], m, 2) for row in factors]
    wide = lax.optimization_barrier(wide)  # one pass an axis: fused, each output would add up t**2 overlapping terms
    dx = _overlap([_weighted(weights, wide) for weights in axis.bt.T], m, 1)
    (top, _), (left, _) = pads
    return _pad(dx, ((-top, size[0] + top - dx.shape[1]), (-left, size[1] + left - dx.shape[2]))).astype(dtype)


def kernel_gradient(x: jax.Array, dy: jax.Array, pads: Pads, r: int, m: int) -> jax.Array:
    """The adjoint in w: [B, H, W, C], [B, *out, F] -> [r, r, C, F] of x's dtype."""
    dtype, x, dy = x.dtype, _wide(x), _wide(dy)
    axis, tiles = transform(m, r), _count(dy.shape[1:3], m)
    dw = _each(_outer, _input_factors(x, pads, axis, tiles), _output_factors(dy, axis, tiles))
    return jnp.stack([jnp.stack(row) for row in _combine(axis.g.T, dw)]).astype(dtype)


def _wide(array: jax.Array) -> jax.Array:
    """In float32, where it has fewer digits."""
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def _count(out: tuple[int, ...], m: int) -> tuple[int, int]:
    """Rows and columns of tiles."""
    return -(-out[0] // m), -(-out[1] // m)


def _input_factors(x: jax.Array, pads: Pads, axis: Transform, tiles: tuple[int, int]) -> Grid:
    """B' d B of every tile: t x t arrays [B, rows, columns, C]."""
    m, t = axis.at.shape
    cover = [(lo, n * m + t - m - size - lo) for (lo, _), n, size in zip(pads, tiles, x.shape[1:3], strict=True)]
    x = _pad(x, cover)
    return _by_axis(axis.bt, x, tiles, m)


def _output_factors(dy: jax.Array, axis: Transform, tiles: tuple[int, int]) -> Grid:
    """A dy A' of every tile: t x t arrays [B, rows, columns, F]."""
    m = axis.at.shape[0]
    dy = _pad(dy, [(0, n * m - size) for n, size in zip(tiles, dy.shape[1:3], strict=True)])
    return _by_axis(axis.at.T, dy, tiles, m)


def _by_axis(matrix: np.ndarray, x: jax.Array, tiles: tuple[int, int], m: int) -> Grid:
    """matrix d matrix' of every tile of x, tiles m apart: first the rows of the whole width, then the columns."""
    width = matrix.shape[1]

    def views(array: jax.Array, dim: int) -> list[jax.Array]:
        return [lax.slice_in_dim(array, i, i + (tiles[dim - 1] - 1) * m + 1, m, dim) for i in range(width)]

    rows = lax.optimization_barrier([_weighted(weights, views(x, 1)) for weights in matrix])  # one pass an axis
    return [[_weighted(weights, views(row, 2)) for weights in matrix] for row in rows]


def _side_by_side(grid: Grid, m: int) -> jax.Array:
    """m x m arrays [B, rows, columns, F] -> [B, rows m, columns m, F]."""
    b, rows, columns, f = grid[0][0].shape
    wide = [jnp.stack(row, axis=3).reshape(b, rows, columns * m, f) for row in grid]
    return jnp.stack(wide, axis=2).reshape(b, rows * m, columns * m, f)


def _overlap(parts: list[jax.Array], m: int, dim: int) -> jax.Array:
    """Parts i of all tiles go to positions tile m + i of the axis."""
    n = parts[0].shape[dim]
    parts = [_pad_dim(part, 0, 1, dim) for part in parts]  # one tile more, for what reaches beyond the last
    late = [_pad_dim(lax.slice_in_dim(part, 0, n, axis=dim), 1, 0, dim) for part in parts[m:]]
    first = [part + late[i] if i < len(late) else part for i, part in enumerate(parts[:m])]
    merged = jnp.stack(first, axis=dim + 1)
    shape = (*merged.shape[:dim], merged.shape[dim] * m, *merged.shape[dim + 2 :])
    return lax.slice_in_dim(merged.reshape(shape), 0, n * m + len(parts) - m, axis=dim)


def _pad_dim(x: jax.Array, before: int, after: int, dim: int) -> jax.Array:
    return lax.pad(x, jnp.zeros((), x.dtype), [(before, after, 0) if d == dim else (0, 0, 0) for d in range(x.ndim)])


def _pad(x: jax.Array, pads) -> jax.Array:
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (*pads[0], 0), (*pads[1], 0), (0, 0, 0)))


def _nested(w: jax.Array) -> Grid:
    return [[w[i, j] for j in range(w.shape[1])] for i in range(w.shape[0])]


def _each(function, left: Grid, right: Grid) -> Grid:
    return [[function(a, b) for a, b in zip(la, lb, strict=True)] for la, lb in zip(left, right, strict=True)]


def _matmul(v: jax.Array, u: jax.Array) -> jax.Array:
    """[B, rows, columns, C] by [C, F], as one plain product."""
    return jnp.matmul(v.reshape(-1, v.shape[-1]), u, precision=PRECISION).reshape(*v.shape[:-1], -1)


def _outer(v: jax.Array, q: jax.Array) -> jax.Array:
    """[B, rows, columns, C] and [B, rows, columns, F] -> [C, F], summed over all tiles."""
    v, q = v.reshape(-1, v.shape[-1]), q.reshape(-1, q.shape[-1])
    return lax.dot_general(v, q, (((0,), (0,)), ((), ())), precision=PRECISION)


def _combine(matrix: np.ndarray, grid: Grid) -> Grid:
    """matrix V matrix' for a square V of arrays."""
    rows = [[_weighted(weights, column) for column in zip(*grid, strict=True)] for weights in matrix]
    return [[_weighted(weights, row) for weights in matrix] for row in rows]


def _weighted(weights: np.ndarray, terms) -> jax.Array:
    """The sum of weight times term, which the compiler fuses; zeros are skipped."""
    total = None
    for weight, term in zip(weights, terms, strict=True):
        if weight == 0:
            continue
        scaled = term if weight == 1 else -term if weight == -1 else term * np.asarray(weight, term.dtype)
        total = scaled if total is None else total + scaled
    assert total is not None, "every row of a transform has an entry"
    return total
