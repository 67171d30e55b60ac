"""A sweep's plan: the missing seeds of each arm, the chunks that they run in, and the rule when to stop."""

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

EVERY = 8  # seeds between two interim analyses, by default


class Stop(NamedTuple):
    """When to stop before all seeds are done: once every comparison is decided.

    Attributes:
        margin: the smallest difference of interest.
        every: seeds between two interim analyses.
    """

    margin: float
    every: int


class Unit(NamedTuple):
    """Groups of arms that run one after the other on the same chunk of seeds."""

    seeds: tuple[int, ...]
    groups: list[list[Arm]]


def stop_rule(config: Any) -> Stop | None:
    """The rule of `config.stop`: '' (all seeds) or 'decided(margin=0.002, every=8)'.

    Raises:
        UserError: another text, or an option out of its bounds.
    """
    if not config.stop:
        return None
    words = parse(config.stop, "config.stop", "'decided(margin=0.002, every=8)'")
    defaults = {"margin": float(config.margin), "every": EVERY}
    if len(words) != 1 or words[0].name != "decided" or set(words[0].options) - set(defaults):
        hint = nearest(words[0].name, ["decided"])
        raise UserError(f"config.stop must be empty or 'decided(margin=0.002, every=8)' (got {config.stop!r}){hint}")
    options = defaults | words[0].options
    seeds_between, smallest = options["every"], options["margin"]
    if (
        type(seeds_between) is not int
        or not 1 <= seeds_between <= seed_range.MOST
        or type(smallest) not in (int, float)
        or not 0 <= smallest < 1
    ):
        raise UserError(
            f"config.stop must have `every` from 1 to {seed_range.MOST} seeds, `margin` from 0 to below 1 (got {config.stop!r})"
        )
    return Stop(float(options["margin"]), options["every"])


def plan_rounds(config: Any, per_process: int) -> list[list[tuple[int, ...]]]:
    """The chunks of seeds, round by round: after a round all processes exchange their rows.

    Args:
        config: its seeds and its stop rule are used.
        per_process: lanes that a process runs at once.
    """
    seeds, processes = seed_range.of(config.seeds), jax.process_count()
    rule = stop_rule(config)
    if rule is None:
        return [memory.chunks(seeds, min(per_process, -(-len(seeds) // processes)))]
    parts = [seeds[start : start + rule.every] for start in range(0, len(seeds), rule.every)]
    return [memory.chunks(part, min(per_process, -(-len(part) // processes))) for part in parts]


def missing_units(arms: Iterable[Arm], chunk: Sequence[int], rows: Iterable[dict[str, Any]]) -> list[Unit]:
    """The arms and seeds of a chunk without a row: usually no unit, or one."""
    done = {(row["method"], row["seed"]) for row in rows}
    arms_by_seeds: dict[tuple[int, ...], list[Arm]] = {}
    for arm in arms:
        if lacking := tuple(seed for seed in chunk if (arm.name, seed) not in done):
            arms_by_seeds.setdefault(lacking, []).append(arm)
    return [Unit(lacking, groups(members)) for lacking, members in arms_by_seeds.items()]


def steps_of_units(chunk: Chunk, units: Iterable[Unit]) -> Counter[str]:
    """The lane-steps of the trainings of these units, by kind, as `pace` counts them; finished trainings are included.

    Args:
        chunk: of a single seed.
        units: see `Unit`.
    """
    steps_by_kind: Counter[str] = Counter()
    gan_steps: dict[Any, int] = {}
    real = sum(chunk.train.counts)
    for unit in units:
        with_gan = set()
        for members in unit.groups:
            at_point = chunk._replace(config=at(chunk.config, members[0].untraced))
            steps = length.of(at_point.config.classifier, real, real).steps
            steps_by_kind["classifier"] += steps * len(members) * len(unit.seeds)
            if arm_group.uses_gan(members[0].spec):
                with_gan.add(members[0].untraced)
                if members[0].untraced not in gan_steps:
                    gan_steps[members[0].untraced] = gan_training.lane_steps(at_point)
        steps_by_kind["gan"] += sum(gan_steps[point] for point in with_gan) * len(unit.seeds)
    return +steps_by_kind


def lanes_at_once(chunk: Chunk, arms: Sequence[Arm]) -> int:
    """The number of lanes that run at once in this process: by `config.lanes_per_device`, or by the devices' memory.

    Args:
        chunk: of a single seed.
        arms: all of them; the memory is measured for the baseline's training, and for the GAN's where an arm has one.
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
    """Whether the lanes' states surely fit the memory; in a loop only they grow with the lanes. Nothing is compiled."""
    state = jax.eval_shape(partial(classifier_training.init_state, chunk), jax.random.key(0))
    state_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    row_bytes = len(chunk.task.counts) * max(chunk.task.counts) * (4 + int(np.prod(chunk.task.shape)))
    # A batch with the activations of a small network; for larger ones the memory is measured.
    batch_bytes = 64 * chunk.config.classifier.batch * int(np.prod(chunk.task.shape)) * 4
    return lanes * (4 * state_bytes + row_bytes) + batch_bytes < room / 4
