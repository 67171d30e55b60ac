"""Pictures of what the arms do to images, before and after, made by the same hooks as the training step; once a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax import methods
from imbal_jax.arms import Arm
from imbal_jax.data.batches import Batch, Pool, Shared, by_class, pick
from imbal_jax.data.dataset import rank_in_class
from imbal_jax.data.storage_types import pixels
from imbal_jax.methods import Train
from imbal_jax.methods.recipe import transform
from imbal_jax.report.grids import Block, transformed
from imbal_jax.report.style import slug
from imbal_jax.runtime.lanes import purpose
from imbal_jax.stages.context import Chunk

MOST_ARMS = 6
NINE = 9  # images of a picture
HALFWAY = 0.5  # progress of the training, for methods that depend on it
NAMED = 0.05  # smaller parts of a mixed label are summed up as 'others'
SHOWN = 0.005  # still smaller parts are not shown


def draw(chunk: Chunk, arms: Sequence[Arm], train: Train) -> None:
    """Draw plots/transformed-ARM.png for arms that make rows from others, or change images in the training step.

    Only for the chunk with the first seed, for images with one or three channels, for at most six arms, and once.

    Args:
        chunk: the chunk; its first lane is shown.
        arms: of a group, which share the training set.
        train: the training set after the arms' resamplers.
    """
    shape = chunk.task.shape
    if not chunk.pictured or len(shape) != 3 or shape[-1] not in (1, 3):
        return
    plots = chunk.workdir / "plots"
    for arm in arms:
        path = plots / f"transformed-{slug(arm.name)}.png"
        if not path.exists() and len(list(plots.glob("transformed-*.png"))) < MOST_ARMS:
            _draw(chunk, arm, train, path)


def _draw(chunk: Chunk, arm: Arm, train: Train, path: Path) -> None:
    bands = {
        "rows made before the training": blocks_of_made_rows(chunk, train),
        "images in the training step": blocks_of_step(chunk, arm, train),
    }
    bands = {line: blocks for line, blocks in bands.items() if blocks}
    if bands:
        path.parent.mkdir(parents=True, exist_ok=True)
        transformed(path, arm.name, bands)


def blocks_of_made_rows(chunk: Chunk, train: Train) -> list[Block]:
    """Nine rows that a method made from others in the first lane, and the rows that they were made from; [] without any."""
    if not train.parents.shape[2]:
        return []
    training, y = chunk.data.train, np.asarray(train.pool.new_y[0])
    rows = np.asarray(train.pool.rows[0])
    made_rows = np.unique(rows[rows >= len(training.y)]) - len(
        training.y
    )  # a later method may have dropped some of the new rows
    made_rows = made_rows[train.parents[0, made_rows, 0] >= 0]
    nine = made_rows[by_turns(y[made_rows], chunk.task.minority)]
    if not nine.size:
        return []
    names = [chunk.task.class_names[label] for label in y[nine]]
    blocks = []
    for head, parents in zip(("made of", "and of"), train.parents[0, nine].T, strict=False):
        if (parents >= 0).any():
            blocks.append(Block(head, [pixels(training.x[row]) if row >= 0 else None for row in parents], names))
    return [*blocks, Block("made", list(pixels(train.pool.new_x[0, nine])), names)]


def blocks_of_step(chunk: Chunk, arm: Arm, train: Train) -> list[Block]:
    """Nine rows of the first lane's training set before and after the training step's transforms; [] if there are none."""
    task, counts = chunk.task, train.counts
    step = methods.part(arm.spec, task, methods.STEP)
    if not step or not methods.recipe_of(step, task, counts).transforms:
        return []
    index = by_turns(np.repeat(np.arange(len(counts)), counts), task.minority)

    def run(key: jax.Array, pool: Pool, shared: Shared, values: dict[str, jax.Array]) -> tuple[Batch, Batch]:
        recipe, progress = methods.recipe_of(step, task, counts, values), jnp.float32(HALFWAY)

        def batch_at(index: jax.Array) -> Batch:
            x, y = pick(pool, shared, index)
            return Batch(x, jax.nn.one_hot(y, len(counts), dtype=x.dtype))

        def again(key: jax.Array, p: jax.Array | None) -> Batch:
            p = recipe.sample(progress) if p is None and recipe.sample is not None else p
            if p is None:
                return batch_at(jax.random.randint(key, index.shape, 0, sum(counts)))
            return batch_at(by_class(key, p, counts, index.shape[0]))

        first = batch_at(jnp.asarray(index))
        return first, transform(recipe, key, first, again, progress)

    program = chunk.program(("picture", methods.skeleton(step), counts), lambda: jax.jit(run))
    pool = jax.tree.map(lambda leaf: np.asarray(leaf[0]), train.pool)
    values = {name: jnp.float32(value) for name, value in methods.numbers(step).items()}
    before, after = program(purpose(chunk.keys[0], "picture"), pool, chunk.shared, values)
    return [_block("before", before, task.class_names), _block("after", after, task.class_names)]


def by_turns(y: np.ndarray, minority: Sequence[int]) -> np.ndarray:
    """Nine positions in y [N], or N if fewer: the first row of each class, minority classes first, then the second rows."""
    return np.lexsort((y, ~np.isin(y, minority), rank_in_class(y)))[:NINE]


def label(t: np.ndarray, names: Sequence[str]) -> str:
    """A soft target [K] as text, with a line for each class: '0.73 Sneaker', '+ 0.27 Bag'; for a hard one, the class's name."""
    order = np.argsort(-t, kind="stable")
    parts = [(float(t[k]), names[k]) for k in order if t[k] >= SHOWN or k == order[0]]
    if parts[0][0] > 1 - SHOWN:
        return parts[0][1]
    named = [part for i, part in enumerate(parts) if i == 0 or len(parts) == 2 or part[0] >= NAMED]
    rest = 1.0 - sum(share for share, _ in named)
    named += [(rest, "others")] if rest >= SHOWN else []
    return "\n+ ".join(f"{share:.2f} {name}" for share, name in named)


def _block(head: str, batch: Any, names: Sequence[str]) -> Block:
    images = pixels(batch.x)
    return Block(head, list(images), [label(t, names) for t in np.asarray(batch.t, np.float64)])
