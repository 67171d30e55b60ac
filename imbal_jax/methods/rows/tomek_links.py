"""Tomek links: pairs of rows of different classes that are each other's nearest neighbours; rows of such pairs are removed."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax.data.storage_types import flat
from imbal_jax.methods.method import Context, Method, Task, Train, full
from imbal_jax.methods.rows import _layout as layout
from imbal_jax.methods.rows import _neighbours as near
from imbal_jax.ops.knn import nearest

STRATEGIES = ("majority", "all")


def make(task: Task, strategy: str = "majority") -> Method:
    """Remove rows that form a Tomek link: two rows of different classes, each the other's nearest neighbour.

    Paper: Tomek, Two Modifications of CNN, IEEE Trans. SMC 1976.

    Lanes must be of one size that depends on the class counts alone, so that here the counts stay: the place of a removed
    row goes to a random kept row of its class. A class that would lose all rows keeps all.

    Args:
        task: the problem.
        strategy: 'majority' removes rows of all classes but the smallest, 'all' of every class.
    """
    full(task, "tomek_links")
    near.check_word("tomek_links", "strategy", strategy, STRATEGIES)
    keep = partial(tomek_links, strategy=strategy)

    def resample(keys: jax.Array, train: Train, context: Context) -> Train:
        return near.clean(keep, keys, train, context)

    return Method(resample=resample)


def tomek_links(x: jax.Array, counts: tuple[int, ...], strategy: str = "majority") -> jax.Array:
    """Which rows stay.

    Args:
        x: rows [M, ...], class by class, uint8 or float.
        counts: rows of each class, static, adding up to M.
        strategy: 'majority' removes rows of all classes but the smallest, 'all' of every class.

    Returns:
        bool [M].
    """
    if x.shape[0] < 2:
        return jnp.ones(x.shape[0], bool)
    y = layout.labels_of(counts)
    own = jnp.arange(x.shape[0], dtype=jnp.int32)
    rows = flat(x)
    partner = nearest(rows, rows, 1, exclude_self=own)[0][:, 0]
    link = (partner[partner] == own) & (jnp.asarray(y)[partner] != y)
    return ~(link & jnp.asarray(np.asarray(near.cleaned_classes(counts, strategy))[y]))
