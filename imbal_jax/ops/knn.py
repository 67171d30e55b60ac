"""Exact nearest neighbours by Euclidean distance, with memory that does not grow with the number of pairs.

Distances come as matrix products, one tile of queries and points at a time. Sorting a tile would take far longer than
its product, so that the points of a tile lie in blocks: the c nearest points of a query are all among the c blocks with
the smallest minima, and only these are compared one by one.

The product form |p|^2 - 2 p q cancels digits, so it only proposes candidates, and the neighbours are chosen among them by
differences. Where its rounding could have hidden a nearer point (rows that are nearly equal), all points are compared.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

TILE = (256, 8192)  # queries x points: a tile of distances takes 8 MiB
BLOCK = 32  # points in a block
SPARE = 3  # more candidates than needed: rounding in the fast form of the distance may swap neighbours
ROUNDING = 2.0**-23 / 4  # of the fast form, times the square root of the addends, relative to (|p| + |q|)^2
FAR = 1e38  # finite, because a product with infinity may become NaN


def nearest(
    query: jax.Array,
    points: jax.Array,
    k: int,
    *,
    exclude_self: jax.Array | None = None,
    tile: tuple[int, int] = TILE,
) -> tuple[jax.Array, jax.Array]:
    """The k points nearest to each query, the nearest first; of equally near ones, that with the lower index first.

    Args:
        query: float [Q, D].
        points: float [N, D].
        k: neighbours of each query, at least 1.
        exclude_self: int [Q], the index of a point that is not to be a query's neighbour (the query itself, where it is
            one of the points), or None; -1 leaves none out.
        tile: queries and points whose distances are in memory at once.

    Returns:
        indices int32 [Q, k] and squared distances float32 [Q, k], computed in float32. Where there are fewer than k
        points, the index is -1 and the distance infinite.
    """
    query, points = jnp.asarray(query, jnp.float32), jnp.asarray(points, jnp.float32)
    count, rows = query.shape[0], points.shape[0]
    if not count or not rows:
        return jnp.full((count, k), -1, jnp.int32), jnp.full((count, k), jnp.inf)
    skip = jnp.full((count,), -1, jnp.int32) if exclude_self is None else jnp.asarray(exclude_self, jnp.int32)
    height = min(tile[0], count)
    starts = np.minimum(np.arange(0, count, height), count - height)
    tile_of = np.arange(count) // height
    ranges = np.tile(np.asarray([[0, rows]], np.int32), (len(starts), 1))
    inside = np.arange(count) - starts[tile_of]
    return _search(query, points, skip, k, (height, tile[1]), (starts, ranges), (tile_of, inside))


def nearest_in_class(
    points: jax.Array, counts: tuple[int, ...], k: int, *, tile: tuple[int, int] = TILE
) -> tuple[jax.Array, jax.Array]:
    """The k nearest other points of the same class, for points that lie class by class; otherwise as `nearest`.

    All classes go through one compiled loop, however many they are.

    Args:
        points: float [N, D].
        counts: points of each class, adding up to N.
        k: neighbours of each point, at least 1.
        tile: queries and points whose distances are in memory at once.

    Returns:
        indices int32 [N, k] into `points` and squared distances float32 [N, k]; -1 and infinite where a class has too few.
    """
    points = jnp.asarray(points, jnp.float32)
    rows = points.shape[0]
    if not rows:
        return jnp.full((0, k), -1, jnp.int32), jnp.full((0, k), jnp.inf)
    height = min(tile[0], rows, max(counts))
    starts: list[int] = []
    ranges: list[tuple[int, int]] = []
    tile_of: list[np.ndarray] = []
    inside: list[np.ndarray] = []
    begin = 0
    for size in counts:
        for start in range(begin, begin + size, height):
            at = min(start, rows - height)
            queries = np.arange(start, min(start + height, begin + size))
            tile_of.append(np.full(len(queries), len(starts)))
            inside.append(queries - at)
            starts.append(at)
            ranges.append((begin, begin + size))
        begin += size
    plan = np.asarray(starts), np.asarray(ranges, np.int32)
    skip = jnp.arange(rows, dtype=jnp.int32)
    width = min(tile[1], -(-max(counts) // BLOCK) * BLOCK)
    return _search(points, points, skip, k, (height, width), plan, (np.concatenate(tile_of), np.concatenate(inside)))


def nearest_in_ranges(
    points: jax.Array, starts: jax.Array, ranges: jax.Array, k: int, *, tile: tuple[int, int] = TILE
) -> tuple[jax.Array, jax.Array]:
    """The k nearest other points of tiles of consecutive points, each among a range of points; otherwise as `nearest`.

    Only the number of tiles is static. Where they begin and end is not, so that one compiled program serves classes of any
    sizes, and points may be padded with rows that are in no range.

    Args:
        points: float [N, D]; N must be at least the height of a tile, `tile[0]`.
        starts: int32 [T], the first point of each tile, at most N - height.
        ranges: int32 [T, 2], the first point that is searched and the one after the last; of an empty tile, equal numbers.
        k: neighbours of each point, at least 1.
        tile: queries and points whose distances are in memory at once.

    Returns:
        indices int32 [T, height, k] and squared distances float32 [T, height, k]; -1 and infinite where a range has too few.
    """
    points = jnp.asarray(points, jnp.float32)
    return _search_tiles(points, points, jnp.arange(points.shape[0], dtype=jnp.int32), k, tile, (starts, ranges))


def _search(query, points, own, k: int, tile: tuple[int, int], plan, answers) -> tuple[jax.Array, jax.Array]:
    """The answers of `_search_tiles` in the order of the queries.

    Args:
        answers: the tile and the row in it that has the answer for each query, [Q] each.
    """
    index, squared = _search_tiles(query, points, own, k, tile, plan)
    flat = jnp.asarray(answers[0] * tile[0] + answers[1], jnp.int32)
    return index.reshape(-1, k)[flat], squared.reshape(-1, k)[flat]


def _search_tiles(query, points, own, k: int, tile: tuple[int, int], plan) -> tuple[jax.Array, jax.Array]:
    """Go through tiles of queries, each with its own range of points.

    Args:
        query: [Q, D].
        points: [N, D].
        own: int32 [Q], points to leave out.
        k: neighbours.
        tile: its height (at most Q) and width.
        plan: first query of each tile [T] and its range of points [T, 2].

    Returns:
        indices int32 [T, height, k] and squared distances float32 [T, height, k].
    """
    height, width = tile
    rows = points.shape[0]
    width = -(-min(width, rows) // BLOCK) * BLOCK
    if rows < width:
        points = jnp.concatenate([points, jnp.zeros((width - rows, points.shape[1]), jnp.float32)])
    centre = _centre(points[:rows])  # without it, the fast form of the distance loses digits
    near_query, near_points = query - centre, points - centre  # rounded: differences are taken of the rows as they are
    lengths = jnp.sum(near_points**2, axis=1)
    rounding = _rounding(near_query, near_points)
    keep = k + 1 + SPARE

    def of_tile(args) -> tuple[jax.Array, jax.Array]:
        start, (low, high) = args
        tile_query = jax.lax.dynamic_slice_in_dim(query, start, height)
        near = jax.lax.dynamic_slice_in_dim(near_query, start, height)
        skip = jax.lax.dynamic_slice_in_dim(own, start, height)
        search = partial(_merge, near_points, lengths, near, width=width, low=low, high=high)
        none = jnp.full((height, keep), FAR, jnp.float32), jnp.full((height, keep), -1, jnp.int32)
        value, index = jax.lax.fori_loop(0, (high - low + width - 1) // width, search, none)
        index, squared = _exact(tile_query, points, index, skip, k)
        doubtful = _doubtful(near, squared[:, -1], value[:, -1], rounding)
        return _looked_up(tile_query, points, (low, high), skip, doubtful, (index, squared))

    return jax.lax.map(of_tile, (jnp.asarray(plan[0], jnp.int32), tuple(jnp.asarray(plan[1]).T)))


def _centre(points: jax.Array) -> jax.Array:
    """The mean [1, D], rounded to a power of two near the spread: whole numbers stay exact, and so do their ties."""
    mean = points.mean(axis=0, keepdims=True)
    spread = jnp.sqrt(jnp.mean((points - mean) ** 2))
    step = jnp.ldexp(jnp.float32(1.0), jnp.frexp(jnp.where(spread > 0, spread, 1.0))[1] - 1)
    return jnp.round(mean / step) * step


def _rounding(query: jax.Array, points: jax.Array) -> jax.Array:
    """The largest error of the fast form, relative to (|p| + |q|)^2; 0 where its numbers are whole and small enough."""
    longest = jnp.sqrt(jnp.maximum(jnp.sum(query**2, axis=1).max(), jnp.sum(points**2, axis=1).max()))
    unit = jnp.ldexp(jnp.float32(1.0), jnp.frexp(longest)[1] - 11)  # (2 longest / unit)^2 is at most 2^24
    whole = [jnp.all(rows == jnp.round(rows / unit) * unit) for rows in (query, points)]
    return jnp.where(whole[0] & whole[1], 0.0, ROUNDING * np.sqrt(max(points.shape[1], 16)))


def _doubtful(query: jax.Array, farthest: jax.Array, worst: jax.Array, rounding: jax.Array) -> jax.Array:
    """Whether a point that is no candidate may be nearer than a query's k-th neighbour: bool [Q].

    Such a point is at most |q| + farthest long, which bounds the error of its fast form.

    Args:
        query: centred [Q, D].
        farthest: squared distance [Q] of the k-th neighbour.
        worst: the fast form [Q], without |q|^2, of the worst candidate.
        rounding: see `_rounding`.
    """
    squared = jnp.sum(query**2, axis=1)
    error = rounding * (2.0 * jnp.sqrt(squared) + jnp.sqrt(farthest)) ** 2
    return (worst < FAR / 2) & (farthest > 0) & (farthest > worst + squared - error)


def _looked_up(query, points, span, skip, doubtful, answers) -> tuple[jax.Array, jax.Array]:
    """The answers `answers` (indices and squared distances [Q, k]), for doubtful queries from differences to all points."""
    index_of = jnp.arange(points.shape[0], dtype=jnp.int32)
    inside = (index_of >= span[0]) & (index_of < span[1])
    order = jnp.nonzero(doubtful, size=doubtful.shape[0])[0]
    k = answers[0].shape[1]

    def answer(i: jax.Array, answers: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        at = order[i]
        squared = jnp.sum((points - query[at][None]) ** 2, axis=1)
        squared = jnp.where(inside & (index_of != skip[at]), squared, jnp.inf)

        def pick(j: jax.Array, state):  # for a small k far faster than top_k on a CPU
            squared, index, value = state
            best = jnp.argmin(squared).astype(jnp.int32)
            nearest = squared[best]
            index = index.at[j].set(jnp.where(nearest < jnp.inf, best, -1))
            return squared.at[best].set(jnp.inf), index, value.at[j].set(nearest)

        _, index, value = jax.lax.fori_loop(0, k, pick, (squared, jnp.zeros(k, jnp.int32), jnp.zeros(k)))
        return answers[0].at[at].set(index), answers[1].at[at].set(value)

    return jax.lax.fori_loop(0, doubtful.sum(), answer, answers)


def _merge(points, lengths, query, i, best, *, width: int, low, high):
    """The best candidates after the points of tile `i` of the range from `low` to `high`."""
    start = low + i * width
    at = jnp.minimum(start, points.shape[0] - width)  # a slice must end where the points end
    positions = at + jnp.arange(width, dtype=jnp.int32)
    valid = (positions >= start) & (positions < high)
    length = jnp.where(valid, jax.lax.dynamic_slice_in_dim(lengths, at, width), FAR)
    tile_points = jax.lax.dynamic_slice_in_dim(points, at, width)
    # Points x queries: the minima of blocks are then taken along an axis that vectorises, and blocks are runs of indices,
    # which keeps the order among equally near points.
    product = jnp.dot(tile_points, -2.0 * query.T, precision=jax.lax.Precision.HIGHEST)
    blocks = (length[:, None] + product).reshape(width // BLOCK, BLOCK, query.shape[0])
    keep = min(best[0].shape[1], width // BLOCK)
    _, chosen = jax.lax.top_k(-blocks.min(axis=1).T, keep)
    chosen = jnp.sort(chosen, axis=1)
    inner = (chosen[:, :, None] * BLOCK + jnp.arange(BLOCK, dtype=jnp.int32)[None, None]).reshape(query.shape[0], keep * BLOCK)
    value = length[inner] + product[inner, jnp.arange(query.shape[0])[:, None]]
    values = jnp.concatenate([best[0], value], axis=1)
    _, order = jax.lax.top_k(-values, best[0].shape[1])
    indices = jnp.concatenate([best[1], jnp.where(value < FAR / 2, at + inner, -1)], axis=1)
    return jnp.take_along_axis(values, order, axis=1), jnp.take_along_axis(indices, order, axis=1)


def _exact(query, points, index, skip, k: int) -> tuple[jax.Array, jax.Array]:
    """The k nearest of the candidates `index` [Q, c], by differences: without the rounding of the fast form."""
    there = (index >= 0) & (index != skip[:, None])
    squared = jnp.sum((points[jnp.maximum(index, 0)] - query[:, None, :]) ** 2, axis=2)
    squared = jnp.where(there, squared, jnp.inf)
    squared, index = jax.lax.sort((squared, jnp.where(there, index, jnp.iinfo(jnp.int32).max)), num_keys=2)
    return jnp.where(squared < jnp.inf, index, -1)[:, :k], squared[:, :k]
