"""Lanes: each is one seed's run of an experiment; they are stacked on a leading axis and spread over the devices."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from imbal_jax.errors import UserError

Tree = TypeVar("Tree")

# What each name is folded into a key for. A name never changes: results depend on it. Most are folded into a lane's key; those
# after a comment are folded into the key that the comment names. A module outside of the package is free to use other names.
PURPOSES: Mapping[str, str] = {
    "subset": "which rows of a class the induced imbalance leaves, where config.cut.draw is 'random'",
    "validation": "which rows of the training set are held out, or which of the splits by whole groups",
    "balance": "all resampling of a lane's training set, before the training",
    "weights": "initial weights of the classifier, and of the new last layer in 'crt'",
    "order": "order of an epoch's rows, and the classes and rows of a balanced batch",
    "dropout": "dropout masks of the classifier, and of both networks of the GAN",
    "transform": "augmentation and mixing of batches, in the training and in the batch statistics of the arm",
    "rows": "rows of batches with sampled classes, and the rows that 'affine_over' transforms",
    "batch statistics": "batches that the classifier's batch statistics are computed from after the training",
    "second stage": "the second stage of an arm",
    "gan_weights": "initial weights of the GAN",
    "gan": "the GAN's training: its batches, noise and augmentation",
    "gan of class ": "with config.gan.classes, all randomness of one class's GAN; the class's name follows",
    "gan batch statistics": "batches that the GAN's batch statistics are computed from",
    "noise": "latent vectors of the GAN's training and of its batch statistics",
    "choice": "latent vectors of the rows by which config.gan.select chooses a state",
    "quality": "latent vectors of the rows that the generator's quality is measured on",
    "grid": "latent vectors of the sample grids, the same at every epoch",
    "picture": "the batch that the pictures of transformed images show",
    # Of the key of the feature extractor, which has seed 0 in every run:
    "reference": "the classifier that is the feature extractor of the generator's quality",
    # Of the key that `--latent_seed` makes:
    "drawing": "latent vectors of `--sample`",
    # Of the key that a resampler gets:
    "base": "rows that SMOTE and its variants start from",
    "neighbour": "the neighbour of each of them",
    "weight": "how far towards the neighbour a new row lies",
    "smote": "the over-sampling of a method that cleans afterwards",
    "clean": "that cleaning",
    "refill": "real rows that take the places of removed ones",
    "transforms": "affine maps of 'affine_over'",
    "synthesis": "latent vectors of 'gan_synth'",
    "drop": "rows that 'gan_synth(filter=random)' drops",
    # Of the key of a second stage:
    "crt": "initial weights and batches of 'crt'",
    "lws": "batches of 'lws'",
}


def purpose(key: jax.Array, name: str) -> jax.Array:
    """A key for one named purpose, so that adding or leaving out one use of randomness changes no other.

    Args:
        key: a typed key, shape [] (map over lanes with `jax.vmap`).
        name: one of `PURPOSES`; its CRC-32 is folded in.
    """
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def purposes(keys: jax.Array, name: str) -> jax.Array:
    """`purpose` for the typed keys [L] of all lanes."""
    return jax.vmap(partial(purpose, name=name))(keys)


def lane_keys(root: int, seeds: Sequence[int]) -> jax.Array:
    """Typed keys [L], one for each lane's seed: a lane's key depends only on the root and its own seed."""
    base = jax.random.key(root)
    return jax.vmap(lambda seed: jax.random.fold_in(base, seed))(jnp.asarray(seeds, jnp.uint32))


class Spread(NamedTuple):
    """A function of one lane, compiled for all of them: what `over_lanes` returns, called as `(state, inputs, shared)`.

    Attributes:
        run: the compiled function, for a number of lanes that is a multiple of `slots`.
        lower: the same function, lowered for shapes.
        slots: number of lanes that run in parallel, each on its own device or devices.
        min_lanes: the smallest number of lanes that is run.
    """

    run: Callable[..., Any]
    lower: Callable[..., jax.stages.Lowered]
    slots: int
    min_lanes: int

    def __call__(self, state: Any, inputs: Any, shared: Any) -> Any:
        """The outputs of all lanes, leaves [L, ...]."""
        lanes = _leading((state, inputs))
        missing = self.filled(lanes) - lanes
        if missing:  # equal shares: copies of the last lane are added, and dropped from the result
            state, inputs = jax.tree.map(partial(_repeat_last, times=missing), (state, inputs))
        out = self.run(state, inputs, shared)
        return jax.tree.map(lambda leaf: leaf[:lanes], out) if missing else out

    def lowered(self, state: Any, inputs: Any, shared: Any) -> jax.stages.Lowered:
        """The program that a call with these shapes runs, lowered but not compiled; nothing is run.

        Args:
            state, inputs: arrays or ShapeDtypeStructs, leaves [L, ...] (see `shapes`).
            shared: the arrays of the later call, which then does not compile again, or ShapeDtypeStructs.
        """
        total = self.filled(_leading((state, inputs)))
        return self.lower(*shapes((state, inputs), total), shared)

    def filled(self, lanes: int) -> int:
        """The number of lanes that are run for `lanes` lanes, copies included."""
        return -(-max(lanes, self.min_lanes) // self.slots) * self.slots


def over_lanes(
    function: Callable[..., Any],
    *,
    parallel: str = "shard_map",
    inner: str = "auto",
    devices: Sequence[jax.Device] | None = None,
    data: int = 1,
    min_lanes: int = 1,
    precision: str | None = "float32",
) -> Spread:
    """Compile `function(lane, shared)`, written for one lane, to run on all lanes at once.

    The result is called as `(state, inputs, shared)`: the leaves of the first two have a leading axis L; `shared` is read
    by all lanes (see `replicate`). It returns the lanes' outputs with the leading axis L. `state` is donated.

    With `data` = D above 1 each lane has D devices. Arrays that the function passes through `split_batch` are divided among
    them; all others are replicated. The compiler adds the reductions, so sums, means and batch statistics are those of the
    whole batch, and random numbers are those of one device.

    Args:
        function: ((state, inputs), shared) -> outputs, of one lane.
        parallel: 'shard_map' or 'pmap': how lanes are spread over devices. Lanes never communicate.
        inner: 'vmap' (lanes batched inside a device), 'loop' (one after the other) or 'auto' (see `usual_inner`).
        devices: the devices to use (see `devices_for`); all local ones by default.
        data: devices for each lane.
        min_lanes: fewer lanes than this are filled up with copies of the last lane, so that a shorter last chunk of lanes (see
            `memory.chunks`) uses the same program as the chunks before it.
        precision: of products of float32 arrays where the function sets none, by jax's names: 'float32' on every device,
            'tensorfloat32' (TF32 on a GPU), or None, the default of the device. A CPU has only float32.

    Raises:
        UserError: an unknown value of `parallel` or `inner`; `data` does not divide the number of devices.
    """
    devices = list(devices or jax.local_devices())
    if inner not in ("auto", "vmap", "loop"):
        raise UserError(f"config.lanes must be 'auto', 'vmap' or 'loop' (got {inner!r})")
    if parallel not in ("shard_map", "pmap"):
        raise UserError(f"config.parallel must be 'shard_map' or 'pmap' (got {parallel!r})")
    if parallel == "pmap" and data > 1:
        raise UserError(f"config.parallel must be 'shard_map' with config.data_devices={data} (got 'pmap')")
    _check_data(data, len(devices))
    inner = usual_inner(devices[0]) if inner == "auto" else inner
    function = _with_precision(function, precision)
    all_lanes = _in_loop(function) if inner == "loop" else _in_vmap(function)
    run, lower = _by_shard_map(all_lanes, devices, data) if parallel == "shard_map" else _by_pmap(all_lanes, devices)
    return Spread(run, lower, len(devices) // data, min_lanes)


def usual_inner(device: jax.Device) -> str:
    """How lanes run inside a device if nothing was measured.

    'loop' on a CPU, where one lane uses all cores and its working set stays in the cache; otherwise 'vmap'.
    """
    return "loop" if device.platform == "cpu" else "vmap"


def shapes(tree: Any, many: int) -> Any:
    """The ShapeDtypeStructs that a tree with leaves [L, ...] would have with `many` lanes."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((many, *leaf.shape[1:]), leaf.dtype), tree)


def devices_for(lanes: int, data: int = 1) -> list[jax.Device]:
    """The local devices that a number of lanes can use, with `data` devices for each.

    Raises:
        UserError: `data` does not divide the number of local devices.
    """
    devices = jax.local_devices()
    _check_data(data, len(devices))
    return devices[: max(1, lanes) * data]


def replicate(tree: Any, devices: Sequence[jax.Device]) -> Any:
    """The arrays of `tree`, copied to each device once, so that calls do not transfer them again."""
    if len(devices) == 1:
        return jax.device_put(tree, devices[0])
    return jax.device_put(tree, NamedSharding(_mesh(devices), P()))


def split_batch(data: int, batch: int) -> Callable[[Tree], Tree]:
    """A function that divides arrays [batch, ...] among the `data` devices of a lane, inside `over_lanes(..., data=data)`.

    It changes no value: it only sets the sharding of the rows, and the compiler divides what is computed from them. With
    data = 1 it does nothing.

    Raises:
        UserError: `data` does not divide the batch.
    """
    if data == 1:
        return lambda tree: tree
    if batch % data:
        raise UserError(f"config.data_devices must divide the batch of {batch} rows (got {data}): change one of them")
    return lambda tree: jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, P("data")), tree)


def _check_data(data: int, devices: int) -> None:
    if data < 1 or devices % data:
        fitting = ", ".join(str(n) for n in range(1, devices + 1) if devices % n == 0)
        raise UserError(f"config.data_devices must divide the {devices} devices (got {data}): use {fitting}")


def _mesh(devices: Sequence[jax.Device], data: int = 1) -> Mesh:
    grid = np.array(devices).reshape(-1, data)  # the devices of a lane are neighbours
    return Mesh(grid, ("lanes", "data"), axis_types=(AxisType.Auto, AxisType.Auto))


def _leading(tree: Any) -> int:
    return jax.tree.leaves(tree)[0].shape[0]


def _repeat_last(leaf: jax.Array, times: int) -> jax.Array:
    return jnp.concatenate([leaf, *([leaf[-1:]] * times)])


def _with_precision(function, precision):
    if precision is None:
        return function

    def run(lane, shared):
        with jax.default_matmul_precision(precision):
            return function(lane, shared)

    return run


def _in_vmap(function):
    return lambda state, inputs, shared: jax.vmap(lambda s, i: function((s, i), shared))(state, inputs)


def _in_loop(function):
    def run(state, inputs, shared):
        if _leading((state, inputs)) == 1:  # without a loop for a single lane, which would copy its state
            single = jax.tree.map(lambda leaf: leaf[0], (state, inputs))
            return jax.tree.map(lambda leaf: leaf[None], function(single, shared))
        return jax.lax.map(lambda lane: function(lane, shared), (state, inputs))

    return run


def _by_shard_map(all_lanes, devices, data):
    mesh = _mesh(devices, data)
    lanes = P("lanes")
    # shard_map spreads the lanes; the axis 'data' is left to the compiler, which follows `split_batch`.
    manual_axes = {"lanes"} if data > 1 else {"lanes", "data"}
    mapped = jax.shard_map(
        all_lanes, mesh=mesh, in_specs=(lanes, lanes, P()), out_specs=lanes, axis_names=manual_axes, check_vma=False
    )
    lane_sharding = NamedSharding(mesh, lanes)  # from the first call on; otherwise the second call would compile again
    compiled = jax.jit(mapped, donate_argnums=0, out_shardings=lane_sharding, compiler_options=_kept_barriers(devices[0]))

    def run(state, inputs, shared):
        return compiled(*jax.device_put((state, inputs), lane_sharding), shared)

    def lower(state, inputs, shared):
        state, inputs = jax.tree.map(partial(_shape, sharding=lane_sharding), (state, inputs))
        replicated = NamedSharding(mesh, P())
        shared = jax.tree.map(lambda leaf: leaf if isinstance(leaf, jax.Array) else _shape(leaf, replicated), shared)
        return compiled.lower(state, inputs, shared)

    return run, lower


def _kept_barriers(device: jax.Device) -> dict[str, str] | None:
    """Compiler options that make `optimization_barrier` effective on a CPU.

    Before 0.12, jax's CPU compiler drops barriers before fusion (openxla/xla issue 20440). Values behind a barrier are then
    recomputed in every operation that reads them, such as the gradient of a pooling or the dropout mask in each part of the
    convolution's gradient.
    """
    if device.platform != "cpu" or jax.__version_info__ >= (0, 12):
        return None
    return {"xla_disable_hlo_passes": "cse_barrier_expander"}


def _by_pmap(all_lanes, devices):
    mapped = jax.pmap(all_lanes, in_axes=(0, 0, None), devices=devices)
    device_count = len(devices)

    def run(state, inputs, shared):
        split = partial(jax.tree.map, lambda leaf: leaf.reshape(device_count, leaf.shape[0] // device_count, *leaf.shape[1:]))
        out = mapped(split(state), split(inputs), shared)
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), out)

    def lower(state, inputs, shared):
        split = lambda leaf: jax.ShapeDtypeStruct((device_count, leaf.shape[0] // device_count, *leaf.shape[1:]), leaf.dtype)  # noqa: E731
        return mapped.lower(*jax.tree.map(split, (state, inputs)), shared)

    return run, lower


def _shape(leaf: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
