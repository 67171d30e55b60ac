"""What happens to a lane whose GAN shows signs of failure: `config.gan.on_failure`.

'warn' only warns. 'stop' ends the lane's training, and its last good state is used. 'restart' resets the lane to that state and
continues with the batches and the noise of the following steps, up to `MOST` times. A good state is one that was saved (every
`config.gan.grid_every` epochs) at the end of an epoch without signs; before the first, it is the initial state.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax.gan import monitor
from imbal_jax.gan import step as gan_step
from imbal_jax.report.curves import Curves
from imbal_jax.stages.context import Chunk
from imbal_jax.train import loop

ON_FAILURE = ("warn", "stop", "restart")
DONE = ("restarted", "stopped")  # fields of a line of the curves: the action at the end of that epoch, with its reason
MOST = 3  # restarts of a lane; it stops at its next failure


class Guard(NamedTuple):
    """The saved state of a lane.

    Attributes:
        good: the networks and optimiser states of its last good epoch.
        epoch: int32 [], the number of that epoch; 0: the initial state.
        restarts: int32 [], number of restarts so far.
        acted: int32 [], the epoch at whose end the lane was last reset or stopped; 0: never.
        stopped: bool [].
    """

    good: gan_step.State
    epoch: jax.Array
    restarts: jax.Array
    acted: jax.Array
    stopped: jax.Array


def start(state: gan_step.State) -> gan_step.State:
    """A lane's initial state with its guard."""
    zero = jnp.zeros((), jnp.int32)
    return state._replace(guard=Guard(_bare(state), zero, zero, zero, jnp.zeros((), bool)))


def active(state: gan_step.State) -> jax.Array:
    """Whether a lane continues to train, bool []."""
    return ~state.guard.stopped


def signs(
    curves: Curves, names: Sequence[str | None], epoch: int, means: Mapping[str, np.ndarray], loss_name: str
) -> list[list[str]]:
    """The warnings about each lane at the end of an epoch that is not yet in the curves: [L]."""
    by_lane = []
    for lane, lines in enumerate(curves.by_lane("gan", names, monitor.MEMORY)):
        figures = {key: float(value[lane]) for key, value in means.items()}
        by_lane.append(monitor.signs([*lines, {"epoch": epoch, **figures, "loss_name": loss_name}]))
    return by_lane


def evaluate_epoch(chunk: Chunk, curves: Curves, names: Sequence[str | None]) -> loop.EpochEvaluator:
    """A function that at the end of every epoch resets or stops lanes with signs of failure, and saves the others' good states.

    Args:
        chunk: the chunk, with `min_lanes` for the lanes of all GANs.
        curves: of the run, without this epoch.
        names: of the GANs, see `gan_training.names`.
    """
    gan = chunk.config.gan
    restart = gan.on_failure == "restart"
    run = chunk.program(("gan guard", str(gan)), lambda: chunk.over_lanes(partial(_act, restart)))

    def at(epoch: int, means: Mapping[str, np.ndarray], state: gan_step.State) -> loop.EpochEvaluation:
        failed = jnp.asarray([bool(lane_signs) for lane_signs in signs(curves, names, epoch, means, gan.loss)])
        state = run(state, failed, (jnp.asarray(epoch, jnp.int32), jnp.asarray(epoch % gan.grid_every == 0)))
        return loop.EpochEvaluation(state, {}, bool(np.all(state.guard.stopped)))

    return at


def actions(guard: Guard, epoch: int, signs_by_lane: Sequence[Sequence[str]]) -> list[dict[str, Any] | None]:
    """Further fields of the curves' lines of an epoch, [L]; None for a lane that had stopped before."""
    lines: list[dict[str, Any] | None] = []
    acted, stopped, good = (np.asarray(leaf) for leaf in (guard.acted, guard.stopped, guard.epoch))
    for lane, reasons in enumerate(signs_by_lane):
        if acted[lane] == epoch:
            lines.append({DONE[int(stopped[lane])]: reasons[0], "good_epoch": int(good[lane])})
        else:
            lines.append(None if stopped[lane] else {})
    return lines


def messages(lane_signs: Sequence[str], line: Mapping[str, Any] | None) -> list[str]:
    """The warnings about a lane: the signs, and the action that its `actions` name."""
    if line is None:  # stopped before
        return []
    return [*lane_signs, *(f"{word}, epoch {line['good_epoch']} is the last good one" for word in DONE if word in line)]


def _act(restart: bool, lane: Any, shared: tuple[jax.Array, jax.Array]) -> gan_step.State:
    """A lane's state after an epoch; `shared` is the epoch, and whether states are saved at its end."""
    (state, failed), (epoch, saves) = lane, shared
    guard: Guard = state.guard
    failed &= ~guard.stopped
    restarted = failed & restart & (guard.restarts < MOST)
    saved = ~guard.stopped & ~failed & saves
    choose = lambda which, new, old: jax.tree.map(partial(jnp.where, which), new, old)  # noqa: E731
    state_after = choose(failed, guard.good, _bare(state))
    new_guard = Guard(
        choose(saved, _bare(state), guard.good),
        jnp.where(saved, epoch, guard.epoch),
        guard.restarts + restarted,
        jnp.where(failed, epoch, guard.acted),
        guard.stopped | (failed & ~restarted),
    )
    return state_after._replace(best=state.best, guard=new_guard)


def _bare(state: gan_step.State) -> gan_step.State:
    return state._replace(best=None, guard=None)
