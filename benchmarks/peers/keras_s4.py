"""The train step of the small Fashion-MNIST classifier (two 5x5 convolutions) in Keras 3, plain and with mixup in tf.data."""

import keras
import numpy as np
import tensorflow as tf

from benchmarks.harness import Steps
from benchmarks.peers.keras_s0 import CLASSES, batches, device, train_steps

ALPHA, STEPS = 0.2, 64  # steps in an epoch


def classifier(form: str, batch: int) -> Steps:
    """Train steps with Adam on images [batch, 28, 28, 1] that lie ready as tensors."""
    return train_steps(_network(), keras.optimizers.Adam(1e-3), form, batches(batch))


def mixup(form: str, batch: int) -> Steps:
    """The same, the batches mixed in the input pipeline: two shuffled sets side by side, one share for each example."""
    model, optimizer = _network(), keras.optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)
    loss_of = keras.losses.CategoricalCrossentropy(from_logits=True)

    @tf.function
    def train_step(x: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = loss_of(t, model(x, training=True))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    mixed = iter(_mixed(batch))

    def run(n: int) -> None:
        for _ in range(n):
            loss = train_step(*next(mixed))
        float(loss)  # waits for the device

    return Steps(run, device())


def _mixed(batch: int) -> tf.data.Dataset:
    draw = np.random.default_rng(0)
    x = draw.integers(0, 256, (STEPS * batch, 28, 28, 1), np.uint8).astype(np.float32) / 255
    t = np.eye(CLASSES, dtype=np.float32)[draw.integers(0, CLASSES, STEPS * batch)]
    one, two = (tf.data.Dataset.from_tensor_slices((x, t)).shuffle(STEPS * batch).repeat().batch(batch) for _ in range(2))

    def mix(first: tuple[tf.Tensor, tf.Tensor], second: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        a, b = (tf.random.gamma((batch,), ALPHA) for _ in range(2))
        share = a / (a + b)
        image, target = share[:, None, None, None], share[:, None]
        return first[0] * image + second[0] * (1 - image), first[1] * target + second[1] * (1 - target)

    return tf.data.Dataset.zip((one, two)).map(mix, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def _network() -> keras.Model:
    layers = keras.layers
    return keras.Sequential([
        keras.Input((28, 28, 1)),
        layers.Conv2D(16, 5, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(32, 5, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Dropout(0.2),
        layers.GlobalAveragePooling2D(),
        layers.Dense(128, activation="relu"),
        layers.Dense(CLASSES),
    ])  # fmt: skip
