"""The GAN stage: train the conditional GAN of all lanes, with its checkpoints, sample grids and warnings."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from imbal_jax import checkpoint, models
from imbal_jax.batches import Inputs, Pool
from imbal_jax.errors import UserError
from imbal_jax.gan import losses, monitor, sample
from imbal_jax.gan import step as gan_step
from imbal_jax.gan import train as gan_train
from imbal_jax.gan.augment import parse
from imbal_jax.lanes import purpose
from imbal_jax.methods.gan_synth import TrainedGan
from imbal_jax.models.layers import initializer
from imbal_jax.report import plots
from imbal_jax.stages import need
from imbal_jax.stages.curves import Curves
from imbal_jax.stages.setting import Setting, class_rows, init_lanes, inputs_of
from imbal_jax.train import loop, optimizer


def nets_of(config: Any, classes: int, form: str) -> gan_step.Nets:
    """The networks, optimisers and loss that `config.gan` names.

    Raises:
        UserError: an unknown model, loss, augmentation or order of batches.
    """
    gan = config.gan
    module = models.load(gan.model, "gan.model", "Generator", "Discriminator")
    if gan.batches not in ("shuffle", "balanced"):
        raise UserError(f"gan.batches is {gan.batches!r}: use 'shuffle' or 'balanced'")
    initializer(gan.init)
    common = {"classes": classes, "form": form, "init_kernel": gan.init}
    adam = partial(optimizer.make, gan.optimizer, steps=1, beta1=gan.beta1)  # at a constant rate
    return gan_step.Nets(
        generator=module.Generator(latent=gan.latent, width=gan.g_width, **common),
        discriminator=module.Discriminator(width=gan.d_width, **common),
        g_optimizer=adam(gan.g_learning_rate),
        d_optimizer=adam(gan.d_learning_rate),
        loss=losses.make(gan.loss, real_target=gan.real_target),
        latent=gan.latent,
        classes=classes,
        d_steps=gan.d_steps,
        augment=parse(gan.augment),
        ema=gan.ema,
    )


def fit(setting: Setting, curves: Curves) -> tuple[TrainedGan, float, int]:
    """Train to the end of `config.gan.epochs`, going on where an earlier run stopped.

    Returns:
        the trained GAN, the seconds that all lanes took, and the images that one lane's networks saw.
    """
    gan = setting.config.gan
    parts = _parts(setting)
    trained = loop.train(
        setting.plan("gan", setting.folder / "gan", gan.epochs, parts.steps),
        _program(setting, parts),
        init_lanes(parts.init, setting.keys),
        parts.inputs,
        setting.shared,
        gan_step.METRICS,
        partial(_epoch_ended, setting, curves, parts.nets),
        partial(curves.resume, "gan", [setting.place or None]),
    )
    state: gan_step.State = trained.state
    seen = gan.epochs * parts.steps * parts.batch * (2 * gan.d_steps + 1)
    return TrainedGan(parts.nets, gan_step.sampler(state), state.discriminator), trained.seconds, seen


def bytes_for(setting: Setting, lanes: int) -> int:
    """Memory that the GAN's training takes on each device with so many lanes; `setting` is of one seed."""
    parts = _parts(setting)
    return need.bytes_for(setting, _program(setting, parts), parts.init, parts.inputs, gan_step.METRICS, lanes)


class _Parts(NamedTuple):
    nets: gan_step.Nets
    batch: int
    steps: int  # in an epoch
    counts: tuple[int, ...]
    init: Any
    inputs: Inputs


def _parts(setting: Setting) -> _Parts:
    gan = setting.config.gan
    pool, counts = training_rows(setting)
    size = pool.rows.shape[1]
    batch = min(gan.batch, max(1, size // gan.d_steps))
    nets = nets_of(setting.config, len(counts), setting.base.form.conv)
    init = partial(gan_train.init, nets=nets, shape=setting.task.shape)
    steps = max(1, size // (batch * gan.d_steps))
    return _Parts(nets, batch, steps, counts, init, inputs_of(setting.keys, pool, counts))


def _program(setting: Setting, parts: _Parts) -> Any:
    order = setting.config.gan.batches
    epoch_of = gan_train.epoch_of(parts.nets, parts.batch, parts.counts, order)
    key = ("gan", str(setting.config.gan), parts.batch, parts.counts)
    return setting.program(key, lambda: setting.over_lanes(loop.chunk(epoch_of)))


def training_rows(setting: Setting) -> tuple[Pool, tuple[int, ...]]:
    """The GAN's training set: the cut rows as they are, or exactly `gan.per_class` of each class.

    A larger class gives its first rows, a smaller one is repeated in turn: 100 rows 50 times make 5,000. The number is
    one of the published training set and shrinks with a subset, like the cut.
    """
    pool, counts = setting.train.pool, setting.train.counts
    if not setting.config.gan.per_class:
        return pool, counts
    each = max(1, round(setting.config.gan.per_class * setting.task.fraction))
    starts = np.cumsum((0, *counts[:-1]))
    index = np.concatenate([start + np.arange(each) % n for start, n in zip(starts, counts, strict=True) if n])
    return pool._replace(rows=pool.rows[:, index]), tuple(each if n else 0 for n in counts)


def _epoch_ended(
    setting: Setting, curves: Curves, nets: gan_step.Nets, epoch: int, means: dict[str, np.ndarray], state: Any
) -> None:
    curves.add("gan", [setting.place or None], epoch, means, loss_name=setting.config.gan.loss)
    for seed, lines in curves.by_seed("gan", setting.place or None).items():
        for message in monitor.signs(lines):
            logging.warning("gan, seed %d, epoch %d: %s", seed, epoch, message)
            curves.warn("gan", seed, epoch, message)
    if epoch % setting.config.gan.grid_every == 0 or epoch == setting.config.gan.epochs:
        weights = gan_step.sampler(state)
        checkpoint.save(setting.folder / "generator", epoch, {"generator": weights}, {"epoch": epoch}, keep=1000)
        if not setting.pictured:
            return
        title = f"seed {setting.seeds[0]}, epoch {epoch}"
        draw_grid(setting, nets, weights, setting.workdir / "plots" / f"samples_epoch_{epoch:03d}.png", title)


def draw_grid(setting: Setting, nets: gan_step.Nets, weights: Any, path: Any, title: str, each: int = 8) -> None:
    """The first lane's generated images, a row a class, beside real ones of its training set; the latents never change."""
    classes = len(setting.task.counts)
    params = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf[0])), weights)
    fake = np.asarray(_draw(nets.generator, nets.latent, classes, each, setting.shared.x.dtype, setting.keys[0], params))
    x = setting.data.train.x
    real = np.zeros((classes, each, *x.shape[1:]), x.dtype)
    for label in range(classes):
        rows = class_rows(setting, label)[:each]
        real[label, : len(rows)] = x[rows]
    fake = fake.reshape(real.shape)
    plots.sample_grid(path, fake, real, setting.task.class_names, set(setting.task.minority), title)


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _draw(generator: Any, latent: int, classes: int, each: int, dtype: Any, key: jax.Array, params: Any) -> jax.Array:
    """`each` images of every class, [classes each, ...] of that dtype; compiled once for all grids of a training."""
    z = sample.latents(purpose(key, "grid"), (classes * each, latent), "normal")
    return sample.generate(generator, params, z, jnp.repeat(jnp.arange(classes), each), classes, dtype=dtype)
