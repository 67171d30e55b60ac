"""Selects the state of a GAN's training that rows are drawn from: the last, or the best on held-out rows."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax.data.batches import Inputs, Shared, gather
from imbal_jax.evaluate import generators
from imbal_jax.gan import sample
from imbal_jax.gan import step as gan_step
from imbal_jax.methods.rows.gan_synth import TrainedClassifier
from imbal_jax.models.inference import apply_in_batches
from imbal_jax.runtime.lanes import purpose
from imbal_jax.stages.context import Chunk
from imbal_jax.train import loop, selection

SELECT = ("last", "frechet")
FOLDER = "chosen"  # beside the generator checkpoints: the selected generators and their epochs
FEWEST = 10  # validation rows of a class that are needed to choose a state; with fewer, the last state is taken
ENOUGH = 100  # rows per side if the classes have fewer real ones: drawing many large images takes as long as the epochs


def start(state: gan_step.State) -> gan_step.State:
    """A lane's state with a place for its best state."""
    return state._replace(best=selection.start(_drawn_from(state)))


def chosen(state: gan_step.State) -> tuple[Any, Any]:
    """The variables of the selected generator and discriminator: of the best state, if one is saved."""
    return _drawn_from(state) if state.best is None else state.best.variables


Recompute = Callable[
    [tuple[Any, Any], Inputs, Shared], tuple[Any, Any]
]  # a lane's generator and discriminator, with new statistics


def evaluate_epoch(
    chunk: Chunk,
    nets: gan_step.Nets,
    plain: TrainedClassifier,
    every: int,
    last: int,
    inputs: Inputs,
    recompute: Recompute = lambda variables, inputs, shared: variables,
) -> loop.EpochEvaluator:
    """A function that measures all lanes at the end of every `every`-th epoch and of the last, and saves their best states.

    The metric of a lane is the Frechet distance between its generated rows and the held-out rows of its class (for a
    conditional GAN the mean over the classes with enough of them), in the features of the classifier that was trained on the
    seed's real rows alone. Neither the test set nor the GAN's training rows are used. A GAN without enough held-out rows of any
    of its classes has no value (NaN), and its last state is selected.

    Args:
        chunk: the chunk, with `min_lanes` for the lanes of all GANs.
        nets: the static part of the GANs.
        plain: the classifiers of all seeds, leaves of `params` [L, ...].
        every: epochs between two measurements.
        last: the number of the last epoch.
        inputs: of the training's lanes.
        recompute: recomputes the batch statistics of a lane's networks before rows are drawn; by default nothing.
    """
    enough = judged_classes(chunk)
    groups = _groups(chunk, nets.own)
    row_count = rows_a_side(chunk.config.quality.samples, [chunk.train.counts[label] for labels in groups for label in labels])
    rows = jnp.asarray(np.concatenate([_compared(chunk, labels, row_count) for labels in groups]))
    weights = np.array([[label in enough for label in labels] for labels in groups], np.float32)
    counted = jnp.repeat(jnp.asarray(weights), len(chunk.seeds), axis=0)
    drawn_labels = jnp.repeat(jnp.asarray(groups, jnp.int32), len(chunk.seeds), axis=0)
    params = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * len(groups)), plain.params)
    keys = jnp.concatenate([chunk.keys] * len(groups))
    run = chunk.program(
        ("gan choice", plain.model, str(chunk.config.gan)),
        lambda: chunk.over_lanes(partial(_look, nets, plain.model, recompute)),
    )

    def at(epoch: int, means: dict[str, np.ndarray], state: gan_step.State) -> loop.EpochEvaluation:
        if epoch % every and epoch != last:
            return loop.EpochEvaluation(state, {}, False)
        lane_arrays = (keys, params, rows, drawn_labels, counted, inputs)
        state, figure = run(state, lane_arrays, (chunk.shared, jnp.asarray(epoch, jnp.int32)))
        return loop.EpochEvaluation(state, {"val_frechet": np.asarray(figure)}, False)

    return at


def _look(
    nets: gan_step.Nets, model: Any, recompute: Recompute, lane: Any, shared: tuple[Shared, jax.Array]
) -> tuple[gan_step.State, jax.Array]:
    (state, (key, params, rows, labels, counted, inputs)), (real, epoch) = lane, shared
    drawn_from = recompute(_drawn_from(state), inputs, real)
    row_count = rows.shape[1]
    z = sample.latents(purpose(key, "choice"), (labels.shape[0] * row_count, nets.latent), "normal")
    y = jnp.repeat(labels, row_count)
    fake = sample.generate(nets.generator, drawn_from[0], z, y, nets.classes, dtype=real.x.dtype)
    features = jax.tree.map(
        lambda x: x.reshape(labels.shape[0], row_count, -1),
        [apply_in_batches(model, params, x)[1] for x in (gather(real.x, rows.ravel()), fake)],
    )
    distances = jnp.stack([generators.frechet(features[0][i], features[1][i]) for i in range(labels.shape[0])])
    any_counts = counted.sum() > 0
    distance = jnp.sum(jnp.where(counted > 0, distances, 0.0)) / counted.sum()  # NaN where no class counts
    figure = jnp.where(jnp.isfinite(distance), -distance, jnp.where(any_counts, -jnp.inf, epoch.astype(jnp.float32)))
    best = selection.update(state.best, drawn_from, figure, epoch, 0)
    return state._replace(best=best), distance


def _drawn_from(state: gan_step.State) -> tuple[Any, Any]:
    return gan_step.sampler(state), state.discriminator


def rows_a_side(samples: int, counts: Sequence[int]) -> int:
    """The number of real rows, and of generated ones, that are compared: `samples`, or less if all classes are smaller.

    Args:
        samples: `config.quality.samples`.
        counts: training rows of each class that has a generator.
    """
    return max(2 * FEWEST, min(samples, max(ENOUGH, *counts)))


def judged_classes(chunk: Chunk) -> tuple[int, ...]:
    """The classes with enough held-out rows to choose a state by; the same for all seeds."""
    held = np.bincount(chunk.data.train.y[np.asarray(chunk.validation[0])], minlength=len(chunk.task.counts))
    return tuple(int(label) for label in np.flatnonzero(held >= FEWEST))


def not_judged(chunk: Chunk, own: tuple[int, ...]) -> dict[int | None, str]:
    """Warnings about GANs whose state is not chosen by all of their classes: class number (None for one GAN of all) -> text.

    Args:
        chunk: the chunk.
        own: the classes with one GAN each; () for one conditional GAN.
    """
    enough, names = judged_classes(chunk), chunk.task.class_names
    messages: dict[int | None, str] = {}
    for labels in _groups(chunk, own):
        if lacking := [names[label] for label in labels if label not in enough]:
            few = f"fewer than {FEWEST} held-out rows of class {', '.join(lacking)} (gan.select='frechet')"
            how = "the other classes decide" if len(lacking) < len(labels) else "the last state is used"
            messages[labels[0] if own else None] = f"{few}: {how}; hold out more with config.data.validation"
    return messages


def rule(chunk: Chunk, own: tuple[int, ...]) -> str:
    """How the states of the GANs are selected, as a field of the rows: 'last', 'frechet', or 'frechet; last for F, Q'."""
    if chunk.config.gan.select == "last":
        return "last"
    enough, names = judged_classes(chunk), chunk.task.class_names
    last = [", ".join(names[k] for k in labels) for labels in _groups(chunk, own) if not set(labels) & set(enough)]
    if not own:
        return "last" if last else "frechet"
    return f"frechet; last for {', '.join(last)}" if 0 < len(last) < len(own) else ("last" if last else "frechet")


def _groups(chunk: Chunk, own: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The classes of each GAN: its own one, or all classes with rows."""
    return [(label,) for label in own] or [tuple(k for k, n in enumerate(chunk.task.counts) if n)]


def _compared(chunk: Chunk, labels: tuple[int, ...], each: int) -> np.ndarray:
    """Row numbers int32 [L, classes, each] of held-out rows of these classes, repeated where there are fewer.

    For a class without held-out rows, other rows: they are not counted, see `judged_classes`.
    """
    held, y = np.asarray(chunk.validation), chunk.data.train.y
    by_lane = []
    for lane_rows in held:
        of_class = [lane_rows[y[lane_rows] == label] for label in labels]
        by_lane.append(np.stack([np.resize(rows if len(rows) else lane_rows, each) for rows in of_class]))
    return np.stack(by_lane).astype(np.int32)
