"""What the neighbour-based resamplers share: random draws of rows, spaces to search in, new rows between two others."""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from imbal_jax.data.batches import Pool, Shared, gather, pick
from imbal_jax.data.storage_types import flat, kept
from imbal_jax.errors import UserError, nearest
from imbal_jax.methods.method import Context, Method, Task, Train, at_least, check_range
from imbal_jax.methods.rows import _layout as layout
from imbal_jax.models.inference import apply_in_batches
from imbal_jax.ops.knn import nearest as nearest_rows
from imbal_jax.runtime.lanes import purpose, purposes

CHUNK = 2048  # rows that are in memory as floats at once where only their sums are needed


class New(NamedTuple):
    """Rows made between two others: x[parents[:, 0]] + weight * (x[parents[:, 1]] - x[parents[:, 0]]).

    Attributes:
        x: [S, ...], the dtype of the rows that they were made from; class by class.
        y: int32 [S].
        parents: int32 [S, 2], positions of the base row and of its neighbour.
        weight: float32 [S], in [0, 1).
    """

    x: jax.Array
    y: jax.Array
    parents: jax.Array
    weight: jax.Array


def interpolate(x: jax.Array, base: jax.Array, other: jax.Array, weight: jax.Array) -> jax.Array:
    """x[base] + weight * (x[other] - x[base]), computed in float32, in x's dtype: integers are rounded."""
    start, end = gather(x, base).astype(jnp.float32), gather(x, other).astype(jnp.float32)
    mixed = start + weight.reshape(-1, *[1] * (x.ndim - 1)) * (end - start)
    return (jnp.round(mixed) if jnp.issubdtype(x.dtype, jnp.integer) else mixed).astype(x.dtype)


def draw(key: jax.Array, weights: jax.Array, counts: Sequence[int], labels: np.ndarray) -> jax.Array:
    """Positions int32 [S] of random rows, with replacement, each within the class that `labels` [S] names.

    Args:
        key: typed key.
        weights: int32 [M], how likely each row is within its class; where a class has none but zeros, its rows are
            equally likely. Their sum stays below 2**31.
        counts: rows of each class, adding up to M.
        labels: int [S], static: the classes to draw from, which must have rows.
    """
    y = layout.labels_of(counts)
    totals = jax.ops.segment_sum(weights, y, len(counts), indices_are_sorted=True)
    weights = jnp.where(totals[y] > 0, weights, 1)
    ends = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(weights, dtype=jnp.int32)])
    bounds = np.concatenate([[0], np.cumsum(counts)])
    low, high = ends[bounds[labels]], ends[bounds[labels + 1]]
    ticket = low + jax.random.randint(key, labels.shape, 0, high - low)
    return jnp.searchsorted(ends[1:], ticket, side="right").astype(jnp.int32)


def between(key: jax.Array, x: jax.Array, bases: jax.Array, others: jax.Array, many: jax.Array, y: np.ndarray) -> New:
    """New rows, each between its base and one of the base's neighbours.

    Args:
        key: typed key.
        x: rows [M, ...].
        bases: int32 [S], positions in x.
        others: int32 [S, k], the neighbours of each base, as positions in x.
        many: int [S], how many of them may be taken; where it is 0, the base is repeated.
        y: int [S], the labels of the new rows.
    """
    which = jax.random.randint(purpose(key, "neighbour"), bases.shape, 0, jnp.maximum(many, 1))
    other = jnp.take_along_axis(others, which[:, None], axis=1)[:, 0]
    alone = many == 0
    other = jnp.where(alone, bases, other)
    weight = jnp.where(alone, 0.0, jax.random.uniform(purpose(key, "weight"), bases.shape))
    return New(interpolate(x, bases, other, weight), jnp.asarray(y, jnp.int32), jnp.stack([bases, other], axis=1), weight)


def foreign_neighbours(
    z: jax.Array, counts: Sequence[int], chosen: Sequence[int], m: int, k: int = 0
) -> tuple[jax.Array, jax.Array]:
    """Neighbours among all rows, of the rows of the classes where `chosen` is above 0.

    Args:
        z: rows [M, D], class by class.
        counts: rows of each class, static, adding up to M.
        chosen: [K], static.
        m: neighbours that are considered; all other rows, where there are fewer.
        k: neighbours that are returned.

    Returns:
        how many of the m nearest are of another class, int32 [M], and the positions of the k nearest, int32 [M, k]; 0 for
        rows of other classes.
    """
    places = layout.positions_of(counts, chosen)
    found, _ = nearest_rows(z[places], z, max(m, k, 1), exclude_self=jnp.asarray(places))
    y, many = layout.labels_of(counts), z.shape[0]
    foreign = jnp.sum(jnp.asarray(y)[found[:, : min(m, many - 1)]] != jnp.asarray(y[places])[:, None], axis=1)
    everywhere = jnp.zeros(many, jnp.int32).at[places].set(foreign.astype(jnp.int32))
    return everywhere, jnp.zeros((many, k), jnp.int32).at[places].set(jnp.maximum(found[:, :k], 0))


def refill(key: jax.Array, keep: jax.Array, counts: Sequence[int]) -> jax.Array:
    """Positions int32 [M]: kept rows stay, a removed row becomes a random kept row of its class.

    A class that would lose all of its rows keeps all.

    Args:
        key: typed key.
        keep: bool [M].
        counts: rows of each class, adding up to M.
    """
    y = layout.labels_of(counts)
    kept = jax.ops.segment_sum(keep.astype(jnp.int32), y, len(counts), indices_are_sorted=True)
    own = jnp.arange(len(y), dtype=jnp.int32)
    return jnp.where(keep | (kept[y] == 0), own, draw(key, keep.astype(jnp.int32), counts, y))


def cleaned_classes(counts: Sequence[int], strategy: str) -> tuple[bool, ...]:
    """Which classes lose rows: all, or for 'majority' all but the smallest (of equally small ones, the first)."""
    smallest = min((n, label) for label, n in enumerate(counts) if n)[1]
    return tuple(strategy == "all" or label != smallest for label in range(len(counts)))


def check_word(name: str, option: str, value: str, known: Sequence[str]) -> None:
    """Raise UserError for a word that is not a value of an option."""
    if value not in known:
        raise UserError(f"{name}: {option}={value!r}{nearest(value, known)}; known: {', '.join(known)}")


def warn_small(name: str, task: Task, missing: Sequence[int], k: int) -> None:
    """Log a warning for classes that are to grow but have too few rows for k neighbours."""
    small = [label for label, more in enumerate(missing) if more and task.counts[label] <= k]
    for label in small:
        rows, label_name = task.counts[label], task.class_names[label]
        if rows == 1:
            logging.warning("%s: class %r has 1 row, which is repeated", name, label_name)
        else:
            logging.warning("%s: class %r has %d rows, so k is %d there, not %d", name, label_name, rows, rows - 1, k)


def components_of(space: str, task: Task, name: str) -> int:
    """The number n of a space 'pca(n)'; 0 for 'raw' and 'features'.

    Raises:
        UserError: the space is none of these, or the rows have fewer than n numbers.
    """
    if space in ("raw", "features"):
        return 0
    match = re.fullmatch(r"\s*pca\(\s*(\d+)\s*\)\s*", space)
    if not match:
        raise UserError(f"{name}: space must be 'raw', 'pca(32)' (in quotes) or 'features' (got {space!r})")
    components, numbers = int(match[1]), int(np.prod(task.shape))
    if not 1 <= components <= numbers:
        raise UserError(f"{name}: space={space!r}, but the rows have {numbers} numbers")
    return components


def principal_axes(total: jax.Array, products: jax.Array, rows: int, components: int) -> tuple[jax.Array, jax.Array]:
    """Mean [1, D] and the first principal axes [D, n] of rows given by their sum [D] and sum of outer products [D, D]."""
    mean = total / rows
    _, axes = jnp.linalg.eigh(products / rows - jnp.outer(mean, mean))
    return mean[None], axes[:, ::-1][:, :components]


def filler(function: Callable[..., New], name: str, task: Task, to: Any, k: int, space: str, *, whole: bool = False) -> Method:
    """A method that fills up classes with the rows that `function` makes.

    Args:
        function: (key, x, counts, wanted, k=, z=) -> `New` rows, as `imbal_jax.methods.rows.smote.smote`.
        name: the method's.
        task: the problem.
        to: rows of each class afterwards, as in `smote`.
        k: neighbours to choose from.
        space: where neighbours are searched, as in `smote`.
        whole: whether `function` needs the rows of all classes, or only of those that get new ones.

    Raises:
        UserError: an option outside its range; a class without a training row.
    """
    wanted = at_least(to, task, name)
    check_range(name, "k", k, 1)
    components = components_of(space, task, name)

    def resample(keys: jax.Array, train: Train, context: Context) -> Train:
        missing = layout.missing_rows(train.counts, wanted)
        if not any(missing):
            return train
        warn_small(name, task, missing, k)

        def of_lane(key: jax.Array, x: jax.Array, counts: tuple[int, ...], z: jax.Array | None) -> New:
            return function(key, x, counts, layout.together(counts, missing), k=k, z=z)

        return add_rows(of_lane, keys, train, context, missing, space=space, components=components, whole=whole)

    return Method(resample=resample)


def filled_then_cleaned(fill: Method, keep_of: Callable[[jax.Array, tuple[int, ...]], jax.Array]) -> Method:
    """The resampler `fill`, then `clean` of its rows and the new ones."""
    first = fill.resample
    assert first is not None

    def resample(keys: jax.Array, train: Train, context: Context) -> Train:
        return clean(keep_of, purposes(keys, "clean"), first(purposes(keys, "smote"), train, context), context)

    return Method(resample=resample)


def keep_with_new(
    keep_of: Callable[[jax.Array, tuple[int, ...]], jax.Array],
    x: jax.Array,
    counts: Sequence[int],
    new: New,
    more: Sequence[int],
) -> jax.Array:
    """`keep_of(rows, counts)` for the rows and `more` new rows together: bool [M + S], x's rows first, then the new ones."""
    order = layout.appended_by_class(counts, more)
    return keep_of(jnp.concatenate([x, new.x])[order], layout.together(counts, more))[np.argsort(order)]


def add_rows(
    make_new: Callable[[jax.Array, jax.Array, tuple[int, ...], jax.Array | None], New],
    keys: jax.Array,
    train: Train,
    context: Context,
    missing: tuple[int, ...],
    *,
    space: str = "raw",
    components: int = 0,
    whole: bool = False,
) -> Train:
    """The training sets of all lanes with the rows that `make_new` makes for each.

    Args:
        make_new: (key, x [M, ...], counts, z [M, D] or None) -> New rows, `missing` of each class; x are the lane's rows
            as floats, z the same rows in the space to search in (None: x itself).
        keys: typed keys [L].
        train: the training sets.
        context: what the resampler may use.
        missing: new rows of each class.
        space: 'raw', 'features' or 'pca(n)'.
        components: its n.
        whole: whether x has the rows of all classes, or only of those that get new ones (the counts of others are 0).
    """
    real = context.shared.x.shape[0]
    chosen = (1,) * len(missing) if whole else missing
    positions, counts = layout.positions_of(train.counts, chosen), layout.only(train.counts, chosen)
    stored = train.pool.new_x.dtype
    judge: Any = context.trained["plain"]() if space == "features" else None

    def one(lane, shared: Shared):
        _, (key, pool, ancestors, params) = lane
        x, _ = pick(pool, shared, jnp.asarray(positions))
        z = None
        if judge is not None:
            z = apply_in_batches(judge.model, params, kept(x, stored))[1]
        elif components:
            mean, axes = principal_axes(*_moments(pool, shared), pool.rows.shape[0], components)
            z = jnp.dot(flat(x) - mean, axes, precision=jax.lax.Precision.HIGHEST)
        new = make_new(key, x, counts, z)
        rows = pool.rows[jnp.asarray(positions)][new.parents]
        return kept(new.x, stored), _real_parents(rows, ancestors, real)

    inputs = keys, train.pool, _ancestors(train), judge and judge.params
    x, parents = context.over_lanes(one)((), inputs, context.shared)
    return layout.joined(train, x, np.asarray(parents), missing, real)


def clean(keep_of: Callable[[jax.Array, tuple[int, ...]], jax.Array], keys: jax.Array, train: Train, context: Context) -> Train:
    """The training sets of all lanes without the rows that `keep_of` (x, counts) -> bool [M] throws out.

    Lanes must be of one size, so that the places of removed rows go to random kept rows of the same class.
    """

    def one(lane, shared: Shared) -> jax.Array:
        _, (key, pool) = lane
        x, _ = pick(pool, shared, jnp.arange(pool.rows.shape[0]))
        return pool.rows[refill(purpose(key, "refill"), keep_of(x, train.counts), train.counts)]

    rows = context.over_lanes(one)((), (keys, train.pool), context.shared)
    return train._replace(pool=train.pool._replace(rows=rows))


def _ancestors(train: Train) -> jax.Array:
    """The first parent of each earlier new row, int32 [L, S]; -1 where it has none."""
    known = train.parents
    return jnp.asarray(known[:, :, 0] if known.shape[2] else np.full(known.shape[:2], -1, np.int32))


def _real_parents(rows: jax.Array, ancestors: jax.Array, real: int) -> jax.Array:
    if not ancestors.shape[0]:
        return rows
    return jnp.where(rows < real, rows, ancestors[jnp.maximum(rows - real, 0)])


def _moments(pool: Pool, shared: Shared) -> tuple[jax.Array, jax.Array]:
    """Sum [D] and sum of outer products [D, D] of a lane's rows."""
    size = pool.rows.shape[0]
    chunk = min(CHUNK, size)
    numbers = int(np.prod(shared.x.shape[1:]))

    def add(sums, start):
        place = start + jnp.arange(chunk)
        x, _ = pick(pool, shared, jnp.minimum(place, size - 1))
        rows = jnp.where((place < size)[:, None], flat(x), 0.0)
        products = jnp.dot(rows.T, rows, precision=jax.lax.Precision.HIGHEST)
        return (sums[0] + rows.sum(axis=0), sums[1] + products), None

    zeros = jnp.zeros(numbers), jnp.zeros((numbers, numbers))
    return jax.lax.scan(add, zeros, jnp.arange(0, size, chunk))[0]
