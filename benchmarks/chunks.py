"""Our side, timed as it is run: chunks of steps compiled whole over all lanes, the data on the device as uint8."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from benchmarks.harness import Steps
from configs import ecg_gan, retinopathy_dcgan
from configs.mnist_cgan import get_config
from imbal_jax import methods
from imbal_jax.data.batches import Pool, Shared
from imbal_jax.gan import step as gan_step
from imbal_jax.gan import train as gan_train
from imbal_jax.runtime import autotune, cpu_devices, lanes
from imbal_jax.stages.classifier_network import model_of
from imbal_jax.stages.context import inputs_of
from imbal_jax.stages.gan_training import nets_of
from imbal_jax.train import classifier as classifier_train
from imbal_jax.train import loop, optimizer, statistics_of_arm

EPOCH = 64  # steps in an epoch


class Net(NamedTuple):
    """What is trained: networks in `imbal_jax.models`, rows of `shape`, and the optimiser with its learning rate."""

    model: str = "s0_cnn"
    shape: tuple[int, ...] = (28, 28, 1)
    classes: int = 10
    optimizer: str = "sgd"
    rate: float = 0.01


S0 = Net()
S4 = Net("s4_cnn", optimizer="adam", rate=1e-3)
EFFICIENTNET_B0 = Net("efficientnet_b0", (48, 48, 3), 7, "adam", 1e-3)
RESNET32 = Net("resnet32", (32, 32, 3), 10, "sgd", 0.1)
EFFICIENTNET_SMALL = Net("efficientnet_small", (48, 48, 1), 7, "adam", 1e-3)
S1 = Net("s1_gan", (300, 1), classes=1)  # each lane has a class of its own
S2 = Net("s2_dcgan", (128, 128, 3), classes=1)
MINORITY = 4  # classes that have a GAN each


def classifier(count: int, batch: int, form: str, spec: str = "none", net: Net = S0) -> Steps:
    """Steps of a classifier, by default the published one with its optimiser.

    Args:
        count: lanes.
        batch: rows in a batch.
        form: config.conv ('auto', 'gemm', 'lax').
        spec: the balancing methods in the step.
        net: the network, the images, the optimiser.
    """
    config, choice = get_config("source"), _chosen(count, form)
    config.classifier.model = net.model
    names, counts = tuple(str(k) for k in range(net.classes)), (EPOCH * batch // net.classes,) * net.classes
    recipe = methods.recipe_of(spec, methods.Task(counts, 1.0, names, net.shape, ()), counts)
    rule_of = partial(optimizer.make, net.optimizer, schedule=config.classifier.schedule)
    model = model_of(config, net.classes, choice.conv, net.shape)
    start = partial(classifier_train.init, model=model, optimizer=rule_of(net.rate, steps=EPOCH), shape=net.shape)
    make_rule = lambda rate, total: rule_of(rate, steps=total)  # noqa: E731
    epoch_of = classifier_train.epoch_of(model, make_rule, batch, lambda values: recipe)
    return steps(count, batch, choice, start, epoch_of, classifier_train.METRICS, net)


def statistics(count: int, batch: int, form: str, net: Net) -> Steps:
    """Batches whose moments are found after a training instead of steps of it; arguments as for `classifier`."""
    config, choice = get_config("source"), _chosen(count, form)
    config.classifier.model = net.model
    devices, keys = lanes.devices_for(count), lanes.lane_keys(0, range(count))
    model, shared = model_of(config, net.classes, choice.conv, net.shape), lanes.replicate(_data(EPOCH * batch, net), devices)
    rows = jnp.tile(jnp.arange(EPOCH * batch, dtype=jnp.int32), (count, 1))
    pool = Pool(rows, jnp.zeros((count, 0, *net.shape), jnp.uint8), jnp.zeros((count, 0), jnp.int32))
    inputs = inputs_of(keys, pool, (EPOCH * batch // net.classes,) * net.classes)
    held = jax.jit(jax.vmap(lambda key: model.init(key, jnp.zeros((1, *net.shape)))))(keys)

    def one(lane: Any, given: Any) -> Any:
        (_, (held, inputs)), (shared, many) = lane, given
        progress = jnp.asarray(0.5, jnp.float32)
        return statistics_of_arm.recomputed(model, held, inputs, shared, many, progress, recipe=methods.Recipe(), batch=batch)

    run = lanes.over_lanes(one, inner=choice.inner, devices=devices)
    call = lambda n: jax.block_until_ready(run((), (held, inputs), (shared, jnp.asarray(n, jnp.int32))))  # noqa: E731
    return Steps(call, devices[0].device_kind)


def cgan(count: int, batch: int, form: str) -> Steps:
    """Steps of the conditional GAN with the published networks and optimisers; arguments as for `classifier`."""
    return _gan(get_config("source"), count, batch, form, S0)


def heartbeat_gans(count: int, batch: int, form: str, together: bool = True) -> Steps:
    """Steps of the published heartbeat GANs with their optimisers, one GAN a lane: four lanes (classes) for each seed.

    Args:
        count: seeds.
        batch: rows in a batch.
        form: config.conv.
        together: else a step is four of a single GAN: the classes one after the other.
    """
    config = ecg_gan.get_config()
    config.gan.classes = ""  # all rows of a lane are of its class
    if together:
        return _gan(config, MINORITY * count, batch, form, S1)
    one = _gan(config, count, batch, form, S1)
    return one._replace(run=lambda n: one.run(MINORITY * n))


def dcgan(count: int, batch: int, form: str) -> Steps:
    """Steps of the published DCGAN (two of the discriminator, one of the generator); arguments as for `classifier`."""
    config = retinopathy_dcgan.get_config()
    config.gan.classes = ""  # all rows are of one grade
    return _gan(config, count, batch, form, S2)


def _gan(config: ConfigDict, count: int, batch: int, form: str, net: Net) -> Steps:
    choice, names = _chosen(count, form), tuple(map(str, range(net.classes)))
    nets = nets_of(config, methods.Task((EPOCH * batch // net.classes,) * net.classes, 1.0, names, net.shape, ()), choice.conv)
    epoch_of = gan_train.epoch_of(nets, batch, config.gan.batches)
    return steps(count, batch, choice, partial(gan_train.init, nets=nets, shape=net.shape), epoch_of, gan_step.METRICS, net)


def _chosen(count: int, form: str) -> autotune.Choice:
    """What a first start of an experiment with so many lanes would choose, on devices made as launch.py makes them."""
    cpu_devices.use_cores(count)
    devices = lanes.devices_for(count)
    return autotune.choose(-(-count // len(devices)), devices[0], None, conv=form)


def steps(
    count: int,
    batch: int,
    choice: autotune.Choice,
    start: Callable[[jax.Array], Any],
    epoch_of: Callable[..., Any],
    metrics: tuple[str, ...],
    net: Net = S0,
) -> Steps:
    """Steps of `count` lanes, spread as those of an experiment.

    Args:
        count: lanes.
        batch: rows in a batch; the random training set has EPOCH batches.
        choice: how they are computed.
        start: key -> a lane's initial state.
        epoch_of: the step function of an epoch, see `imbal_jax.train.loop.span_function`.
        metrics: the names of the step's metrics.
        net: the images and the learning rate.
    """
    devices, keys = lanes.devices_for(count), lanes.lane_keys(0, range(count))
    shared = lanes.replicate(_data(EPOCH * batch, net), devices)
    rows = jnp.tile(jnp.arange(EPOCH * batch, dtype=jnp.int32), (count, 1))
    pool = Pool(rows, jnp.zeros((count, 0, *net.shape), jnp.uint8), jnp.zeros((count, 0), jnp.int32))
    advance = lanes.over_lanes(loop.span_function(epoch_of), inner=choice.inner, devices=devices)
    carry = loop.Carry(jax.jit(jax.vmap(start))(keys), {name: jnp.zeros(count) for name in metrics})
    counts = (EPOCH * batch // net.classes,) * net.classes
    inputs = inputs_of(keys, pool, counts, {"learning_rate": jnp.full(count, net.rate)})

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


def _data(rows: int, net: Net) -> Shared:
    pixels, labels = jax.random.split(jax.random.key(0))
    x = jax.random.randint(pixels, (rows, *net.shape), 0, 256).astype(jnp.uint8)
    return Shared(x, jax.random.randint(labels, (rows,), 0, net.classes, jnp.int32))
