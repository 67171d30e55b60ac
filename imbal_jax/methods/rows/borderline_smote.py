"""Borderline-SMOTE: SMOTE that starts only from rows close to other classes."""

from functools import partial

import jax
import jax.numpy as jnp

from imbal_jax.data.storage_types import flat
from imbal_jax.errors import UserError
from imbal_jax.methods.method import Method, Task, check_range
from imbal_jax.methods.rows import _layout as layout
from imbal_jax.methods.rows import _neighbours as near
from imbal_jax.methods.rows.smote import neighbours_of, same_class
from imbal_jax.runtime.lanes import purpose


def make(
    task: Task, to: int | float | str | dict = "max", k: int = 5, m: int = 10, kind: int = 1, space: str = "raw"
) -> Method:
    """Fill up the smaller classes with rows between rows at the border and their neighbours.

    Paper: Han, Wang, Mao, Borderline-SMOTE: A New Over-Sampling Method in Imbalanced Data Sets Learning, ICIC 2005.

    A row is in danger if, of its m nearest neighbours among all rows, at least half but not all are of other classes.
    new = x + u * (n - x) with x in danger. Kind 1: n is one of the k nearest of x's class, u uniform on [0, 1). Kind 2: n
    is one of the k nearest of all rows, and u is uniform on [0, 0.5) where n is of another class. A class without a row
    in danger gets plain SMOTE.

    Args:
        task: the problem.
        to: as in `smote`.
        k: neighbours to choose from.
        m: neighbours that decide whether a row is in danger.
        kind: 1 or 2.
        space: where neighbours are searched, as in `smote`.
    """
    name = "borderline_smote"
    check_range(name, "m", m, 1)
    if kind not in (1, 2):
        raise UserError(f"{name}: kind must be 1 or 2 (got {kind})")
    return near.filler(partial(borderline_smote, m=m, kind=kind), name, task, to, k, space, whole=True)


def borderline_smote(
    key: jax.Array,
    x: jax.Array,
    counts: tuple[int, ...],
    wanted: tuple[int, ...],
    k: int = 5,
    m: int = 10,
    kind: int = 1,
    z: jax.Array | None = None,
) -> near.New:
    """New rows that bring each class from `counts` to `wanted` rows, made from rows in danger.

    Args:
        key: typed key.
        x: rows [M, ...] of all classes, class by class, uint8 or float.
        counts: rows of each class, static, adding up to M.
        wanted: rows of each class afterwards, static; a class that has more gets no rows.
        k: neighbours to choose from.
        m: neighbours that decide whether a row is in danger.
        kind: 1 (neighbours of the same class) or 2 (of all classes).
        z: the rows in the space where neighbours are searched, float [M, D]; x, flattened, if None.

    Returns:
        `New` rows, class by class; `parents` are positions in x.
    """
    z = flat(x) if z is None else z
    missing = layout.missing_rows(counts, wanted)
    y = layout.labels_of(missing)
    danger, around = border(z, counts, missing, m, k if kind == 2 else 0)
    bases = near.draw(purpose(key, "base"), danger.astype(jnp.int32), counts, y)
    choices = jnp.asarray(neighbours_of(counts, k)[y])
    others = same_class(z, counts, missing, k)[bases]
    if kind == 1:
        return near.between(key, x, bases, others, choices, y)
    others = jnp.where(danger[bases][:, None], around[bases], others)
    choices = jnp.where(danger[bases], min(k, x.shape[0] - 1), choices)
    new = near.between(key, x, bases, others, choices, y)
    foreign = jnp.asarray(layout.labels_of(counts))[new.parents[:, 1]] != y
    weight = jnp.where(foreign, 0.5 * new.weight, new.weight)
    return new._replace(x=near.interpolate(x, new.parents[:, 0], new.parents[:, 1], weight), weight=weight)


def in_danger(z: jax.Array, counts: tuple[int, ...], m: int = 10) -> jax.Array:
    """Which rows have other classes in at least half, but not all, of their m nearest neighbours.

    Args:
        z: rows [M, D], class by class.
        counts: rows of each class, static, adding up to M.
        m: neighbours that are considered.

    Returns:
        bool [M].
    """
    return border(z, counts, (1,) * len(counts), m)[0]


def border(z: jax.Array, counts: tuple[int, ...], chosen: tuple[int, ...], m: int, k: int = 0) -> tuple[jax.Array, jax.Array]:
    """For the rows of the classes where `chosen` is above 0: whether they are in danger, and their neighbours.

    Args:
        z: rows [M, D], class by class.
        counts: rows of each class, static, adding up to M.
        chosen: [K], static.
        m: neighbours that are considered.
        k: neighbours that are returned.

    Returns:
        bool [M] and the positions of the k nearest of all rows, int32 [M, k]; False and 0 for rows of other classes.
    """
    foreign, around = near.foreign_neighbours(z, counts, chosen, m, k)
    m = min(m, z.shape[0] - 1)
    return (2 * foreign >= m) & (foreign < m), around
