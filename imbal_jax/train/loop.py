"""The training loop around any compiled step: chunks, metrics by epoch, checkpoints, progress, resuming."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax import checkpoint
from imbal_jax.errors import Interrupted
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
        stopping: asked after each chunk: whether the process has to end.
        compiling: seconds that the process has spent on compiling so far; they are left out of the training's time.
    """

    label: str
    folder: Path
    epochs: int
    steps_per_epoch: int
    chunk_seconds: float = 10.0
    save_seconds: float = 30.0
    stopping: Callable[[], bool] = lambda: False
    compiling: Callable[[], float] = lambda: 0.0


class Span(NamedTuple):
    """Steps `start` up to `stop` of one epoch, of a training of `total` steps, `per_epoch` in each: int32 scalars, traced."""

    start: jax.Array
    stop: jax.Array
    per_epoch: jax.Array
    total: jax.Array


class Carry(NamedTuple):
    """What goes round: the training state and the sums of the metrics since the epoch began, each {name: float}."""

    state: Any
    sums: dict[str, jax.Array]


class Trained(NamedTuple):
    """What a training came to.

    Attributes:
        state: the last, lanes stacked.
        seconds: that all lanes took, earlier runs of a resumed training included.
        epochs: that were run.
    """

    state: Any
    seconds: float
    epochs: int


class Judged(NamedTuple):
    """What is found at the end of an epoch.

    Attributes:
        state: to go on with, lanes stacked.
        figures: for the curves, {name: [L]}.
        over: whether no lane trains any more.
    """

    state: Any
    figures: dict[str, np.ndarray]
    over: bool


Judge = Callable[[int, dict[str, np.ndarray], Any], Judged]  # (number of the epoch that ended, from 1; its means; the state)
Step = Callable[[Any, jax.Array, jax.Array], tuple[Any, dict[str, jax.Array]]]


def chunk(
    epoch_of: Callable[[jax.Array, Any, Any, jax.Array], Step], active: Callable[[Any], jax.Array] | None = None
) -> Callable[..., Carry]:
    """A lane's run over a `Span`, to be compiled whole by `over_lanes` and called with (data, span) as what is shared.

    The span is traced, so trainings of any length are one compilation, and where they are cut changes nothing.

    Args:
        epoch_of: (epoch, inputs, data, total) -> step(state, step number, position in the epoch) -> (state, metrics).
        active: state -> bool []: a lane of which it is false stays as it is, and its metrics are NaN. It is asked once a
            call. By default all lanes run.
    """

    def run(lane: tuple[Carry, Any], shared: tuple[Any, Span]) -> Carry:
        (carry, inputs), (data, span) = lane, shared
        step = epoch_of(span.start // span.per_epoch, inputs, data, span.total)

        def body(i: jax.Array, carry: Carry) -> Carry:
            state, metrics = step(carry.state, i, i % span.per_epoch)
            return Carry(state, jax.tree.map(jnp.add, carry.sums, metrics))

        if active is None:
            return jax.lax.fori_loop(span.start, span.stop, body, carry)
        runs = active(carry.state)
        carry = carry._replace(sums={name: jnp.where(runs, value, jnp.nan) for name, value in carry.sums.items()})
        return jax.lax.fori_loop(span.start, jnp.where(runs, span.stop, span.start), body, carry)

    return run


def span(start: int, stop: int, per_epoch: int, total: int) -> Span:
    """A `Span` of these numbers."""
    return Span(*(jnp.asarray(number, jnp.int32) for number in (start, stop, per_epoch, total)))


def train(
    plan: Plan,
    advance: Callable[[Any, Any, Any], Carry],
    state: Any,
    inputs: Any,
    shared: Any,
    metric_names: tuple[str, ...],
    on_epoch: Callable[[int, dict[str, np.ndarray], Any], None],
    on_resume: Callable[[int], None],
    judge: Judge = lambda epoch, means, state: Judged(state, {}, False),
) -> Trained:
    """Train all lanes to the end of the plan, or until none trains any more, going on from the newest checkpoint.

    Args:
        plan: length and place.
        advance: `over_lanes(chunk(...))`.
        state: the lanes' initial state, leaves [L, ...].
        inputs: what the lanes read, leaves [L, ...].
        shared: what all lanes read.
        metric_names: the names of the step's metrics.
        on_epoch: called with the number of the epoch that ended (from 1), its mean metrics and the judge's figures
            {name: [L]}, and the state.
        on_resume: called first with the number of epochs that are already complete.
        judge: looks at the state after each epoch, before `on_epoch`; the state given to it may be donated.

    Raises:
        Interrupted: `plan.stopping` said so; the state is saved.
    """
    total = plan.epochs * plan.steps_per_epoch
    lanes = jax.tree.leaves(state)[0].shape[0]
    carry = Carry(state, {name: jnp.zeros(lanes) for name in metric_names})
    saved = checkpoint.restore(plan.folder, carry)
    step, seconds, over = 0, 0.0, False
    if saved is not None:
        carry, step = saved.state, saved.step
        seconds, over = float(saved.meta["seconds"]), saved.meta.get("over", False)
    on_resume(step // plan.steps_per_epoch)
    size, last_save = 4, time.monotonic()
    with Progress(plan.label, total, step) as progress:
        while step < total and not over:
            clock = _stopwatch(plan)
            end = (step // plan.steps_per_epoch + 1) * plan.steps_per_epoch
            stop = min(step + size, end, total)
            bounds = span(step, stop, plan.steps_per_epoch, total)
            carry = jax.block_until_ready(advance(carry, inputs, (shared, bounds)))
            took, done, step = clock(), stop - step, stop
            spent = took
            means = {name: np.asarray(value) for name, value in carry.sums.items()}
            means = {name: value / (step - (end - plan.steps_per_epoch)) for name, value in means.items()}
            if step == end:
                judged = judge(end // plan.steps_per_epoch, means, carry.state)
                spent = clock()
                on_epoch(end // plan.steps_per_epoch, {**means, **judged.figures}, judged.state)
                carry, over = Carry(judged.state, {name: jnp.zeros(lanes) for name in metric_names}), judged.over
            seconds += spent
            ending = plan.stopping()
            finished = over or step == total
            if ending or finished or time.monotonic() - last_save >= plan.save_seconds:
                checkpoint.save(plan.folder, step, carry, {"seconds": seconds, "over": over})
                last_save = time.monotonic()
            progress.update(step, **{name: _shown(value) for name, value in means.items()})
            if ending and not finished:
                raise Interrupted(f"stopped at step {step} of {total} of {plan.label}")
            size = max(1, min(4 * size, round(done * plan.chunk_seconds / max(took, 1e-6))))
    return Trained(carry.state, seconds, step // plan.steps_per_epoch)


def in_turn(judges: Sequence[Judge]) -> Judge:
    """One judge of several: each sees the state that the one before it goes on with."""

    def judge(epoch: int, means: dict[str, np.ndarray], state: Any) -> Judged:
        figures: dict[str, np.ndarray] = {}
        over = False
        for each in judges:
            state, more, ends = each(epoch, means, state)
            figures, over = {**figures, **more}, over or ends
        return Judged(state, figures, over)

    return judge


def _stopwatch(plan: Plan) -> Callable[[], float]:
    """Seconds from now on, without those of compiling."""
    began = time.monotonic() - plan.compiling()
    return lambda: time.monotonic() - plan.compiling() - began


def _shown(value: np.ndarray) -> float:
    """The mean over the lanes that still have a number."""
    alive = value[np.isfinite(value)]
    return float(alive.mean()) if alive.size else float("nan")
