"""The training loop around any compiled step: chunks, metrics by epoch, checkpoints, progress, resuming."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax.artifacts import checkpoint
from imbal_jax.errors import Interrupted
from imbal_jax.runtime.lanes import Spread
from imbal_jax.runtime.pace import Pace
from imbal_jax.runtime.progress import Progress


class Plan(NamedTuple):
    """How long a training is and where it is kept.

    Attributes:
        label: shown with the progress.
        folder: where the latest state is kept.
        epochs: how often the curves are continued and the state is judged; the last epoch may be shorter than the others.
        steps_per_epoch: optimiser steps in each.
        chunk_seconds: aimed length of one uninterrupted run on the device.
        save_seconds: least time between two saves.
        stopping: called after each chunk: whether the process has to end.
        compiling: seconds that the process has spent on compiling so far; they are left out of the training's time.
        steps: optimiser steps in all; 0: those of all epochs.
        steps_per_pass: optimiser steps in one pass over the rows, after which they are shuffled again; 0: those of an epoch.
        kind: of training, for `pace`.
        network: that is trained, for the time that compiling will take.
        pace: of the run; None: of this training alone.
    """

    label: str
    folder: Path
    epochs: int
    steps_per_epoch: int
    chunk_seconds: float = 10.0
    save_seconds: float = 30.0
    stopping: Callable[[], bool] = lambda: False
    compiling: Callable[[], float] = lambda: 0.0
    steps: int = 0
    steps_per_pass: int = 0
    kind: str = "training"
    network: str = ""
    pace: Pace | None = None


class Span(NamedTuple):
    """Steps `start` up to `stop` of a training of `total` steps, `per_pass` in a pass over the rows: int32 scalars, traced."""

    start: jax.Array
    stop: jax.Array
    per_pass: jax.Array
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
        steps: that were run.
    """

    state: Any
    seconds: float
    epochs: int
    steps: int


class EpochEvaluation(NamedTuple):
    """What is found at the end of an epoch.

    Attributes:
        state: to go on with, lanes stacked.
        figures: for the curves, {name: [L]}.
        over: whether no lane trains any more.
    """

    state: Any
    figures: dict[str, np.ndarray]
    over: bool


EpochEvaluator = Callable[
    [int, dict[str, np.ndarray], Any], EpochEvaluation
]  # (number of the epoch that ended, from 1; its means; the state)
Step = Callable[[Any, jax.Array, jax.Array], tuple[Any, dict[str, jax.Array]]]


def span_function(
    pass_of: Callable[[jax.Array, Any, Any, jax.Array], Step],
    active: Callable[[Any], jax.Array] | None = None,
    steps_of: Callable[[Any], jax.Array] | None = None,
) -> Callable[..., Carry]:
    """A lane's run over a `Span`, to be compiled whole by `over_lanes` and called with (data, span) as what is shared.

    The span is traced, so trainings of any length are one compilation, and where they are cut changes nothing.

    Args:
        pass_of: (pass, inputs, data, total) -> step(state, step number, position in the pass) -> (state, metrics). A pass goes
            once over the training rows; its randomness depends on its number.
        active: state -> bool []: a lane of which it is false stays as it is, and its metrics are NaN. It is called once per
            call. By default all lanes run.
        steps_of: inputs -> int32 []: the steps that the lane takes while the longest of them takes a pass, where lanes differ
            in that; see `_own_steps`.
    """

    def run(lane: tuple[Carry, Any], shared: tuple[Any, Span]) -> Carry:
        (carry, inputs), (data, span) = lane, shared
        per_pass, weight = span.per_pass, None
        start, stop, total = span.start, span.stop, span.total
        if steps_of is not None:
            per_pass = steps_of(inputs)
            start, stop, total = (_own_steps(count, span.per_pass, per_pass) for count in (start, stop, total))
            weight = span.per_pass / per_pass  # so that the sums, divided by the longest lane's steps, are means
        if active is not None:
            runs = active(carry.state)
            carry = carry._replace(sums={name: jnp.where(runs, value, jnp.nan) for name, value in carry.sums.items()})
            stop = jnp.where(runs, stop, start)

        def one_pass(number: jax.Array, carry: Carry) -> Carry:
            first, step = number * per_pass, pass_of(number, inputs, data, total)

            def body(i: jax.Array, carry: Carry) -> Carry:
                state, metrics = step(carry.state, i, i - first)
                more = metrics if weight is None else {name: value * weight for name, value in metrics.items()}
                return Carry(state, jax.tree.map(jnp.add, carry.sums, more))

            return jax.lax.fori_loop(jnp.maximum(start, first), jnp.minimum(stop, first + per_pass), body, carry)

        return jax.lax.fori_loop(start // per_pass, -(-stop // per_pass), one_pass, carry)

    return run


def _own_steps(count: jax.Array, longest: jax.Array, own: jax.Array) -> jax.Array:
    """How many steps a lane with `own` steps a pass has taken when the longest lane has taken `count`.

    At the end of each pass it has taken all of its own, wherever the trainings were cut.
    """
    passes, rest = count // longest, count % longest
    return passes * own + rest * own // longest


def span(start: int, stop: int, per_pass: int, total: int) -> Span:
    """A `Span` of these numbers."""
    return Span(*(jnp.asarray(number, jnp.int32) for number in (start, stop, per_pass, total)))


def train(
    plan: Plan,
    advance: Callable[[Any, Any, Any], Carry],
    state: Any,
    inputs: Any,
    shared: Any,
    metric_names: tuple[str, ...],
    on_epoch: Callable[[int, dict[str, np.ndarray], Any], None],
    on_resume: Callable[[int], None],
    evaluate_epoch: EpochEvaluator = lambda epoch, means, state: EpochEvaluation(state, {}, False),
) -> Trained:
    """Train all lanes to the end of the plan, or until none trains any more, going on from the newest checkpoint.

    Args:
        plan: length and place.
        advance: `over_lanes(span_function(...))`.
        state: the lanes' initial state, leaves [L, ...].
        inputs: what the lanes read, leaves [L, ...].
        shared: what all lanes read.
        metric_names: the names of the step's metrics.
        on_epoch: called with the number of the epoch that ended (from 1), its mean metrics and the judge's figures
            {name: [L]}, and the state.
        on_resume: called first with the number of epochs that are already complete.
        evaluate_epoch: looks at the state after each epoch, before `on_epoch`; the state given to it may be donated.

    Raises:
        Interrupted: `plan.stopping` said so; the state is saved.
    """
    each, total = plan.steps_per_epoch, plan.steps or plan.epochs * plan.steps_per_epoch
    lanes = jax.tree.leaves(state)[0].shape[0]
    carry = Carry(state, {name: jnp.zeros(lanes) for name in metric_names})
    saved = checkpoint.restore(plan.folder, carry)
    step, seconds, over = 0, 0.0, False
    if saved is not None:
        carry, step = saved.state, saved.step
        seconds, over = float(saved.meta["seconds"]), saved.meta.get("over", False)
    on_resume(-(-step // each) if step == total else step // each)
    size, last_save = 4, time.monotonic()
    pace = plan.pace or Pace()
    pace.begin(plan.kind, total * lanes)
    program, name = _identity(advance, state, inputs), f"{plan.kind} {plan.network}".strip()
    with Progress(plan.label, total, step, first="" if over else pace.compiling(program, name)) as progress:
        while step < total and not over:
            clock = stopwatch(plan.compiling)
            first, epoch = step // each * each, step // each + 1
            end = min(first + each, total)
            stop = min(step + size, end)
            bounds = span(step, stop, plan.steps_per_pass or each, total)
            compiled = plan.compiling()
            carry = jax.block_until_ready(advance(carry, inputs, (shared, bounds)))
            settled = pace.compiled(program, name, plan.compiling() - compiled)
            took, done, step = clock(), stop - step, stop
            spent = took
            means = {name: np.asarray(value) for name, value in carry.sums.items()}
            means = {name: value / (step - first) for name, value in means.items()}
            if step == end:
                judged = evaluate_epoch(epoch, means, carry.state)
                spent = clock()
                on_epoch(epoch, {**means, **judged.figures}, judged.state)
                carry, over = Carry(judged.state, {name: jnp.zeros(lanes) for name in metric_names}), judged.over
            seconds += spent
            if settled or step == total:  # the first call of a program is slower than all others
                pace.measure(plan.kind, done * lanes, spent)
            ending = plan.stopping()
            finished = over or step == total
            if ending or finished or time.monotonic() - last_save >= plan.save_seconds:
                checkpoint.save(plan.folder, step, carry, {"seconds": seconds, "over": over})
                last_save = time.monotonic()
            left = pace.left(plan.kind, 0 if over else (total - step) * lanes)
            progress.update(step, left, **{metric: _shown(value) for metric, value in means.items()})
            if ending and not finished:
                raise Interrupted(f"stopped at step {step} of {total} of {plan.label}")
            size = max(1, min(4 * size, round(done * plan.chunk_seconds / max(took, 1e-6))))
    return Trained(carry.state, seconds, -(-step // each), step)


def _identity(advance: Any, state: Any, inputs: Any) -> Any:
    """The key of a training's program: the function, and the shapes that it is compiled for."""
    lanes = jax.tree.leaves(state)[0].shape[0]
    many = advance.filled(lanes) if isinstance(advance, Spread) else lanes
    return id(getattr(advance, "run", advance)), many, tuple(leaf.shape[1:] for leaf in jax.tree.leaves((state, inputs)))


def in_turn(judges: Sequence[EpochEvaluator]) -> EpochEvaluator:
    """One judge of several: each sees the state that the one before it goes on with."""

    def evaluate_epoch(epoch: int, means: dict[str, np.ndarray], state: Any) -> EpochEvaluation:
        figures: dict[str, np.ndarray] = {}
        over = False
        for each in judges:
            state, more, ends = each(epoch, means, state)
            figures, over = {**figures, **more}, over or ends
        return EpochEvaluation(state, figures, over)

    return evaluate_epoch


def stopwatch(compiling: Callable[[], float]) -> Callable[[], float]:
    """Seconds from now on, without those of compiling; `compiling` gives what the process has spent on that so far."""
    began = time.monotonic() - compiling()
    return lambda: time.monotonic() - compiling() - began


def _shown(value: np.ndarray) -> float:
    """The mean over the lanes that still have a number."""
    alive = value[np.isfinite(value)]
    return float(alive.mean()) if alive.size else float("nan")
