"""What a balancing method is: a named tuple of pure hooks."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from imbal_jax.batches import Pool, Shared
from imbal_jax.errors import UserError


class Task(NamedTuple):
    """What is static about the problem that a method is made for.

    Attributes:
        counts: training rows of each class after the cut, [K].
        fraction: rows at hand / rows of the published training set; counts given as options shrink with it.
        class_names: [K].
    """

    counts: tuple[int, ...]
    fraction: float
    class_names: tuple[str, ...]


class Train(NamedTuple):
    """The training sets of all lanes.

    Attributes:
        pool: rows (class by class, the same counts in every lane) and new rows, leaves [L, ...].
        counts: rows of each class, new ones included, [K].
        parents: row numbers in the real training set that each new row was made from, int32 [L, S, P]; -1 (or P = 0)
            where a generator made it from all of the lane's rows.
    """

    pool: Pool
    counts: tuple[int, ...]
    parents: np.ndarray


class Context(NamedTuple):
    """What a resampler may use.

    Attributes:
        shared: the real training rows, on the device.
        trained: name -> a trained helper of all lanes, made when first asked for: 'gan' (a `TrainedGan`) and 'plain' (a
            `TrainedClassifier`, trained on the lanes' real rows alone).
        over_lanes: compiles a function of one lane for all lanes (see `imbal_jax.lanes`).
    """

    shared: Shared
    trained: Mapping[str, Callable[[], Any]]
    over_lanes: Callable[..., Callable[..., Any]]


class Method(NamedTuple):
    """The hooks of a method; None does nothing.

    Attributes:
        resample: (keys [L], train, context) -> train: the training set of all lanes. Sizes depend on class counts alone.
    """

    resample: Callable[[jax.Array, Train, Context], Train] | None = None


def target(to: int | str, task: Task, option: str) -> tuple[int, ...]:
    """How many rows each class shall have at least: `to` is a number of rows of the published set, or 'max'.

    Classes that have more keep what they have.

    Raises:
        UserError: `to` is neither, or not positive; a class without any row.
    """
    if 0 in task.counts:
        empty = task.class_names[task.counts.index(0)]
        raise UserError(f"{option}: class {empty!r} has no training row to start from; keep at least 1 in cut.profile")
    if to == "max":
        goal = max(task.counts)
    elif isinstance(to, int) and to > 0:
        goal = max(1, round(to * task.fraction))
    else:
        raise UserError(f"{option}: to={to!r} is neither 'max' nor a positive number of rows")
    return tuple(max(goal, n) for n in task.counts)
