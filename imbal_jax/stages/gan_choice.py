"""Which state of a GAN's training is drawn from: the last, or the nearest to held-out rows."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax.batches import Inputs, Shared, gather
from imbal_jax.errors import UserError, nearest
from imbal_jax.evaluate import generators
from imbal_jax.gan import sample
from imbal_jax.gan import step as gan_step
from imbal_jax.lanes import purpose
from imbal_jax.methods.gan_synth import TrainedClassifier
from imbal_jax.models.inference import apply_in_batches
from imbal_jax.stages.setting import Setting, class_rows
from imbal_jax.train import loop, selection

SELECT = ("last", "frechet")
FOLDER = "chosen"  # beside the generator checkpoints: what the rule came to, and of which epochs
FEWEST = 10  # validation rows of a class; where it has fewer, its training rows are compared with
ENOUGH = 100  # rows a side, where the classes have fewer real ones: drawing many of large images takes as long as the epochs


def check(select: str, validation_rows: int) -> None:
    """Raise UserError for an unknown rule, or one that needs validation rows where there are none."""
    if select not in SELECT:
        raise UserError(f"unknown config.gan.select {select!r}{nearest(select, SELECT)}; known: {', '.join(SELECT)}")
    if select == "frechet" and not validation_rows:
        raise UserError(
            "config.gan.select is 'frechet', which needs validation rows: hold some out with config.data.validation"
        )


def start(state: gan_step.State) -> gan_step.State:
    """A lane's state with room for its best one."""
    return state._replace(best=selection.start(_drawn_from(state)))


def chosen(state: gan_step.State) -> tuple[Any, Any]:
    """The variables of the generator and of the discriminator to go on with, of the best state where one is kept."""
    return _drawn_from(state) if state.best is None else state.best.variables


Anew = Callable[[tuple[Any, Any], Inputs, Shared], tuple[Any, Any]]  # a lane's generator and discriminator, with new statistics


def judge(
    setting: Setting,
    nets: gan_step.Nets,
    plain: TrainedClassifier,
    every: int,
    last: int,
    inputs: Inputs,
    anew: Anew = lambda variables, inputs, shared: variables,
) -> loop.Judge:
    """Looks at all lanes at the end of every so many epochs, and of the last, and keeps their best states.

    A lane's figure is the Frechet distance between its generated rows and the held-out rows of its class (of a conditional GAN
    the mean over the classes), in the features of the classifier that was trained on the seed's real rows alone. The test
    set has no part in it.

    Args:
        setting: of the chunk, with room for the lanes of all GANs.
        nets: the static part of the GANs.
        plain: the classifiers of all seeds, leaves of `params` [L, ...].
        every: epochs.
        last: the number of the last epoch.
        inputs: what the lanes of the training read.
        anew: what is done to a lane's networks before they are drawn from; by default nothing.
    """
    groups: list[tuple[int, ...]] = [(label,) for label in nets.own]
    groups = groups or [tuple(k for k, n in enumerate(setting.task.counts) if n)]
    each = rows_a_side(setting.config.quality.samples, [setting.train.counts[label] for labels in groups for label in labels])
    rows = jnp.asarray(np.concatenate([_compared(setting, labels, each) for labels in groups]))
    wanted = jnp.repeat(jnp.asarray(groups, jnp.int32), len(setting.seeds), axis=0)
    params = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * len(groups)), plain.params)
    keys = jnp.concatenate([setting.keys] * len(groups))
    run = setting.program(
        ("gan choice", plain.model, str(setting.config.gan)),
        lambda: setting.over_lanes(partial(_look, nets, plain.model, anew)),
    )

    def at(epoch: int, means: dict[str, np.ndarray], state: gan_step.State) -> loop.Judged:
        if epoch % every and epoch != last:
            return loop.Judged(state, {}, False)
        state, figure = run(state, (keys, params, rows, wanted, inputs), (setting.shared, jnp.asarray(epoch, jnp.int32)))
        return loop.Judged(state, {"val_frechet": np.asarray(figure)}, False)

    return at


def _look(
    nets: gan_step.Nets, model: Any, anew: Anew, lane: Any, shared: tuple[Shared, jax.Array]
) -> tuple[gan_step.State, jax.Array]:
    (state, (key, params, rows, labels, inputs)), (real, epoch) = lane, shared
    drawn_from = anew(_drawn_from(state), inputs, real)
    each = rows.shape[1]
    z = sample.latents(purpose(key, "choice"), (labels.shape[0] * each, nets.latent), "normal")
    y = jnp.repeat(labels, each)
    fake = sample.generate(nets.generator, drawn_from[0], z, y, nets.classes, dtype=real.x.dtype)
    seen = jax.tree.map(
        lambda x: x.reshape(labels.shape[0], each, -1),
        [apply_in_batches(model, params, x)[1] for x in (gather(real.x, rows.ravel()), fake)],
    )
    distance = jnp.mean(jnp.stack([generators.frechet(seen[0][i], seen[1][i]) for i in range(labels.shape[0])]))
    figure = jnp.where(jnp.isfinite(distance), -distance, -jnp.inf)
    best = selection.update(state.best, drawn_from, figure, epoch, 0)
    return state._replace(best=best), distance


def _drawn_from(state: gan_step.State) -> tuple[Any, Any]:
    return gan_step.sampler(state), state.discriminator


def rows_a_side(samples: int, counts: Sequence[int]) -> int:
    """How many rows are compared with as many generated ones: `samples`, or less where no class has so many.

    Args:
        samples: `config.quality.samples`.
        counts: training rows of each class that has a generator.
    """
    return max(2 * FEWEST, min(samples, max(ENOUGH, *counts)))


def _compared(setting: Setting, labels: tuple[int, ...], each: int) -> np.ndarray:
    """Row numbers int32 [L, classes, each] that generated rows of these classes are compared with; few are repeated in turn."""
    held, y = np.asarray(setting.validation), setting.data.train.y
    found = []
    for lane in range(len(setting.seeds)):
        of_lane = []
        for label in labels:
            rows = held[lane][y[held[lane]] == label]
            rows = rows if len(rows) >= FEWEST else class_rows(setting, label, lane)
            of_lane.append(np.resize(rows, each))
        found.append(np.stack(of_lane))
    return np.stack(found).astype(np.int32)
