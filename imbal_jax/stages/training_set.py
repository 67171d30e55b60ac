"""The first stage: the keys of a chunk of seeds, their validation rows and their imbalanced training sets."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax import data
from imbal_jax import seed_range as seeds_asked
from imbal_jax.arms import Value, point_text
from imbal_jax.data import imbalance, split
from imbal_jax.data.batches import Pool
from imbal_jax.data.dataset import rank_in_class
from imbal_jax.errors import UserError
from imbal_jax.methods import Task, Train
from imbal_jax.report.curves import ranges
from imbal_jax.runtime import lanes
from imbal_jax.stages.context import Chunk, Common, begin

SPLITS = 8  # by whole groups, that lanes choose their validation rows from


def prepare(
    config: Any,
    workdir: Path,
    common: Common | None = None,
    seeds: Sequence[int] | None = None,
    point: tuple[tuple[str, Value], ...] = (),
) -> Chunk:
    """Make the lanes' keys and cut their training sets.

    Args:
        config: the experiment's ConfigDict, at one point of its grid.
        workdir: where results go.
        common: default: made from the config.
        seeds: one per lane; default: all of the config.
        point: (field, value) of that point that need programs of their own.

    Raises:
        UserError: as `begin`; a cut that the data does not allow.
    """
    common = common or begin(config)
    dataset = common.data
    asked = seeds_asked.of(config.seeds)
    chosen = tuple(asked if seeds is None else seeds)
    keys = lanes.lane_keys(config.seed, chosen)
    rows, share = dataset.train, config.data.validation
    if share and (share >= 1 or not np.array_equal(rows.groups, rows.ids)):
        of = ("set aside", share, config.seed, *(zlib.crc32(part.tobytes()) for part in (rows.y, rows.groups)))
        if of not in common.programs:  # once for all chunks and points of a grid
            common.programs[of] = _set_aside(rows, share, config.seed)
        train, validation = _cut_each(config, dataset, common.programs[of], keys)
    else:
        train, validation = _hold_out(_cut(config, dataset, np.arange(len(rows.y), dtype=np.int32), keys), share, keys)
    rare = tuple(sorted(imbalance.minority(train.counts)))
    task = Task(train.counts, dataset.fraction, dataset.class_names, dataset.train.x.shape[1:], rare)
    folder = workdir / "checkpoints" / f"seeds-{ranges(chosen)}" / point_text(point)  # nothing more without a grid
    return Chunk(config, point, workdir, folder, common, chosen, keys, train, validation, task, asked[0] in chosen)


class Aside(NamedTuple):
    """Splits of the training rows that lanes choose from, with equally many rows of each class.

    Attributes:
        train: row numbers [P, T] that can be trained on, ascending.
        held: row numbers [P, V] that are held out, ascending.
    """

    train: np.ndarray
    held: np.ndarray


def _set_aside(rows: data.Rows, validation: float, seed: int) -> Aside:
    """What can be trained on and what is held out for validation before the cut.

    Of a share there are up to 8 splits by whole groups, see `data.split`, which are as good as one another. Lanes run side
    by side with arrays of one shape, and a lane's rows must not depend on the other lanes; so each split is brought to the
    fewest rows of each class that any of them has on a side, by leaving out random ones.

    Args:
        rows: the training rows.
        validation: the first so many of them; or a share, drawn by whole groups.
        seed: of that drawing.
    """
    number = np.arange(len(rows.y), dtype=np.int32)
    if validation < 1:
        held = split.several(rows.y, rows.groups, validation, seed, SPLITS, complete=False)
        return Aside(*(_alike(rows.y, sides, (seed, place)) for place, sides in enumerate((~held, held))))
    first = int(validation)
    if first >= len(number):
        raise UserError(f"config.data.validation is {first}, and there are {len(number)} training rows in all: lower it")
    rest = number[first:]  # without those that have the group of a held-out row
    return Aside(rest[~np.isin(rows.groups[first:], rows.groups[:first])][None], number[None, :first])


def _alike(y: np.ndarray, sides: np.ndarray, seed: tuple[int, int]) -> np.ndarray:
    """Row numbers int32 [P, M] of the masks `sides` [P, N], with the fewest rows of each class that any of them has."""
    fewest = np.min([np.bincount(y[side], minlength=int(y.max()) + 1) for side in sides], axis=0)
    random = np.random.default_rng(seed)
    found = []
    for side in sides:
        mine = random.permutation(np.flatnonzero(side))
        found.append(np.sort(mine[rank_in_class(y[mine]) < fewest[y[mine]]]))
    return np.stack(found).astype(np.int32)


def _cut_each(config: Any, dataset: data.Dataset, aside: Aside, keys: jax.Array) -> tuple[Train, jax.Array]:
    """The lanes' training sets, each cut from the split that its key draws, and their validation rows [L, V]."""
    splits = len(aside.train)
    draw = jax.vmap(lambda key: jax.random.randint(key, (), 0, splits))
    which = np.asarray(draw(lanes.purposes(keys, "validation")))
    kept: list[Any] = [None] * len(which)
    for place in np.unique(which):
        mine = np.flatnonzero(which == place)
        cut = _cut(config, dataset, aside.train[place], keys[mine])
        for lane, rows in zip(mine, np.asarray(cut.pool.rows), strict=True):
            kept[lane] = rows
    return unbalanced(np.stack(kept), cut.counts, dataset.train.x), jnp.asarray(aside.held[which])


def _cut(config: Any, dataset: data.Dataset, rows: np.ndarray, keys: jax.Array) -> Train:
    """The lanes' training sets, cut from these rows of the data set."""
    y = dataset.train.y[rows]
    available = np.bincount(y, minlength=len(dataset.class_names))
    counts = imbalance.target_counts(config.cut.profile, available, dataset.fraction)
    kept = imbalance.cut(y, counts, config.cut.draw, keys)
    by_class = np.take_along_axis(kept, np.argsort(y[kept], axis=1, kind="stable"), axis=1)
    return unbalanced(rows[by_class], tuple(int(n) for n in counts), dataset.train.x)


def _hold_out(train: Train, share: float, keys: jax.Array) -> tuple[Train, jax.Array]:
    """The training sets without `share` of each class's rows, drawn for each lane, and those rows [L, V].

    At least one row of a class is held out, and at least one stays: a class of a single row has no validation row.
    """
    rows = train.pool.rows
    if not share:
        return train, rows[:, :0]
    out = tuple(min(max(1, round(share * n)), n - 1) if n else 0 for n in train.counts)

    def one(key: jax.Array, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        held, kept, start = [], [], 0
        for label, (n, away) in enumerate(zip(train.counts, out, strict=True)):
            own = jax.random.permutation(jax.random.fold_in(key, label), rows[start : start + n])
            held.append(own[:away])
            kept.append(jnp.sort(own[away:]))
            start += n
        return jnp.concatenate(held), jnp.concatenate(kept)

    held, kept = jax.jit(jax.vmap(one))(lanes.purposes(keys, "validation"), rows)
    left = tuple(n - away for n, away in zip(train.counts, out, strict=True))
    return train._replace(pool=train.pool._replace(rows=kept), counts=left), held


def unbalanced(rows: np.ndarray, counts: tuple[int, ...], x: np.ndarray | jax.Array) -> Train:
    """A training set of real rows only: numbers [L, M] of rows of x, lying class by class."""
    many = rows.shape[0]
    pool = Pool(jnp.asarray(rows), jnp.zeros((many, 0, *x.shape[1:]), x.dtype), jnp.zeros((many, 0), jnp.int32))
    return Train(pool, counts, np.zeros((many, 0, 0), np.int32))


def class_rows(chunk: Chunk, label: int, lane: int = 0) -> np.ndarray:
    """The row numbers of a class in a lane's cut training set."""
    start = sum(chunk.train.counts[:label])
    return np.asarray(chunk.train.pool.rows[lane, start : start + chunk.train.counts[label]])
