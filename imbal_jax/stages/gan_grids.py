"""Pictures of generated rows beside real ones, class by class, with the same latent vectors at every epoch."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from imbal_jax.artifacts import checkpoint
from imbal_jax.data.storage_types import floats, pixels
from imbal_jax.errors import UserError
from imbal_jax.gan import sample
from imbal_jax.gan import step as gan_step
from imbal_jax.report import grids, signal_plots
from imbal_jax.runtime.lanes import purpose
from imbal_jax.stages.context import Chunk
from imbal_jax.stages.training_set import class_rows

MOST_SIGNALS = 200  # of a class, for its median and band
MOST_STRIP = 16  # rows of a film strip, and its approximate number of columns
SQUARE = 7  # side of the square of images that each class gets if there are at most FEW classes
FEW = 3


def draw(chunk: Chunk, nets: gan_step.Nets, weights: Any, path: Path, title: str, each: int = 8) -> None:
    """Draw the first lane's generated rows, class by class, beside rows of its training set; the latents never change.

    Args:
        chunk: the chunk.
        nets: the static part of the GANs.
        weights: the generators' variables, seeds stacked.
        path: the PNG to write.
        title: a line above the picture; the point of a grid is added.
        each: images of a class; with at most three classes, each class has a square of 7 x 7 images.
    """
    task, x = chunk.task, chunk.data.train.x
    shown, title = sample.drawable(nets), _at(chunk, title)
    names, rare = [task.class_names[label] for label in shown], {shown.index(k) for k in task.minority if k in shown}
    if len(task.shape) == 2:
        fake = _rows(nets, MOST_SIGNALS, x.dtype, chunk.keys[0], _first(weights))
        real_rows = [floats(x[class_rows(chunk, label)[:MOST_SIGNALS]]) for label in shown]
        single = lambda rows: np.asarray(rows)[..., 0]  # noqa: E731  the first channel
        signal_plots.overlaid(
            path, single(floats(fake)).reshape(len(shown), MOST_SIGNALS, -1), [*map(single, real_rows)], names, rare, title
        )
        return
    row_count, column_count = (SQUARE, SQUARE) if len(shown) <= FEW else (1, each)
    fake = pixels(_rows(nets, row_count * column_count, x.dtype, chunk.keys[0], _first(weights)))
    real = np.ma.masked_all((len(shown), row_count * column_count, *x.shape[1:]), np.uint8)
    for index, label in enumerate(shown):
        rows = class_rows(chunk, label)[: row_count * column_count]
        real[index, : len(rows)] = pixels(x[rows])
    bands = lambda images: images.reshape(len(shown) * row_count, column_count, *x.shape[1:])  # noqa: E731
    labels = [name if row == 0 else "" for name in names for row in range(row_count)]
    grids.sample_grid(path, bands(fake), bands(real), labels, {index * row_count for index in rare}, title)


def film(chunk: Chunk, nets: gan_step.Nets, weights: Any, path: Path) -> None:
    """Draw the first lane's generated images over the training, for the same latents: a row for each of its checkpoints.

    Nothing is drawn of signals, or with fewer than two checkpoints.

    Args:
        chunk: the chunk.
        nets: the static part of the GANs.
        weights: the generators' variables, seeds stacked; the checkpoints hold arrays of the same shapes.
        path: the PNG to write.
    """
    folder = chunk.folder / "generator"
    epochs = checkpoint.steps(folder)
    if len(chunk.task.shape) == 2 or len(epochs) < 2:
        return
    epochs = [epochs[i] for i in np.linspace(0, len(epochs) - 1, min(MOST_STRIP, len(epochs))).round().astype(int)]
    each, dtype = max(1, MOST_STRIP // len(sample.drawable(nets))), chunk.data.train.x.dtype
    strip = {}
    for epoch in epochs:
        try:
            weights_then = checkpoint.restore_step(folder, {"generator": weights}, epoch).state["generator"]
        except UserError as error:  # a missing picture must not stop the run
            logging.warning("the film strip has no epoch %d: %s", epoch, error)
            continue
        strip[f"epoch {epoch}"] = pixels(_rows(nets, each, dtype, chunk.keys[0], _first(weights_then)))
    if strip:
        names = [chunk.task.class_names[label] for label in sample.drawable(nets)]
        order = f"; from left to right {', '.join(names)}" if len(names) > 1 else ""
        title = _at(chunk, f"seed {chunk.seeds[0]}, the same latents through the training{order}")
        grids.sample_grid(path, np.stack([*strip.values()]), None, [*strip], None, title)


def _at(chunk: Chunk, title: str) -> str:
    """The title, with the generator's point of the grid."""
    return f"{title} [{chunk.point_text}]" if chunk.point else title


def _first(weights: Any) -> Any:
    """The first lane's variables."""
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf[0])), weights)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _rows(nets: gan_step.Nets, each: int, dtype: Any, key: jax.Array, params: Any) -> jax.Array:
    """`each` rows of every class that has a generator, class by class; compiled once for all grids of a training."""
    counts = sample.evenly(nets, each)
    z = sample.latents(purpose(key, "grid"), (sum(counts), nets.latent), "normal")
    return sample.draw(nets, params, z, counts, dtype=dtype)
