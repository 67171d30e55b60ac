"""The classifier stage: train one arm's classifiers on all lanes and evaluate them on the whole test set."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax import lanes, models
from imbal_jax.batches import Inputs
from imbal_jax.evaluate import metrics
from imbal_jax.methods import Train
from imbal_jax.methods.gan_synth import TrainedClassifier
from imbal_jax.models.inference import apply_in_batches
from imbal_jax.models.layers import initializer
from imbal_jax.stages.curves import Curves
from imbal_jax.stages.setting import Setting, init_lanes, unbalanced
from imbal_jax.train import classifier, loop, optimizer


class Fitted(NamedTuple):
    """The trained classifiers of all lanes, the seconds that all took, and the rows that one lane saw."""

    trained: TrainedClassifier
    seconds: float
    examples: int


def model_of(config: Any, classes: int, form: str) -> Any:
    """The network that `config.classifier` names. Raises UserError for an unknown one."""
    options = config.classifier
    initializer(options.init)
    model = models.load(options.model, "classifier.model", "Model").Model
    return model(classes, width=options.width, form=form, init_kernel=options.init)


def fit(setting: Setting, curves: Curves, spec: str, train: Train) -> Fitted:
    """Train the arm's classifiers, going on where an earlier run stopped."""
    folder = setting.workdir / "checkpoints" / "classifier" / folder_name(spec)
    inputs = Inputs(setting.keys, train.pool)
    options = setting.config.classifier
    return _fit(setting, curves, ("classifier", spec), folder, options, inputs, setting.devices, setting.shared)


def fit_reference(setting: Setting, curves: Curves) -> TrainedClassifier:
    """One classifier on the full real training set, as published: a ruler for generated images, never a competitor."""
    y = setting.data.train.y
    rows = np.argsort(y, kind="stable").astype(np.int32)[None]
    train = unbalanced(rows, tuple(np.bincount(y)), setting.shared.x.shape[1:])
    inputs = Inputs(lanes.purposes(setting.keys[:1], "reference"), train.pool)
    shared = lanes.replicate(setting.shared, setting.devices[:1])  # what is there already, not a second copy
    folder = setting.workdir / "checkpoints" / "reference"
    stage, options = ("reference", None), setting.config.quality
    return _fit(setting, curves, stage, folder, options, inputs, setting.devices[:1], shared).trained


def _fit(setting, curves, stage, folder: Path, options, inputs, devices, shared) -> Fitted:
    """`options` give optimizer, learning_rate, schedule, batch and epochs; the network is the config's classifier."""
    size = inputs.pool.rows.shape[1]
    batch = min(options.batch, size)
    steps = size // batch
    model = model_of(setting.config, len(setting.task.counts), setting.form)
    rule = optimizer.make(options.optimizer, options.learning_rate, steps=options.epochs * steps, schedule=options.schedule)
    name, spec = stage
    label = f"{name} {spec}" if spec else name
    config = setting.config
    plan = loop.Plan(label, folder, options.epochs, steps, config.chunk_seconds, config.save_seconds)
    owner = curves._replace(seeds=curves.seeds[: inputs.key.shape[0]])
    trained = loop.train(
        plan,
        setting.over_lanes(loop.chunk(classifier.epoch_of(model, rule, batch), steps), devices),
        init_lanes(partial(classifier.init, model=model, optimizer=rule, shape=shared.x.shape[1:]), inputs.key),
        inputs,
        shared,
        classifier.METRICS,
        lambda epoch, means, state: owner.add(name, spec, epoch, means),
        partial(owner.resume, name, spec),
    )
    return Fitted(TrainedClassifier(model, trained.state.params), trained.seconds, options.epochs * steps * batch)


def evaluate(setting: Setting, trained: TrainedClassifier) -> list[dict[str, Any]]:
    """The metrics of every lane on the whole test set: a flat dict each, as in rows.jsonl."""
    test = lanes.replicate((jnp.asarray(setting.data.test.x), jnp.asarray(setting.data.test.y)), setting.devices)

    def measure(lane, shared):
        (_, params), (x, y) = lane, shared
        logits, _ = apply_in_batches(trained.model, params, x)
        return metrics.classification(logits, y)

    result = jax.tree.map(np.asarray, setting.over_lanes(measure)((), trained.params, test))
    names = setting.task.class_names
    per_lane = [jax.tree.map(lambda leaf, i=i: leaf[i], result) for i in range(len(setting.seeds))]
    return [metrics.flatten(lane, names) for lane in per_lane]


def folder_name(spec: str) -> str:
    """A method spec as a folder's name."""
    return "".join(c if c.isalnum() or c in "=.,()-" else "_" for c in spec)
