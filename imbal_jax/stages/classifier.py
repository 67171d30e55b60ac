"""The classifier stage: train a group of arms' classifiers on all lanes and evaluate them on the whole test set."""

import time
import zlib
from collections.abc import Mapping, Sequence, Set
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from imbal_jax import lanes, methods, models
from imbal_jax.batches import Inputs, Shared, padded, pick
from imbal_jax.evaluate import metrics
from imbal_jax.lanes import purpose
from imbal_jax.methods import Head, Recipe, Stage, Train
from imbal_jax.methods.gan_synth import TrainedClassifier
from imbal_jax.methods.recipe import corrected, finetuned
from imbal_jax.models import head
from imbal_jax.models.inference import apply_in_batches, in_batches
from imbal_jax.models.layers import initializer
from imbal_jax.stages import need
from imbal_jax.stages.arms import Arm
from imbal_jax.stages.curves import Curves
from imbal_jax.stages.setting import Setting, init_lanes, inputs_of, unbalanced
from imbal_jax.train import classifier, loop, optimizer


class Fitted(NamedTuple):
    """A training's result.

    Attributes:
        model: the network.
        params: its parameters and running averages, for every arm: leaves [A, L, ...] with L seeds.
        train: what it was trained on, leaves [L, ...].
        seconds: that all lanes took.
        examples: rows that one lane saw.
        lanes: trained at once.
    """

    model: Any
    params: Any
    train: Train
    seconds: float
    examples: int
    lanes: int


class Work(NamedTuple):
    """One training: its stage, its trainings, where its state is kept, its options, what its lanes read, on which devices.

    `steps` are the parts of the trainings' specs that are compiled into the step. `options` give optimizer,
    learning_rate, schedule, batch and epochs; the network is the config's classifier. The lanes are the seeds of the first
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


def model_of(config: Any, classes: int, form: str) -> Any:
    """The network that `config.classifier` names. Raises UserError for an unknown one."""
    options = config.classifier
    initializer(options.init)
    model = models.load(options.model, "classifier.model", "Model").Model
    return model(classes, width=options.width, form=form, init_kernel=options.init)


def fit(setting: Setting, curves: Curves, arms: Sequence[Arm], train: Train) -> Fitted:
    """Train the classifiers of a group of arms on `train`, going on where an earlier run stopped; then their second stages.

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
    model, state, seconds, examples = _train(setting, curves, work)
    which = np.array([trainings.index(base) for base in bases])
    params = jax.tree.map(lambda leaf: leaf.reshape(len(trainings), -1, *leaf.shape[1:])[which], classifier.variables(state))
    fitted = Fitted(model, params, train, seconds, examples, len(trainings) * len(setting.seeds))
    return _second_stage(setting, fitted, arms)


def fit_plain(setting: Setting, curves: Curves) -> TrainedClassifier:
    """The classifiers of all lanes, trained on the real rows alone, as the arm 'none' has them."""
    fitted = fit(setting, curves, [Arm("none")], setting.train)
    return TrainedClassifier(fitted.model, jax.tree.map(lambda leaf: leaf[0], fitted.params))


def fit_reference(setting: Setting, curves: Curves) -> TrainedClassifier:
    """One classifier on the full real training set, as published: a ruler for generated images, never a competitor."""
    y = setting.data.train.y
    rows = np.argsort(y, kind="stable").astype(np.int32)[None]
    train = unbalanced(rows, tuple(int(n) for n in np.bincount(y)), setting.shared.x.shape[1:])
    devices = setting.base.devices[:1]
    shared = lanes.replicate(setting.shared, devices)  # what is there already, not a second copy
    keys = lanes.purposes(setting.keys[:1], "reference")
    folder, options = setting.workdir / "checkpoints" / "reference", setting.config.quality
    work = Work("reference", (Arm("none"),), ("",), folder, options, keys, train, devices, shared)
    model, state, *_ = _train(setting._replace(least=1), curves, work)  # one lane is no chunk to be filled up
    return TrainedClassifier(model, classifier.variables(state))


def _train(setting: Setting, curves: Curves, work: Work) -> tuple[Any, classifier.State, float, int]:
    """The network, the trained states [lanes, ...], the seconds of all lanes and the rows that one lane saw."""
    options, parts = work.options, _parts(setting, work)
    steps = sum(work.train.counts) // parts.batch
    told = [arm.name for arm in work.trainings] if work.stage == "classifier" else []
    names: list[str | None] = [*told] or [None]
    label = " ".join([work.stage, *told[:1], *([f"and {len(told) - 1} more"] if len(told) > 1 else [])])
    owner = curves._replace(seeds=curves.seeds[: work.keys.shape[0]])
    trained = loop.train(
        setting.plan(label, work.folder, options.epochs, steps),
        program(setting, work, parts),
        init_lanes(parts.init, parts.inputs.key),
        parts.inputs,
        work.shared,
        classifier.METRICS,
        lambda epoch, means, state: owner.add(work.stage, names, epoch, means),
        partial(owner.resume, work.stage, names),
    )
    return parts.model, trained.state, trained.seconds, options.epochs * steps * parts.batch


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
    """Memory that the training of an arm takes on each device with so many lanes; `setting` is of one seed."""
    work = alone(setting)
    parts = _parts(setting, work)
    return need.bytes_for(setting, program(setting, work, parts), parts.init, parts.inputs, classifier.METRICS, lanes)


class _Parts(NamedTuple):
    model: Any
    batch: int
    init: Any
    inputs: Inputs


def _parts(setting: Setting, work: Work) -> _Parts:
    model = model_of(setting.config, len(work.train.counts), setting.base.form.conv)
    init = partial(classifier.init, model=model, optimizer=_rule(work.options), shape=setting.task.shape)
    return _Parts(model, min(work.options.batch, sum(work.train.counts)), init, lane_inputs(work))


def program(setting: Setting, work: Work, parts: _Parts) -> Any:
    """The compiled training of a network: one for all arms that do the same to batches, logits and losses.

    What else tells them apart (the training set, its size, how long it is trained, numbers such as rates) is traced.
    """
    options, task, counts, batch = work.options, setting.task, work.train.counts, parts.batch
    step = work.steps[0]
    fixed = (methods.skeleton(step), counts) if step else ()  # what methods make of the counts is fixed in the program
    devices = None if work.devices == setting.base.devices else work.devices
    data = 1 if devices else setting.config.data_devices

    def make_recipe(values: Mapping[str, jax.Array]) -> Recipe:
        return methods.recipe_of(step, task, counts, {name: values[name] for name in methods.numbers(step)})

    def make() -> Any:
        recipe = {"make_recipe": make_recipe} if step else {}
        epoch_of = classifier.epoch_of(
            parts.model, partial(_rule, options), batch, split=lanes.split_batch(data, batch), **recipe
        )
        return setting.over_lanes(loop.chunk(epoch_of), devices)

    return setting.program(("train", parts.model, options.optimizer, options.schedule, batch, bool(devices), fixed), make)


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


def _second_stage(setting: Setting, fitted: Fitted, arms: Sequence[Arm]) -> Fitted:
    """The classifiers with the last layers that their arms' second stages made of theirs."""
    task, counts, model = setting.task, fitted.train.counts, fitted.model
    spec = methods.part(arms[0].spec, task, {"finetune"})
    if not spec:
        return fitted

    def one(lane, shared):
        _, (key, params, pool, values) = lane
        recipe = methods.recipe_of(spec, task, counts, values)

        def seen(index):
            x, y = pick(pool, shared, index)
            return model.apply(params, x)[1].astype(jnp.float32), y

        features, y = in_batches(seen, (jnp.arange(pool.rows.shape[0]),), 500)
        return finetuned(recipe, purpose(key, "second stage"), Head(*head.read(params)), Stage(features, y, counts))

    run = setting.program(("second stage", model, methods.skeleton(spec), counts), lambda: setting.over_lanes(one))
    began = time.monotonic() - setting.base.compiling()
    heads = [
        run((), (setting.keys, _of(fitted.params, i), fitted.train.pool, _values(setting, arm, {"finetune"})), setting.shared)
        for i, arm in enumerate(arms)
    ]
    heads = jax.block_until_ready(jax.tree.map(lambda *leaves: jnp.stack(leaves), *heads))
    seconds = time.monotonic() - setting.base.compiling() - began
    return fitted._replace(params=head.replace(fitted.params, *heads), seconds=fitted.seconds + seconds)


def evaluate(setting: Setting, fitted: Fitted, arms: Sequence[Arm]) -> list[list[dict[str, Any]]]:
    """The metrics of every arm and lane on the whole test set: a flat dict each, as in rows.jsonl.

    Post-hoc corrections come first; those that are fitted see the lane's validation rows, never the test set.
    """
    task, counts, model = setting.task, fitted.train.counts, fitted.model
    test = setting.program("test", lambda: _test(setting))
    spec = methods.part(arms[0].spec, task, methods.AFTER)

    def measure(lane, shared):
        (_, (params, rows, values)), ((x, y), real) = lane, shared
        recipe = methods.recipe_of(spec, task, counts, values) if spec else Recipe()
        validation = None
        if recipe.needs_validation:
            validation = (apply_in_batches(model, params, real.x[rows])[0], real.y[rows])
        logits, _ = apply_in_batches(model, params, x)
        return metrics.classification(corrected(recipe, logits, validation), y)

    key = ("evaluate", model, (methods.skeleton(spec), counts) if spec else ())
    run = setting.program(key, lambda: setting.over_lanes(measure))
    found = []
    for i, arm in enumerate(arms):
        inputs = (_of(fitted.params, i), setting.validation, _values(setting, arm, methods.AFTER))
        result = jax.tree.map(np.asarray, run((), inputs, (test, setting.shared)))
        per_lane = [jax.tree.map(lambda leaf, lane=lane: leaf[lane], result) for lane in range(len(setting.seeds))]
        found.append([metrics.flatten(lane, task.class_names) for lane in per_lane])
    return found


def _rule(options: Any, rate: Any = None, steps: Any = 1) -> optax.GradientTransformation:
    rate = options.learning_rate if rate is None else rate
    return optimizer.make(options.optimizer, rate, steps=steps, schedule=options.schedule)


def _test(setting: Setting) -> tuple[jax.Array, jax.Array]:
    return lanes.replicate((jnp.asarray(setting.data.test.x), jnp.asarray(setting.data.test.y)), setting.base.devices)


def _of(params: Any, arm: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[arm], params)


def _values(setting: Setting, arm: Arm, hooks: Set[str]) -> dict[str, jax.Array]:
    """The traced numbers of the words with these hooks, the same for all lanes: {name: [L]}."""
    spec = methods.part(arm.spec, setting.task, hooks)
    found = methods.numbers(spec) if spec else {}
    return {name: jnp.full(len(setting.seeds), value, jnp.float32) for name, value in found.items()}


def folder_name(spec: str) -> str:
    """A method spec as a folder's name."""
    return "".join(c if c.isalnum() or c in "=.,()-" else "_" for c in spec)
