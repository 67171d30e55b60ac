"""The training loop around any compiled step: chunks, metrics by epoch, checkpoints, progress, resuming."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax import checkpoint
from imbal_jax.progress import Progress


class Plan(NamedTuple):
    """How long a training is and where it is kept.

    Attributes:
        label: shown with the progress.
        folder: where the latest state is kept.
        epochs: passes over the training set.
        steps_per_epoch: optimiser steps in each.
        chunk_seconds: aimed length of one uninterrupted run on the device.
        save_seconds: least time between two saves.
    """

    label: str
    folder: Path
    epochs: int
    steps_per_epoch: int
    chunk_seconds: float = 10.0
    save_seconds: float = 30.0


class Carry(NamedTuple):
    """What goes round: the training state and the sums of the metrics since the epoch began, each {name: float}."""

    state: Any
    sums: dict[str, jax.Array]


class Trained(NamedTuple):
    """The last state (lanes stacked) and the seconds that all lanes took, earlier runs of a resumed training included."""

    state: Any
    seconds: float


Step = Callable[[Any, jax.Array, jax.Array], tuple[Any, dict[str, jax.Array]]]


def chunk(epoch_of: Callable[[jax.Array, Any, Any], Step], steps_per_epoch: int) -> Callable[..., Carry]:
    """A lane's run from step `start` up to step `stop` of one epoch, to be compiled whole by `over_lanes`.

    The bounds are traced, so a training of any length is one compilation, and where it is cut changes nothing.

    Args:
        epoch_of: (epoch, inputs, shared) -> step(state, step number, position in the epoch) -> (state, metrics).
        steps_per_epoch: optimiser steps in an epoch.
    """

    def run(lane: tuple[Carry, Any], shared: tuple[Any, jax.Array, jax.Array]) -> Carry:
        (carry, inputs), (data, start, stop) = lane, shared
        step = epoch_of(start // steps_per_epoch, inputs, data)

        def body(i: jax.Array, carry: Carry) -> Carry:
            state, metrics = step(carry.state, i, i % steps_per_epoch)
            return Carry(state, jax.tree.map(jnp.add, carry.sums, metrics))

        return jax.lax.fori_loop(start, stop, body, carry)

    return run


def train(
    plan: Plan,
    advance: Callable[[Any, Any, Any], Carry],
    state: Any,
    inputs: Any,
    shared: Any,
    metric_names: tuple[str, ...],
    on_epoch: Callable[[int, dict[str, np.ndarray], Any], None],
    on_resume: Callable[[int], None],
) -> Trained:
    """Train all lanes to the end of the plan, going on from the newest checkpoint.

    Args:
        plan: length and place.
        advance: `over_lanes(chunk(...))`.
        state: the lanes' initial state, leaves [L, ...].
        inputs: what the lanes read, leaves [L, ...].
        shared: what all lanes read.
        metric_names: the names of the step's metrics.
        on_epoch: called with the number of the epoch that ended (from 1), its mean metrics {name: [L]}, and the state.
        on_resume: called first with the number of epochs that are already complete.
    """
    total = plan.epochs * plan.steps_per_epoch
    lanes = jax.tree.leaves(state)[0].shape[0]
    carry = Carry(state, {name: jnp.zeros(lanes) for name in metric_names})
    saved = checkpoint.restore(plan.folder, carry)
    step, seconds = 0, 0.0
    if saved is not None:
        carry, step, seconds = saved.state, saved.step, float(saved.meta["seconds"])
    on_resume(step // plan.steps_per_epoch)
    size, last_save = 4, time.monotonic()
    with Progress(plan.label, total, step) as progress:
        while step < total:
            began = time.monotonic()
            end = (step // plan.steps_per_epoch + 1) * plan.steps_per_epoch
            stop = min(step + size, end, total)
            bounds = (jnp.asarray(step, jnp.int32), jnp.asarray(stop, jnp.int32))
            carry = jax.block_until_ready(advance(carry, inputs, (shared, *bounds)))
            took, done, step = time.monotonic() - began, stop - step, stop
            seconds += took
            means = {name: np.asarray(value) for name, value in carry.sums.items()}
            means = {name: value / (step - (end - plan.steps_per_epoch)) for name, value in means.items()}
            if step == end:
                on_epoch(end // plan.steps_per_epoch, means, carry.state)
                carry = carry._replace(sums={name: jnp.zeros(lanes) for name in metric_names})
            if step == total or time.monotonic() - last_save >= plan.save_seconds:
                checkpoint.save(plan.folder, step, carry, {"seconds": seconds})
                last_save = time.monotonic()
            progress.update(step, **{name: _shown(value) for name, value in means.items()})
            size = max(1, min(4 * size, round(done * plan.chunk_seconds / max(took, 1e-6))))
    return Trained(carry.state, seconds)


def _shown(value: np.ndarray) -> float:
    """The mean over the lanes that still have a number."""
    alive = value[np.isfinite(value)]
    return float(alive.mean()) if alive.size else float("nan")
