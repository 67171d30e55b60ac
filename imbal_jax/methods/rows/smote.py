"""SMOTE: new rows on the line between a row and one of its nearest neighbours of the same class."""

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax.data.storage_types import flat
from imbal_jax.methods.method import Method, Task
from imbal_jax.methods.rows import _layout as layout
from imbal_jax.methods.rows import _neighbours as near
from imbal_jax.ops.knn import nearest_in_class
from imbal_jax.runtime.lanes import purpose


def make(task: Task, to: int | float | str | dict = "max", k: int = 5, space: str = "raw") -> Method:
    """Fill up the smaller classes with rows between neighbours.

    Paper: Chawla, Bowyer, Hall, Kegelmeyer, SMOTE: Synthetic Minority Over-sampling Technique, JAIR 2002.

    new = x + u * (n - x), u uniform on [0, 1), where x is a random row of the class and n one of its k nearest
    neighbours in that class. A class of n <= k rows uses n - 1 neighbours; of a single row, copies of it.

    Args:
        task: the problem.
        to: rows of each class afterwards: 'max', 'min', a number of rows of the published set, a share of the largest
            class, or a dict class: rows.
        k: neighbours to choose from.
        space: where neighbours are searched: 'raw', 'pca(32)' (in quotes: the first 32 principal components of the
            lane's training rows) or 'features' (of a classifier trained on the lane's real rows). New rows always lie
            between raw rows.
    """
    return near.filler(smote, "smote", task, to, k, space)


def smote(
    key: jax.Array, x: jax.Array, counts: tuple[int, ...], wanted: tuple[int, ...], k: int = 5, z: jax.Array | None = None
) -> near.New:
    """New rows that bring each class from `counts` to `wanted` rows.

    Args:
        key: typed key.
        x: rows [M, ...], class by class, uint8 or float. Interpolated in float32; of uint8, rounded.
        counts: rows of each class, static, adding up to M; 0 for an absent class, which gets no rows.
        wanted: rows of each class afterwards, static; a class that has more gets no rows.
        k: neighbours to choose from.
        z: the rows in the space where neighbours are searched, float [M, D]; x, flattened, if None.

    Returns:
        `New` rows, class by class: x [S, ...], y [S], parents [S, 2] (positions in x of the base row and its neighbour)
        and weight [S].
    """
    missing = layout.missing_rows(counts, wanted)
    y = layout.labels_of(missing)
    bases = near.draw(purpose(key, "base"), jnp.ones(x.shape[0], jnp.int32), counts, y)
    others = same_class(flat(x) if z is None else z, counts, missing, k)
    return near.between(key, x, bases, others[bases], jnp.asarray(neighbours_of(counts, k)[y]), y)


def same_class(z: jax.Array, counts: tuple[int, ...], missing: tuple[int, ...], k: int) -> jax.Array:
    """The k nearest of the same class, as positions int32 [M, k], for the classes where `missing` is above 0."""
    places = layout.positions_of(counts, missing)
    found, _ = nearest_in_class(z[places], layout.only(counts, missing), k)
    everywhere = jnp.zeros((z.shape[0], k), jnp.int32)
    return everywhere.at[places].set(jnp.asarray(places)[jnp.maximum(found, 0)])


def neighbours_of(counts: tuple[int, ...], k: int) -> np.ndarray:
    """How many neighbours a row of each class has to choose from, at most k, int32 [K]."""
    return np.clip(np.asarray(counts) - 1, 0, k).astype(np.int32)
