"""The training stage: the classifiers of a group of arms, trained on all seeds."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax import methods
from imbal_jax.arms import Arm
from imbal_jax.config import defaults
from imbal_jax.data.batches import Inputs, Shared, gather, padded
from imbal_jax.evaluate import metrics
from imbal_jax.methods import Recipe, Train
from imbal_jax.methods.rows.gan_synth import TrainedClassifier
from imbal_jax.models.inference import apply_in_batches
from imbal_jax.report.curves import Curves
from imbal_jax.runtime import lanes
from imbal_jax.stages import classifier_network, training_memory
from imbal_jax.stages.context import Setting, init_lanes, inputs_of
from imbal_jax.stages.training_set import unbalanced
from imbal_jax.train import classifier, length, loop, optimizer, selection, statistics_of_arm
from imbal_jax.train.cost import Cost

VALIDATION = {"loss": "nll", "accuracy": "accuracy", "balanced_accuracy": "balanced_accuracy"}  # in the curves, and in metrics


class Fitted(NamedTuple):
    """A training's result.

    Attributes:
        model: the network.
        params: its parameters and running averages, for every arm: leaves [A, L, ...] with L seeds.
        train: what it was trained on, leaves [L, ...].
        cost: of the training, without a second stage.
        second: of the second stage.
        epoch_seconds: of one epoch and lane, second stages left out.
        steps: optimiser steps of the training; where lanes stopped at different epochs, those of the last of them.
        unit: what fixed the length, see `train.length`.
        lanes: trained at once.
        selected: the epoch that each lane's parameters are of, int [A, L], where it was chosen by validation; else None.
    """

    model: Any
    params: Any
    train: Train
    cost: Cost
    second: Cost
    epoch_seconds: float
    steps: int
    unit: str
    lanes: int
    selected: np.ndarray | None


class Work(NamedTuple):
    """One training: its stage, its trainings, where its state is kept, its options, what its lanes read, on which devices.

    `steps` are the parts of the trainings' specs that are compiled into the step. `options` give optimizer,
    learning_rate, schedule, batch and epochs, and may give what else `config.classifier` has about the training; the
    network is the config's classifier. The lanes are the seeds of the first training, of the second, ...
    """

    stage: str
    trainings: tuple[Arm, ...]
    steps: tuple[str, ...]
    folder: Path
    options: Any
    keys: jax.Array
    train: Train
    devices: Any
    shared: Shared


def fit(setting: Setting, curves: Curves, arms: Sequence[Arm], train: Train) -> Fitted:
    """Train the classifiers of a group of arms on `train`, going on where an earlier run stopped.

    The arms differ in traced numbers alone. Arms that differ only in what comes after the training share it: its state is
    kept under the part of the spec that is trained.
    """
    bases = [Arm(methods.training_part(arm.spec, setting.task), arm.point) for arm in arms]
    trainings = tuple(dict.fromkeys(bases))
    name = trainings[0].name
    if len(trainings) > 1:
        name = f"{methods.skeleton(trainings[0].spec)}-{zlib.crc32(repr(trainings).encode()):08x}"
    folder = setting.folder / "classifier" / folder_name(name)
    steps = tuple(methods.part(base.spec, setting.task, methods.STEP) for base in trainings)
    options, devices = setting.config.classifier, setting.base.devices
    work = Work("classifier", trainings, steps, folder, options, setting.keys, train, devices, setting.shared)
    model, trained, planned = _train(setting, curves, work)
    which, many = np.array([trainings.index(base) for base in bases]), len(trainings) * len(setting.seeds)
    by_arm = lambda leaf: leaf.reshape(len(trainings), -1, *leaf.shape[1:])[which]  # noqa: E731
    params = jax.tree.map(by_arm, classifier.chosen(trained.state))
    best = trained.state.best
    selected = None if best is None else by_arm(np.asarray(best.epoch))
    epoch_seconds = trained.seconds / trained.epochs / many
    cost = Cost(trained.seconds / many, trained.steps * planned.batch)
    return Fitted(model, params, train, cost, Cost(), epoch_seconds, trained.steps, planned.unit, many, selected)


def fit_plain(setting: Setting, curves: Curves) -> tuple[TrainedClassifier, Cost]:
    """The classifiers of all lanes, trained on the real rows alone, as the arm 'none' has them, and what they cost."""
    fitted = fit(setting, curves, [Arm("none")], setting.train)
    return TrainedClassifier(fitted.model, jax.tree.map(lambda leaf: leaf[0], fitted.params)), fitted.cost


def reference_options(config: Any) -> Any:
    """How the reference is trained: `config.quality`, and the defaults of `config.classifier` where that has no such field."""
    return SimpleNamespace(**defaults("")["classifier"] | config.quality.to_dict())


def fit_reference(setting: Setting, curves: Curves) -> TrainedClassifier:
    """One classifier on the full real training set, as published: a ruler for generated images, never a competitor."""
    y = setting.data.train.y
    rows = np.argsort(y, kind="stable").astype(np.int32)[None]
    train = unbalanced(rows, tuple(int(n) for n in np.bincount(y)), setting.shared.x)
    devices = setting.base.devices[:1]
    shared = lanes.replicate(setting.shared, devices)  # what is there already, not a second copy
    keys = lanes.purposes(lanes.lane_keys(setting.config.seed, [0]), "reference")  # the same for all chunks and processes
    folder, options = setting.workdir / "checkpoints" / "reference", reference_options(setting.config)
    work = Work("reference", (Arm("none"),), ("",), folder, options, keys, train, devices, shared)
    model, trained, _ = _train(setting._replace(least=1), curves, work)  # one lane is no chunk to be filled up
    return TrainedClassifier(model, classifier.chosen(trained.state))


def _train(setting: Setting, curves: Curves, work: Work) -> tuple[Any, loop.Trained, length.Length]:
    """The network, what its training came to, and how long it was planned to be."""
    options, parts = work.options, _parts(setting, work)
    planned = parts.length
    told = [arm.name for arm in work.trainings] if work.stage == "classifier" else []
    names: list[str | None] = [*told] or [None]
    turn = [f"{setting.turn},"] if setting.turn and work.stage == "classifier" else []
    more = [f"and {len(told) - 1} more"] if len(told) > 1 else []
    label = " ".join([*turn, work.stage, *told[:1], *more])
    owner = curves._replace(seeds=curves.seeds[: work.keys.shape[0]])
    trained = loop.train(
        setting.plan(label, work.folder, options.epochs, planned.per_epoch, planned.steps, planned.per_pass, work.stage),
        program(setting, work, parts),
        init_lanes(parts.init, parts.inputs.key),
        parts.inputs,
        work.shared,
        classifier.METRICS,
        lambda epoch, means, state: owner.add(work.stage, names, epoch, means),
        partial(owner.resume, work.stage, names),
        **({"judge": _judge(setting, work, parts)} if _selects(options) else {}),
    )
    return parts.model, _with_statistics(setting, work, parts, trained), planned


def alone(setting: Setting) -> Work:
    """The training of the arm 'none'."""
    options, base = setting.config.classifier, setting.base
    return Work(
        "classifier", (Arm("none"),), ("",), setting.folder, options, setting.keys, setting.train, base.devices, base.shared
    )  # fmt: skip


def initial(setting: Setting, key: jax.Array) -> classifier.State:
    """A lane's classifier before its training."""
    return _parts(setting, alone(setting)).init(key)


def bytes_for(setting: Setting, lanes: int) -> int:
    """Memory that the training of an arm takes on each device with so many lanes; `context` is of one seed."""
    work = alone(setting)
    parts = _parts(setting, work)
    return training_memory.bytes_for(
        setting, program(setting, work, parts), parts.init, parts.inputs, classifier.METRICS, lanes
    )


class _Parts(NamedTuple):
    model: Any
    length: length.Length
    init: Any
    inputs: Inputs


def _parts(setting: Setting, work: Work) -> _Parts:
    model = classifier_network.model_of(setting.config, len(work.train.counts), setting.base.form.conv, setting.task.shape)
    step = work.steps[0]
    cosine = bool(step) and methods.recipe_of(step, setting.task, work.train.counts).cosine
    model = classifier_network.dressed(model, setting.config.classifier, cosine)
    kept = {"ema": work.options.ema, "select": work.options.select}
    own = sum(work.train.counts)
    planned = length.of(work.options, sum(setting.train.counts) if work.stage == "classifier" else own, own)
    rule = optimizer.of_options(work.options, planned.epochs)
    init = partial(classifier.init, model=model, optimizer=rule, shape=setting.task.shape, **kept)
    return _Parts(model, planned, init, lane_inputs(work))


def program(setting: Setting, work: Work, parts: _Parts) -> Any:
    """The compiled training of a network: one for all arms that do the same to batches, logits and losses.

    What else tells them apart (the training set, its size, how long it is trained, numbers such as rates) is traced.
    """
    options, batch, devices = work.options, parts.length.batch, _own_devices(setting, work)
    ema, patience = options.ema, options.patience
    # The reference is a ruler, the same whatever the arms are computed in.
    precision = setting.precision if work.stage == "classifier" else "f32"

    def make() -> Any:
        epoch_of = classifier.epoch_of(
            parts.model,
            partial(optimizer.of_options, options, parts.length.epochs),
            batch,
            partial(_recipe, setting.task, work),
            _split(setting, work, batch),
            ema=ema,
            dtype=classifier.dtype_of(precision),
        )
        active = partial(classifier.active, patience=patience) if patience else None
        return setting.over_lanes(loop.chunk(epoch_of, active), devices, precision)

    rule = optimizer.fixed_part(options, parts.length.epochs)
    return setting.program(("train", parts.model, rule, ema, patience, precision, batch, bool(devices), _fixed(work)), make)


def _recipe(task: methods.Task, work: Work, values: Mapping[str, jax.Array]) -> Recipe:
    step, counts = work.steps[0], work.train.counts
    return methods.recipe_of(step, task, counts, {name: values[name] for name in methods.numbers(step)}) if step else Recipe()


def _fixed(work: Work) -> tuple[Any, ...]:
    """What is fixed in a program with the recipe in it: what methods make of the counts, besides their skeleton."""
    return (methods.skeleton(work.steps[0]), work.train.counts) if work.steps[0] else ()


def _own_devices(setting: Setting, work: Work) -> Any:
    return None if work.devices == setting.base.devices else work.devices


def _split(setting: Setting, work: Work, batch: int) -> Any:
    return lanes.split_batch(1 if _own_devices(setting, work) else setting.config.data_devices, batch)


class _Anew(NamedTuple):
    """How batch statistics are computed anew.

    Attributes:
        key: what tells the program from others.
        of: (variables, inputs, real rows, (batches, progress)) of one lane -> variables.
        when: (rows, epoch) -> batches and progress.
    """

    key: tuple[Any, ...]
    of: Callable[..., Any]
    when: Callable[[int, Any], tuple[Any, Any]]


def _anew(setting: Setting, work: Work, parts: _Parts) -> _Anew | None:
    """None for a network without batch normalisation: nothing is done to it."""
    if not setting.program(("norms", parts.model), lambda: classifier_network.batch_norms(parts.model, setting.task.shape)):
        return None
    split = _split(setting, work, parts.length.batch)

    def of(variables: Any, inputs: Inputs, shared: Shared, when: tuple[jax.Array, jax.Array]) -> Any:
        recipe = _recipe(setting.task, work, inputs.values)
        return statistics_of_arm.recomputed(
            parts.model, variables, inputs, shared, *when, recipe=recipe, batch=parts.length.batch, split=split
        )  # fmt: skip

    def when(rows: int, epoch: Any) -> tuple[Any, Any]:
        many = statistics_of_arm.number_of(sum(work.train.counts), parts.length.batch, rows)
        done = np.minimum(np.asarray(epoch, np.float32) / parts.length.epochs, 1)  # the last epoch may be a part of one
        progress = done * (1 - 1e-6)  # that of the epoch's last step
        return jnp.asarray(many, jnp.int32), jnp.asarray(progress, jnp.float32)

    return _Anew((parts.length.batch, bool(_own_devices(setting, work)), _fixed(work)), of, when)


def _with_statistics(setting: Setting, work: Work, parts: _Parts, trained: loop.Trained) -> loop.Trained:
    """The training with new batch statistics in what is evaluated; running averages may be those of a first few steps."""
    anew = _anew(setting, work, parts)
    if anew is None:
        return trained
    clock, state = loop.stopwatch(setting.base.compiling), trained.state
    epochs = np.full(parts.inputs.key.shape[0], trained.epochs) if state.best is None else state.best.epoch
    many, progress = anew.when(statistics_of_arm.ROWS, epochs)

    def one(lane: Any, given: tuple[Shared, jax.Array]) -> Any:
        (_, (variables, inputs, progress)), (shared, many) = lane, given
        return anew.of(variables, inputs, shared, (many, progress))

    key = ("batch statistics", parts.model, *anew.key)
    run = setting.program(key, lambda: setting.over_lanes(one, _own_devices(setting, work)))
    variables = jax.block_until_ready(run((), (classifier.chosen(state), parts.inputs, progress), (work.shared, many)))
    return trained._replace(state=classifier.with_chosen(state, variables), seconds=trained.seconds + clock())


def _judge(setting: Setting, work: Work, parts: _Parts) -> loop.Judge:
    """Evaluates all lanes on their validation rows, without post-hoc corrections, and keeps the best epochs."""
    by, patience, model = work.options.select_by, work.options.patience, parts.model
    rows, anew = jnp.concatenate([setting.validation] * len(work.trainings)), _anew(setting, work, parts)

    def one(lane: tuple[classifier.State, Any], given: tuple[Shared, jax.Array, Any]):
        (state, (rows, inputs)), (shared, epoch, when) = lane, given
        assert state.best is not None, "made by `train.classifier.init`"
        variables = classifier.averaged(state)
        if anew is not None:
            variables = anew.of(variables, inputs, shared, when)
        z, _ = apply_in_batches(model, variables, gather(shared.x, rows))
        found = metrics.classification(z, shared.y[rows])
        figures = {f"val_{name}": found[key] for name, key in VALIDATION.items()}
        told = {name: jnp.where(selection.stopped(state.best, patience), jnp.nan, value) for name, value in figures.items()}
        best = selection.update(state.best, variables, selection.goodness(by, figures), epoch, patience)
        return state._replace(best=best), told, selection.stopped(best, patience)

    key = ("judge", model, by, patience, anew and anew.key)
    run = setting.program(key, lambda: setting.over_lanes(one))

    def judge(epoch: int, means: dict[str, np.ndarray], state: classifier.State) -> loop.Judged:
        judged = statistics_of_arm.judged_rows(parts.length.per_epoch * parts.length.batch, parts.length.batch)
        inputs, when = (parts.inputs, anew.when(judged, epoch)) if anew else ((), ())
        state, figures, stopped = run(state, (rows, inputs), (work.shared, jnp.asarray(epoch, jnp.int32), when))
        return loop.Judged(state, jax.tree.map(np.asarray, figures), bool(np.all(stopped)))

    return judge


def lane_inputs(work: Work) -> Inputs:
    """What the lanes of a training read: the seeds of the first training, of the second, ...

    The pools have room for as many rows of every class as the largest has, whatever the arm makes of them.
    """
    counts, many = work.train.counts, len(work.trainings)
    real = work.train.pool.rows.shape[1] - work.train.pool.new_y.shape[1]
    room = max(len(counts) * max(counts), work.train.pool.rows.shape[1])
    pool = padded(work.train.pool, room, room - real if work.train.pool.new_y.shape[1] else 0)
    each = work.keys.shape[0]
    rates = [dict(arm.point).get("classifier.learning_rate", work.options.learning_rate) for arm in work.trainings]
    numbers = [methods.numbers(step) if step else {} for step in work.steps]
    values = [{"learning_rate": rate, **own} for rate, own in zip(rates, numbers, strict=True)]
    stacked = {name: jnp.repeat(jnp.asarray([v[name] for v in values], jnp.float32), each) for name in values[0]}
    if many == 1:
        return inputs_of(work.keys, pool, counts, stacked)
    keys, pool = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * many), (work.keys, pool))
    return inputs_of(keys, pool, counts, stacked)


def _selects(options: Any) -> bool:
    return options.select == "best"


def folder_name(spec: str) -> str:
    """A method spec as a folder's name."""
    return "".join(c if c.isalnum() or c in "=.,()-" else "_" for c in spec)
