"""SMOTE, then the removal of Tomek links in all classes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax.lanes import purpose, purposes
from imbal_jax.methods import _layout as layout
from imbal_jax.methods import _neighbours as near
from imbal_jax.methods import smote as over
from imbal_jax.methods.method import Context, Method, Task, Train
from imbal_jax.methods.tomek_links import tomek_links


def make(task: Task, to: int | float | str | dict = "max", k: int = 5, space: str = "raw") -> Method:
    """SMOTE up to `to` rows, then clean all classes, new rows included, of Tomek links.

    Paper: Batista, Prati, Monard, A Study of the Behavior of Several Methods for Balancing..., SIGKDD Explorations 2004.

    The class counts are those after SMOTE: the place of a removed row goes to a random kept row of its class.

    Args:
        task: the problem.
        to: as in `smote`.
        k: neighbours of SMOTE.
        space: where SMOTE searches neighbours, as in `smote`; links are found between raw rows.
    """
    first = over.make(task, to=to, k=k, space=space).resample
    assert first is not None
    keep = partial(tomek_links, strategy="all")

    def resample(keys: jax.Array, train: Train, context: Context) -> Train:
        return near.clean(keep, purposes(keys, "clean"), first(purposes(keys, "smote"), train, context), context)

    return Method(resample=resample)


def smote_tomek(
    key: jax.Array, x: jax.Array, counts: tuple[int, ...], wanted: tuple[int, ...], k: int = 5
) -> tuple[near.New, jax.Array]:
    """New rows, and which of all rows stay.

    Args:
        key: typed key.
        x: rows [M, ...], class by class, uint8 or float.
        counts: rows of each class, static, adding up to M.
        wanted: rows of each class before the cleaning, static.
        k: neighbours of SMOTE.

    Returns:
        the `New` rows of SMOTE and bool [M + S]: x's rows first, then the new ones.
    """
    new = over.smote(purpose(key, "smote"), x, counts, wanted, k)
    return new, keep_with_new(partial(tomek_links, strategy="all"), x, counts, wanted, new)


def keep_with_new(keep_of, x: jax.Array, counts: tuple[int, ...], wanted: tuple[int, ...], new: near.New) -> jax.Array:
    """`keep_of(rows, counts)` for the rows and new rows together: bool [M + S], x's rows first, then the new ones."""
    missing = layout.missing_rows(counts, wanted)
    order = layout.appended_by_class(counts, missing)
    together = tuple(n + m for n, m in zip(counts, missing, strict=True))
    return keep_of(jnp.concatenate([x, new.x])[order], together)[np.argsort(order)]
