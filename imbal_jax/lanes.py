"""Lanes: one seed's run of an experiment each, stacked on a leading axis and spread over the devices."""

import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from imbal_jax.errors import UserError


def purpose(key: jax.Array, name: str) -> jax.Array:
    """A key for one named purpose ('subset', 'weights', 'order', ...), so that randomness stays separate.

    Args:
        key: a typed key, shape [] (map over lanes with `jax.vmap`).
        name: the purpose; its CRC-32 is folded in, so adding a purpose never shifts the others.
    """
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def purposes(keys: jax.Array, name: str) -> jax.Array:
    """`purpose` for the typed keys [L] of all lanes."""
    return jax.vmap(partial(purpose, name=name))(keys)


def lane_keys(root: int, seeds: Sequence[int]) -> jax.Array:
    """Typed keys [L], one for each lane's seed: a lane's key depends on the root and its own seed alone."""
    base = jax.random.key(root)
    return jax.vmap(lambda seed: jax.random.fold_in(base, seed))(jnp.asarray(seeds, jnp.uint32))


def over_lanes(
    function: Callable[..., Any],
    *,
    parallel: str = "shard_map",
    inner: str = "auto",
    devices: Sequence[jax.Device] | None = None,
) -> Callable[..., Any]:
    """Compile `function(lane, shared)`, written for one lane, to run on all lanes at once.

    The result is called as `(state, inputs, shared)`: the leaves of the first two have a leading axis L; `shared` is read
    by all lanes (see `replicate`). It returns the lanes' outputs with the leading axis L. `state` is donated.

    Args:
        function: ((state, inputs), shared) -> outputs, of one lane.
        parallel: 'shard_map' or 'pmap': how lanes are spread over devices. Lanes never communicate.
        inner: 'vmap' (lanes batched inside a device), 'loop' (one after the other) or 'auto': 'loop' on a CPU, where one
            lane fills the machine and its working set stays in cache, 'vmap' elsewhere.
        devices: the devices to use (see `devices_for`); all local ones by default.

    Raises:
        UserError: an unknown value of `parallel` or `inner`.
    """
    devices = list(devices or jax.local_devices())
    if inner not in ("auto", "vmap", "loop"):
        raise UserError(f"config.lanes is {inner!r}: use 'auto', 'vmap' or 'loop'")
    if parallel not in ("shard_map", "pmap"):
        raise UserError(f"config.parallel is {parallel!r}: use 'shard_map' or 'pmap'")
    loop = inner == "loop" or (inner == "auto" and devices[0].platform == "cpu")
    many = _in_loop(function) if loop else _in_vmap(function)
    spread = _by_shard_map(many, devices) if parallel == "shard_map" else _by_pmap(many, devices)

    def call(state: Any, inputs: Any, shared: Any) -> Any:
        lanes = jax.tree.leaves((state, inputs))[0].shape[0]
        missing = -lanes % len(devices)
        if missing:  # equal shares: the last lane is repeated and its copies are dropped
            state, inputs = jax.tree.map(partial(_repeat_last, times=missing), (state, inputs))
        out = spread(state, inputs, shared)
        return jax.tree.map(lambda leaf: leaf[:lanes], out) if missing else out

    return call


def devices_for(lanes: int) -> list[jax.Device]:
    """The local devices that so many lanes can keep busy."""
    return jax.local_devices()[: max(1, lanes)]


def replicate(tree: Any, devices: Sequence[jax.Device]) -> Any:
    """The arrays of `tree`, once on each device, so that no call has to send them again."""
    if len(devices) == 1:
        return jax.device_put(tree, devices[0])
    return jax.device_put(tree, NamedSharding(_mesh(devices), P()))


def _mesh(devices: Sequence[jax.Device]) -> Mesh:
    return Mesh(np.array(devices), ("lanes",), axis_types=(AxisType.Auto,))


def _repeat_last(leaf: jax.Array, times: int) -> jax.Array:
    return jnp.concatenate([leaf, *([leaf[-1:]] * times)])


def _in_vmap(function):
    return lambda state, inputs, shared: jax.vmap(lambda s, i: function((s, i), shared))(state, inputs)


def _in_loop(function):
    def run(state, inputs, shared):
        if jax.tree.leaves((state, inputs))[0].shape[0] == 1:  # no loop around a single lane: it would copy its state
            single = jax.tree.map(lambda leaf: leaf[0], (state, inputs))
            return jax.tree.map(lambda leaf: leaf[None], function(single, shared))
        return jax.lax.map(lambda lane: function(lane, shared), (state, inputs))

    return run


def _by_shard_map(many, devices):
    mesh = _mesh(devices)
    lanes = P("lanes")
    mapped = jax.shard_map(many, mesh=mesh, in_specs=(lanes, lanes, P()), out_specs=lanes, check_vma=False)
    compiled = jax.jit(mapped, donate_argnums=0)
    placed = NamedSharding(mesh, lanes)  # from the first call on, or the second would compile again

    def run(state, inputs, shared):
        return compiled(*jax.device_put((state, inputs), placed), shared)

    return run


def _by_pmap(many, devices):
    mapped = jax.pmap(many, in_axes=(0, 0, None), devices=devices)
    used = len(devices)

    def run(state, inputs, shared):
        split = partial(jax.tree.map, lambda leaf: leaf.reshape(used, leaf.shape[0] // used, *leaf.shape[1:]))
        out = mapped(split(state), split(inputs), shared)
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), out)

    return run
