"""Edited nearest neighbours: rows whose neighbours are of other classes are removed."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax.data.storage_types import flat
from imbal_jax.methods.method import Context, Method, Task, Train, check_range, full
from imbal_jax.methods.rows import _layout as layout
from imbal_jax.methods.rows import _neighbours as near
from imbal_jax.methods.rows.tomek_links import STRATEGIES
from imbal_jax.ops.knn import nearest

VOTES = ("all", "mode")


def make(task: Task, k: int = 3, vote: str = "all", strategy: str = "majority") -> Method:
    """Remove rows that their k nearest neighbours do not confirm.

    Paper: Wilson, Asymptotic Properties of Nearest Neighbor Rules Using Edited Data, IEEE Trans. SMC 1972.

    Lanes must be of one size that depends on the class counts alone, so that here the counts stay: the place of a removed
    row goes to a random kept row of its class. A class that would lose all rows keeps all.

    Args:
        task: the problem.
        k: neighbours that vote.
        vote: 'all' keeps a row if all neighbours are of its class; 'mode' if its class is the most frequent among them
            (of equally frequent ones, the first counts).
        strategy: 'majority' removes rows of all classes but the smallest, 'all' of every class.
    """
    full(task, "enn")
    check_range("enn", "k", k, 1)
    near.check_word("enn", "vote", vote, VOTES)
    near.check_word("enn", "strategy", strategy, STRATEGIES)
    keep = partial(enn, k=k, vote=vote, strategy=strategy)

    def resample(keys: jax.Array, train: Train, context: Context) -> Train:
        return near.clean(keep, keys, train, context)

    return Method(resample=resample)


def enn(x: jax.Array, counts: tuple[int, ...], k: int = 3, vote: str = "all", strategy: str = "majority") -> jax.Array:
    """Which rows stay.

    Args:
        x: rows [M, ...], class by class, uint8 or float.
        counts: rows of each class, static, adding up to M.
        k: neighbours that vote; fewer where there are fewer rows.
        vote: 'all' or 'mode', as in `make`.
        strategy: 'majority' removes rows of all classes but the smallest, 'all' of every class.

    Returns:
        bool [M].
    """
    k = min(k, x.shape[0] - 1)
    if k < 1:
        return jnp.ones(x.shape[0], bool)
    y = layout.labels_of(counts)
    rows = flat(x)
    neighbours, _ = nearest(rows, rows, k, exclude_self=jnp.arange(x.shape[0]))
    neighbour_labels = jnp.asarray(y)[neighbours]
    if vote == "all":
        confirmed = jnp.all(neighbour_labels == y[:, None], axis=1)
    else:
        confirmed = jnp.argmax(jax.nn.one_hot(neighbour_labels, len(counts)).sum(axis=1), axis=1) == y
    return confirmed | ~jnp.asarray(np.asarray(near.cleaned_classes(counts, strategy))[y])
