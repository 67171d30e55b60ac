"""The classifier stage: train a group of arms' classifiers on all lanes and evaluate them on the whole test set."""

import zlib
from collections.abc import Callable, Mapping, Sequence, Set
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax import methods, models
from imbal_jax.arms import Arm
from imbal_jax.config import defaults
from imbal_jax.data import Dataset
from imbal_jax.data.batches import Inputs, Shared, gather, padded, pick
from imbal_jax.errors import UserError
from imbal_jax.evaluate import measures, metrics
from imbal_jax.methods import Head, Recipe, Stage, Train
from imbal_jax.methods.recipe import corrected, finetuned
from imbal_jax.methods.rows.gan_synth import TrainedClassifier
from imbal_jax.models import head, standardized
from imbal_jax.models import precise_batch_norm as normalisation
from imbal_jax.models.inference import apply_in_batches, in_batches
from imbal_jax.models.layers import initializer
from imbal_jax.models.standardized import Standardized
from imbal_jax.report.curves import Curves
from imbal_jax.runtime import lanes
from imbal_jax.runtime.lanes import purpose
from imbal_jax.stages import training_memory
from imbal_jax.stages.context import Setting, init_lanes, inputs_of, unbalanced
from imbal_jax.train import classifier, length, loop, optimizer, selection, statistics_of_arm
from imbal_jax.train.cost import Cost

MOST_GROUPS = 200  # of test rows, whose confusion is kept for each
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


def model_of(config: Any, classes: int, form: str, shape: Sequence[int]) -> Any:
    """The network that `config.classifier` names, for examples of that shape.

    Raises:
        UserError: an unknown one, or one that takes examples of another rank.
    """
    options = config.classifier
    initializer(options.init)
    model = models.load(models.classifier_for(options.model, shape), "classifier.model", "Model").Model
    return model(classes, width=options.width, form=form, init_kernel=options.init)


def dressed(model: Any, options: Any, cosine: bool) -> Any:
    """The network as it is trained and evaluated: with `config.classifier.mean` and `.std`, and a normalised last layer."""
    model = head.Cosine(model) if cosine else model
    mean, std = options.mean, options.std
    return Standardized(model, tuple(map(float, mean)), tuple(map(float, std))) if len(mean) else model


def check_method(config: Any, model: Any, task: methods.Task, spec: str) -> None:
    """Raise UserError where a method needs a last layer that the network has not, or its inputs cannot be standardised."""
    recipe = methods.recipe_of(spec, task, task.counts)
    if recipe.finetunes or recipe.cosine:
        head.check(model, task.shape, config.classifier.model, spec)
    standardized.check_channels(config.classifier.mean, task.shape)


def check_network(config: Any, model: Any, shape: Sequence[int]) -> None:
    """Raise UserError for a network that cannot take examples of that shape, such as images that are too small for it."""
    try:
        jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *shape), jnp.float32))
    except UserError:
        raise
    except Exception as error:  # flax's and jax's errors about shapes share no base class
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"config.classifier.model is {config.classifier.model!r}, which cannot take examples of shape {tuple(shape)} "
            f"({why[:200]}): choose another network, or other data"
        ) from error


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
    model, trained, planned = _train(setting, curves, work)
    which, many = np.array([trainings.index(base) for base in bases]), len(trainings) * len(setting.seeds)
    by_arm = lambda leaf: leaf.reshape(len(trainings), -1, *leaf.shape[1:])[which]  # noqa: E731
    params = jax.tree.map(by_arm, classifier.chosen(trained.state))
    best = trained.state.best
    selected = None if best is None else by_arm(np.asarray(best.epoch))
    epoch_seconds = trained.seconds / trained.epochs / many
    cost = Cost(trained.seconds / many, trained.steps * planned.batch)
    fitted = Fitted(model, params, train, cost, Cost(), epoch_seconds, trained.steps, planned.unit, many, selected)
    return _second_stage(setting, fitted, arms)


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
    model = model_of(setting.config, len(work.train.counts), setting.base.form.conv, setting.task.shape)
    step = work.steps[0]
    cosine = bool(step) and methods.recipe_of(step, setting.task, work.train.counts).cosine
    model = dressed(model, setting.config.classifier, cosine)
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
    if not setting.program(("norms", parts.model), lambda: batch_norms(parts.model, setting.task.shape)):
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


def batch_norms(model: Any, shape: tuple[int, ...]) -> tuple[str, ...]:
    """The paths of a network's batch normalisations, for examples of that shape."""
    return normalisation.layers(model, jax.ShapeDtypeStruct((2, *shape), jnp.float32))


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
    clock = loop.stopwatch(setting.base.compiling)
    heads = [
        run((), (setting.keys, _of(fitted.params, i), fitted.train.pool, _values(setting, arm, {"finetune"})), setting.shared)
        for i, arm in enumerate(arms)
    ]
    heads = jax.block_until_ready(jax.tree.map(lambda *leaves: jnp.stack(leaves), *heads))
    seconds = clock() / (len(arms) * len(setting.seeds))
    rows = sum(counts)  # that the features are computed of, once
    examples = rows + sum(method.examples or 0 for method in methods.build(spec, task._replace(counts=counts)))
    return fitted._replace(params=head.replace(fitted.params, *heads), second=Cost(seconds, examples))


def evaluate(setting: Setting, fitted: Fitted, arms: Sequence[Arm]) -> list[list[dict[str, Any]]]:
    """The metrics of every arm and lane on the whole test set: a flat dict each, as in rows.jsonl.

    Test rows whose image is also in the training set (`Dataset.twins`) are left out, but for the two figures that end in
    '_with_twins'. Where the epoch was chosen by validation, 'epoch_selected' says which. Where the test rows are in groups
    (patients), 'confusion_by_group' [G, K, K] has them apart, in the groups' order.

    Post-hoc corrections come first; those that are fitted see the lane's validation rows, never the test set.
    """
    task, counts, model = setting.task, fitted.train.counts, fitted.model
    test = setting.program("test", lambda: _test(setting))
    groups = len(groups_of_test(setting.data)[0])
    spec = methods.part(arms[0].spec, task, methods.AFTER)

    def measure(lane, shared):
        (_, (params, rows, values)), ((x, y, alone, group), real) = lane, shared
        recipe = methods.recipe_of(spec, task, counts, values) if spec else Recipe()
        validation = None
        if recipe.needs_validation:
            validation = (apply_in_batches(model, params, gather(real.x, rows))[0], real.y[rows])
        logits, _ = apply_in_batches(model, params, x)
        z = corrected(recipe, logits, validation)
        everything = metrics.classification(z, y)
        if group.shape[0]:
            place = (group, y.astype(jnp.int32), jnp.argmax(z, axis=-1))
            tables = jnp.zeros((groups, z.shape[-1], z.shape[-1]), jnp.int32).at[place].add(1)
            everything = {**everything, "confusion_by_group": tables}
        if alone.shape[0] == y.shape[0]:
            return everything
        both = {f"{name}_with_twins": everything[name] for name in ("accuracy", "balanced_accuracy")}
        return {**metrics.classification(z[alone], y[alone]), **both}

    key = ("evaluate", model, (methods.skeleton(spec), counts) if spec else ())
    run = setting.program(key, lambda: setting.over_lanes(measure))
    found = []
    for i, arm in enumerate(arms):
        inputs = (_of(fitted.params, i), setting.validation, _values(setting, arm, methods.AFTER))
        result = jax.tree.map(np.asarray, run((), inputs, (test, setting.shared)))
        per_lane = [jax.tree.map(lambda leaf, lane=lane: leaf[lane], result) for lane in range(len(setting.seeds))]
        found.append([_flat(lane, task.class_names, setting.data.measures) for lane in per_lane])
        if fitted.selected is not None:
            epochs = fitted.selected[i].tolist()
            found[-1] = [{**row, "epoch_selected": epoch} for row, epoch in zip(found[-1], epochs, strict=True)]
    return found


def _flat(result: dict[str, Any], class_names: Sequence[str], kind: str) -> dict[str, Any]:
    more: dict[str, Any] = {name: float(value) for name, value in result.items() if name.endswith("_with_twins")}
    more |= measures.of(kind, result["confusion"], class_names)
    if "confusion_by_group" in result:
        more["confusion_by_group"] = np.asarray(result["confusion_by_group"]).tolist()
    return {**metrics.flatten(result, class_names), **more}


def groups_of_test(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The groups of the test rows (its clusters, where it has any), ascending, and each row's place among them, int32 [N].

    Both are empty where the rows are in no groups, or in more than can be told apart.
    """
    of_row = data.clusters if len(data.clusters) else data.test.groups
    names, place = np.unique(of_row, return_inverse=True)
    if len(names) > MOST_GROUPS or len(names) == len(of_row):
        return names[:0], place[:0].astype(np.int32)
    return names, place.astype(np.int32)


def test_counts(data: Dataset) -> list[int]:
    """Test rows of each class that the metrics are of, [K]: without those whose image is also in the training set."""
    y = data.test.y[~data.twins] if len(data.twins) else data.test.y
    return np.bincount(y, minlength=len(data.class_names)).tolist()


def _selects(options: Any) -> bool:
    return options.select == "best"


def _test(setting: Setting) -> tuple[jax.Array, ...]:
    """The test rows, their labels, the numbers of those whose image is not also in the training set, their groups' places."""
    test, twins = setting.data.test, setting.data.twins
    alone = np.flatnonzero(~twins) if len(twins) else np.arange(len(test.y))
    return lanes.replicate(
        tuple(map(jnp.asarray, (test.x, test.y, alone, groups_of_test(setting.data)[1]))), setting.base.devices
    )


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
