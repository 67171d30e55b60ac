"""The classifier stage: train one arm's classifiers on all lanes and evaluate them on the whole test set."""

import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax import lanes, methods, models
from imbal_jax.batches import Inputs, Shared, pick
from imbal_jax.evaluate import metrics
from imbal_jax.lanes import purpose
from imbal_jax.methods import Head, Recipe, Stage, Train
from imbal_jax.methods.gan_synth import TrainedClassifier
from imbal_jax.methods.recipe import corrected, finetuned
from imbal_jax.models import head
from imbal_jax.models.inference import apply_in_batches, in_batches
from imbal_jax.models.layers import initializer
from imbal_jax.stages.curves import Curves
from imbal_jax.stages.setting import Setting, init_lanes, unbalanced
from imbal_jax.train import classifier, loop, optimizer


class Fitted(NamedTuple):
    """A training's result.

    Attributes:
        trained: the classifiers of all lanes.
        recipe: what was done in the training, and what is still to be done after it.
        seconds: that all lanes took.
        examples: rows that one lane saw.
    """

    trained: TrainedClassifier
    recipe: Recipe
    seconds: float
    examples: int


class Work(NamedTuple):
    """One training: its stage and arm, where its state is kept, its options, what its lanes read, and on which devices.

    `options` give optimizer, learning_rate, schedule, batch and epochs; the network is the config's classifier.
    """

    stage: str
    spec: str | None
    folder: Path
    options: Any
    inputs: Inputs
    counts: tuple[int, ...]
    recipe: Recipe
    devices: Any
    shared: Shared


def model_of(config: Any, classes: int, form: str) -> Any:
    """The network that `config.classifier` names. Raises UserError for an unknown one."""
    options = config.classifier
    initializer(options.init)
    model = models.load(options.model, "classifier.model", "Model").Model
    return model(classes, width=options.width, form=form, init_kernel=options.init)


def fit(setting: Setting, curves: Curves, spec: str, train: Train) -> Fitted:
    """Train the arm's classifiers on `train`, going on where an earlier run stopped, then do its second stages.

    Arms that differ only in what comes after the training share it: its state is kept under the spec's training part.
    """
    recipe = methods.recipe_of(spec, setting.task, train.counts)
    base = methods.training_part(spec, setting.task)
    folder = setting.workdir / "checkpoints" / "classifier" / folder_name(base)
    inputs = Inputs(setting.keys, train.pool)
    devices, shared, options = setting.devices, setting.shared, setting.config.classifier
    work = Work("classifier", base, folder, options, inputs, train.counts, recipe, devices, shared)
    fitted = _fit(setting, curves, work)
    return _second_stage(setting, fitted, train) if recipe.finetunes else fitted


def fit_reference(setting: Setting, curves: Curves) -> TrainedClassifier:
    """One classifier on the full real training set, as published: a ruler for generated images, never a competitor."""
    y = setting.data.train.y
    rows = np.argsort(y, kind="stable").astype(np.int32)[None]
    train = unbalanced(rows, tuple(int(n) for n in np.bincount(y)), setting.shared.x.shape[1:])
    inputs = Inputs(lanes.purposes(setting.keys[:1], "reference"), train.pool)
    shared = lanes.replicate(setting.shared, setting.devices[:1])  # what is there already, not a second copy
    folder = setting.workdir / "checkpoints" / "reference"
    options, devices = setting.config.quality, setting.devices[:1]
    work = Work("reference", None, folder, options, inputs, train.counts, Recipe(), devices, shared)
    return _fit(setting, curves, work).trained


def _fit(setting: Setting, curves: Curves, work: Work) -> Fitted:
    options, config = work.options, setting.config
    size = work.inputs.pool.rows.shape[1]
    batch = min(options.batch, size)
    steps = size // batch
    total = options.epochs * steps
    model = model_of(config, len(setting.task.counts), setting.form)
    rule = optimizer.make(options.optimizer, options.learning_rate, steps=total, schedule=options.schedule)
    label = f"{work.stage} {work.spec}" if work.spec else work.stage
    plan = loop.Plan(label, work.folder, options.epochs, steps, config.chunk_seconds, config.save_seconds)
    owner = curves._replace(seeds=curves.seeds[: work.inputs.key.shape[0]])
    epoch_of = classifier.epoch_of(model, rule, batch, work.counts, total, work.recipe)
    trained = loop.train(
        plan,
        setting.over_lanes(loop.chunk(epoch_of, steps), work.devices),
        init_lanes(partial(classifier.init, model=model, optimizer=rule, shape=work.shared.x.shape[1:]), work.inputs.key),
        work.inputs,
        work.shared,
        classifier.METRICS,
        lambda epoch, means, state: owner.add(work.stage, work.spec, epoch, means),
        partial(owner.resume, work.stage, work.spec),
    )
    return Fitted(TrainedClassifier(model, trained.state.params), work.recipe, trained.seconds, total * batch)


def _second_stage(setting: Setting, fitted: Fitted, train: Train) -> Fitted:
    """The classifiers with the last layers that the recipe's second stages made of theirs."""
    model = fitted.trained.model

    def one(lane, shared):
        _, (key, params, pool) = lane

        def seen(index):
            x, y = pick(pool, shared, index)
            return model.apply(params, x)[1].astype(jnp.float32), y

        features, y = in_batches(seen, (jnp.arange(pool.rows.shape[0]),), 500)
        stage = Stage(features, y, train.counts)
        return finetuned(fitted.recipe, purpose(key, "second stage"), Head(*head.read(params)), stage)

    began = time.monotonic()
    lanes_in = (setting.keys, fitted.trained.params, train.pool)
    heads = jax.block_until_ready(setting.over_lanes(one)((), lanes_in, setting.shared))
    params = head.replace(fitted.trained.params, *heads)
    return fitted._replace(trained=fitted.trained._replace(params=params), seconds=fitted.seconds + time.monotonic() - began)


def evaluate(setting: Setting, fitted: Fitted) -> list[dict[str, Any]]:
    """The metrics of every lane on the whole test set: a flat dict each, as in rows.jsonl.

    Post-hoc corrections come first; those that are fitted see the lane's validation rows, never the test set.
    """
    test = lanes.replicate((jnp.asarray(setting.data.test.x), jnp.asarray(setting.data.test.y)), setting.devices)
    model, recipe = fitted.trained.model, fitted.recipe

    def measure(lane, shared):
        (_, (params, rows)), ((x, y), real) = lane, shared
        validation = None
        if recipe.needs_validation:
            validation = (apply_in_batches(model, params, real.x[rows])[0], real.y[rows])
        logits, _ = apply_in_batches(model, params, x)
        return metrics.classification(corrected(recipe, logits, validation), y)

    inputs = (fitted.trained.params, setting.validation)
    result = jax.tree.map(np.asarray, setting.over_lanes(measure)((), inputs, (test, setting.shared)))
    names = setting.task.class_names
    per_lane = [jax.tree.map(lambda leaf, i=i: leaf[i], result) for i in range(len(setting.seeds))]
    return [metrics.flatten(lane, names) for lane in per_lane]


def folder_name(spec: str) -> str:
    """A method spec as a folder's name."""
    return "".join(c if c.isalnum() or c in "=.,()-" else "_" for c in spec)
