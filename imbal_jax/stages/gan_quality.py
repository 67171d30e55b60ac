"""The quality of a trained generator, class by class, in the feature space of a classifier trained on all real rows."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax.data.storage_types import flat
from imbal_jax.evaluate import generators
from imbal_jax.evaluate.metrics import GENERATOR
from imbal_jax.gan import sample
from imbal_jax.methods.rows.gan_synth import TrainedClassifier, TrainedGan
from imbal_jax.models.inference import apply_in_batches
from imbal_jax.runtime.lanes import purpose
from imbal_jax.stages.context import Chunk
from imbal_jax.stages.training_set import class_rows

SPACE = "last hidden layer of a {model} classifier trained on the full real training set ({source})"


Figures = dict[str, dict[str, float]]  # of one lane, by class


def measure(chunk: Chunk, gan: TrainedGan, reference: TrainedClassifier) -> list[Figures]:
    """Frechet distance, precision, recall, density, coverage and nearest-neighbour distances of every lane, by class.

    Generated rows of a class are compared with its rows in the full training set, of which the GAN saw only those that the
    induced imbalance left. For the nearest-neighbour distances they are compared with the rows that the lane's GAN saw. Each
    side has at most `config.quality.samples` rows. A lane whose weights are not finite has no metrics.
    """
    row_count, labels = chunk.config.quality.samples, sample.drawable(gan.nets)
    names = [chunk.task.class_names[label] for label in labels]
    features, figures = _programs(chunk, reference)
    y = chunk.data.train.y
    real = [chunk.data.train.x[np.flatnonzero(y == label)[:row_count]] for label in labels]
    real_features = [features(jnp.asarray(x)) for x in real]
    by_lane: list[Figures] = []
    for lane, fakes in enumerate(_draw(chunk, gan, row_count)):
        by_lane.append({})
        if not sound(gan.generator, lane):
            continue  # it draws black images, which have metrics too
        fake_features = features(jnp.asarray(fakes.reshape(-1, *fakes.shape[2:]))).reshape(len(names), row_count, -1)
        for index, (label, name) in enumerate(zip(labels, names, strict=True)):
            seen = chunk.data.train.x[class_rows(chunk, label, lane)[:row_count]]
            if len(seen):
                values = figures(real_features[index], fake_features[index], flat(fakes[index]), flat(seen))
                by_lane[-1][name] = {key: float(value) for key, value in values.items()}
    return by_lane


def _programs(chunk: Chunk, reference: TrainedClassifier) -> tuple[Any, Any]:
    """Rows -> their features, and `generators.quality`, compiled once for all chunks of seeds and points of a grid."""
    model, k = reference.model, chunk.config.quality.k
    params = jax.tree.map(lambda leaf: leaf[0], reference.params)
    apply = chunk.program(("features", model), lambda: jax.jit(lambda params, x: apply_in_batches(model, params, x)[1]))
    return partial(apply, params), chunk.program(("quality", k), lambda: jax.jit(partial(generators.quality, k=k)))


def by_class(lanes: list[Figures]) -> dict[str, dict[str, float | None]]:
    """The mean over lanes, for generator.json."""
    names = dict.fromkeys(name for of_lane in lanes for name in of_lane)
    return {name: _mean([of_lane[name] for of_lane in lanes if name in of_lane]) for name in names}


def by_lane(lanes: list[Figures]) -> list[dict[str, float | None]]:
    """The mean over classes, for the rows of each lane: `metrics.GENERATOR`, or empty dicts if no lane was measured."""
    if not any(lanes):
        return [{} for _ in lanes]
    means = [_mean(list(of_lane.values())) if of_lane else {} for of_lane in lanes]
    return [{name: of_lane.get(name.removeprefix("gan_")) for name in GENERATOR} for of_lane in means]


def sound(weights: Any, lane: int) -> bool:
    """Whether all of a lane's weights (leaves [L, ...]) are finite."""
    return all(np.isfinite(np.asarray(leaf[lane])).all() for leaf in jax.tree.leaves(weights))


def _draw(chunk: Chunk, gan: TrainedGan, each: int) -> np.ndarray:
    """[L, K, each, ...] of the real rows' dtype: generated rows of every class that has a generator, on all lanes."""
    nets, dtype = gan.nets, chunk.shared.x.dtype
    counts = sample.evenly(nets, each)

    def draw(lane, shared):
        _, (key, params) = lane
        z = sample.latents(purpose(key, "quality"), (sum(counts), nets.latent), "normal")
        rows = sample.draw(nets, params, z, counts, dtype=dtype)
        return rows.reshape(-1, each, *rows.shape[1:])

    return np.asarray(chunk.over_lanes(draw)((), (chunk.keys, gan.generator), ()))


def _mean(rows: list[dict[str, float]]) -> dict[str, float | None]:
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    return {name: value if np.isfinite(value) else None for name, value in means.items()}
