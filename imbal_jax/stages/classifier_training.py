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

VALIDATION = {"loss": "nll", "accuracy": "accuracy", "balanced_accuracy": "balanced_accuracy"}  # name in the curves -> metric


class Fitted(NamedTuple):
    """A training's result.

    Attributes:
        model: the network.
        params: its parameters and running averages, for every arm: leaves [A, L, ...] with L seeds.
        train: the training sets, leaves [L, ...].
        cost: of the training, without a second stage.
        second: cost of the second stage.
        epoch_seconds: of one epoch and lane, without second stages.
        steps: optimiser steps of the training; if lanes stopped at different epochs, those of the longest.
        unit: the option that fixed the length, see `train.length`.
        lanes: number of lanes trained at once.
        selected: the epoch of each lane's parameters, int [A, L], if it was chosen by validation; otherwise None.
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
    """One training: its stage, its arms, the folder of its state, its options, the inputs of its lanes, its devices.

    `steps` are the parts of the trainings' specs that are compiled into the step. `options` have the fields of
    `config.classifier` about the training; the network is the config's classifier. The lanes are the seeds of the first
    training, of the second, ...
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
    """Train the classifiers of a group of arms on `train`, resuming where an earlier run stopped.

    The arms differ in traced numbers alone. Arms that differ only in stages after the training share it: its state is saved
    under the part of the spec that is trained.
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
    index, lane_count = np.array([trainings.index(common) for common in bases]), len(trainings) * len(chunk.seeds)
    by_arm = lambda leaf: leaf.reshape(len(trainings), -1, *leaf.shape[1:])[index]  # noqa: E731
    params = jax.tree.map(by_arm, classifier.chosen(trained.state))
    best = trained.state.best
    selected = None if best is None else by_arm(np.asarray(best.epoch))
    epoch_seconds = trained.seconds / trained.epochs / lane_count
    cost = Cost(trained.seconds / lane_count, trained.steps * planned.batch)
    return Fitted(model, params, train, cost, Cost(), epoch_seconds, trained.steps, planned.unit, lane_count, selected)


def fit_plain(chunk: Chunk, curves: Curves) -> tuple[TrainedClassifier, Cost]:
    """The classifiers of all lanes, trained on the real rows alone as in the arm 'none', and their cost."""
    fitted = fit(chunk, curves, [Arm("none")], chunk.train)
    return TrainedClassifier(fitted.model, jax.tree.map(lambda leaf: leaf[0], fitted.params)), fitted.cost


def reference_options(config: Any) -> Any:
    """Training options of the feature extractor: `config.quality`, and the defaults of `config.classifier` for other fields."""
    return SimpleNamespace(**defaults("")["classifier"] | config.quality.to_dict())


def fit_reference(chunk: Chunk, curves: Curves) -> TrainedClassifier:
    """The feature extractor for generated rows: one classifier, trained on the full real training set; it is not an arm."""
    y = chunk.data.train.y
    rows = np.argsort(y, kind="stable").astype(np.int32)[None]
    train = unbalanced(rows, tuple(int(n) for n in np.bincount(y)), chunk.shared.x)
    devices = chunk.common.devices[:1]
    shared = lanes.replicate(chunk.shared, devices)  # reuses the arrays on the device
    keys = lanes.purposes(lanes.lane_keys(chunk.config.seed, [0]), "reference")  # the same for all chunks and processes
    folder, options = chunk.workdir / "checkpoints" / "reference", reference_options(chunk.config)
    job = TrainingJob("reference", (Arm("none"),), ("",), folder, options, keys, train, devices, shared)
    model, trained, _ = _train(chunk._replace(min_lanes=1), curves, job)  # a single lane is not filled up
    return TrainedClassifier(model, classifier.chosen(trained.state))


def _train(chunk: Chunk, curves: Curves, job: TrainingJob) -> tuple[Any, loop.Trained, length.Length]:
    """The network, the result of its training, and the planned length."""
    options, parts = job.options, _parts(chunk, job)
    planned = parts.length
    arm_names = [arm.name for arm in job.trainings] if job.stage == "classifier" else []
    names: list[str | None] = [*arm_names] or [None]
    prefix = [f"{chunk.turn},"] if chunk.turn and job.stage == "classifier" else []
    suffix = [f"and {len(arm_names) - 1} more"] if len(arm_names) > 1 else []
    label = " ".join([*prefix, job.stage, *arm_names[:1], *suffix])
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
        **({"evaluate_epoch": _epoch_evaluator(chunk, job, parts)} if _selects(options) else {}),
    )
    return parts.model, _with_statistics(chunk, job, parts, trained), planned


def baseline_job(chunk: Chunk) -> TrainingJob:
    """The training of the arm 'none'."""
    options, common = chunk.config.classifier, chunk.common
    return TrainingJob(
        "classifier", (Arm("none"),), ("",), chunk.folder, options, chunk.keys, chunk.train, common.devices, common.shared
    )  # fmt: skip


def init_state(chunk: Chunk, key: jax.Array) -> classifier.State:
    """A lane's classifier before its training."""
    return _parts(chunk, baseline_job(chunk)).init(key)


def bytes_for(chunk: Chunk, lanes: int) -> int:
    """Bytes that the training of an arm takes on each device with so many lanes; `chunk` is of one seed."""
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
    model = classifier_network.wrap_model(model, chunk.config.classifier, cosine)
    extras = {"ema": job.options.ema, "select": job.options.select}
    own_rows = sum(job.train.counts)
    planned = length.of(job.options, sum(chunk.train.counts) if job.stage == "classifier" else own_rows, own_rows)
    rule = optimizer.of_options(job.options, planned.epochs)
    init = partial(classifier.init, model=model, optimizer=rule, shape=chunk.task.shape, **extras)
    return _Parts(model, planned, init, lane_inputs(job))


def program(chunk: Chunk, job: TrainingJob, parts: _Parts) -> Any:
    """The compiled training of a network; arms that treat batches, logits and losses the same way share one program.

    Other differences between them (the training set and its size, the length, numbers such as rates) are traced.
    """
    options, batch, devices = job.options, parts.length.batch, _own_devices(chunk, job)
    ema, patience = options.ema, options.patience
    # The feature extractor is the same in every precision of the arms.
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
    """The static parts of a program with a recipe: the methods' skeleton, and the class counts, which methods may use."""
    return (methods.skeleton(job.steps[0]), job.train.counts) if job.steps[0] else ()


def _own_devices(chunk: Chunk, job: TrainingJob) -> Any:
    return None if job.devices == chunk.common.devices else job.devices


def _split(chunk: Chunk, job: TrainingJob, batch: int) -> Any:
    return lanes.split_batch(1 if _own_devices(chunk, job) else chunk.config.data_devices, batch)


class _Recompute(NamedTuple):
    """How batch statistics are recomputed.

    Attributes:
        key: identifies the program.
        of: (variables, inputs, real rows, (batches, progress)) of one lane -> variables.
        when: (rows, epoch) -> batches and progress.
    """

    key: tuple[Any, ...]
    of: Callable[..., Any]
    when: Callable[[int, Any], tuple[Any, Any]]


def _recompute(chunk: Chunk, job: TrainingJob, parts: _Parts) -> _Recompute | None:
    """How to recompute the batch statistics; None for a network without batch normalisation."""
    if not chunk.program(("norms", parts.model), lambda: classifier_network.batch_norms(parts.model, chunk.task.shape)):
        return None
    split = _split(chunk, job, parts.length.batch)

    def of(variables: Any, inputs: Inputs, shared: Shared, when: tuple[jax.Array, jax.Array]) -> Any:
        recipe = _recipe(chunk.task, job, inputs.values)
        return statistics_of_arm.recomputed(
            parts.model, variables, inputs, shared, *when, recipe=recipe, batch=parts.length.batch, split=split
        )  # fmt: skip

    def when(rows: int, epoch: Any) -> tuple[Any, Any]:
        batch_count = statistics_of_arm.number_of(sum(job.train.counts), parts.length.batch, rows)
        share = np.minimum(np.asarray(epoch, np.float32) / parts.length.epochs, 1)  # the last epoch may be incomplete
        progress = share * (1 - 1e-6)  # progress at the epoch's last step
        return jnp.asarray(batch_count, jnp.int32), jnp.asarray(progress, jnp.float32)

    return _Recompute((parts.length.batch, bool(_own_devices(chunk, job)), _fixed(job)), of, when)


def _with_statistics(chunk: Chunk, job: TrainingJob, parts: _Parts, trained: loop.Trained) -> loop.Trained:
    """The training with recomputed batch statistics for the evaluation; the running averages may be of early steps."""
    recompute = _recompute(chunk, job, parts)
    if recompute is None:
        return trained
    clock, state = loop.stopwatch(chunk.common.compiling), trained.state
    epochs = np.full(parts.inputs.key.shape[0], trained.epochs) if state.best is None else state.best.epoch
    batch_count, progress = recompute.when(statistics_of_arm.ROWS, epochs)

    def one(lane: Any, given: tuple[Shared, jax.Array]) -> Any:
        (_, (variables, inputs, progress)), (shared, batch_count) = lane, given
        return recompute.of(variables, inputs, shared, (batch_count, progress))

    key = ("batch statistics", parts.model, *recompute.key)
    run = chunk.program(key, lambda: chunk.over_lanes(one, _own_devices(chunk, job)))
    variables = jax.block_until_ready(run((), (classifier.chosen(state), parts.inputs, progress), (job.shared, batch_count)))
    return trained._replace(state=classifier.with_chosen(state, variables), seconds=trained.seconds + clock())


def _epoch_evaluator(chunk: Chunk, job: TrainingJob, parts: _Parts) -> loop.EpochEvaluator:
    """Evaluates all lanes on their validation rows, without post-hoc corrections, and keeps the best epochs."""
    by, patience, model = job.options.select_by, job.options.patience, parts.model
    rows, recompute = jnp.concatenate([chunk.validation] * len(job.trainings)), _recompute(chunk, job, parts)

    def one(lane: tuple[classifier.State, Any], given: tuple[Shared, jax.Array, Any]):
        (state, (rows, inputs)), (shared, epoch, when) = lane, given
        assert state.best is not None, "made by `train.classifier.init`"
        variables = classifier.averaged(state)
        if recompute is not None:
            variables = recompute.of(variables, inputs, shared, when)
        z, _ = apply_in_batches(model, variables, gather(shared.x, rows))
        measured = metrics.classification(z, shared.y[rows])
        figures = {f"val_{name}": measured[key] for name, key in VALIDATION.items()}
        shown = {name: jnp.where(selection.stopped(state.best, patience), jnp.nan, value) for name, value in figures.items()}
        best = selection.update(state.best, variables, selection.goodness(by, figures), epoch, patience)
        return state._replace(best=best), shown, selection.stopped(best, patience)

    key = ("judge", model, by, patience, recompute and recompute.key)
    run = chunk.program(key, lambda: chunk.over_lanes(one))

    def evaluate_epoch(epoch: int, means: dict[str, np.ndarray], state: classifier.State) -> loop.EpochEvaluation:
        row_count = statistics_of_arm.judged_rows(parts.length.per_epoch * parts.length.batch, parts.length.batch)
        inputs, when = (parts.inputs, recompute.when(row_count, epoch)) if recompute else ((), ())
        state, figures, stopped = run(state, (rows, inputs), (job.shared, jnp.asarray(epoch, jnp.int32), when))
        return loop.EpochEvaluation(state, jax.tree.map(np.asarray, figures), bool(np.all(stopped)))

    return evaluate_epoch


def lane_inputs(job: TrainingJob) -> Inputs:
    """The inputs of a training's lanes: the seeds of the first training, of the second, ...

    The pools have room for as many rows of every class as the largest class has, so that arms have equal shapes.
    """
    counts, arm_count = job.train.counts, len(job.trainings)
    real = job.train.pool.rows.shape[1] - job.train.pool.new_y.shape[1]
    pool_room = max(len(counts) * max(counts), job.train.pool.rows.shape[1])
    pool = padded(job.train.pool, pool_room, pool_room - real if job.train.pool.new_y.shape[1] else 0)
    seed_count = job.keys.shape[0]
    rates = [dict(arm.point).get("classifier.learning_rate", job.options.learning_rate) for arm in job.trainings]
    numbers = [methods.numbers(step) if step else {} for step in job.steps]
    values = [{"learning_rate": rate, **traced} for rate, traced in zip(rates, numbers, strict=True)]
    stacked = {name: jnp.repeat(jnp.asarray([v[name] for v in values], jnp.float32), seed_count) for name in values[0]}
    if arm_count == 1:
        return inputs_of(job.keys, pool, counts, stacked)
    keys, pool = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * arm_count), (job.keys, pool))
    return inputs_of(keys, pool, counts, stacked)


def _selects(options: Any) -> bool:
    return options.select == "best"


def folder_name(spec: str) -> str:
    """A method spec as a folder's name."""
    return "".join(c if c.isalnum() or c in "=.,()-" else "_" for c in spec)
