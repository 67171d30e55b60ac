"""Batches by index: real rows stay one shared uint8 array on the device, a lane holds row numbers into it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from imbal_jax.lanes import purpose


class Shared(NamedTuple):
    """What all lanes read.

    Attributes:
        x: uint8 [N, ...example], the real rows.
        y: int32 [N].
    """

    x: jax.Array
    y: jax.Array


class Pool(NamedTuple):
    """The training set of a lane (or, with a leading axis L, of all lanes).

    Attributes:
        rows: int32 [M]; below N a row of `Shared`, from N on a new row.
        new_x: uint8 [S, ...example], rows that a method made.
        new_y: int32 [S].
    """

    rows: jax.Array
    new_x: jax.Array
    new_y: jax.Array


class Batch(NamedTuple):
    """What a training step sees.

    Attributes:
        x: float [B, ...example] in [0, 1].
        t: float [B, K], soft targets; each row adds up to 1.
    """

    x: jax.Array
    t: jax.Array


class Inputs(NamedTuple):
    """What a training of one lane reads: its typed key [] and its training set."""

    key: jax.Array
    pool: Pool


def pick(pool: Pool, shared: Shared, index: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The rows at positions `index` [B] of the pool: float32 [B, ...example] in [0, 1] and labels int32 [B]."""
    rows, n = pool.rows[index], shared.x.shape[0]
    x, y = shared.x[jnp.minimum(rows, n - 1)], shared.y[jnp.minimum(rows, n - 1)]
    if pool.new_x.shape[0]:
        new = rows >= n
        there = jnp.maximum(rows - n, 0)
        x = jnp.where(new.reshape(-1, *[1] * (x.ndim - 1)), pool.new_x[there], x)
        y = jnp.where(new, pool.new_y[there], y)
    return x.astype(jnp.float32) / 255.0, y


def shuffled(key: jax.Array, epoch: jax.Array, size: int) -> jax.Array:
    """The order of one epoch, int32 [size]: depends on the key and the epoch alone, so that resuming keeps it."""
    return jax.random.permutation(jax.random.fold_in(purpose(key, "order"), epoch), size)


def balanced(key: jax.Array, step: jax.Array, counts: tuple[int, ...], batch: int) -> jax.Array:
    """Positions [batch] of a pool whose rows lie class by class (`counts` rows each): every class equally likely."""
    present = jnp.asarray([n > 0 for n in counts], jnp.float32)
    return by_class(jax.random.fold_in(purpose(key, "order"), step), present / present.sum(), counts, batch)


def by_class(key: jax.Array, probabilities: jax.Array, counts: tuple[int, ...], batch: int) -> jax.Array:
    """Random positions of a pool whose rows lie class by class, with replacement.

    Args:
        key: typed key.
        probabilities: float [K], adding up to 1: how likely each class is; 0 for a class without rows.
        counts: rows of each class, [K].
        batch: how many.

    Returns:
        int32 [batch].
    """
    which, where = jax.random.split(key)
    label = jax.random.categorical(which, jnp.log(probabilities), shape=(batch,))
    ends = jnp.cumsum(jnp.asarray(counts, jnp.int32))
    size = jnp.asarray(counts, jnp.int32)[label]
    return ends[label] - size + jax.random.randint(where, (batch,), 0, size)
