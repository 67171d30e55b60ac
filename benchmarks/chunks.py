"""Our side, timed as it is run: chunks of steps compiled whole over all lanes, the data on the device as uint8."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.harness import Steps
from configs.mnist_cgan import get_config
from imbal_jax import forms, lanes, methods
from imbal_jax.batches import Pool, Shared
from imbal_jax.gan import step as gan_step
from imbal_jax.gan import train as gan_train
from imbal_jax.stages.classifier import model_of
from imbal_jax.stages.gan import nets_of
from imbal_jax.stages.setting import inputs_of
from imbal_jax.train import classifier as classifier_train
from imbal_jax.train import loop, optimizer

CLASSES, SHAPE = 10, (28, 28, 1)
EPOCH = 64  # steps in an epoch
RATE = 0.01


def classifier(count: int, batch: int, form: str, spec: str = "none") -> Steps:
    """Steps of the classifier with the published network and optimiser.

    Args:
        count: lanes.
        batch: rows in a batch.
        form: config.conv ('auto', 'gemm', 'lax').
        spec: the balancing methods in the step.
    """
    config, choice = get_config("source"), _chosen(count, form)
    names, counts = tuple(str(k) for k in range(CLASSES)), (EPOCH * batch // CLASSES,) * CLASSES
    recipe = methods.recipe_of(spec, methods.Task(counts, 1.0, names, SHAPE, ()), counts)
    rule_of = partial(optimizer.make, config.classifier.optimizer, schedule=config.classifier.schedule)
    model = model_of(config, CLASSES, choice.conv)
    start = partial(classifier_train.init, model=model, optimizer=rule_of(RATE, steps=EPOCH), shape=SHAPE)
    make_rule = lambda rate, total: rule_of(rate, steps=total)  # noqa: E731
    epoch_of = classifier_train.epoch_of(model, make_rule, batch, lambda values: recipe)
    return steps(count, batch, choice, start, epoch_of, classifier_train.METRICS)


def cgan(count: int, batch: int, form: str) -> Steps:
    """Steps of the conditional GAN with the published networks and optimisers; arguments as for `classifier`."""
    config, choice = get_config("source"), _chosen(count, form)
    nets = nets_of(config, CLASSES, choice.conv)
    counts = (EPOCH * batch, *[0] * (CLASSES - 1))  # read for balanced batches only
    epoch_of = gan_train.epoch_of(nets, batch, counts, config.gan.batches)
    return steps(count, batch, choice, partial(gan_train.init, nets=nets, shape=SHAPE), epoch_of, gan_step.METRICS)


def _chosen(count: int, form: str) -> forms.Choice:
    """What a first start of an experiment with so many lanes would choose."""
    return forms.choose(count, lanes.devices_for(1)[0], None, conv=form)


def steps(
    count: int,
    batch: int,
    choice: forms.Choice,
    start: Callable[[jax.Array], Any],
    epoch_of: Callable[..., Any],
    metrics: tuple[str, ...],
) -> Steps:
    """Steps of `count` lanes on one device.

    Args:
        count: lanes.
        batch: rows in a batch; the random training set has EPOCH batches.
        choice: how they are computed.
        start: key -> a lane's initial state.
        epoch_of: the step function of an epoch, see `imbal_jax.train.loop.chunk`.
        metrics: the names of the step's metrics.
    """
    devices, keys = lanes.devices_for(1), lanes.lane_keys(0, range(count))
    shared = lanes.replicate(_data(EPOCH * batch), devices)
    rows = jnp.tile(jnp.arange(EPOCH * batch, dtype=jnp.int32), (count, 1))
    pool = Pool(rows, jnp.zeros((count, 0, *SHAPE), jnp.uint8), jnp.zeros((count, 0), jnp.int32))
    advance = lanes.over_lanes(loop.chunk(epoch_of), inner=choice.inner, devices=devices)
    carry = loop.Carry(jax.jit(jax.vmap(start))(keys), {name: jnp.zeros(count) for name in metrics})
    counts = (EPOCH * batch // CLASSES,) * CLASSES
    inputs = inputs_of(keys, pool, counts, {"learning_rate": jnp.full(count, RATE)})

    def run(n: int) -> None:
        nonlocal carry
        while n:
            part = min(n, EPOCH)
            carry = jax.block_until_ready(advance(carry, inputs, (shared, loop.span(0, part, EPOCH, EPOCH))))
            n -= part

    def notes() -> dict[str, Any]:
        images = sum(array.nbytes for array in jax.live_arrays() if array.dtype == jnp.uint8)  # of all lanes together
        peak = (devices[0].memory_stats() or {}).get("peak_bytes_in_use")  # a CPU has no count of its own
        return {
            "computed": f"{choice.conv} {choice.inner}",
            "images_mib": round(images / 2**20, 2),
            "device_mib": peak and round(peak / 2**20),
        }

    return Steps(run, devices[0].device_kind, notes)


def _data(rows: int) -> Shared:
    pixels, labels = jax.random.split(jax.random.key(0))
    x = jax.random.randint(pixels, (rows, *SHAPE), 0, 256).astype(jnp.uint8)
    return Shared(x, jax.random.randint(labels, (rows,), 0, CLASSES, jnp.int32))
