"""The smallest stand-ins for networks that fit any shape of example: a linear classifier, a generator, a discriminator."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from imbal_jax.data.batches import Shared
from imbal_jax.gan import losses
from imbal_jax.gan import step as gan_step
from imbal_jax.methods import Context, Task
from imbal_jax.methods.rows import gan_synth
from imbal_jax.runtime import lanes
from imbal_jax.stages.training_set import unbalanced

LATENT, FEATURES = 4, 5


class Linear(NamedTuple):
    """Example -> features by a random projection -> logits by the layer 'head'; takes no dropout."""

    classes: int

    def init(self, key, x):
        project, kernel = jax.random.split(key)
        size = math.prod(x.shape[1:])
        return {
            "params": {
                "project": jax.random.normal(project, (size, FEATURES)) / math.sqrt(size),
                "head": {"kernel": jax.random.normal(kernel, (FEATURES, self.classes)) / 2, "bias": jnp.zeros(self.classes)},
            }
        }

    def apply(self, params, x, train=False, rngs=None):
        weights = params["params"]
        features = jnp.tanh(x.reshape(x.shape[0], -1).astype(jnp.float32) @ weights["project"])
        return features @ weights["head"]["kernel"] + weights["head"]["bias"][None], features


class Generator(NamedTuple):
    """Latent and label -> an example in (0, 1)."""

    shape: tuple[int, ...]
    classes: int

    def init(self, key):
        return jax.random.normal(key, (LATENT + self.classes, math.prod(self.shape)))

    def apply(self, params, z, label):
        return jax.nn.sigmoid(jnp.concatenate([z, label], axis=1) @ params).reshape(-1, *self.shape)


class Discriminator(NamedTuple):
    """Example -> logit, whatever the label."""

    def apply(self, params, x, label):
        return (x.reshape(x.shape[0], -1) @ params)[:, 0]


def problem(task: Task, many: int = 2):
    """The training sets of `many` lanes on random rows with the task's counts, and the context to balance them in."""
    counts, shape, classes = task.counts, task.shape, len(task.counts)
    total = sum(counts)
    y = jnp.repeat(jnp.arange(classes, dtype=jnp.int32), jnp.asarray(counts), total_repeat_length=total)
    shift = 120 * y.reshape(-1, *[1] * len(shape)) // classes  # classes differ, so that neighbours mean something
    x = (jax.random.randint(jax.random.key(1), (total, *shape), 0, 120) + shift).astype(jnp.uint8)
    train = unbalanced(jnp.tile(jnp.arange(total, dtype=jnp.int32), (many, 1)), counts, x)
    keys = lanes.lane_keys(5, list(range(many)))
    generator, model = Generator(shape, classes), Linear(classes)
    nets = gan_step.Nets(generator, Discriminator(), None, None, losses.make("bce"), LATENT, classes)  # type: ignore[arg-type]
    judge = jax.random.normal(jax.random.key(2), (many, math.prod(shape), 1))
    trained = {
        "gan": lambda: gan_synth.TrainedGan(nets, jax.vmap(generator.init)(keys), judge),
        "plain": lambda: gan_synth.TrainedClassifier(
            model, jax.vmap(lambda key: model.init(key, jnp.zeros((1, *shape))))(keys)
        ),
    }
    return train, Context(Shared(x, y), trained, lanes.over_lanes)
