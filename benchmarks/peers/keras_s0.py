"""The classifier's and the conditional GAN's train step in Keras 3 on TensorFlow."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from benchmarks.harness import Steps

LATENT, CLASSES = 128, 10


def classifier(form: str, batch: int) -> Steps:
    """Train steps of the classifier on images [batch, 28, 28, 1] that lie ready as tensors."""
    return train_steps(classifier_network(), keras.optimizers.SGD(0.01), form, batches(batch))


def train_steps(model: keras.Model, optimizer: keras.optimizers.Optimizer, form: str, ready: list) -> Steps:
    """Train steps of a model whose output is logits, on batches that `batches` made."""
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss_of, jit_compile=False)
    optimizer.build(model.trainable_variables)

    def train_step(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = loss_of(y, model(x, training=True))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    if form == "train_on_batch":
        return steps(model.train_on_batch, ready)
    return steps(tf.function(train_step, jit_compile=form.endswith("xla")), ready)


def classifier_network() -> keras.Model:
    """The classifier's layers; its output is logits."""
    layers = keras.layers
    return keras.Sequential([
        keras.Input((28, 28, 1)),
        layers.Conv2D(32, 3, activation="relu"),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Dropout(0.25),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dropout(0.5),
        layers.Dense(CLASSES),
    ])  # fmt: skip


def cgan(form: str, batch: int) -> Steps:
    """Train steps (discriminator on one batch [fake; real], then generator on fresh noise) of the conditional GAN."""
    generator, discriminator = _generator(), _discriminator()
    d_optimizer, g_optimizer = keras.optimizers.Adam(3e-4), keras.optimizers.Adam(3e-4)
    d_optimizer.build(discriminator.trainable_variables)
    g_optimizer.build(generator.trainable_variables)
    loss_of = keras.losses.BinaryCrossentropy(from_logits=True)

    def fake(one_hot: tf.Tensor) -> tf.Tensor:
        return generator(tf.concat([tf.random.normal((batch, LATENT)), one_hot], 1), training=True)

    def judge(images: tf.Tensor, one_hot: tf.Tensor) -> tf.Tensor:
        planes = tf.broadcast_to(one_hot[:, None, None, :], (one_hot.shape[0], 28, 28, CLASSES))
        return discriminator(tf.concat([images, planes], 3), training=True)

    def train_step(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        one_hot = tf.one_hot(y, CLASSES)
        images = tf.concat([fake(one_hot), x], 0)
        truth = tf.concat([tf.zeros((batch, 1)), tf.ones((batch, 1))], 0)
        with tf.GradientTape() as tape:
            d_loss = loss_of(truth, judge(images, tf.concat([one_hot, one_hot], 0)))
        variables = discriminator.trainable_variables
        d_optimizer.apply(tape.gradient(d_loss, variables), variables)
        with tf.GradientTape() as tape:
            g_loss = loss_of(tf.ones((batch, 1)), judge(fake(one_hot), one_hot))
        variables = generator.trainable_variables
        g_optimizer.apply(tape.gradient(g_loss, variables), variables)
        return d_loss + g_loss

    return steps(tf.function(train_step, jit_compile=form.endswith("xla")), batches(batch))


def _generator() -> keras.Model:
    layers = keras.layers
    return keras.Sequential([
        keras.Input((LATENT + CLASSES,)),
        layers.Dense(7 * 7 * (LATENT + CLASSES)),
        layers.LeakyReLU(0.2),
        layers.Reshape((7, 7, LATENT + CLASSES)),
        layers.Conv2DTranspose(128, 4, strides=2, padding="same"),
        layers.LeakyReLU(0.2),
        layers.Conv2DTranspose(128, 4, strides=2, padding="same"),
        layers.LeakyReLU(0.2),
        layers.Conv2D(1, 7, padding="same", activation="sigmoid"),
    ])  # fmt: skip


def _discriminator() -> keras.Model:
    layers = keras.layers
    return keras.Sequential([
        keras.Input((28, 28, 1 + CLASSES)),
        layers.Conv2D(64, 3, strides=2, padding="same"),
        layers.LeakyReLU(0.2),
        layers.Conv2D(128, 3, strides=2, padding="same"),
        layers.LeakyReLU(0.2),
        layers.GlobalMaxPooling2D(),
        layers.Dense(1),
    ])  # fmt: skip


def batches(
    batch: int, shape: tuple[int, ...] = (28, 28, 1), classes: int = CLASSES, count: int = 8
) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Random images in [0, 1] and labels, on the device before the clock starts: input costs the peer nothing."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (count, batch, *shape), np.uint8).astype(np.float32) / 255
    labels = draw.integers(0, classes, (count, batch), np.int32)
    return [(tf.constant(x), tf.constant(y)) for x, y in zip(images, labels, strict=True)]


def steps(step: Callable, ready: list[tuple[tf.Tensor, tf.Tensor]]) -> Steps:
    """The step on one batch after the other."""

    def run(n: int) -> None:
        for i in range(n):
            loss = step(*ready[i % len(ready)])
        float(np.asarray(loss).sum())  # reading the loss waits for the device

    return Steps(run, device())


def device() -> str:
    """The GPU's name, or CPU."""
    devices = tf.config.list_physical_devices("GPU")
    return tf.config.experimental.get_device_details(devices[0]).get("device_name", "GPU") if devices else "CPU"
