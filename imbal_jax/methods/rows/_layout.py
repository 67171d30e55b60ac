"""How the rows of a training set lie: class by class, the same counts in every lane; and how new rows join them."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax.data.batches import Pool
from imbal_jax.methods.method import Train


def labels_of(counts: Sequence[int]) -> np.ndarray:
    """Labels int32 [sum(counts)] of rows that lie class by class."""
    return np.repeat(np.arange(len(counts), dtype=np.int32), counts)


def missing_rows(counts: Sequence[int], wanted: Sequence[int]) -> tuple[int, ...]:
    """How many rows each class lacks, 0 where it has enough."""
    return tuple(max(0, want - have) for have, want in zip(counts, wanted, strict=True))


def together(counts: Sequence[int], more: Sequence[int]) -> tuple[int, ...]:
    """Rows of each class, those that are added included."""
    return tuple(n + m for n, m in zip(counts, more, strict=True))


def only(counts: Sequence[int], chosen: Sequence[int]) -> tuple[int, ...]:
    """`counts` of the classes where `chosen` is above 0; 0 elsewhere."""
    return tuple(n if c else 0 for n, c in zip(counts, chosen, strict=True))


def positions_of(counts: Sequence[int], chosen: Sequence[int]) -> np.ndarray:
    """Positions int32 of the rows of the classes where `chosen` is above 0, of rows that lie class by class."""
    return np.flatnonzero(np.asarray(chosen)[labels_of(counts)] > 0).astype(np.int32)


def repeats(key: jax.Array, counts: Sequence[int], more: Sequence[int]) -> jax.Array:
    """Positions int32 [sum(more)] of random rows, with replacement, `more` of each class, of rows that lie class by class."""
    starts = np.cumsum(counts) - counts
    drawn = [
        start + jax.random.randint(jax.random.fold_in(key, label), (many,), 0, have)
        for label, (start, have, many) in enumerate(zip(starts.tolist(), counts, more, strict=True))
        if many
    ]
    return jnp.concatenate([jnp.zeros(0, jnp.int32), *drawn])


def joined(train: Train, x: jax.Array, parents: np.ndarray, missing: Sequence[int], real: int) -> Train:
    """The training sets with new rows in them, class by class, as every pool's rows lie.

    Args:
        train: the training sets before.
        x: new rows [L, S, ...], class by class.
        parents: int32 [L, S, P], row numbers in the real training set, or -1.
        missing: new rows of each class, adding up to S.
        real: rows of the real training set.
    """
    lanes, old = train.pool.rows.shape[0], train.pool.new_x.shape[1]
    total = sum(missing)
    fresh = jnp.broadcast_to(real + old + jnp.arange(total, dtype=jnp.int32), (lanes, total))
    rows = jnp.concatenate([train.pool.rows, fresh], axis=1)[:, appended_by_class(train.counts, missing)]
    labels = jnp.broadcast_to(jnp.asarray(labels_of(missing)), (lanes, total))
    pool = Pool(
        rows,
        jnp.concatenate([train.pool.new_x, x], axis=1),
        jnp.concatenate([train.pool.new_y, labels], axis=1),
    )
    width = max(train.parents.shape[2], parents.shape[2])
    parents = np.concatenate([widened(train.parents, width), widened(parents, width)], axis=1)
    return Train(pool, together(train.counts, missing), parents)


def appended_by_class(counts: Sequence[int], missing: Sequence[int]) -> np.ndarray:
    """The order int [M + S] that brings rows and new rows after them, each class by class, together class by class."""
    return np.argsort(np.concatenate([labels_of(counts), labels_of(missing)]), kind="stable")


def widened(parents: np.ndarray, width: int) -> np.ndarray:
    """Parents [L, S, P] as [L, S, width], with -1 where there is none."""
    return np.pad(parents, ((0, 0), (0, 0), (0, width - parents.shape[2])), constant_values=-1)
