"""The adversarial train step in Keras 3 on TensorFlow that the peers of two sources' GANs share."""

from collections.abc import Callable

import keras
import tensorflow as tf


def train_step(
    generator: keras.Model,
    discriminator: keras.Model,
    g_optimizer: keras.optimizers.Optimizer,
    d_optimizer: keras.optimizers.Optimizer,
    noise: tuple[int, ...],
    *,
    real: float = 1.0,
    d_steps: int = 1,
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Steps of the discriminator, on a real batch and on a generated one apart, then one of the generator on fresh noise.

    Args:
        generator, discriminator: of logits; the variables of both optimisers are made here.
        g_optimizer, d_optimizer: their own.
        noise: the shape of a batch of latents.
        real: the label of real rows.
        d_steps: how many of the discriminator.
    """
    g_optimizer.build(generator.trainable_variables)
    d_optimizer.build(discriminator.trainable_variables)
    loss_of, batch = keras.losses.BinaryCrossentropy(from_logits=True), noise[0]

    def fake() -> tf.Tensor:
        return generator(tf.random.normal(noise), training=True)

    def step(x: tf.Tensor) -> tf.Tensor:
        d_loss = 0.0
        for _ in range(d_steps):
            made = fake()
            with tf.GradientTape() as tape:
                on_real = loss_of(tf.fill((batch, 1), real), discriminator(x, training=True))
                d_loss = 0.5 * (on_real + loss_of(tf.zeros((batch, 1)), discriminator(made, training=True)))
            variables = discriminator.trainable_variables
            d_optimizer.apply(tape.gradient(d_loss, variables), variables)
        with tf.GradientTape() as tape:
            g_loss = loss_of(tf.ones((batch, 1)), discriminator(fake(), training=True))
        variables = generator.trainable_variables
        g_optimizer.apply(tape.gradient(g_loss, variables), variables)
        return d_loss + g_loss

    return step
