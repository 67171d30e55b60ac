"""SMOTE, then the removal of Tomek links in all classes."""

from functools import partial

import jax

from imbal_jax.methods.method import Method, Task
from imbal_jax.methods.rows import _layout as layout
from imbal_jax.methods.rows import _neighbours as near
from imbal_jax.methods.rows import smote as over
from imbal_jax.methods.rows.tomek_links import tomek_links
from imbal_jax.runtime.lanes import purpose


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
    keep = partial(tomek_links, strategy="all")
    return near.filled_then_cleaned(over.make(task, to=to, k=k, space=space), keep)


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
    missing = layout.missing_rows(counts, wanted)
    return new, near.keep_with_new(partial(tomek_links, strategy="all"), x, counts, new, missing)
