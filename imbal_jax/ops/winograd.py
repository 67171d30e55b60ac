"""Winograd's minimal filtering for stride-1 correlations: fewer multiplications, and less memory moved than patches.

A tile of m x m outputs of an r x r kernel is computed from t x t inputs, t = m + r - 1, with t**2 products instead of
(m r)**2 [Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016]:

    Y = A' [ (G w G') * (B' d B) ] A

The products over channels of all tiles are t**2 plain matrix products. The transforms are sums of strided views.
The matrices are Cook and Toom's for small interpolation points, derived here in exact rational arithmetic.
"""

from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

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


def correlate(x: jax.Array, w: jax.Array, pads, out: tuple[int, int], m: int) -> jax.Array:
    """[B, H, W, C], [r, r, C, F] -> [B, *out, F]; `pads` are zeros around x (negative: cut)."""
    axis = transform(m, w.shape[0])
    tiles = (x.shape[0], -(-out[0] // m), -(-out[1] // m))
    factors = _input_tiles(x, pads, axis, tiles)
    kernels = _combine(axis.g, _nested(w))
    products = [[v @ u for v, u in zip(vs, us, strict=True)] for vs, us in zip(factors, kernels, strict=True)]
    y = jnp.stack([jnp.stack(row, axis=1) for row in _combine(axis.at, products)], axis=1)  # [tiles, m, m, F]
    y = y.reshape(*tiles, m, m, -1).transpose(0, 1, 3, 2, 4, 5)
    return y.reshape(tiles[0], tiles[1] * m, tiles[2] * m, -1)[:, : out[0], : out[1]]


def kernel_gradient(x: jax.Array, dy: jax.Array, pads, r: int, m: int) -> jax.Array:
    """The adjoint in w: [B, H, W, C], [B, *out, F] -> [r, r, C, F]."""
    axis, (h, width) = transform(m, r), dy.shape[1:3]
    tiles = (x.shape[0], -(-h // m), -(-width // m))
    factors = _input_tiles(x, pads, axis, tiles)
    dy = _pad(dy, ((0, tiles[1] * m - h), (0, tiles[2] * m - width)))
    slopes = _combine(axis.at.T, [[dy[:, a::m, b::m].reshape(-1, dy.shape[-1]) for b in range(m)] for a in range(m)])
    contract = (((0,), (0,)), ((), ()))
    du = [
        [lax.dot_general(v, q, contract) for v, q in zip(vs, qs, strict=True)] for vs, qs in zip(factors, slopes, strict=True)
    ]
    return jnp.stack([jnp.stack(row) for row in _combine(axis.g.T, du)])


def _pad(x: jax.Array, pads) -> jax.Array:
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (*pads[0], 0), (*pads[1], 0), (0, 0, 0)))


def _nested(w: jax.Array) -> list[list[jax.Array]]:
    return [[w[i, j] for j in range(w.shape[1])] for i in range(w.shape[0])]


def _input_tiles(x, pads, axis: Transform, tiles: tuple[int, int, int]) -> list[list[jax.Array]]:
    """B' d B of every tile: t x t arrays [B rows columns, C]."""
    m, t = axis.at.shape
    cover = [(lo, n * m + t - m - size - lo) for (lo, _), n, size in zip(pads, tiles[1:], x.shape[1:3], strict=True)]
    x, (b, rows, columns), c = _pad(x, cover), tiles, x.shape[-1]

    def view(i: int, j: int) -> jax.Array:
        stop = (b, i + (rows - 1) * m + 1, j + (columns - 1) * m + 1, c)
        return lax.slice(x, (0, i, j, 0), stop, (1, m, m, 1)).reshape(-1, c)

    return _combine(axis.bt, [[view(i, j) for j in range(t)] for i in range(t)])


def _combine(matrix: np.ndarray, views: list[list[jax.Array]]) -> list[list[jax.Array]]:
    """matrix V matrix' for a square V of arrays: sums of a few arrays each, which the compiler fuses."""
    rows = [[_weighted(weights, column) for column in zip(*views, strict=True)] for weights in matrix]
    return [[_weighted(weights, row) for weights in matrix] for row in rows]


def _weighted(weights: np.ndarray, terms) -> jax.Array:
    total = None
    for weight, term in zip(weights, terms, strict=True):
        if weight == 0:
            continue
        scaled = term if weight == 1 else -term if weight == -1 else term * np.asarray(weight, term.dtype)
        total = scaled if total is None else total + scaled
    assert total is not None, "every row of a transform has an entry"
    return total
