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
from imbal_jax.stages.context import Chunk, init_lanes, inputs_of
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


class TrainingJob(NamedTuple):
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


def fit(chunk: Chunk, curves: Curves, arms: Sequence[Arm], train: Train) -> Fitted:
    """Train the classifiers of a group of arms on `train`, going on where an earlier run stopped.

    The arms differ in traced numbers alone. Arms that differ only in what comes after the training share it: its state is
    kept under the part of the spec that is trained.
    """
    bases = [Arm(methods.training_part(arm.spec, chunk.task), arm.point) for arm in arms]
    trainings = tuple(dict.fromkeys(bases))
    name = trainings[0].name
    if len(trainings) > 1:
        name = f"{methods.skeleton(trainings[0].spec)}-{zlib.crc32(repr(trainings).encode()):08x}"
    folder = chunk.folder / "classifier" / folder_name(name)
    steps = tuple(methods.part(common.spec, chunk.task, methods.STEP) for common in trainings)
    options, devices = chunk.config.classifier, chunk.common.devices
    job = TrainingJob("classifier", trainings, steps, folder, options, chunk.keys, train, devices, chunk.shared)
    model, trained, planned = _train(chunk, curves, job)
    which, many = np.array([trainings.index(common) for common in bases]), len(trainings) * len(chunk.seeds)
    by_arm = lambda leaf: leaf.reshape(len(trainings), -1, *leaf.shape[1:])[which]  # noqa: E731
    params = jax.tree.map(by_arm, classifier.chosen(trained.state))
    best = trained.state.best
    selected = None if best is None else by_arm(np.asarray(best.epoch))
    epoch_seconds = trained.seconds / trained.epochs / many
    cost = Cost(trained.seconds / many, trained.steps * planned.batch)
    return Fitted(model, params, train, cost, Cost(), epoch_seconds, trained.steps, planned.unit, many, selected)


def fit_plain(chunk: Chunk, curves: Curves) -> tuple[TrainedClassifier, Cost]:
    """The classifiers of all lanes, trained on the real rows alone, as the arm 'none' has them, and what they cost."""
    fitted = fit(chunk, curves, [Arm("none")], chunk.train)
    return TrainedClassifier(fitted.model, jax.tree.map(lambda leaf: leaf[0], fitted.params)), fitted.cost


def reference_options(config: Any) -> Any:
    """How the reference is trained: `config.quality`, and the defaults of `config.classifier` where that has no such field."""
    return SimpleNamespace(**defaults("")["classifier"] | config.quality.to_dict())


def fit_reference(chunk: Chunk, curves: Curves) -> TrainedClassifier:
    """One classifier on the full real training set, as published: a ruler for generated images, never a competitor."""
    y = chunk.data.train.y
    rows = np.argsort(y, kind="stable").astype(np.int32)[None]
    train = unbalanced(rows, tuple(int(n) for n in np.bincount(y)), chunk.shared.x)
    devices = chunk.common.devices[:1]
    shared = lanes.replicate(chunk.shared, devices)  # what is there already, not a second copy
    keys = lanes.purposes(lanes.lane_keys(chunk.config.seed, [0]), "reference")  # the same for all chunks and processes
    folder, options = chunk.workdir / "checkpoints" / "reference", reference_options(chunk.config)
    job = TrainingJob("reference", (Arm("none"),), ("",), folder, options, keys, train, devices, shared)
    model, trained, _ = _train(chunk._replace(min_lanes=1), curves, job)  # one lane is no chunk to be filled up
    return TrainedClassifier(model, classifier.chosen(trained.state))


def _train(chunk: Chunk, curves: Curves, job: TrainingJob) -> tuple[Any, loop.Trained, length.Length]:
    """The network, what its training came to, and how long it was planned to be."""
    options, parts = job.options, _parts(chunk, job)
    planned = parts.length
    told = [arm.name for arm in job.trainings] if job.stage == "classifier" else []
    names: list[str | None] = [*told] or [None]
    turn = [f"{chunk.turn},"] if chunk.turn and job.stage == "classifier" else []
    more = [f"and {len(told) - 1} more"] if len(told) > 1 else []
    label = " ".join([*turn, job.stage, *told[:1], *more])
    owner = curves._replace(seeds=curves.seeds[: job.keys.shape[0]])
    trained = loop.train(
        chunk.plan(label, job.folder, options.epochs, planned.per_epoch, planned.steps, planned.per_pass, job.stage),
        program(chunk, job, parts),
        init_lanes(parts.init, parts.inputs.key),
        parts.inputs,
        job.shared,
        classifier.METRICS,
        lambda epoch, means, state: owner.add(job.stage, names, epoch, means),
        partial(owner.resume, job.stage, names),
        **({"judge": _epoch_evaluator(chunk, job, parts)} if _selects(options) else {}),
    )
    return parts.model, _with_statistics(chunk, job, parts, trained), planned


def baseline_job(chunk: Chunk) -> TrainingJob:
    """The training of the arm 'none'."""
    options, common = chunk.config.classifier, chunk.common
    return TrainingJob(
        "classifier", (Arm("none"),), ("",), chunk.folder, options, chunk.keys, chunk.train, common.devices, common.shared
    )  # fmt: skip


def initial(chunk: Chunk, key: jax.Array) -> classifier.State:
    """A lane's classifier before its training."""
    return _parts(chunk, baseline_job(chunk)).init(key)


def bytes_for(chunk: Chunk, lanes: int) -> int:
    """Memory that the training of an arm takes on each device with so many lanes; `context` is of one seed."""
    job = baseline_job(chunk)
    parts = _parts(chunk, job)
    return training_memory.bytes_for(chunk, program(chunk, job, parts), parts.init, parts.inputs, classifier.METRICS, lanes)


class _Parts(NamedTuple):
    model: Any
    length: length.Length
    init: Any
    inputs: Inputs


def _parts(chunk: Chunk, job: TrainingJob) -> _Parts:
    model = classifier_network.model_of(chunk.config, len(job.train.counts), chunk.common.form.conv, chunk.task.shape)
    step = job.steps[0]
    cosine = bool(step) and methods.recipe_of(step, chunk.task, job.train.counts).cosine
    model = classifier_network.dressed(model, chunk.config.classifier, cosine)
    kept = {"ema": job.options.ema, "select": job.options.select}
    own = sum(job.train.counts)
    planned = length.of(job.options, sum(chunk.train.counts) if job.stage == "classifier" else own, own)
    rule = optimizer.of_options(job.options, planned.epochs)
    init = partial(classifier.init, model=model, optimizer=rule, shape=chunk.task.shape, **kept)
    return _Parts(model, planned, init, lane_inputs(job))


def program(chunk: Chunk, job: TrainingJob, parts: _Parts) -> Any:
    """The compiled training of a network: one for all arms that do the same to batches, logits and losses.

    What else tells them apart (the training set, its size, how long it is trained, numbers such as rates) is traced.
    """
    options, batch, devices = job.options, parts.length.batch, _own_devices(chunk, job)
    ema, patience = options.ema, options.patience
    # The reference is a ruler, the same whatever the arms are computed in.
    precision = chunk.precision if job.stage == "classifier" else "f32"

    def make() -> Any:
        epoch_of = classifier.epoch_of(
            parts.model,
            partial(optimizer.of_options, options, parts.length.epochs),
            batch,
            partial(_recipe, chunk.task, job),
            _split(chunk, job, batch),
            ema=ema,
            dtype=classifier.dtype_of(precision),
        )
        active = partial(classifier.active, patience=patience) if patience else None
        return chunk.over_lanes(loop.span_function(epoch_of, active), devices, precision)

    rule = optimizer.fixed_part(options, parts.length.epochs)
    return chunk.program(("train", parts.model, rule, ema, patience, precision, batch, bool(devices), _fixed(job)), make)


def _recipe(task: methods.Task, job: TrainingJob, values: Mapping[str, jax.Array]) -> Recipe:
    step, counts = job.steps[0], job.train.counts
    return methods.recipe_of(step, task, counts, {name: values[name] for name in methods.numbers(step)}) if step else Recipe()


def _fixed(job: TrainingJob) -> tuple[Any, ...]:
    """What is fixed in a program with the recipe in it: what methods make of the counts, besides their skeleton."""
    return (methods.skeleton(job.steps[0]), job.train.counts) if job.steps[0] else ()


def _own_devices(chunk: Chunk, job: TrainingJob) -> Any:
    return None if job.devices == chunk.common.devices else job.devices


def _split(chunk: Chunk, job: TrainingJob, batch: int) -> Any:
    return lanes.split_batch(1 if _own_devices(chunk, job) else chunk.config.data_devices, batch)


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


def _anew(chunk: Chunk, job: TrainingJob, parts: _Parts) -> _Anew | None:
    """None for a network without batch normalisation: nothing is done to it."""
    if not chunk.program(("norms", parts.model), lambda: classifier_network.batch_norms(parts.model, chunk.task.shape)):
        return None
    split = _split(chunk, job, parts.length.batch)

    def of(variables: Any, inputs: Inputs, shared: Shared, when: tuple[jax.Array, jax.Array]) -> Any:
        recipe = _recipe(chunk.task, job, inputs.values)
        return statistics_of_arm.recomputed(
            parts.model, variables, inputs, shared, *when, recipe=recipe, batch=parts.length.batch, split=split
        )  # fmt: skip

    def when(rows: int, epoch: Any) -> tuple[Any, Any]:
        many = statistics_of_arm.number_of(sum(job.train.counts), parts.length.batch, rows)
        done = np.minimum(np.asarray(epoch, np.float32) / parts.length.epochs, 1)  # the last epoch may be a part of one
        progress = done * (1 - 1e-6)  # that of the epoch's last step
        return jnp.asarray(many, jnp.int32), jnp.asarray(progress, jnp.float32)

    return _Anew((parts.length.batch, bool(_own_devices(chunk, job)), _fixed(job)), of, when)


def _with_statistics(chunk: Chunk, job: TrainingJob, parts: _Parts, trained: loop.Trained) -> loop.Trained:
    """The training with new batch statistics in what is evaluated; running averages may be those of a first few steps."""
    anew = _anew(chunk, job, parts)
    if anew is None:
        return trained
    clock, state = loop.stopwatch(chunk.common.compiling), trained.state
    epochs = np.full(parts.inputs.key.shape[0], trained.epochs) if state.best is None else state.best.epoch
    many, progress = anew.when(statistics_of_arm.ROWS, epochs)

    def one(lane: Any, given: tuple[Shared, jax.Array]) -> Any:
        (_, (variables, inputs, progress)), (shared, many) = lane, given
        return anew.of(variables, inputs, shared, (many, progress))

    key = ("batch statistics", parts.model, *anew.key)
    run = chunk.program(key, lambda: chunk.over_lanes(one, _own_devices(chunk, job)))
    variables = jax.block_until_ready(run((), (classifier.chosen(state), parts.inputs, progress), (job.shared, many)))
    return trained._replace(state=classifier.with_chosen(state, variables), seconds=trained.seconds + clock())


def _epoch_evaluator(chunk: Chunk, job: TrainingJob, parts: _Parts) -> loop.EpochEvaluator:
    """Evaluates all lanes on their validation rows, without post-hoc corrections, and keeps the best epochs."""
    by, patience, model = job.options.select_by, job.options.patience, parts.model
    rows, anew = jnp.concatenate([chunk.validation] * len(job.trainings)), _anew(chunk, job, parts)

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
    run = chunk.program(key, lambda: chunk.over_lanes(one))

    def evaluate_epoch(epoch: int, means: dict[str, np.ndarray], state: classifier.State) -> loop.EpochEvaluation:
        judged = statistics_of_arm.judged_rows(parts.length.per_epoch * parts.length.batch, parts.length.batch)
        inputs, when = (parts.inputs, anew.when(judged, epoch)) if anew else ((), ())
        state, figures, stopped = run(state, (rows, inputs), (job.shared, jnp.asarray(epoch, jnp.int32), when))
        return loop.EpochEvaluation(state, jax.tree.map(np.asarray, figures), bool(np.all(stopped)))

    return evaluate_epoch


def lane_inputs(job: TrainingJob) -> Inputs:
    """What the lanes of a training read: the seeds of the first training, of the second, ...

    The pools have room for as many rows of every class as the largest has, whatever the arm makes of them.
    """
    counts, many = job.train.counts, len(job.trainings)
    real = job.train.pool.rows.shape[1] - job.train.pool.new_y.shape[1]
    room = max(len(counts) * max(counts), job.train.pool.rows.shape[1])
    pool = padded(job.train.pool, room, room - real if job.train.pool.new_y.shape[1] else 0)
    each = job.keys.shape[0]
    rates = [dict(arm.point).get("classifier.learning_rate", job.options.learning_rate) for arm in job.trainings]
    numbers = [methods.numbers(step) if step else {} for step in job.steps]
    values = [{"learning_rate": rate, **own} for rate, own in zip(rates, numbers, strict=True)]
    stacked = {name: jnp.repeat(jnp.asarray([v[name] for v in values], jnp.float32), each) for name in values[0]}
    if many == 1:
        return inputs_of(job.keys, pool, counts, stacked)
    keys, pool = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * many), (job.keys, pool))
    return inputs_of(keys, pool, counts, stacked)


def _selects(options: Any) -> bool:
    return options.select == "best"


def folder_name(spec: str) -> str:
    """A method spec as a folder's name."""
    return "".join(c if c.isalnum() or c in "=.,()-" else "_" for c in spec)
