"""ADASYN: SMOTE that makes more rows where other classes are close."""

from functools import partial

import jax
import jax.numpy as jnp

from imbal_jax.lanes import purpose
from imbal_jax.methods import _layout as layout
from imbal_jax.methods import _neighbours as near
from imbal_jax.methods.method import Context, Method, Task, Train, at_least
from imbal_jax.methods.smote import neighbours_of, same_class
from imbal_jax.ops.knn import nearest


def make(task: Task, to: int | float | str | dict = "max", k: int = 5, space: str = "raw") -> Method:
    """Fill up the smaller classes with rows between neighbours, mostly where they are hard to learn.

    Paper: He, Bai, Garcia, Li, ADASYN: Adaptive Synthetic Sampling Approach for Imbalanced Learning, IJCNN 2008.

    new = x + u * (n - x) as in SMOTE, but a row x is taken as base with probability r(x) / sum of r over its class, where
    r(x) is the share of other classes among the k nearest neighbours of x among all rows. Rows are drawn, so that the
    classes come out at their exact sizes. A class with no other class nearby gets plain SMOTE.

    Args:
        task: the problem.
        to: as in `smote`.
        k: neighbours, for the share and to choose from.
        space: where neighbours are searched, as in `smote`.
    """
    wanted = at_least(to, task, "adasyn")
    near.check_count("adasyn", "k", k)
    components = near.components_of(space, task, "adasyn")

    def resample(keys: jax.Array, train: Train, context: Context) -> Train:
        missing = layout.missing_rows(train.counts, wanted)
        if not any(missing):
            return train
        near.warn_small("adasyn", task, missing, k)
        new = partial(_of_lane, wanted=wanted, k=k)
        return near.add_rows(new, keys, train, context, missing, space=space, components=components, whole=True)

    return Method(resample=resample)


def _of_lane(key, x, counts, z, *, wanted: tuple[int, ...], k: int) -> near.New:
    return adasyn(key, x, counts, wanted, k, z)


def adasyn(
    key: jax.Array, x: jax.Array, counts: tuple[int, ...], wanted: tuple[int, ...], k: int = 5, z: jax.Array | None = None
) -> near.New:
    """New rows that bring each class from `counts` to `wanted` rows, denser where other classes are near.

    Args:
        key: typed key.
        x: rows [M, ...] of all classes, class by class, uint8 or float.
        counts: rows of each class, static, adding up to M.
        wanted: rows of each class afterwards, static; a class that has more gets nothing.
        k: neighbours, for the share of other classes and to choose from.
        z: the rows in the space where neighbours are searched, float [M, D]; x, flattened, if None.

    Returns:
        `New` rows, class by class; `parents` are positions in x.
    """
    z = near.flat(x) if z is None else z
    missing = layout.missing_rows(counts, wanted)
    y = layout.labels_of(missing)
    bases = near.draw(purpose(key, "base"), foreign_neighbours(z, counts, missing, k), counts, y)
    others = same_class(z, counts, missing, k)
    return near.between(key, x, bases, others[bases], jnp.asarray(neighbours_of(counts, k)[y]), y)


def foreign_neighbours(z: jax.Array, counts: tuple[int, ...], chosen: tuple[int, ...], k: int) -> jax.Array:
    """How many of the k nearest of all rows are of another class, int32 [M]; 0 for classes where `chosen` is 0."""
    places = layout.positions_of(counts, chosen)
    k = min(k, z.shape[0] - 1)
    found, _ = nearest(z[places], z, max(k, 1), exclude_self=jnp.asarray(places))
    y = layout.labels_of(counts)
    foreign = jnp.sum(jnp.asarray(y)[found[:, :k]] != jnp.asarray(y[places])[:, None], axis=1)
    return jnp.zeros(z.shape[0], jnp.int32).at[places].set(foreign.astype(jnp.int32))
