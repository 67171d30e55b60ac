"""SMOTE, then edited nearest neighbours in all classes."""

from functools import partial

import jax

from imbal_jax.methods.method import Method, Task, check_range
from imbal_jax.methods.rows import _layout as layout
from imbal_jax.methods.rows import _neighbours as near
from imbal_jax.methods.rows import smote as over
from imbal_jax.methods.rows.enn import VOTES, enn
from imbal_jax.runtime.lanes import purpose


def make(
    task: Task,
    to: int | float | str | dict = "max",
    k: int = 5,
    enn_k: int = 3,
    vote: str = "all",
    space: str = "raw",
) -> Method:
    """SMOTE up to `to` rows, then remove the rows of all classes, new ones included, that their neighbours do not confirm.

    Paper: Batista, Prati, Monard, A Study of the Behavior of Several Methods for Balancing..., SIGKDD Explorations 2004.

    The class counts are those after SMOTE: the place of a removed row goes to a random kept row of its class.

    Args:
        task: the problem.
        to: as in `smote`.
        k: neighbours of SMOTE.
        enn_k: neighbours that vote in the cleaning.
        vote: 'all' or 'mode', as in `enn`.
        space: where SMOTE searches neighbours, as in `smote`; the cleaning looks at raw rows.
    """
    check_range("smote_enn", "enn_k", enn_k, 1)
    near.check_word("smote_enn", "vote", vote, VOTES)
    keep = partial(enn, k=enn_k, vote=vote, strategy="all")
    return near.filled_then_cleaned(over.make(task, to=to, k=k, space=space), keep)


def smote_enn(
    key: jax.Array,
    x: jax.Array,
    counts: tuple[int, ...],
    wanted: tuple[int, ...],
    k: int = 5,
    enn_k: int = 3,
    vote: str = "all",
) -> tuple[near.New, jax.Array]:
    """New rows, and which of all rows stay.

    Args:
        key: typed key.
        x: rows [M, ...], class by class, uint8 or float.
        counts: rows of each class, static, adding up to M.
        wanted: rows of each class before the cleaning, static.
        k: neighbours of SMOTE.
        enn_k: neighbours that vote.
        vote: 'all' or 'mode', as in `enn`.

    Returns:
        the `New` rows of SMOTE and bool [M + S]: x's rows first, then the new ones.
    """
    new = over.smote(purpose(key, "smote"), x, counts, wanted, k)
    missing = layout.missing_rows(counts, wanted)
    return new, near.keep_with_new(partial(enn, k=enn_k, vote=vote, strategy="all"), x, counts, new, missing)
