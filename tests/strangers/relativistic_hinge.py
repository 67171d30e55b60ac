"""A GAN loss: the hinge on the difference of the logits of a real and a generated row of one class."""

import jax
import jax.numpy as jnp

from imbal_jax.gan.losses import Loss


def make(*, real_target: float) -> Loss:
    return Loss(
        discriminator=lambda real, fake: jnp.mean(jax.nn.relu(1 - (real - fake))),
        generator=lambda real, fake: jnp.mean(jax.nn.relu(1 + (real - fake))),
        level=lambda real, fake: (jnp.mean(real) + jnp.mean(fake)) / 2,
        fooled=0.5,  # generated rows are ahead of real ones by half of the margin
    )
