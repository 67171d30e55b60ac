"""Affine over-sampling: the smaller classes are filled up with transformed copies of their images, made once."""

from functools import partial

import jax
import numpy as np

from imbal_jax.data.batches import Pool, Shared, pick
from imbal_jax.data.storage_types import kept
from imbal_jax.methods.inputs import affine
from imbal_jax.methods.method import Context, Method, Task, Train, at_least
from imbal_jax.methods.rows import _layout as layout
from imbal_jax.models.inference import in_batches
from imbal_jax.ops import warp
from imbal_jax.runtime.lanes import purpose


def make(
    task: Task,
    to: int | float | str | dict = "max",
    rotation: float = 15.0,
    shear: float = 10.0,
    zoom: float | str = 0.1,
    translation: float = 0.1,
    fill: str = "constant",
) -> Method:
    """Fill each class up to `to` rows with images of the class, drawn with replacement and each transformed at random once.

    The same transforms as `affine`, but they stay the same in every epoch, and the rows take up memory.

    Args:
        task: the problem.
        to: as many rows for each class at least: 'max' (the largest class), a number of rows of the published training
            set, a share of the largest class, or a dict class: rows.
        rotation: degrees, drawn from -rotation to rotation.
        shear: degrees, drawn from -shear to shear.
        zoom: factors drawn from 1 - zoom to 1 + zoom, or 'low,high'; below 1 magnifies.
        translation: share of the height and width, drawn from -translation to translation.
        fill: 'constant' (black), 'nearest', 'reflect' or 'wrap': what lies outside an image.
    """
    ranges = affine.read_ranges("affine_over", task, rotation, shear, zoom, translation, fill)
    wanted = at_least(to, task, f"affine_over(to={to})")

    def resample(keys: jax.Array, train: Train, context: Context) -> Train:
        missing = layout.missing_rows(train.counts, wanted)
        if not any(missing):
            return train
        draw = partial(_draw, train.counts, missing, ranges)
        images, bases = context.over_lanes(draw)((), (keys, train.pool), context.shared)
        real = context.shared.x.shape[0]
        parents = inherited(np.asarray(train.pool.rows), train.parents, np.asarray(bases), real)
        return layout.joined(train, images, parents, missing, real)

    return Method(resample=resample)


def transformed(
    key: jax.Array,
    pool: Pool,
    shared: Shared,
    counts: tuple[int, ...],
    more: tuple[int, ...],
    ranges: affine.Ranges,
    batch: int = 500,
) -> tuple[jax.Array, jax.Array]:
    """Randomly transformed images of each class.

    Args:
        key: typed key [].
        pool: one lane's training set of images [H, W, C], class by class.
        shared: the real rows.
        counts: the pool's rows of each class, [K].
        more: images to make of each class, [K]; 0 for a class without rows.
        ranges: what the transforms are drawn from.
        batch: images warped at a time, which bounds the memory.

    Returns:
        uint8 [sum(more), H, W, C], class by class, and int32 [sum(more)]: the pool's row that each was made from.
    """
    bases = layout.repeats(purpose(key, "rows"), counts, more)
    height, width, _ = shared.x.shape[1:]
    matrices = affine.random_matrices(purpose(key, "transforms"), sum(more), (height, width), ranges)

    def warped(rows: jax.Array, matrix: jax.Array) -> jax.Array:
        x, _ = pick(pool, shared, rows)
        return kept(warp.affine(x, matrix, fill=ranges.fill), shared.x.dtype)

    return in_batches(warped, (bases, matrices), batch), bases


def inherited(rows: np.ndarray, parents: np.ndarray, bases: np.ndarray, real: int) -> np.ndarray:
    """The parents of new rows that were each made from one row of the pools.

    Args:
        rows: the pools' row numbers, int32 [L, M].
        parents: the parents of the new rows there are, int32 [L, S, P].
        bases: the pool's row that each was made from, int32 [L, S2].
        real: number of real rows.

    Returns:
        int32 [L, S2, max(P, 1)]: a real row is its copy's parent; a copy of a new row has that row's parents.
    """
    width = max(parents.shape[2], 1)
    known = layout.widened(parents, width)
    numbers = np.take_along_axis(rows, bases, axis=1)
    further = np.full((*bases.shape, width), -1, np.int32)
    further[:, :, 0] = numbers
    lane, at = np.nonzero(numbers >= real)
    further[lane, at] = known[lane, numbers[lane, at] - real]
    return further


def _draw(counts, missing, ranges, lane, shared: Shared) -> tuple[jax.Array, jax.Array]:
    _, (key, pool) = lane
    return transformed(key, pool, shared, counts, missing, ranges)
