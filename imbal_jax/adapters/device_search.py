"""Nearest neighbours on the device, in a few compiled programs: rows and tiles are padded to sizes in steps.

A program depends on the padded number of rows, their width and type, and on neighbours in steps, but not on the classes'
sizes. It is compiled once for a process, and once for a machine where programs may be kept on the disk.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import numpy as np

from imbal_jax.adapters.neighbours import Run, searchable
from imbal_jax.ops import knn
from imbal_jax.runtime import environment

NEIGHBOURS = 8  # neighbours are searched in multiples of this, so that all samplers share their programs
TILES = 8  # at least; empty ones take next to no time
HEIGHT, WIDTH = knn.TILE


def on_device(x: np.ndarray, runs: Sequence[Run], k: int) -> np.ndarray:
    """The k nearest other rows of the runs' rows [M, D], computed in float32: positions int [M, k], 0 for rows in no run."""
    z = x if x.dtype in (np.uint8, np.float32) else (x if x.dtype == np.float16 else searchable(x)).astype(np.float32)
    rows = bucket(max(len(z), HEIGHT))
    tiles = [(begin, run) for run in runs for begin in range(run.begin, run.end, HEIGHT)]
    many = bucket(max(len(tiles), TILES))
    starts, ranges = np.zeros(many, np.int32), np.zeros((many, 2), np.int32)
    starts[: len(tiles)] = [min(begin, rows - HEIGHT) for begin, _ in tiles]
    ranges[: len(tiles)] = [(run.low, run.high) for _, run in tiles]
    search = program(rows, z.shape[1], z.dtype.name, many, -(-k // NEIGHBOURS) * NEIGHBOURS)
    index = np.asarray(search(_padded(z, rows), starts, ranges))
    neighbours = np.zeros((len(x), k), np.intp)
    for tile, (begin, run) in enumerate(tiles):
        end = min(begin + HEIGHT, run.end)
        neighbours[begin:end] = index[tile, begin - starts[tile] : end - starts[tile], :k]
    return neighbours


@functools.cache
def program(rows: int, width: int, dtype: str, tiles: int, k: int) -> Callable[..., jax.Array]:
    """The compiled search (points [rows, width], starts [tiles], ranges [tiles, 2]) -> int32 [tiles, HEIGHT, k]."""

    def nearest(points: jax.Array, starts: jax.Array, ranges: jax.Array) -> jax.Array:
        return knn.nearest_in_ranges(points, starts, ranges, k, tile=(HEIGHT, min(WIDTH, rows)))[0]

    shapes = [((rows, width), dtype), ((tiles,), np.int32), ((tiles, 2), np.int32)]
    lowered = jax.jit(nearest).lower(*(jax.ShapeDtypeStruct(shape, kind) for shape, kind in shapes))
    with environment.compilation_cache():
        return lowered.compile()


def bucket(size: int) -> int:
    """The next of the sizes 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, ...: at most a quarter more."""
    step = 1 << max(0, (size - 1).bit_length() - 3)
    return -(-size // step) * step


def _padded(z: np.ndarray, rows: int) -> np.ndarray:
    """Rows [rows, D]: z, then repeats of its rows, which keep the spread of the whole and are searched by no one."""
    return z[np.arange(rows) % len(z)] if rows > len(z) else z
