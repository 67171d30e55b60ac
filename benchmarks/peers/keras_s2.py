"""The train step of the retinopathy DCGAN in Keras 3 on TensorFlow."""

import keras
import tensorflow as tf

from benchmarks.harness import Steps
from benchmarks.peers import keras_gan
from benchmarks.peers.keras_s0 import batches, steps

LATENT, SHAPE, GRADES, D_STEPS = 100, (128, 128, 3), 5, 2


def dcgan(form: str, batch: int) -> Steps:
    """Two steps of the discriminator, on a real batch and on a generated one apart, then one of the generator.

    The images [batch, 128, 128, 3] lie ready as tensors.
    """
    optimizers = keras.optimizers.Adam(1e-4, beta_1=0.5), keras.optimizers.Adam(1e-3, beta_1=0.5)
    step = keras_gan.train_step(_generator(), _discriminator(), *optimizers, (batch, LATENT), d_steps=D_STEPS)

    def train_step(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return step(2 * x - 1)

    return steps(tf.function(train_step, jit_compile=form.endswith("xla")), batches(batch, SHAPE, GRADES))


def _generator() -> keras.Model:
    layers = keras.layers
    hidden = [layers.LeakyReLU(0.2), layers.Dropout(0.5)]
    for _ in range(3):
        hidden += [layers.Conv2DTranspose(128, 4, strides=2, padding="same"), layers.LeakyReLU(0.2), layers.Dropout(0.5)]
    return keras.Sequential([
        keras.Input((LATENT,)), layers.Dense(16 * 16 * 256), layers.Reshape((16, 16, 256)), *hidden,
        layers.Conv2D(3, 3, padding="same", activation="tanh"),
    ])  # fmt: skip


def _discriminator() -> keras.Model:
    layers = keras.layers
    hidden = []
    for filters, stride in ((16, 1), (8, 2), (16, 2), (8, 2)):
        hidden += [layers.Conv2D(filters, 3, strides=stride, padding="same"), layers.LeakyReLU(0.2)]
    return keras.Sequential([keras.Input(SHAPE), *hidden, layers.Flatten(), layers.Dropout(0.2), layers.Dense(1)])
