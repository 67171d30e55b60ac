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
    ends = jnp.cumsum(jnp.asarray(counts, jnp.int32))
    present = jnp.asarray([c for c, n in enumerate(counts) if n], jnp.int32)
    which, where = jax.random.split(jax.random.fold_in(purpose(key, "order"), step))
    label = present[jax.random.randint(which, (batch,), 0, len(present))]
    size = jnp.asarray(counts, jnp.int32)[label]
    return ends[label] - size + jax.random.randint(where, (batch,), 0, size)
