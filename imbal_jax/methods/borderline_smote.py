"""Borderline-SMOTE: SMOTE that starts only from rows close to other classes."""

from functools import partial

import jax
import jax.numpy as jnp

from imbal_jax.errors import UserError
from imbal_jax.lanes import purpose
from imbal_jax.methods import _layout as layout
from imbal_jax.methods import _neighbours as near
from imbal_jax.methods.method import Context, Method, Task, Train, at_least
from imbal_jax.methods.smote import neighbours_of, same_class
from imbal_jax.ops.knn import nearest


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
    wanted = at_least(to, task, name)
    near.check_count(name, "k", k)
    near.check_count(name, "m", m)
    if kind not in (1, 2):
        raise UserError(f"{name}: kind={kind}, it is 1 or 2")
    components = near.components_of(space, task, name)

    def resample(keys: jax.Array, train: Train, context: Context) -> Train:
        missing = layout.missing_rows(train.counts, wanted)
        if not any(missing):
            return train
        near.warn_small(name, task, missing, k)
        new = partial(_of_lane, wanted=wanted, k=k, m=m, kind=kind)
        return near.add_rows(new, keys, train, context, missing, space=space, components=components, whole=True)

    return Method(resample=resample)


def _of_lane(key, x, counts, z, *, wanted: tuple[int, ...], k: int, m: int, kind: int) -> near.New:
    return borderline_smote(key, x, counts, wanted, k, m, kind, z)


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
        wanted: rows of each class afterwards, static; a class that has more gets nothing.
        k: neighbours to choose from.
        m: neighbours that decide whether a row is in danger.
        kind: 1 (neighbours of the same class) or 2 (of all classes).
        z: the rows in the space where neighbours are searched, float [M, D]; x, flattened, if None.

    Returns:
        `New` rows, class by class; `parents` are positions in x.
    """
    z = near.flat(x) if z is None else z
    missing = layout.missing_rows(counts, wanted)
    y = layout.labels_of(missing)
    danger, around = _in_danger(z, counts, missing, m, k if kind == 2 else 0)
    bases = near.draw(purpose(key, "base"), danger.astype(jnp.int32), counts, y)
    many = jnp.asarray(neighbours_of(counts, k)[y])
    others = same_class(z, counts, missing, k)[bases]
    if kind == 1:
        return near.between(key, x, bases, others, many, y)
    others = jnp.where(danger[bases][:, None], around[bases], others)
    many = jnp.where(danger[bases], min(k, x.shape[0] - 1), many)
    new = near.between(key, x, bases, others, many, y)
    foreign = jnp.asarray(layout.labels_of(counts))[new.parents[:, 1]] != y
    weight = jnp.where(foreign, 0.5 * new.weight, new.weight)
    return new._replace(x=near.interpolate(x, new.parents[:, 0], new.parents[:, 1], weight), weight=weight)


def in_danger(z: jax.Array, counts: tuple[int, ...], m: int = 10) -> jax.Array:
    """Which rows have other classes in at least half, but not all, of their m nearest neighbours.

    Args:
        z: rows [M, D], class by class.
        counts: rows of each class, static, adding up to M.
        m: neighbours that are looked at.

    Returns:
        bool [M].
    """
    return _in_danger(z, counts, (1,) * len(counts), m, 0)[0]


def _in_danger(z, counts, chosen, m: int, k: int) -> tuple[jax.Array, jax.Array]:
    """For the rows of the chosen classes: whether they are in danger [M], and the k nearest of all rows [M, k]."""
    places = layout.positions_of(counts, chosen)
    m = min(m, z.shape[0] - 1)
    found, _ = nearest(z[places], z, max(m, k, 1), exclude_self=jnp.asarray(places))
    y = layout.labels_of(counts)
    others = jnp.sum(jnp.asarray(y)[found[:, :m]] != jnp.asarray(y[places])[:, None], axis=1)
    danger = jnp.zeros(z.shape[0], bool).at[places].set((2 * others >= m) & (others < m))
    around = jnp.zeros((z.shape[0], k), jnp.int32).at[places].set(jnp.maximum(found[:, :k], 0))
    return danger, around
