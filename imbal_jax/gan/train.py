"""Training a GAN on all lanes at once: one that is told the class, or one for each class."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from imbal_jax import batches
from imbal_jax.gan import step as gan_step
from imbal_jax.lanes import purpose


def init(key: jax.Array, nets: gan_step.Nets, shape: tuple[int, ...]) -> gan_step.State:
    """A lane's initial state from its key's purpose 'gan_weights'."""
    return gan_step.init(purpose(key, "gan_weights"), nets, shape)


def epoch_of(nets: gan_step.Nets, batch: int, order: str) -> Callable[..., Any]:
    """The step function of an epoch, for `train.loop.chunk`.

    Args:
        nets: the static part of the GAN.
        batch: images of one discriminator step.
        order: 'shuffle' (each row once an epoch) or 'balanced' (each class equally likely in each batch). Where each class has
            networks of its own, a lane draws from the class that `inputs.values['own']` names, with replacement.
    """

    def epoch(number: jax.Array, inputs: batches.Inputs, shared: batches.Shared, total: jax.Array):
        key = purpose(inputs.key, "gan")
        size = inputs.pool.rows.shape[0]
        permutation = batches.shuffled(key, number, size) if order == "shuffle" and not nets.own else None

        def batch_of(i: jax.Array, position: jax.Array, part: int) -> tuple[jax.Array, jax.Array]:
            if permutation is None:
                only = jax.nn.one_hot(inputs.values["own"].astype(jnp.int32), nets.classes) if nets.own else None
                index = batches.balanced(key, i * nets.d_steps + part, inputs.counts, batch, only)
            else:
                start = (position * nets.d_steps + part) * batch
                index = permutation[(start + jnp.arange(batch)) % size]  # more steps than a pass has rows begin it again
            return batches.pick(inputs.pool, shared, index)

        def step(state: gan_step.State, i: jax.Array, position: jax.Array):
            noise = jax.random.fold_in(purpose(key, "noise"), i)
            return gan_step.step(nets, state, i, partial(batch_of, i, position), noise)

        return step

    return epoch
