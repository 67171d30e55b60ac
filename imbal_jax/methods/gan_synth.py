"""GAN synthesis: the smaller classes are filled up with images from a conditional GAN trained on the lane's own rows."""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax.batches import Pool
from imbal_jax.errors import UserError, nearest
from imbal_jax.gan import sample
from imbal_jax.gan.step import Nets
from imbal_jax.lanes import purpose
from imbal_jax.methods.method import Context, Method, Task, Train, target
from imbal_jax.models.inference import apply_in_batches

FILTERS = ("none", "discriminator", "classifier", "random")


class TrainedGan(NamedTuple):
    """A GAN trained on all lanes: the weights to sample with and the discriminator's, leaves [L, ...]."""

    nets: Nets
    generator: Any
    discriminator: Any


class TrainedClassifier(NamedTuple):
    """A classifier trained on all lanes, leaves of `params` [L, ...]."""

    model: Any
    params: Any


def make(task: Task, to: int | str = "max", latent: str = "normal", filter: str = "none", candidates: float = 4.0) -> Method:
    """Fill each class up to `to` rows with generated images.

    With a filter, `candidates` times as many are generated, and of those the best are kept: those that the
    discriminator takes for real most surely, or those to which a classifier trained on the real rows alone gives the
    wanted class most surely. 'random' keeps as many at random: the control that a filter must beat.

    Args:
        task: the problem.
        to: rows of the published training set ('5000' shrinks with a subset), or 'max' for the largest class.
        latent: 'normal', as in training, or 'uniform' on [0, 1), as the MNIST source drew it.
        filter: 'none', 'discriminator', 'classifier' or 'random'.
        candidates: images generated for each one kept, where there is a filter.
    """
    name = f"gan_synth(to={to})"
    wanted = target(to, task, name)
    sample.latents(jax.random.key(0), (1, 1), latent)
    if filter not in FILTERS:
        raise UserError(f"{name}: unknown filter {filter!r}{nearest(filter, FILTERS)}; known: {', '.join(FILTERS)}")
    if not isinstance(candidates, (int, float)) or candidates < 1:
        raise UserError(f"{name}: candidates={candidates!r}, at least 1 is needed")

    def resample(keys: jax.Array, train: Train, context: Context) -> Train:
        missing = tuple(w - n for w, n in zip(wanted, train.counts, strict=True))
        if not any(missing):
            return train
        gan: TrainedGan = context.trained["gan"]()
        judge: TrainedClassifier | None = context.trained["plain"]() if filter == "classifier" else None
        draw = partial(_draw, gan.nets, judge and judge.model, missing, latent, filter, float(candidates))
        weights = (gan.generator, gan.discriminator, judge and judge.params)
        images = context.over_lanes(draw)((), (keys, weights), ())
        return _joined(train, images, missing, context.shared.x.shape[0])

    return Method(resample=resample)


def _draw(nets: Nets, model: Any, missing, latent: str, filter: str, candidates: float, lane, shared) -> jax.Array:
    """One lane's new images, uint8 [sum(missing), ...], class by class."""
    _, (key, (generator, discriminator, judge)) = lane
    factor = 1.0 if filter == "none" else candidates
    drawn = tuple(math.ceil(n * factor) for n in missing)
    y = jnp.asarray(_labels(drawn))
    z = sample.latents(purpose(key, "synthesis"), (len(y), nets.latent), latent)
    images = sample.generate(nets.generator, generator, z, y, nets.classes)
    if filter == "none":
        return images
    if filter == "random":
        scores = jax.random.uniform(purpose(key, "drop"), (len(y),))
    elif filter == "discriminator":
        scores = sample.discriminator_scores(partial(nets.discriminator.apply, discriminator), images, y, nets.classes)
    else:
        logits, _ = apply_in_batches(model, judge, images)
        scores = jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1)[:, 0]
    return images[sample.keep_best(scores, missing, drawn)]


def _labels(counts: tuple[int, ...]) -> np.ndarray:
    return np.repeat(np.arange(len(counts), dtype=np.int32), counts)


def _joined(train: Train, images: jax.Array, missing: tuple[int, ...], real: int) -> Train:
    """The pool with the new images in it, class by class, as every pool's rows lie."""
    lanes, old = train.pool.rows.shape[0], train.pool.new_x.shape[1]
    new = real + old + jnp.arange(sum(missing), dtype=jnp.int32)
    parts, at, start = [], 0, 0
    for have, more in zip(train.counts, missing, strict=True):
        parts.append(train.pool.rows[:, at : at + have])
        parts.append(jnp.broadcast_to(new[start : start + more], (lanes, more)))
        at, start = at + have, start + more
    labels = jnp.broadcast_to(jnp.asarray(_labels(missing)), (lanes, sum(missing)))
    pool = Pool(
        jnp.concatenate(parts, axis=1),
        jnp.concatenate([train.pool.new_x, images], axis=1),
        jnp.concatenate([train.pool.new_y, labels], axis=1),
    )
    counts = tuple(n + m for n, m in zip(train.counts, missing, strict=True))
    width = train.parents.shape[2]
    parents = np.concatenate([train.parents, np.full((lanes, sum(missing), width), -1, np.int32)], axis=1)
    return Train(pool, counts, parents)
