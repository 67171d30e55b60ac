"""Our side, timed as it is run: chunks of steps compiled whole over all lanes, the data on the device as uint8."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.harness import Steps
from imbal_jax import lanes
from imbal_jax.batches import Inputs, Pool, Shared
from imbal_jax.train import loop

CLASSES, SHAPE = 10, (28, 28, 1)
EPOCH = 64  # steps in an epoch
COUNTS = (0,) * CLASSES  # of each class; read by methods only


def steps(
    count: int,
    batch: int,
    *,
    start: Callable[[jax.Array], Any],
    epoch_of: Callable[..., Any],
    metrics: tuple[str, ...],
) -> Steps:
    """Steps of `count` lanes on one device.

    Args:
        count: lanes.
        batch: rows in a batch; the random training set has EPOCH batches.
        start: key -> a lane's initial state.
        epoch_of: the step function of an epoch, see `imbal_jax.train.loop.chunk`.
        metrics: the names of the step's metrics.
    """
    devices, keys = lanes.devices_for(1), lanes.lane_keys(0, range(count))
    shared = lanes.replicate(_data(EPOCH * batch), devices)
    rows = jnp.tile(jnp.arange(EPOCH * batch, dtype=jnp.int32), (count, 1))
    pool = Pool(rows, jnp.zeros((count, 0, *SHAPE), jnp.uint8), jnp.zeros((count, 0), jnp.int32))
    advance = lanes.over_lanes(loop.chunk(epoch_of, EPOCH), devices=devices)
    carry = loop.Carry(jax.jit(jax.vmap(start))(keys), {name: jnp.zeros(count) for name in metrics})
    inputs = Inputs(keys, pool)

    def run(n: int) -> None:
        nonlocal carry
        while n:
            part = min(n, EPOCH)
            bounds = (jnp.asarray(0, jnp.int32), jnp.asarray(part, jnp.int32))
            carry = jax.block_until_ready(advance(carry, inputs, (shared, *bounds)))
            n -= part

    return Steps(run, devices[0].device_kind)


def _data(rows: int) -> Shared:
    pixels, labels = jax.random.split(jax.random.key(0))
    x = jax.random.randint(pixels, (rows, *SHAPE), 0, 256).astype(jnp.uint8)
    return Shared(x, jax.random.randint(labels, (rows,), 0, CLASSES, jnp.int32))
