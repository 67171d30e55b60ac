"""The networks of an experiment as text, layer by layer, with shapes and parameters."""

import jax.numpy as jnp

from imbal_jax import models
from imbal_jax.models import layer_table
from imbal_jax.stages import classifier_network, gan_training
from imbal_jax.stages.context import Chunk


def text(chunk: Chunk, with_gan: bool, coloured: bool = False) -> str:
    """Tables of the generator, the discriminator and the classifier, for one row of the data.

    Args:
        chunk: of the experiment.
        with_gan: whether it trains a GAN.
        coloured: whether the text has a terminal's colours.
    """
    config, task = chunk.config, chunk.task
    x, label = jnp.zeros((1, *task.shape)), jnp.zeros((1, len(task.counts)))
    tables = []
    if with_gan:
        nets = gan_training.nets_of(config, task, "gemm")
        z = jnp.zeros((1, nets.latent))
        tables.append((f"generator ({config.gan.model})", layer_table.of(nets.generator, z, label, coloured=coloured)))
        tables.append((f"discriminator ({config.gan.model})", layer_table.of(nets.discriminator, x, label, coloured=coloured)))
    model = classifier_network.model_of(config, len(task.counts), "gemm", task.shape)
    name = models.classifier_for(config.classifier.model, task.shape)
    tables.append((f"classifier ({name})", layer_table.of(model, x, coloured=coloured)))
    return "\n".join(f"{name}\n{table}" for name, table in tables)
