"""Random over-sampling: rows of the smaller classes are repeated."""

from functools import partial

import jax
import jax.numpy as jnp

from imbal_jax.methods.method import Context, Method, Task, Train, at_least
from imbal_jax.methods.rows import _layout as layout


def make(task: Task, to: int | float | str | dict = "max") -> Method:
    """Repeat rows, drawn with replacement, until each class has at least `to` rows.

    Args:
        task: the problem.
        to: 'max' (the largest class) or 'min', a number of rows of the published set (5000 shrinks with a subset), a share
            of the largest class, or a dict class: rows.
    """
    wanted = at_least(to, task, f"over(to={to})")

    def resample(keys: jax.Array, train: Train, context: Context) -> Train:
        rows = jax.vmap(partial(oversample, counts=train.counts, wanted=wanted))(keys, train.pool.rows)
        return train._replace(pool=train.pool._replace(rows=rows), counts=wanted)

    return Method(resample=resample)


def oversample(key: jax.Array, rows: jax.Array, counts: tuple[int, ...], wanted: tuple[int, ...]) -> jax.Array:
    """Row numbers with random repeats.

    Args:
        key: typed key.
        rows: int32 [M], lying class by class.
        counts: rows of each class, [K], adding up to M.
        wanted: rows of each class afterwards, [K], nowhere less than `counts`.

    Returns:
        int32 [sum(wanted)], class by class: the class's rows, then the repeats.
    """
    missing = layout.missing_rows(counts, wanted)
    drawn = jnp.concatenate([rows, rows[layout.repeats(key, counts, missing)]])
    return drawn[layout.appended_by_class(counts, missing)]
