"""ADASYN: SMOTE that makes more rows where other classes are close."""

import jax
import jax.numpy as jnp

from imbal_jax.data.storage_types import flat
from imbal_jax.methods.method import Method, Task
from imbal_jax.methods.rows import _layout as layout
from imbal_jax.methods.rows import _neighbours as near
from imbal_jax.methods.rows.smote import neighbours_of, same_class
from imbal_jax.runtime.lanes import purpose


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
    return near.filler(adasyn, "adasyn", task, to, k, space, whole=True)


def adasyn(
    key: jax.Array, x: jax.Array, counts: tuple[int, ...], wanted: tuple[int, ...], k: int = 5, z: jax.Array | None = None
) -> near.New:
    """New rows that bring each class from `counts` to `wanted` rows, denser where other classes are near.

    Args:
        key: typed key.
        x: rows [M, ...] of all classes, class by class, uint8 or float.
        counts: rows of each class, static, adding up to M.
        wanted: rows of each class afterwards, static; a class that has more gets no rows.
        k: neighbours, for the share of other classes and to choose from.
        z: the rows in the space where neighbours are searched, float [M, D]; x, flattened, if None.

    Returns:
        `New` rows, class by class; `parents` are positions in x.
    """
    z = flat(x) if z is None else z
    missing = layout.missing_rows(counts, wanted)
    y = layout.labels_of(missing)
    foreign, _ = near.foreign_neighbours(z, counts, missing, k)
    bases = near.draw(purpose(key, "base"), foreign, counts, y)
    others = same_class(z, counts, missing, k)
    return near.between(key, x, bases, others[bases], jnp.asarray(neighbours_of(counts, k)[y]), y)
