"""What a balancing method is: a named tuple of pure hooks, made by the function `make(task, **options)` of its file.

A method's file may name options in `TRACED = ("alpha", ...)`: numbers that change neither shapes, nor which Python branch is
taken, nor which hooks there are. `make` may be given a traced float32 scalar for each of them, so that lanes with different
values share one compilation. Methods that resample have none: their rows are made before the training that is compiled.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from imbal_jax.data.batches import Batch, Pool, Shared
from imbal_jax.errors import UserError
from imbal_jax.fields import is_whole
from imbal_jax.runtime import memory


class Task(NamedTuple):
    """What is static about the problem that a method is made for.

    Attributes:
        counts: training rows of each class, [K]; a method sees those that the resamplers before it left.
        fraction: loaded training rows / rows of the published training set; counts given as options shrink with it.
        class_names: [K].
        shape: of one example, such as (28, 28, 1), (300, 1) or (64,).
        minority: the rare classes of the training set before any balancing, see `data.imbalance.minority`.
        real: `counts` before any resampler; () where the task is that of the real rows itself.
    """

    counts: tuple[int, ...]
    fraction: float
    class_names: tuple[str, ...]
    shape: tuple[int, ...]
    minority: tuple[int, ...]
    real: tuple[int, ...] = ()


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
            `TrainedClassifier`, trained on the lanes' real rows alone); 'gan classes', without training: the numbers of
            the classes that the GAN can make rows of.
        over_lanes: compiles a function of one lane for all lanes (see `imbal_jax.runtime.lanes`).
    """

    shared: Shared
    trained: Mapping[str, Callable[[], Any]]
    over_lanes: Callable[..., Callable[..., Any]]


class Head(NamedTuple):
    """The last layer of a lane's classifier: logits = features @ kernel + bias.

    Attributes:
        kernel: float32 [D, K].
        bias: float32 [K].
    """

    kernel: jax.Array
    bias: jax.Array


class Stage(NamedTuple):
    """What a second training stage of one lane works on: the frozen network's view of the lane's training set.

    Attributes:
        features: float32 [M, D], of the pool's rows, class by class, without dropout or transforms.
        y: int32 [M].
        counts: rows of each class, [K], static, adding up to M.
    """

    features: jax.Array
    y: jax.Array
    counts: tuple[int, ...]


Draw = Callable[[jax.Array, jax.Array | None], Batch]


class Method(NamedTuple):
    """The hooks of a method; None has no effect. All but `resample` are functions of one lane, compiled into its step.

    `progress` is a float32 scalar: steps done / steps in all, from 0 to below 1.

    Attributes:
        resample: (keys [L], train, context) -> train: the training set of all lanes. Sizes depend on class counts alone.
        sample: (progress) -> float32 [K], adding up to 1: how likely each class is in a batch. Without it, every row
            is seen once an epoch.
        transform: (key, batch, draw, progress) -> batch of the same shapes and dtypes. `draw(key, None)` gives a second
            batch, drawn independently like the first and through the transforms before this one; `draw(key, p)` one
            whose classes are drawn with probabilities p [K].
        logits: (z [B, K], t [B, K], progress) -> [B, K]: what the loss sees in training instead of the logits z.
        weight: (progress) -> float32 [K]: a factor for each class's part of the loss.
        weighted_mean: whether a batch's loss is divided by the sum of its rows' weights (as PyTorch's CrossEntropyLoss with
            `weight` does it) instead of by their number (as Keras's `class_weight`).
        loss: (z [B, K], t [B, K]) -> [B]: instead of the softmax cross-entropy with the targets t. It must be linear in t:
            t comes multiplied by class weights.
        cosine: whether the network's last layer is normalised: its logits are the cosines of the features and the classes'
            weights, without a bias; see `models.head.Cosine`.
        finetune: (key, head, stage) -> head: a second stage, after the training.
        examples: rows that the second stage trains on, all its batches together; for the cost that is reported.
        fit: (z float32 [V, K], y int32 [V]) -> arrays: found on one lane's validation rows after the training.
        predict: (z [N, K], fitted) -> [N, K]: what the test metrics see instead of the logits; `fitted` comes from `fit`.
    """

    resample: Callable[[jax.Array, Train, Context], Train] | None = None
    sample: Callable[[jax.Array], jax.Array] | None = None
    transform: Callable[[jax.Array, Batch, Draw, jax.Array], Batch] | None = None
    logits: Callable[[jax.Array, jax.Array, jax.Array], jax.Array] | None = None
    weight: Callable[[jax.Array], jax.Array] | None = None
    loss: Callable[[jax.Array, jax.Array], jax.Array] | None = None
    finetune: Callable[[jax.Array, Head, Stage], Head] | None = None
    examples: int | None = None
    fit: Callable[[jax.Array, jax.Array], Any] | None = None
    predict: Callable[[jax.Array, Any], jax.Array] | None = None
    weighted_mean: bool = False
    cosine: bool = False


def check_range(
    name: str,
    option: str,
    value: jax.Array | float,
    low: float,
    high: float = math.inf,
    *,
    above: bool = False,
    below: bool = False,
    hint: str = "",
) -> None:
    """Raise UserError for a number outside the range of an option; arrays, such as traced values, are not checked.

    Args:
        name: the method's.
        option: the option's name.
        value: what it was given; it has to be finite.
        low: the smallest value allowed; with `above`, the value must be larger.
        high: the largest value allowed; with `below`, the value must be smaller.
        above: whether `low` itself is outside the range.
        below: whether `high` itself is.
        hint: what else the user may do, for the end of the message.
    """
    if isinstance(value, jax.Array):
        return
    large_enough = low < value if above else low <= value
    small_enough = value < high if below or high == math.inf else value <= high
    if large_enough and small_enough:
        return
    if high == math.inf:
        wanted = f"above {low:g}" if above else f"at least {low:g}"
    else:
        wanted = f"from {'above ' * above}{low:g} to {'below ' * below}{high:g}"
    raise UserError(f"{name}: {option} must be {wanted}{hint} (got {value})")


def images(task: Task, name: str, *, signals: bool = False) -> None:
    """Raise UserError unless the rows are images [H, W, C] or, with `signal_plots`, signals [T, C]; `name` is the method's."""
    if len(task.shape) != 3 and not (signals and len(task.shape) == 2):
        wanted = "images [H, W, C] or signals [T, C]" if signals else "images [H, W, C]"
        raise UserError(f"{name}: needs {wanted} (got rows of shape {task.shape})")


def full(task: Task, option: str) -> None:
    """Raise UserError if a class has no training row; `option` is the method as its user wrote it."""
    if 0 in task.counts:
        empty = task.class_names[task.counts.index(0)]
        raise UserError(f"{option}: class {empty!r} has no training row to start from; keep at least 1 in cut.profile")


def target(to: Any, task: Task, option: str) -> tuple[int, ...]:
    """The number of rows each class should have.

    Args:
        to: 'max' or 'min' (as many as the largest or smallest class), a number of rows of the published set, a share of
            the largest class (a float up to 1), or a dict class -> number of rows (other classes stay as they are).
        task: the problem; numbers of rows shrink with its `fraction`.
        option: the method as its user wrote it, for messages.

    Raises:
        UserError: `to` is none of these; a class without any row.
    """
    goals = _goals(to, task, option)
    _refuse_too_many(goals, task, option)
    return goals


def _refuse_too_many(goals: tuple[int, ...], task: Task, option: str) -> None:
    """Raise UserError where not even one seed's rows would fit the machine's memory, of a byte for each of their values."""
    rows = sum(goals)
    need, free = rows * (4 + math.prod(task.shape)), memory.host()
    if rows > sum(task.counts) and (rows >= 2**31 or (free is not None and need > free)):
        free_text = "" if free is None else f", and {free / 2**30:.1f} GiB are free"
        raise UserError(
            f"{option}: {rows} rows take at least {need / 2**30:.1f} GiB for each seed{free_text}: lower `to` (rows of each "
            "class in the published set, 'max', 'min' or a share)"
        )


def _goals(to: Any, task: Task, option: str) -> tuple[int, ...]:
    full(task, option)
    counts, classes = task.counts, len(task.counts)
    if isinstance(to, dict):
        wrong = [f"{k}: {n}" for k, n in to.items() if not (is_whole(k) and 0 <= k < classes and is_whole(n) and n > 0)]
        if wrong:
            raise UserError(f"{option}: `to` must hold CLASS: ROWS, with a class from 0 to {classes - 1} (got {wrong[0]!r})")
        return tuple(max(1, round(to[k] * task.fraction)) if k in to else n for k, n in enumerate(counts))
    if to in ("max", "min"):
        goal = max(counts) if to == "max" else min(counts)
    elif is_whole(to) and to > 0:
        goal = max(1, round(to * task.fraction))
    elif isinstance(to, float) and 0 < to <= 1:
        goal = max(1, round(to * max(counts)))
    else:
        raise UserError(
            f"{option}: to={to!r} is none of 'max', 'min', a positive number of rows, a share of the largest class such as "
            "0.5, or a dict class: rows"
        )
    return (goal,) * classes


def at_least(to: Any, task: Task, option: str) -> tuple[int, ...]:
    """`target` for methods that add rows: classes that have more keep what they have."""
    return tuple(max(goal, n) for goal, n in zip(target(to, task, option), task.counts, strict=True))


def at_most(to: Any, task: Task, option: str) -> tuple[int, ...]:
    """`target` for methods that leave rows out: classes that have fewer keep what they have."""
    return tuple(min(goal, n) for goal, n in zip(target(to, task, option), task.counts, strict=True))
