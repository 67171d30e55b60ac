"""The train step of four heartbeat GANs, one for each minority class, in Keras 3 on TensorFlow."""

from collections.abc import Callable

import keras
import tensorflow as tf

from benchmarks.harness import Steps
from benchmarks.peers.keras_s0 import batches, steps

LATENT, SHAPE, GANS, REAL = 112, (300, 1), 4, 0.9


def gans(form: str, batch: int) -> Steps:
    """A step of each of the four pairs, one pair after the other, each on beats [batch, 300, 1] that lie ready as tensors."""
    each = [_train_step(form, batch) for _ in range(GANS)]

    def all_of_them(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return tf.stack([train_step(x) for train_step in each])

    return steps(all_of_them, batches(batch, SHAPE))


def _train_step(form: str, batch: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """A pair's step: the discriminator on the real batch and on a generated one, then the generator on fresh noise."""
    generator, discriminator = _generator(), _discriminator()
    g_optimizer, d_optimizer = keras.optimizers.Adam(1e-3, beta_1=0.5), keras.optimizers.Adam(2e-4, beta_1=0.5)
    g_optimizer.build(generator.trainable_variables)
    d_optimizer.build(discriminator.trainable_variables)
    loss_of = keras.losses.BinaryCrossentropy(from_logits=True)

    def fake() -> tf.Tensor:
        return generator(tf.random.normal((batch, LATENT, 1)), training=True)

    def train_step(x: tf.Tensor) -> tf.Tensor:
        made = fake()
        with tf.GradientTape() as tape:
            real = loss_of(tf.fill((batch, 1), REAL), discriminator(x, training=True))
            d_loss = 0.5 * (real + loss_of(tf.zeros((batch, 1)), discriminator(made, training=True)))
        variables = discriminator.trainable_variables
        d_optimizer.apply(tape.gradient(d_loss, variables), variables)
        with tf.GradientTape() as tape:
            g_loss = loss_of(tf.ones((batch, 1)), discriminator(fake(), training=True))
        variables = generator.trainable_variables
        g_optimizer.apply(tape.gradient(g_loss, variables), variables)
        return d_loss + g_loss

    return tf.function(train_step, jit_compile=form.endswith("xla"))


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
