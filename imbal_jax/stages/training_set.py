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
from imbal_jax.stages.context import Chunk, Common, load_common

SPLITS = 8  # by whole groups, one of which each lane draws its validation rows from


def prepare(
    config: Any,
    workdir: Path,
    common: Common | None = None,
    seeds: Sequence[int] | None = None,
    point: tuple[tuple[str, Value], ...] = (),
) -> Chunk:
    """Make the lanes' keys, training sets with the induced imbalance, and validation rows.

    Args:
        config: the experiment's ConfigDict, at one point of its grid.
        workdir: the folder of the results.
        common: default: made from the config.
        seeds: one per lane; default: all of the config.
        point: (field, value) of that point that need programs of their own.

    Raises:
        UserError: as `load_common`; an induced imbalance that the data does not allow.
    """
    common = common or load_common(config)
    dataset = common.data
    config_seeds = seeds_asked.of(config.seeds)
    chosen = tuple(config_seeds if seeds is None else seeds)
    keys = lanes.lane_keys(config.seed, chosen)
    rows, share = dataset.train, config.data.validation
    if share and (share >= 1 or not np.array_equal(rows.groups, rows.ids)):
        split_key = ("set aside", share, config.seed, *(zlib.crc32(part.tobytes()) for part in (rows.y, rows.groups)))
        if split_key not in common.programs:  # computed once for all chunks and points of a grid
            common.programs[split_key] = _set_aside(rows, share, config.seed)
        train, validation = _cut_each(config, dataset, common.programs[split_key], keys)
    else:
        train, validation = _hold_out(_cut(config, dataset, np.arange(len(rows.y), dtype=np.int32), keys), share, keys)
    minority = tuple(sorted(imbalance.minority(train.counts)))
    task = Task(train.counts, dataset.fraction, dataset.class_names, dataset.train.x.shape[1:], minority)
    folder = workdir / "checkpoints" / f"seeds-{ranges(chosen)}" / point_text(point)  # nothing more without a grid
    return Chunk(config, point, workdir, folder, common, chosen, keys, train, validation, task, config_seeds[0] in chosen)


class Aside(NamedTuple):
    """Splits of the training rows that lanes draw from, all with the same number of rows of each class.

    Attributes:
        train: row numbers [P, T] that can be trained on, ascending.
        held: row numbers [P, V] that are held out, ascending.
    """

    train: np.ndarray
    held: np.ndarray


def _set_aside(rows: data.Rows, validation: float, seed: int) -> Aside:
    """The splits into training and validation rows that are made before the induced imbalance.

    For a share there are up to 8 equally good splits by whole groups, see `data.split`. Lanes need arrays of the same shape,
    and a lane's rows must not depend on the other lanes. So each split is reduced, by leaving out random rows, to the smallest
    number of rows of each class that any split has on that side.

    Args:
        rows: the training rows.
        validation: a number of rows, the first ones; or a share, drawn by whole groups.
        seed: for the drawing.
    """
    number = np.arange(len(rows.y), dtype=np.int32)
    if validation < 1:
        held = split.several(rows.y, rows.groups, validation, seed, SPLITS, complete=False)
        return Aside(*(_alike(rows.y, sides, (seed, side)) for side, sides in enumerate((~held, held))))
    first = int(validation)
    if first >= len(number):
        raise UserError(f"config.data.validation must be below the number of training rows, {len(number)} (got {first})")
    rest = number[first:]  # without rows in the group of a held-out row
    return Aside(rest[~np.isin(rows.groups[first:], rows.groups[:first])][None], number[None, :first])


def _alike(y: np.ndarray, sides: np.ndarray, seed: tuple[int, int]) -> np.ndarray:
    """Row numbers int32 [P, M] of the masks `sides` [P, N], reduced to the fewest rows of each class that any mask has."""
    fewest = np.min([np.bincount(y[side], minlength=int(y.max()) + 1) for side in sides], axis=0)
    random = np.random.default_rng(seed)
    reduced = []
    for side in sides:
        shuffled = random.permutation(np.flatnonzero(side))
        reduced.append(np.sort(shuffled[rank_in_class(y[shuffled]) < fewest[y[shuffled]]]))
    return np.stack(reduced).astype(np.int32)


def _cut_each(config: Any, dataset: data.Dataset, aside: Aside, keys: jax.Array) -> tuple[Train, jax.Array]:
    """The lanes' training sets, each subsampled from the split that its key draws, and their validation rows [L, V]."""
    splits = len(aside.train)
    draw = jax.vmap(lambda key: jax.random.randint(key, (), 0, splits))
    split_of_lane = np.asarray(draw(lanes.purposes(keys, "validation")))
    lane_rows: list[Any] = [None] * len(split_of_lane)
    for number in np.unique(split_of_lane):
        lanes_of_split = np.flatnonzero(split_of_lane == number)
        cut = _cut(config, dataset, aside.train[number], keys[lanes_of_split])
        for lane, rows in zip(lanes_of_split, np.asarray(cut.pool.rows), strict=True):
            lane_rows[lane] = rows
    return unbalanced(np.stack(lane_rows), cut.counts, dataset.train.x), jnp.asarray(aside.held[split_of_lane])


def _cut(config: Any, dataset: data.Dataset, rows: np.ndarray, keys: jax.Array) -> Train:
    """The lanes' training sets, subsampled from these rows of the data set."""
    y = dataset.train.y[rows]
    available = np.bincount(y, minlength=len(dataset.class_names))
    counts = imbalance.target_counts(config.cut.profile, available, dataset.fraction)
    chosen = imbalance.cut(y, counts, config.cut.draw, keys)
    by_class = np.take_along_axis(chosen, np.argsort(y[chosen], axis=1, kind="stable"), axis=1)
    return unbalanced(rows[by_class], tuple(int(n) for n in counts), dataset.train.x)


def _hold_out(train: Train, share: float, keys: jax.Array) -> tuple[Train, jax.Array]:
    """The training sets without `share` of each class's rows, drawn for each lane, and those rows [L, V].

    At least one row of a class is held out, and at least one is kept: a class with a single row has no validation row.
    """
    rows = train.pool.rows
    if not share:
        return train, rows[:, :0]
    held_counts = tuple(min(max(1, round(share * n)), n - 1) if n else 0 for n in train.counts)

    def one(key: jax.Array, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        held_rows, kept_rows, start = [], [], 0
        for label, (n, away) in enumerate(zip(train.counts, held_counts, strict=True)):
            shuffled = jax.random.permutation(jax.random.fold_in(key, label), rows[start : start + n])
            held_rows.append(shuffled[:away])
            kept_rows.append(jnp.sort(shuffled[away:]))
            start += n
        return jnp.concatenate(held_rows), jnp.concatenate(kept_rows)

    held_rows, kept_rows = jax.jit(jax.vmap(one))(lanes.purposes(keys, "validation"), rows)
    kept_counts = tuple(n - away for n, away in zip(train.counts, held_counts, strict=True))
    return train._replace(pool=train.pool._replace(rows=kept_rows), counts=kept_counts), held_rows


def unbalanced(rows: np.ndarray, counts: tuple[int, ...], x: np.ndarray | jax.Array) -> Train:
    """A training set of real rows only: numbers [L, M] of rows of x, ordered by class."""
    lane_count = rows.shape[0]
    pool = Pool(jnp.asarray(rows), jnp.zeros((lane_count, 0, *x.shape[1:]), x.dtype), jnp.zeros((lane_count, 0), jnp.int32))
    return Train(pool, counts, np.zeros((lane_count, 0, 0), np.int32))


def class_rows(chunk: Chunk, label: int, lane: int = 0) -> np.ndarray:
    """The row numbers of a class in a lane's training set."""
    start = sum(chunk.train.counts[:label])
    return np.asarray(chunk.train.pool.rows[lane, start : start + chunk.train.counts[label]])
