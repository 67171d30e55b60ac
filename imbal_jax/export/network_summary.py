"""The networks of an experiment, layer by layer, with shapes and parameters."""

import jax.numpy as jnp

from imbal_jax import models
from imbal_jax.models import layer_table
from imbal_jax.stages import classifier_network, gan_training
from imbal_jax.stages.context import Chunk


def text(chunk: Chunk, with_gan: bool, coloured: bool = False) -> str:
    """A table each of the generator, the discriminator and the classifier, for one row of the data.

    Args:
        chunk: of the experiment.
        with_gan: whether it trains a GAN.
        coloured: whether to use a terminal's colours.
    """
    config, task = chunk.config, chunk.task
    x, label = jnp.zeros((1, *task.shape)), jnp.zeros((1, len(task.counts)))
    found = []
    if with_gan:
        nets = gan_training.nets_of(config, task, "gemm")
        z = jnp.zeros((1, nets.latent))
        found.append((f"generator ({config.gan.model})", layer_table.of(nets.generator, z, label, coloured=coloured)))
        found.append((f"discriminator ({config.gan.model})", layer_table.of(nets.discriminator, x, label, coloured=coloured)))
    model = classifier_network.model_of(config, len(task.counts), "gemm", task.shape)
    name = models.classifier_for(config.classifier.model, task.shape)
    found.append((f"classifier ({name})", layer_table.of(model, x, coloured=coloured)))
    return "\n".join(f"{name}\n{shown}" for name, shown in found)
