"""What becomes of a lane whose GAN shows the signs of failure: `config.gan.on_failure`.

'warn' only says so. 'stop' ends the lane's training and draws from its last good state; 'restart' puts it back to that state
and goes on, with the batches and the noise of the steps to come, until it has failed too often. A state is good that was kept
(every `config.gan.grid_every` epochs) at the end of an epoch without signs; until there is one, the initial state is.
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
DONE = ("restarted", "stopped")  # in a line of the curves: what was done at the end of that epoch, and why
MOST = 3  # restarts of a lane; it stops at its next failure


class Guard(NamedTuple):
    """What is kept of a lane.

    Attributes:
        good: the networks and optimiser states of its last good epoch.
        epoch: int32 [], which that was; 0: the initial state.
        restarts: int32 [], so far.
        acted: int32 [], the epoch at whose end it was last put back or stopped; 0: never.
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
    """Whether a lane trains on, bool []."""
    return ~state.guard.stopped


def signs(
    curves: Curves, names: Sequence[str | None], epoch: int, means: Mapping[str, np.ndarray], loss_name: str
) -> list[list[str]]:
    """The warnings about each lane at the end of an epoch, whose line is not in the curves yet: [L]."""
    found = []
    for lane, lines in enumerate(curves.by_lane("gan", names, monitor.MEMORY)):
        figures = {key: float(value[lane]) for key, value in means.items()}
        found.append(monitor.signs([*lines, {"epoch": epoch, **figures, "loss_name": loss_name}]))
    return found


def evaluate_epoch(chunk: Chunk, curves: Curves, names: Sequence[str | None]) -> loop.EpochEvaluator:
    """Puts back or stops the lanes that show signs of failure, at the end of every epoch; keeps the good states of the others.

    Args:
        chunk: of the chunk, with room for the lanes of all GANs.
        curves: of the run; those of this epoch are not in it yet.
        names: of the GANs, see `stages.gan.names`.
    """
    gan = chunk.config.gan
    restart = gan.on_failure == "restart"
    run = chunk.program(("gan guard", str(gan)), lambda: chunk.over_lanes(partial(_act, restart)))

    def at(epoch: int, means: Mapping[str, np.ndarray], state: gan_step.State) -> loop.EpochEvaluation:
        failed = jnp.asarray([bool(found) for found in signs(curves, names, epoch, means, gan.loss)])
        state = run(state, failed, (jnp.asarray(epoch, jnp.int32), jnp.asarray(epoch % gan.grid_every == 0)))
        return loop.EpochEvaluation(state, {}, bool(np.all(state.guard.stopped)))

    return at


def told(guard: Guard, epoch: int, found: Sequence[Sequence[str]]) -> list[dict[str, Any] | None]:
    """What the curves' lines of an epoch say beside its figures, [L]; None for a lane that had stopped before."""
    lines: list[dict[str, Any] | None] = []
    acted, stopped, good = (np.asarray(leaf) for leaf in (guard.acted, guard.stopped, guard.epoch))
    for lane, why in enumerate(found):
        if acted[lane] == epoch:
            lines.append({DONE[int(stopped[lane])]: why[0], "good_epoch": int(good[lane])})
        else:
            lines.append(None if stopped[lane] else {})
    return lines


def messages(found: Sequence[str], line: Mapping[str, Any] | None) -> list[str]:
    """The warnings about a lane, from its signs and from what `told` has of it: the signs, and what was done about them."""
    if line is None:  # it had stopped before
        return []
    return [*found, *(f"{word}, epoch {line['good_epoch']} is the last good one" for word in DONE if word in line)]


def _act(restart: bool, lane: Any, shared: tuple[jax.Array, jax.Array]) -> gan_step.State:
    """A lane's state after an epoch; `shared` is the epoch, and whether states are kept at its end."""
    (state, failed), (epoch, keeps) = lane, shared
    guard: Guard = state.guard
    failed &= ~guard.stopped
    again = failed & restart & (guard.restarts < MOST)
    well = ~guard.stopped & ~failed & keeps
    choose = lambda which, new, old: jax.tree.map(partial(jnp.where, which), new, old)  # noqa: E731
    back = choose(failed, guard.good, _bare(state))
    kept = Guard(
        choose(well, _bare(state), guard.good),
        jnp.where(well, epoch, guard.epoch),
        guard.restarts + again,
        jnp.where(failed, epoch, guard.acted),
        guard.stopped | (failed & ~again),
    )
    return back._replace(best=state.best, guard=kept)


def _bare(state: gan_step.State) -> gan_step.State:
    return state._replace(best=None, guard=None)
