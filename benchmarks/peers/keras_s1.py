"""The train step of four heartbeat GANs, one for each minority class, in Keras 3 on TensorFlow."""

from collections.abc import Callable

import keras
import tensorflow as tf

from benchmarks.harness import Steps
from benchmarks.peers import keras_gan
from benchmarks.peers.keras_s0 import batches, steps

LATENT, SHAPE, GANS, REAL = 112, (300, 1), 4, 0.9


def gans(form: str, batch: int) -> Steps:
    """A step of each of the four pairs, one pair after the other, each on beats [batch, 300, 1] that lie ready as tensors."""
    each = [_train_step(form, batch) for _ in range(GANS)]

    def all_of_them(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return tf.stack([train_step(x) for train_step in each])

    return steps(all_of_them, batches(batch, SHAPE))


def _train_step(form: str, batch: int) -> Callable[[tf.Tensor], tf.Tensor]:
    optimizers = keras.optimizers.Adam(1e-3, beta_1=0.5), keras.optimizers.Adam(2e-4, beta_1=0.5)
    step = keras_gan.train_step(_generator(), _discriminator(), *optimizers, (batch, LATENT, 1), real=REAL)
    return tf.function(step, jit_compile=form.endswith("xla"))


def _generator() -> keras.Model:
    layers = keras.layers
    return keras.Sequential([
        keras.Input((LATENT, 1)),
        layers.Conv1DTranspose(8, 32),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Conv1DTranspose(32, 32),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Conv1DTranspose(64, 64),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Conv1DTranspose(1, 64, activation="tanh"),
    ])  # fmt: skip


def _discriminator() -> keras.Model:
    layers = keras.layers
    hidden = []
    for filters in (32, 8, 4):
        hidden += [
            layers.Conv1D(filters, 32, padding="same"), layers.BatchNormalization(), layers.LeakyReLU(0.2), layers.Dropout(0.2)
        ]  # fmt: skip
    return keras.Sequential([
        keras.Input(SHAPE), *hidden, layers.Flatten(), layers.Dense(128), layers.LeakyReLU(0.2), layers.Dense(1)
    ])  # fmt: skip
