"""One adversarial step for any conditional generator and discriminator and any loss: a pure function of one lane."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from imbal_jax.gan.augment import augment
from imbal_jax.gan.losses import Loss, gradient_penalty, level_of, r1
from imbal_jax.runtime.lanes import purpose

METRICS = ("d_loss", "g_loss", "d_real_accuracy", "d_fake_accuracy")


class Nets(NamedTuple):
    """What is static about a GAN.

    Attributes:
        generator: `apply(variables, z [B, latent], label [B, K], train=...) -> rows [B, ...]`, pixels in [0, 1] or samples
            in [-1, 1].
        discriminator: `apply(variables, rows, label, train=...) -> logits [B]`.
        g_optimizer, d_optimizer: optax transformations.
        loss: see `gan.losses`.
        latent: length of z.
        classes: K.
        d_steps: discriminator steps for each generator step.
        augment: DiffAugment's kinds, see `gan.augment`.
        ema: decay of the moving average of the generator's weights; 0 keeps none.
        separate: whether the discriminator sees real and fake rows in two batches, each with its own moments where it has
            batch normalisation, instead of in one.
        r1: weight (gamma) of the discriminator's squared gradient at real rows; 0: none.
        dtype: what the networks compute in, forward and backward; weights, losses and the optimisers' states stay float32.
        own: classes that have a pair of networks each, ascending; empty where one conditional pair serves all classes.
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
    separate: bool = False
    r1: float = 0.0
    dtype: Any = jnp.float32
    own: tuple[int, ...] = ()


class State(NamedTuple):
    """A lane's networks and optimiser states.

    Attributes:
        generator, discriminator: linen's variables: 'params', and 'batch_stats' where a network has running averages.
        g_opt, d_opt: the optimisers' states.
        average: the moving average of the generator's variables, or None.
        best: what the training stage keeps of the best state so far, or None.
        guard: what it keeps of the last good state, or None.
    """

    generator: Any
    discriminator: Any
    g_opt: Any
    d_opt: Any
    average: Any
    best: Any = None
    guard: Any = None


def init(key: jax.Array, nets: Nets, shape: tuple[int, ...]) -> State:
    """Initial state from a typed key; `shape` is that of one image."""
    g_key, d_key = jax.random.split(key)
    label = jnp.zeros((1, nets.classes), jnp.float32)
    generator = nets.generator.init(g_key, jnp.zeros((1, nets.latent), jnp.float32), label)
    discriminator = nets.discriminator.init(d_key, jnp.zeros((1, *shape), jnp.float32), label)
    average = generator if nets.ema else None
    g_opt, d_opt = nets.g_optimizer.init(generator["params"]), nets.d_optimizer.init(discriminator["params"])
    return State(generator, discriminator, g_opt, d_opt, average)


def sampler(state: State) -> Any:
    """The generator's variables to sample with: the moving average where there is one."""
    return state.generator if state.average is None else state.average


def step(
    nets: Nets, state: State, number: jax.Array, batch_of: Callable[[Any], tuple[jax.Array, jax.Array]], key: jax.Array
) -> tuple[State, dict[str, jax.Array]]:
    """`d_steps` discriminator steps on fresh batches, then one generator step with fresh noise and the last labels.

    A loss whose generator sees real logits gets those of the last batch, whose rows have the same labels.

    Args:
        nets: the static part.
        state: one lane's state.
        number: of this step, int [], from 0; the moving average of the weights is shorter at the beginning.
        batch_of: number of the discriminator step -> real rows [B, ...] as floats and labels int32 [B].
        key: a typed key for this step.
    """

    def d_step(state: State, i: int | jax.Array):
        x, y = batch_of(i)
        label = jax.nn.one_hot(y, nets.classes)
        state, metrics = _discriminator_step(nets, state, x, label, jax.random.fold_in(key, i))
        return state, (label, x if nets.loss.generator_sees_real else None, metrics)

    if nets.d_steps == 1:
        state, (label, x, metrics) = d_step(state, 0)
    else:  # a loop: unrolled steps would each be compiled
        state, outputs = jax.lax.scan(d_step, state, jnp.arange(nets.d_steps))
        label, x, metrics = jax.tree.map(lambda leaf: leaf[-1], outputs)
    state, g_loss = _generator_step(nets, state, number, label, x, jax.random.fold_in(key, nets.d_steps))
    return state, {**metrics, "g_loss": g_loss}


def _discriminator_step(nets: Nets, state: State, x: jax.Array, label: jax.Array, key: jax.Array):
    noise, distort, between = jax.random.split(key, 3)
    n, drop = x.shape[0], purpose(key, "dropout")
    fake, _ = _run(nets, nets.generator, state.generator, jax.random.normal(noise, (n, nets.latent)), label, key=drop)
    both = augment(distort, jnp.concatenate([fake, x]), nets.augment)

    def loss_of(params):
        real, false, variables = _logits(nets, {**state.discriminator, "params": params}, both, label, drop)
        total = nets.loss.discriminator(real, false)
        run = partial(_run, nets, nets.discriminator)
        critic = lambda rows: run(variables, rows, label, key=jax.random.fold_in(drop, 3))[0]  # noqa: E731
        if nets.loss.penalty:
            total += nets.loss.penalty * gradient_penalty(critic, both[n:], both[:n], between)
        if nets.r1:
            total += nets.r1 * r1(critic, both[n:])
        return total, (real, false, variables)

    params = state.discriminator["params"]
    (loss, (real, false, variables)), grads = jax.value_and_grad(loss_of, has_aux=True)(params)
    updates, d_opt = nets.d_optimizer.update(grads, state.d_opt, params)
    level = level_of(nets.loss, real, false)
    metrics = {
        "d_loss": loss,
        "d_real_accuracy": jnp.mean(real > level, dtype=jnp.float32),
        "d_fake_accuracy": jnp.mean(false <= level, dtype=jnp.float32),
    }
    return state._replace(discriminator={**variables, "params": optax.apply_updates(params, updates)}, d_opt=d_opt), metrics


def _logits(nets: Nets, variables: Any, both: jax.Array, label: jax.Array, drop: jax.Array) -> tuple[jax.Array, jax.Array, Any]:
    """The discriminator's logits [B] of real and of generated rows, and its variables after them.

    Args:
        nets: the static part.
        variables: of the discriminator.
        both: generated rows, then real ones, [2 B, ...].
        label: [B, K], of either.
        drop: key of the dropout.
    """
    n = label.shape[0]
    run = partial(_run, nets, nets.discriminator)
    if nets.separate:
        real, variables = run(variables, both[n:], label, key=jax.random.fold_in(drop, 1))
        false, variables = run(variables, both[:n], label, key=jax.random.fold_in(drop, 2))
        return real, false, variables
    logits, variables = run(variables, both, jnp.concatenate([label, label]), key=jax.random.fold_in(drop, 1))
    return logits[n:], logits[:n], variables


def _generator_step(nets: Nets, state: State, number: jax.Array, label: jax.Array, x: jax.Array | None, key: jax.Array):
    """One step of the generator; x are real rows with these labels where its loss sees their logits, else None."""
    noise, distort = jax.random.split(key)
    z, drop = jax.random.normal(noise, (label.shape[0], nets.latent)), purpose(key, "dropout")

    def loss_of(params):
        fake, variables = _run(nets, nets.generator, {**state.generator, "params": params}, z, label, key=drop)
        if x is not None:
            both = augment(distort, jnp.concatenate([fake, x]), nets.augment)
            real, false, _ = _logits(nets, state.discriminator, both, label, drop)
            return nets.loss.generator(real, false), variables
        fake = augment(distort, fake, nets.augment)
        logits, _ = _run(nets, nets.discriminator, state.discriminator, fake, label, key=jax.random.fold_in(drop, 1))
        return nets.loss.generator(None, logits), variables

    params = state.generator["params"]
    (loss, variables), grads = jax.value_and_grad(loss_of, has_aux=True)(params)
    updates, g_opt = nets.g_optimizer.update(grads, state.g_opt, params)
    generator = {**variables, "params": optax.apply_updates(params, updates)}
    average = state.average
    if nets.ema:
        decay = jnp.minimum(nets.ema, (1 + number) / (10 + number))  # else the random first weights linger
        average = optax.incremental_update(generator, average, 1 - decay)
    return state._replace(generator=generator, g_opt=g_opt, average=average), loss


def _run(nets: Nets, net: Any, variables: Any, *inputs: jax.Array, key: jax.Array) -> tuple[jax.Array, Any]:
    """A network's float32 output in training, and its variables with the running averages of this batch."""
    cast = lambda tree: jax.tree.map(lambda leaf: leaf.astype(nets.dtype), tree)  # noqa: E731
    given = {**variables, "params": cast(variables["params"])}
    out, found = net.apply(given, *cast(inputs), train=True, rngs={"dropout": key}, mutable=["batch_stats"])
    before = {name: variables[name] for name in found}
    averages = jax.tree.map(lambda new, old: new.astype(old.dtype), dict(found), before)
    return out.astype(jnp.float32), {**variables, **averages}
