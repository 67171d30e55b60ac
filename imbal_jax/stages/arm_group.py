"""Balances, trains and evaluates a group of arms on one chunk of seeds; returns their rows."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import logging

from imbal_jax import methods
from imbal_jax.arms import Arm
from imbal_jax.arms import arms as arms_of
from imbal_jax.evaluate import leakage
from imbal_jax.gan import monitor
from imbal_jax.methods import Context, Train
from imbal_jax.report.curves import Curves
from imbal_jax.runtime.lanes import purposes
from imbal_jax.stages import classifier_training, evaluation, gan_quality, gan_selection, gan_training, pictures, second_stage
from imbal_jax.stages.context import Chunk
from imbal_jax.train import cost
from imbal_jax.train.cost import Cost

TrainedGan = Callable[[], gan_training.Fitted]
MeasuredGan = Callable[[], list[gan_quality.Figures]]  # see `measure_generators`


def uses_gan(spec: str) -> bool:
    """Whether a spec asks for the conditional GAN."""
    return any(word.name == "gan_synth" for word in methods.parse(spec))


def measure_generators(chunk: Chunk, curves: Curves, trained_gan: TrainedGan) -> list[gan_quality.Figures]:
    """The quality of the generators of all lanes; empty dicts where `config.quality.samples` is 0."""
    if not chunk.config.quality.samples:
        return [{}] * len(chunk.seeds)
    return gan_quality.measure(chunk, trained_gan().gan, classifier_training.fit_reference(chunk, curves))


def run(
    chunk: Chunk, curves: Curves, arms: Sequence[Arm], trained_gan: TrainedGan, measured_gan: MeasuredGan
) -> list[dict[str, Any]]:
    """The rows of all arms and seeds. The arms differ in traced numbers alone, so they share one training set."""
    compiled = chunk.common.compiling()
    train, before = resample_training_sets(chunk, curves, arms[0].spec, trained_gan)
    gan_trained = "gan" in before  # otherwise no row has to be generated, and no GAN is trained
    if uses_gan(arms[0].spec) and not gan_trained:
        warn_of_nothing(chunk, curves, arms)
    pictures.draw(chunk, arms, train)
    fitted = second_stage.apply(chunk, classifier_training.fit(chunk, curves, arms, train), arms)
    figures = evaluation.evaluate(chunk, fitted, arms)
    lanes = len(chunk.seeds)
    stages = {"resample": Cost(), "plain": Cost(), "gan": Cost(), **before}
    training_fields = {
        "steps": fitted.steps,
        "length": fitted.unit,
        **(trained_gan().steps if gan_trained else {}),
        "epoch_seconds": fitted.epoch_seconds,
        "compile_seconds": chunk.common.compiling() - compiled,
        "lanes": fitted.lanes,
        "precision": chunk.precision,
        "form": chunk.common.form.conv,
        "device": chunk.common.devices[0].device_kind,
    }
    data_fields: dict[str, Any] = {
        "counts_before": list(chunk.task.counts),
        "counts_after": list(train.counts),
        "source": chunk.data.source,
        "digest": chunk.data.digest,
    }
    quality_by_lane = gan_quality.by_lane(measured_gan()) if gan_trained else [{}] * lanes
    if gan_trained:
        data_fields["gan_select"] = gan_selection.rule(chunk, gan_training.own_classes(chunk.config.gan.classes, chunk.task))
    rows, histories = [], curves.by_lane("gan", gan_training.names(chunk)) if gan_trained else []
    for arm, of_arm in zip(arms, figures, strict=True):
        costs = {**stages, "classifier": fitted.cost, "second_stage": fitted.second}
        cost_fields = cost.of_arm(costs, shared_stages(chunk, arm, before))
        for lane, (seed, metrics) in enumerate(zip(chunk.seeds, of_arm, strict=True)):
            pool = jax.tree.map(lambda leaf, lane=lane: leaf[lane], train.pool)
            spread = monitor.spread(np.asarray(pool.new_x), np.asarray(pool.new_y)) if histories else {}
            reason = failure(histories[lane::lanes], metrics, spread)
            if not reason:
                warn_of_identical_rows(chunk, curves, seed, arm.name, spread)
            if reason and ": NaN" in reason:
                metrics = dict.fromkeys(metrics)
            head = {"seed": seed, "method": arm.name, "point": arm.point_text}
            rows.append(
                {**head, **metrics, **quality_by_lane[lane], "failed": reason, **cost_fields, **training_fields, **data_fields}
            )
    return rows


def resample_training_sets(chunk: Chunk, curves: Curves, spec: str, trained_gan: TrainedGan) -> tuple[Train, dict[str, Cost]]:
    """The training sets that the spec's resamplers make, and the cost of each stage that was needed for them.

    Raises:
        UserError: a row was made from a test row.
    """
    before: dict[str, Cost] = {}

    def made_gan() -> Any:
        fitted = trained_gan()
        before["gan"] = fitted.cost
        if fitted.plain.examples:
            before["plain"] = fitted.plain
        return fitted.gan

    def made_plain() -> Any:
        trained, before["plain"] = classifier_training.fit_plain(chunk, curves)
        return trained

    clock = cost.stopwatch(chunk.common.compiling)
    context = Context(
        shared=chunk.shared,
        trained={
            "gan": clock.without(made_gan),
            "gan classes": lambda: gan_training.drawable_classes(chunk),
            "plain": clock.without(made_plain),
        },
        over_lanes=chunk.over_lanes,
    )
    train = methods.resample(spec, chunk.task, purposes(chunk.keys, "balance"), chunk.train, context)
    jax.block_until_ready(train.pool)
    before["resample"] = Cost(clock.seconds() / len(chunk.seeds))
    used = np.concatenate([np.asarray(train.pool.rows).ravel(), train.parents.ravel()])
    leakage.refuse(chunk.data.train, used[used < len(chunk.data.train.y)], chunk.data.test)
    return train, before


def shared_stages(chunk: Chunk, arm: Arm, before: Mapping[str, Cost]) -> tuple[str, ...]:
    """The stages of an arm that other arms of the run use as well; `before` are the stages that its training set needed."""
    others = [other for other in arms_of(chunk.config) if other.untraced == arm.untraced and other != arm]
    trained = {methods.training_part(other.spec, chunk.task) for other in others}
    used_by_others = {
        "plain": "plain" in before and "none" in trained,
        "gan": "gan" in before and any(uses_gan(other.spec) for other in others),
        "classifier": methods.training_part(arm.spec, chunk.task) in trained,
    }
    return tuple(name for name, shared in used_by_others.items() if shared)


def warn_of_nothing(chunk: Chunk, curves: Curves, arms: Sequence[Arm]) -> None:
    """Warn that `gan_synth` has nothing to generate, so that its arms equal those without it."""
    drawable = ", ".join(chunk.task.class_names[label] for label in gan_training.drawable_classes(chunk))
    why = f"no class with a GAN ({drawable}) has fewer rows than its option 'to', so no GAN is trained and no row generated"
    for arm in arms:
        message = f"{why}: the arm equals the one without gan_synth"
        logging.warning("%s: %s", arm.name, message)
        for seed in chunk.seeds:
            curves.warn("gan", seed, 0, message, arm.name)


def warn_of_identical_rows(chunk: Chunk, curves: Curves, seed: int, name: str, spread: Mapping[int, float]) -> None:
    """Warn of classes whose generated rows are all identical (mode collapse); the seed is not marked as failed."""
    for label in monitor.alike(spread):
        message = f"mode collapse: all generated rows of class {chunk.task.class_names[label]} are identical"
        logging.warning("%s, seed %d: %s", name, seed, message)
        curves.warn("gan", seed, chunk.config.gan.epochs, message, name)


def failure(histories: Sequence[list[dict[str, Any]]], metrics: dict[str, Any], spread: Mapping[int, float]) -> str | None:
    """The reason why a lane's result counts as failed, or None.

    Args:
        histories: of each GAN of the lane, epoch by epoch; empty without a GAN.
        metrics: of the row.
        spread: of the generated rows, by class; see `monitor.spread`.
    """
    why = next(filter(None, map(monitor.broken, histories)), None)
    if why := why or monitor.collapsed(spread):
        return why
    return "classifier: NaN in its outputs" if metrics["nll"] is None else None
