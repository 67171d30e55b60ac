"""SMOTE, then edited nearest neighbours in all classes."""

from functools import partial

import jax

from imbal_jax.lanes import purpose, purposes
from imbal_jax.methods import _neighbours as near
from imbal_jax.methods import smote as over
from imbal_jax.methods.enn import VOTES, enn
from imbal_jax.methods.method import Context, Method, Task, Train
from imbal_jax.methods.smote_tomek import keep_with_new


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
    near.check_count("smote_enn", "enn_k", enn_k)
    near.check_word("smote_enn", "vote", vote, VOTES)
    first = over.make(task, to=to, k=k, space=space).resample
    assert first is not None
    keep = partial(enn, k=enn_k, vote=vote, strategy="all")

    def resample(keys: jax.Array, train: Train, context: Context) -> Train:
        return near.clean(keep, purposes(keys, "clean"), first(purposes(keys, "smote"), train, context), context)

    return Method(resample=resample)


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
    return new, keep_with_new(partial(enn, k=enn_k, vote=vote, strategy="all"), x, counts, wanted, new)
