"""Training GANs on all lanes at once: one conditional GAN, or one for each class."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from imbal_jax.data import batches
from imbal_jax.gan import step as gan_step
from imbal_jax.gan.augment import augment
from imbal_jax.models import precise_batch_norm
from imbal_jax.runtime.lanes import purpose


def init(key: jax.Array, nets: gan_step.Nets, shape: tuple[int, ...]) -> gan_step.State:
    """A lane's initial state from its key's purpose 'gan_weights'."""
    return gan_step.init(purpose(key, "gan_weights"), nets, shape)


def epoch_of(nets: gan_step.Nets, batch: int, order: str) -> Callable[..., Any]:
    """The step function of an epoch, for `train.loop.span_function`.

    Args:
        nets: the static part of the GAN.
        batch: images of one discriminator step.
        order: 'shuffle' (each row once an epoch) or 'balanced' (each class equally likely in each batch). Where each class has
            networks of its own, a lane draws from the class that `inputs.values['own']` names, with replacement.
    """

    def epoch(number: jax.Array, inputs: batches.Inputs, shared: batches.Shared, total: jax.Array):
        key = purpose(inputs.key, "gan")
        index_of = _drawing(nets, key, number, inputs, batch, order)

        def batch_of(i: jax.Array, position: jax.Array, part: int) -> tuple[jax.Array, jax.Array]:
            index = index_of(i * nets.d_steps + part, position * nets.d_steps + part)
            return batches.pick(inputs.pool, shared, index)

        def step(state: gan_step.State, i: jax.Array, position: jax.Array):
            noise = jax.random.fold_in(purpose(key, "noise"), i)
            return gan_step.step(nets, state, i, partial(batch_of, i, position), noise)

        return step

    return epoch


def _drawing(
    nets: gan_step.Nets, key: jax.Array, epoch: jax.Array, inputs: batches.Inputs, batch: int, order: str
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """(number of a batch in the training, number in the epoch) -> positions int32 [batch] of the pool; see `epoch_of`."""
    if order == "shuffle" and not nets.own:
        size = inputs.pool.rows.shape[0]
        permutation = batches.shuffled(key, epoch, size)
        # More steps than a pass has rows for begin it again.
        return lambda number, place: permutation[(place * batch + jnp.arange(batch)) % size]

    def index_of(number: jax.Array, place: jax.Array) -> jax.Array:
        only = jax.nn.one_hot(inputs.values["own"].astype(jnp.int32), nets.classes) if nets.own else None
        return batches.balanced(key, number, inputs.counts, batch, only)

    return index_of


def has_batch_norm(nets: gan_step.Nets, shape: tuple[int, ...]) -> tuple[bool, bool]:
    """Whether the generator has batch normalisation, and the discriminator of rows of that shape; only shapes are evaluated."""
    z, x = (jax.ShapeDtypeStruct((2, *sizes), jnp.float32) for sizes in ((nets.latent,), shape))
    label = jax.ShapeDtypeStruct((2, nets.classes), jnp.float32)
    layers = precise_batch_norm.layers
    return bool(layers(nets.generator, z, label)), bool(layers(nets.discriminator, x, label))


def with_statistics(
    nets: gan_step.Nets,
    variables: tuple[Any, Any],
    inputs: batches.Inputs,
    shared: batches.Shared,
    *,
    batch: int,
    order: str,
    count: int,
) -> tuple[Any, Any]:
    """A lane's generator and discriminator with batch statistics of their weights as they are now.

    See `models.batch_statistics`. Latents, rows, labels and augmentation are drawn as in a training step; there is no
    dropout, and all is float32. The draws depend on the lane's key alone.

    Args:
        nets: the static part of the GAN.
        variables: of the generator that is sampled (the moving average of its weights, where there is one), and of the
            discriminator.
        inputs, shared: as in the training.
        batch, order: see `epoch_of`.
        count: batches.
    """
    key = purpose(inputs.key, "gan batch statistics")
    index_of = _drawing(nets, key, jnp.zeros((), jnp.int32), inputs, batch, order)
    generator, discriminator = variables

    def moments(i: jax.Array) -> precise_batch_norm.Found:
        noise, distort = jax.random.split(jax.random.fold_in(purpose(key, "noise"), i))
        x, y = batches.pick(inputs.pool, shared, index_of(i, i))
        label = jax.nn.one_hot(y, nets.classes)
        z = jax.random.normal(noise, (batch, nets.latent))
        fake, found = precise_batch_norm.of_batch(nets.generator, generator, z, label)
        both = augment(distort, jnp.concatenate([fake, x]), nets.augment)
        of = partial(precise_batch_norm.of_batch, nets.discriminator, discriminator)
        if nets.separate:
            false, real = (of(rows, label)[1] for rows in (both[:batch], both[batch:]))
            seen = {path: precise_batch_norm.joined(false[path], real[path], 0.5) for path in real}
        else:
            seen = of(both, jnp.concatenate([label, label]))[1]
        return {f"{whose}/{path}": m for whose, part in (("g", found), ("d", seen)) for path, m in part.items()}

    found = precise_batch_norm.population(moments, count)
    of_network = lambda whose: {path[2:]: moments for path, moments in found.items() if path[0] == whose}  # noqa: E731
    return precise_batch_norm.replaced(generator, of_network("g")), precise_batch_norm.replaced(discriminator, of_network("d"))
