"""A sweep's plan: which arms still lack which seeds, in what chunks they are run, and when enough is known."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from imbal_jax import seed_range
from imbal_jax.arms import Arm, at, groups
from imbal_jax.errors import UserError, nearest
from imbal_jax.runtime import memory
from imbal_jax.spec import parse
from imbal_jax.stages import arm_group, classifier_training, gan_training
from imbal_jax.stages.context import Chunk
from imbal_jax.train import length

EVERY = 8  # seeds between two interim analyses, unless said otherwise


class Stop(NamedTuple):
    """When to stop before all seeds are done: once every comparison is decided.

    Attributes:
        margin: differences below it are of no interest.
        every: seeds between two interim analyses.
    """

    margin: float
    every: int


class Unit(NamedTuple):
    """What is run at once: these groups of arms, all on these seeds."""

    seeds: tuple[int, ...]
    groups: list[list[Arm]]


def stop_rule(config: Any) -> Stop | None:
    """The rule of `config.stop`: '' (all seeds) or 'decided(margin=0.002, every=8)'.

    Raises:
        UserError: anything else.
    """
    if not config.stop:
        return None
    words = parse(config.stop, "config.stop", "'decided(margin=0.002, every=8)'")
    known = {"margin": float(config.margin), "every": EVERY}
    if len(words) != 1 or words[0].name != "decided" or set(words[0].options) - set(known):
        hint = nearest(words[0].name, ["decided"])
        raise UserError(f"config.stop is {config.stop!r}{hint}: leave it empty or write 'decided(margin=0.002, every=8)'")
    asked = known | words[0].options
    every, margin = asked["every"], asked["margin"]
    if type(every) is not int or not 1 <= every <= seed_range.MOST or type(margin) not in (int, float) or not 0 <= margin < 1:
        raise UserError(f"config.stop is {config.stop!r}: `every` is a number of seeds, `margin` at least 0 and below 1")
    return Stop(float(asked["margin"]), asked["every"])


def rounds(config: Any, per_process: int) -> list[list[tuple[int, ...]]]:
    """The chunks of seeds, round by round: after a round all processes meet.

    Args:
        config: gives the seeds and the rule when to stop.
        per_process: lanes that a process runs at once.
    """
    asked, processes = seed_range.of(config.seeds), jax.process_count()
    rule = stop_rule(config)
    if rule is None:
        return [memory.chunks(asked, min(per_process, -(-len(asked) // processes)))]
    parts = [asked[start : start + rule.every] for start in range(0, len(asked), rule.every)]
    return [memory.chunks(part, min(per_process, -(-len(part) // processes))) for part in parts]


def missing(arms: Iterable[Arm], chunk: Sequence[int], rows: Iterable[dict[str, Any]]) -> list[Unit]:
    """What of a chunk is not yet among the rows: most often nothing, or one unit."""
    done = {(row["method"], row["seed"]) for row in rows}
    lacking: dict[tuple[int, ...], list[Arm]] = {}
    for arm in arms:
        if new := tuple(seed for seed in chunk if (arm.name, seed) not in done):
            lacking.setdefault(new, []).append(arm)
    return [Unit(new, groups(found)) for new, found in lacking.items()]


def steps_of_units(chunk: Chunk, units: Iterable[Unit]) -> Counter[str]:
    """The lane-steps of the trainings of these units, by kind, as `pace` counts them; those found done are not known here.

    Args:
        chunk: of a single seed.
        units: see `Unit`.
    """
    found: Counter[str] = Counter()
    of_gan: dict[Any, int] = {}
    real = sum(chunk.train.counts)
    for unit in units:
        with_gan = set()
        for members in unit.groups:
            there = chunk._replace(config=at(chunk.config, members[0].untraced))
            steps = length.of(there.config.classifier, real, real).steps
            found["classifier"] += steps * len(members) * len(unit.seeds)
            if arm_group.uses_gan(members[0].spec):
                with_gan.add(members[0].untraced)
                if members[0].untraced not in of_gan:
                    of_gan[members[0].untraced] = gan_training.lane_steps(there)
        found["gan"] += sum(of_gan[point] for point in with_gan) * len(unit.seeds)
    return +found


def lanes_at_once(chunk: Chunk, arms: Sequence[Arm]) -> int:
    """How many lanes this process's devices take: `config.lanes_per_device`, or what their memory allows.

    Args:
        chunk: of a single seed.
        arms: all; the one whose program is measured stands for them.
    """
    common, config = chunk.common, chunk.config
    slots = max(1, len(common.devices) // config.data_devices)
    if config.lanes_per_device:
        return config.lanes_per_device * slots
    wanted = -(-len(seed_range.of(config.seeds)) // (slots * jax.process_count()))
    room = memory.available(common.devices[0])
    if room is None or (common.form.inner == "loop" and _light(chunk, wanted, room)):
        return wanted * slots
    fit = [memory.lanes_that_fit(partial(classifier_training.bytes_for, chunk), wanted, room)]
    if any(arm_group.uses_gan(arm.spec) for arm in arms):
        fit.append(memory.lanes_that_fit(partial(gan_training.bytes_for, chunk), wanted, room))
    return min(fit) * slots


def _light(chunk: Chunk, lanes: int, room: int) -> bool:
    """Whether the lanes' states, which are all that grows with them in a loop, are sure to fit: nothing is compiled."""
    state = jax.eval_shape(partial(classifier_training.initial, chunk), jax.random.key(0))
    own = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    rows = len(chunk.task.counts) * max(chunk.task.counts) * (4 + int(np.prod(chunk.task.shape)))
    # A batch with what a small network makes of it: larger ones are measured.
    batch = 64 * chunk.config.classifier.batch * int(np.prod(chunk.task.shape)) * 4
    return lanes * (4 * own + rows) + batch < room / 4
