"""One adversarial step for any conditional generator and discriminator and any loss: a pure function of one lane."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from imbal_jax.gan.augment import augment
from imbal_jax.gan.losses import Loss, gradient_penalty

METRICS = ("d_loss", "g_loss", "d_real_accuracy", "d_fake_accuracy")


class Nets(NamedTuple):
    """What is static about a GAN.

    Attributes:
        generator: `apply(params, z [B, latent], label [B, K]) -> images [B, ...]` in [0, 1].
        discriminator: `apply(params, images, label) -> logits [B]`.
        g_optimizer, d_optimizer: optax transformations.
        loss: see `gan.losses`.
        latent: length of z.
        classes: K.
        d_steps: discriminator steps for each generator step.
        augment: DiffAugment's kinds, see `gan.augment`.
        ema: decay of the moving average of the generator's weights; 0 keeps none.
    """

    generator: Any
    discriminator: Any
    g_optimizer: optax.GradientTransformation
    d_optimizer: optax.GradientTransformation
    loss: Loss
    latent: int
    classes: int
    d_steps: int = 1
    augment: tuple[str, ...] = ()
    ema: float = 0.0


class State(NamedTuple):
    """A lane's weights and optimiser states; `average` is the generator's moving average, or None."""

    generator: Any
    discriminator: Any
    g_opt: Any
    d_opt: Any
    average: Any


def init(key: jax.Array, nets: Nets, shape: tuple[int, ...]) -> State:
    """Initial state from a typed key; `shape` is that of one image."""
    g_key, d_key = jax.random.split(key)
    label = jnp.zeros((1, nets.classes), jnp.float32)
    generator = nets.generator.init(g_key, jnp.zeros((1, nets.latent), jnp.float32), label)
    discriminator = nets.discriminator.init(d_key, jnp.zeros((1, *shape), jnp.float32), label)
    average = generator if nets.ema else None
    return State(generator, discriminator, nets.g_optimizer.init(generator), nets.d_optimizer.init(discriminator), average)


def sampler(state: State) -> Any:
    """The generator's weights to sample with: the moving average where there is one."""
    return state.generator if state.average is None else state.average


def step(
    nets: Nets, state: State, number: jax.Array, batch_of: Callable[[int], tuple[jax.Array, jax.Array]], key: jax.Array
) -> tuple[State, dict[str, jax.Array]]:
    """`d_steps` discriminator steps on fresh batches, then one generator step with fresh noise and the last labels.

    Args:
        nets: the static part.
        state: one lane's state.
        number: of this step, int [], from 0; the moving average of the weights is shorter at the beginning.
        batch_of: number of the discriminator step -> real images [B, ...] in [0, 1] and labels int32 [B].
        key: a typed key for this step.
    """
    metrics: dict[str, jax.Array] = {}
    label = jnp.zeros(0)
    for i in range(nets.d_steps):
        x, y = batch_of(i)
        label = jax.nn.one_hot(y, nets.classes)
        state, metrics = _discriminator_step(nets, state, x, label, jax.random.fold_in(key, i))
    state, g_loss = _generator_step(nets, state, number, label, jax.random.fold_in(key, nets.d_steps))
    return state, {**metrics, "g_loss": g_loss}


def _discriminator_step(nets: Nets, state: State, x: jax.Array, label: jax.Array, key: jax.Array):
    noise, distort, between = jax.random.split(key, 3)
    n = x.shape[0]
    fake = nets.generator.apply(state.generator, jax.random.normal(noise, (n, nets.latent)), label)
    both = augment(distort, jnp.concatenate([fake, x]), nets.augment)

    def loss_of(params):
        logits = nets.discriminator.apply(params, both, jnp.concatenate([label, label]))
        total = nets.loss.discriminator(logits[n:], logits[:n])
        if nets.loss.penalty:
            critic = lambda images: nets.discriminator.apply(params, images, label)  # noqa: E731
            total += nets.loss.penalty * gradient_penalty(critic, both[n:], both[:n], between)
        return total, logits

    (loss, logits), grads = jax.value_and_grad(loss_of, has_aux=True)(state.discriminator)
    updates, d_opt = nets.d_optimizer.update(grads, state.d_opt, state.discriminator)
    metrics = {
        "d_loss": loss,
        "d_real_accuracy": jnp.mean(logits[n:] > 0, dtype=jnp.float32),
        "d_fake_accuracy": jnp.mean(logits[:n] <= 0, dtype=jnp.float32),
    }
    return state._replace(discriminator=optax.apply_updates(state.discriminator, updates), d_opt=d_opt), metrics


def _generator_step(nets: Nets, state: State, number: jax.Array, label: jax.Array, key: jax.Array):
    noise, distort = jax.random.split(key)
    z = jax.random.normal(noise, (label.shape[0], nets.latent))

    def loss_of(params):
        fake = augment(distort, nets.generator.apply(params, z, label), nets.augment)
        return nets.loss.generator(nets.discriminator.apply(state.discriminator, fake, label))

    loss, grads = jax.value_and_grad(loss_of)(state.generator)
    updates, g_opt = nets.g_optimizer.update(grads, state.g_opt, state.generator)
    generator = optax.apply_updates(state.generator, updates)
    average = state.average
    if nets.ema:
        decay = jnp.minimum(nets.ema, (1 + number) / (10 + number))  # else the random first weights linger
        average = optax.incremental_update(generator, average, 1 - decay)
    return state._replace(generator=generator, g_opt=g_opt, average=average), loss
