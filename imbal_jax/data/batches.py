"""Batches by index: real rows stay one shared array on the device, as they are stored, a lane holds row numbers into it."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from imbal_jax.data.storage_types import floats
from imbal_jax.runtime.lanes import purpose


class Shared(NamedTuple):
    """What all lanes read.

    Attributes:
        x: uint8, int16 or float32 [N, ...example], the real rows; see `stored`.
        y: int32 [N].
    """

    x: jax.Array
    y: jax.Array


class Pool(NamedTuple):
    """The training set of a lane (or, with a leading axis L, of all lanes).

    Attributes:
        rows: int32 [M]; below N a row of `Shared`, from N on a new row.
        new_x: [S, ...example], rows that a method made; the dtype is that of the real rows.
        new_y: int32 [S].
    """

    rows: jax.Array
    new_x: jax.Array
    new_y: jax.Array


class Batch(NamedTuple):
    """What a training step sees.

    Attributes:
        x: float [B, ...example], pixels in [0, 1] or samples in [-1, 1].
        t: float [B, K], soft targets; each row adds up to 1.
    """

    x: jax.Array
    t: jax.Array


class Inputs(NamedTuple):
    """What a training of one lane reads.

    Attributes:
        key: typed key [].
        pool: its training set, which may have more room than rows.
        counts: int32 [K], rows of each class in the pool; they lie class by class, before any padding.
        values: float32 numbers by name, in which lanes may differ: 'learning_rate' and options of methods.
    """

    key: jax.Array
    pool: Pool
    counts: jax.Array
    values: Mapping[str, jax.Array] = {}


def pick(pool: Pool, shared: Shared, index: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The rows at positions `index` [B] of the pool: float32 [B, ...example] (`storage_types.floats`), and labels int32 [B]."""
    rows, n = pool.rows[index], shared.x.shape[0]
    x, y = gather(shared.x, jnp.minimum(rows, n - 1)), shared.y[jnp.minimum(rows, n - 1)]
    if pool.new_x.shape[0]:
        new = rows >= n
        there = jnp.maximum(rows - n, 0)
        x = jnp.where(new.reshape(-1, *[1] * (x.ndim - 1)), gather(pool.new_x, there), x)
        y = jnp.where(new, pool.new_y[there], y)
    return floats(x), y


def gather(x: jax.Array, index: jax.Array) -> jax.Array:
    """x[index], for x [N, ...] with N > 0, read as vectors: on a CPU XLA gathers those about ten times faster than images."""
    return x.reshape(x.shape[0], -1)[index].reshape(*index.shape, *x.shape[1:])


def shuffled(key: jax.Array, epoch: jax.Array, size: jax.Array | int, room: int | None = None) -> jax.Array:
    """The order of one epoch: a permutation of 0 .. size - 1 that depends on key, epoch and size alone.

    Args:
        key: typed key.
        epoch: its number, so that resuming keeps the order.
        size: rows in the pool; may be traced.
        room: length of the result (default: `size`, then no tracer). What comes after the first `size` places is padding:
            the order is the same for any room, so that pools of several sizes can share one compiled program.

    Returns:
        int32 [room].
    """
    room = int(size) if room is None else room
    bits = jax.random.bits(jax.random.fold_in(purpose(key, "order"), epoch), (room,))
    place = jnp.arange(room, dtype=jnp.int32)
    rank = jnp.where(place < size, bits, jnp.full_like(bits, 2**32 - 1))  # the sort is stable: padding stays behind
    return jax.lax.sort((rank, place), num_keys=1)[1]


def padded(pool: Pool, room: int, new_room: int) -> Pool:
    """The pools of all lanes with at least so much room for rows and new rows: the padding is never drawn."""

    def wider(leaf: jax.Array, length: int) -> jax.Array:
        more = max(0, length - leaf.shape[1])
        return jnp.pad(leaf, [(0, 0), (0, more), *[(0, 0)] * (leaf.ndim - 2)]) if more else leaf

    return Pool(wider(pool.rows, room), wider(pool.new_x, new_room), wider(pool.new_y, new_room))


def balanced(
    key: jax.Array, step: jax.Array, counts: jax.Array | tuple[int, ...], batch: int, among: jax.Array | None = None
) -> jax.Array:
    """Positions [batch] of a pool whose rows lie class by class (`counts` rows each): every class equally likely.

    Args:
        key: typed key.
        step: its number.
        counts: rows of each class, [K]; may be traced.
        batch: how many.
        among: float [K], 1 for the classes that are drawn from; by default all that have rows.
    """
    present = (jnp.asarray(counts) > 0).astype(jnp.float32) if among is None else among
    return by_class(jax.random.fold_in(purpose(key, "order"), step), present / present.sum(), counts, batch)


def by_class(key: jax.Array, probabilities: jax.Array, counts: jax.Array | tuple[int, ...], batch: int) -> jax.Array:
    """Random positions of a pool whose rows lie class by class, with replacement.

    Args:
        key: typed key.
        probabilities: float [K], adding up to 1: how likely each class is; 0 for a class without rows.
        counts: rows of each class, [K]; may be traced.
        batch: how many.

    Returns:
        int32 [batch].
    """
    which, where = jax.random.split(key)
    label = jax.random.categorical(which, jnp.log(probabilities), shape=(batch,))
    ends = jnp.cumsum(jnp.asarray(counts, jnp.int32))
    size = jnp.asarray(counts, jnp.int32)[label]
    return ends[label] - size + jax.random.randint(where, (batch,), 0, size)
