"""Random under-sampling: rows of the larger classes are removed."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax.methods.method import Context, Method, Task, Train, at_most
from imbal_jax.methods.rows import _layout as layout


def make(task: Task, to: int | float | str | dict = "min") -> Method:
    """Leave out random rows until each class has at most `to` rows.

    Args:
        task: the problem.
        to: 'min' (the smallest class) or 'max', a number of rows of the published set, a share of the largest class, or
            a dict class: rows.
    """
    wanted = at_most(to, task, "under")

    def resample(keys: jax.Array, train: Train, context: Context) -> Train:
        if wanted == train.counts:
            return train
        rows = jax.vmap(partial(undersample, counts=train.counts, wanted=wanted))(keys, train.pool.rows)
        return train._replace(pool=train.pool._replace(rows=rows), counts=wanted)

    return Method(resample=resample)


def undersample(key: jax.Array, rows: jax.Array, counts: tuple[int, ...], wanted: tuple[int, ...]) -> jax.Array:
    """A random choice of row numbers, without replacement.

    Args:
        key: typed key.
        rows: int32 [M], lying class by class.
        counts: rows of each class, [K], adding up to M.
        wanted: rows of each class afterwards, [K], nowhere more than `counts`.

    Returns:
        int32 [sum(wanted)], class by class, in the order in which they lay.
    """
    size = rows.shape[0]
    y = layout.labels_of(counts)
    lottery = jax.random.bits(key, (size,))
    _, _, drawn = jax.lax.sort((jnp.asarray(y), lottery, jnp.arange(size, dtype=jnp.int32)), num_keys=2)
    rank = np.arange(size) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows[jnp.sort(drawn[np.flatnonzero(rank < np.asarray(wanted)[y])])]
