"""GAN synthesis: the smaller classes are filled up with images from a conditional GAN trained on the lane's own rows."""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax.errors import UserError, nearest
from imbal_jax.gan import sample
from imbal_jax.gan.step import Nets
from imbal_jax.methods.method import Context, Method, Task, Train, at_least, check_range
from imbal_jax.methods.rows import _layout as layout
from imbal_jax.models.inference import apply_in_batches
from imbal_jax.runtime.lanes import purpose

FILTERS = ("none", "discriminator", "classifier", "random")


class TrainedGan(NamedTuple):
    """A GAN trained on all lanes: the variables to sample with and the discriminator's.

    Leaves are [L, ...], or [L, O, ...] where O classes have networks of their own.
    """

    nets: Nets
    generator: Any
    discriminator: Any


class TrainedClassifier(NamedTuple):
    """A classifier trained on all lanes, leaves of `params` [L, ...]."""

    model: Any
    params: Any


def make(
    task: Task, to: int | float | str | dict = "max", latent: str = "normal", filter: str = "none", candidates: float = 4.0
) -> Method:
    """Fill each class up to `to` rows with generated images; classes that no GAN was trained for keep what they have.

    Paper: Mirza and Osindero, Conditional generative adversarial nets, arXiv:1411.1784, 2014.

    With a filter, `candidates` times as many are generated, and of those the best are kept: those that the
    discriminator takes for real most surely, or those to which a classifier trained on the real rows alone gives the
    wanted class most surely. 'random' keeps as many at random: the control that a filter must beat.

    Args:
        task: the problem.
        to: rows of each class, see `methods.method.target`; classes that have more keep what they have.
        latent: 'normal', as in training, or 'uniform' on [0, 1), as the MNIST source drew it.
        filter: 'none', 'discriminator', 'classifier' or 'random'.
        candidates: images generated for each one kept, where there is a filter.
    """
    name = f"gan_synth(to={to})"
    wanted = at_least(to, task, name)
    sample.latents(jax.random.key(0), (1, 1), latent)
    if filter not in FILTERS:
        raise UserError(f"{name}: unknown filter {filter!r}{nearest(filter, FILTERS)}; known: {', '.join(FILTERS)}")
    check_range(name, "candidates", candidates, 1)

    def resample(keys: jax.Array, train: Train, context: Context) -> Train:
        missing = layout.missing_rows(train.counts, wanted)
        if not any(missing):
            return train
        # Checked before the GAN is trained, so that no training is wasted.
        classes = context.trained.get("gan classes", lambda: sample.drawable(context.trained["gan"]().nets))
        able = classes()
        missing = tuple(n if label in able else 0 for label, n in enumerate(missing))
        if not any(missing):
            return train
        gan: TrainedGan = context.trained["gan"]()
        judge: TrainedClassifier | None = context.trained["plain"]() if filter == "classifier" else None
        model, dtype = judge and judge.model, context.shared.x.dtype
        draw = partial(_draw, gan.nets, dtype, model, missing, latent, filter, float(candidates))
        weights = (gan.generator, gan.discriminator, judge and judge.params)
        images = context.over_lanes(draw)((), (keys, weights), ())
        unknown = np.full((*images.shape[:2], 0), -1, np.int32)  # each comes from all rows of its lane
        return layout.joined(train, images, unknown, missing, context.shared.x.shape[0])

    return Method(resample=resample)


def _draw(nets: Nets, dtype: Any, model: Any, missing, latent: str, filter: str, candidates: float, lane, shared) -> jax.Array:
    """One lane's new images, [sum(missing), ...] of that dtype, class by class."""
    _, (key, (generator, discriminator, judge)) = lane
    factor = 1.0 if filter == "none" else candidates
    drawn = tuple(math.ceil(n * factor) for n in missing)
    y = jnp.asarray(layout.labels_of(drawn))
    z = sample.latents(purpose(key, "synthesis"), (len(y), nets.latent), latent)
    images = sample.draw(nets, generator, z, drawn, dtype=dtype)
    if filter == "none":
        return images
    if filter == "random":
        scores = jax.random.uniform(purpose(key, "drop"), (len(y),))
    elif filter == "discriminator":
        scores = sample.scores(nets, discriminator, images, drawn)
    else:
        logits, _ = apply_in_batches(model, judge, images)
        scores = jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1)[:, 0]
    return images[sample.keep_best(scores, missing, drawn)]
