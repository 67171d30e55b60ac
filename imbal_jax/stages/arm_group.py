"""A group of arms on one chunk of seeds: balance, train and evaluate; its rows."""

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
MeasuredGan = Callable[[], list[gan_quality.Figures]]  # see `judged`


def uses_gan(spec: str) -> bool:
    """Whether a spec asks for the conditional GAN."""
    return any(word.name == "gan_synth" for word in methods.parse(spec))


def judged(chunk: Chunk, curves: Curves, trained_gan: TrainedGan) -> list[gan_quality.Figures]:
    """The quality of the generators of all lanes; nothing where `config.quality.samples` is 0."""
    if not chunk.config.quality.samples:
        return [{}] * len(chunk.seeds)
    return gan_quality.measure(chunk, trained_gan().gan, classifier_training.fit_reference(chunk, curves))


def run(
    chunk: Chunk, curves: Curves, arms: Sequence[Arm], trained_gan: TrainedGan, measured_gan: MeasuredGan
) -> list[dict[str, Any]]:
    """The rows of all arms and seeds. The arms differ in traced numbers alone, so one training set serves all."""
    compiled = chunk.common.compiling()
    train, before = balanced(chunk, curves, arms[0].spec, trained_gan)
    with_gan = "gan" in before  # else no row is to be generated, and none is trained
    if uses_gan(arms[0].spec) and not with_gan:
        warn_of_nothing(chunk, curves, arms)
    pictures.draw(chunk, arms, train)
    fitted = second_stage.apply(chunk, classifier_training.fit(chunk, curves, arms, train), arms)
    figures = evaluation.evaluate(chunk, fitted, arms)
    lanes = len(chunk.seeds)
    stages = {"resample": Cost(), "plain": Cost(), "gan": Cost(), **before}
    spent = {
        "steps": fitted.steps,
        "length": fitted.unit,
        **(trained_gan().steps if with_gan else {}),
        "epoch_seconds": fitted.epoch_seconds,
        "compile_seconds": chunk.common.compiling() - compiled,
        "lanes": fitted.lanes,
        "precision": chunk.precision,
        "form": chunk.common.form.conv,
        "device": chunk.common.devices[0].device_kind,
    }
    data: dict[str, Any] = {
        "counts_before": list(chunk.task.counts),
        "counts_after": list(train.counts),
        "source": chunk.data.source,
        "digest": chunk.data.digest,
    }
    of_gan = gan_quality.by_lane(measured_gan()) if with_gan else [{}] * lanes
    if with_gan:
        data["gan_select"] = gan_selection.rule(chunk, gan_training.own_classes(chunk.config.gan.classes, chunk.task))
    rows, histories = [], curves.by_lane("gan", gan_training.names(chunk)) if with_gan else []
    for arm, of_arm in zip(arms, figures, strict=True):
        whole = {**stages, "classifier": fitted.cost, "second_stage": fitted.second}
        paid = cost.of_arm(whole, shared_stages(chunk, arm, before))
        for lane, (seed, metrics) in enumerate(zip(chunk.seeds, of_arm, strict=True)):
            pool = jax.tree.map(lambda leaf, lane=lane: leaf[lane], train.pool)
            spread = monitor.spread(np.asarray(pool.new_x), np.asarray(pool.new_y)) if histories else {}
            why = failure(histories[lane::lanes], metrics, spread)
            if not why:
                warn_of_alike(chunk, curves, seed, arm.name, spread)
            if why and ": NaN" in why:
                metrics = dict.fromkeys(metrics)
            head = {"seed": seed, "method": arm.name, "point": arm.point_text}
            rows.append({**head, **metrics, **of_gan[lane], "failed": why, **paid, **spent, **data})
    return rows


def balanced(chunk: Chunk, curves: Curves, spec: str, trained_gan: TrainedGan) -> tuple[Train, dict[str, Cost]]:
    """The training sets that the spec's resamplers make, and what making them took: each stage that was needed, once.

    Refused where a test row is among their parents.
    """
    before: dict[str, Cost] = {}

    def made_gan() -> Any:
        found = trained_gan()
        before["gan"] = found.cost
        if found.plain.examples:
            before["plain"] = found.plain
        return found.gan

    def made_plain() -> Any:
        found, before["plain"] = classifier_training.fit_plain(chunk, curves)
        return found

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
    """Which stages of an arm other arms of the run use as well; `before`: those that its training set took."""
    others = [other for other in arms_of(chunk.config) if other.untraced == arm.untraced and other != arm]
    trained = {methods.training_part(other.spec, chunk.task) for other in others}
    found = {
        "plain": "plain" in before and "none" in trained,
        "gan": "gan" in before and any(uses_gan(other.spec) for other in others),
        "classifier": methods.training_part(arm.spec, chunk.task) in trained,
    }
    return tuple(name for name, shared in found.items() if shared)


def warn_of_nothing(chunk: Chunk, curves: Curves, arms: Sequence[Arm]) -> None:
    """Say that `gan_synth` has nothing to generate: its arms are what they would be without it."""
    able = ", ".join(chunk.task.class_names[label] for label in gan_training.drawable_classes(chunk))
    why = f"no class that has a GAN ({able}) lacks rows for its option 'to', so no GAN is trained and no row is generated"
    for arm in arms:
        message = f"{why}: the arm equals the one without gan_synth"
        logging.warning("%s: %s", arm.name, message)
        for seed in chunk.seeds:
            curves.warn("gan", seed, 0, message, arm.name)


def warn_of_alike(chunk: Chunk, curves: Curves, seed: int, name: str, spread: Mapping[int, float]) -> None:
    """Say of which classes all generated rows are one and the same; the lane goes on with those of the others."""
    for label in monitor.alike(spread):
        message = f"the rows that the GAN made of class {chunk.task.class_names[label]} are all one and the same"
        logging.warning("%s, seed %d: %s", name, seed, message)
        curves.warn("gan", seed, chunk.config.gan.epochs, message, name)


def failure(histories: Sequence[list[dict[str, Any]]], metrics: dict[str, Any], spread: Mapping[int, float]) -> str | None:
    """Why a lane's row means nothing or little, or None.

    Args:
        histories: of each GAN of the lane, epoch by epoch; empty where the arm has none.
        metrics: the row's figures.
        spread: of its generated rows, by class; see `monitor.spread`.
    """
    why = next(filter(None, map(monitor.broken, histories)), None)
    if why := why or monitor.collapsed(spread):
        return why
    return "classifier: NaN in its outputs" if metrics["nll"] is None else None
