"""A group of arms on one chunk of seeds: balance, train and evaluate; its rows."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from absl import logging

from imbal_jax import methods
from imbal_jax.evaluate import leakage
from imbal_jax.gan import monitor
from imbal_jax.lanes import purposes
from imbal_jax.methods import Context, Train
from imbal_jax.stages import classifier, gan, gan_choice, pictures, quality
from imbal_jax.stages.arms import Arm
from imbal_jax.stages.curves import Curves
from imbal_jax.stages.setting import Setting

TrainedGan = Callable[[], tuple[Any, float, int]]  # see stages.gan.fit
JudgedGan = Callable[[], list[quality.Figures]]  # see `judged`


def uses_gan(spec: str) -> bool:
    """Whether a spec asks for the conditional GAN."""
    return any(word.name == "gan_synth" for word in methods.parse(spec))


def judged(setting: Setting, curves: Curves, trained_gan: TrainedGan) -> list[quality.Figures]:
    """The quality of the generators of all lanes; nothing where `config.quality.samples` is 0."""
    if not setting.config.quality.samples:
        return [{}] * len(setting.seeds)
    return quality.measure(setting, trained_gan()[0], classifier.fit_reference(setting, curves))


def run(
    setting: Setting, curves: Curves, arms: Sequence[Arm], trained_gan: TrainedGan, judged_gan: JudgedGan
) -> list[dict[str, Any]]:
    """The rows of all arms and seeds. The arms differ in traced numbers alone, so one training set serves all."""
    compiled, asked = setting.base.compiling(), []

    def noted() -> tuple[Any, float, int]:
        asked.append(True)
        return trained_gan()

    train = balanced(setting, curves, arms[0].spec, noted)
    with_gan = bool(asked)  # else no row is to be generated, and none is trained
    if uses_gan(arms[0].spec) and not with_gan:
        warn_of_nothing(setting, curves, arms)
    pictures.draw(setting, arms, train)
    fitted = classifier.fit(setting, curves, arms, train)
    figures = classifier.evaluate(setting, fitted, arms)
    gan_seconds, gan_seen = trained_gan()[1:] if with_gan else (0.0, 0)
    lanes = len(setting.seeds)
    cost = {
        "seconds": fitted.seconds / fitted.lanes + gan_seconds / lanes,
        "classifier_seconds": fitted.seconds / fitted.lanes,
        "gan_seconds": gan_seconds / lanes,
        "epoch_seconds": fitted.epoch_seconds,
        "compile_seconds": setting.base.compiling() - compiled,
        "examples_seen": fitted.examples + gan_seen,
        "lanes": fitted.lanes,
        "device": setting.base.devices[0].device_kind,
    }
    data: dict[str, Any] = {
        "counts_before": list(setting.task.counts),
        "counts_after": list(train.counts),
        "source": setting.data.source,
        "digest": setting.data.digest,
    }
    of_gan = quality.by_lane(judged_gan()) if with_gan else [{}] * lanes
    if with_gan:
        data["gan_select"] = gan_choice.rule(setting, gan.own_classes(setting.config.gan.classes, setting.task))
    rows, histories = [], curves.by_lane("gan", gan.names(setting)) if with_gan else []
    for arm, of_arm in zip(arms, figures, strict=True):
        for lane, (seed, metrics) in enumerate(zip(setting.seeds, of_arm, strict=True)):
            pool = jax.tree.map(lambda leaf, lane=lane: leaf[lane], train.pool)
            spread = monitor.spread(np.asarray(pool.new_x), np.asarray(pool.new_y)) if histories else {}
            why = failure(histories[lane::lanes], metrics, spread)
            if not why:
                warn_of_alike(setting, curves, seed, arm.name, spread)
            if why and ": NaN" in why:
                metrics = dict.fromkeys(metrics)
            place = {"seed": seed, "method": arm.name, "point": arm.place}
            rows.append({**place, **metrics, **of_gan[lane], "failed": why, **cost, **data})
    return rows


def balanced(setting: Setting, curves: Curves, spec: str, trained_gan: TrainedGan) -> Train:
    """The training sets that the spec's resamplers make; refused where a test row is among their parents."""
    context = Context(
        shared=setting.shared,
        trained={
            "gan": lambda: trained_gan()[0],
            "gan classes": lambda: gan.drawable_classes(setting),
            "plain": partial(classifier.fit_plain, setting, curves),
        },
        over_lanes=setting.over_lanes,
    )
    train = methods.resample(spec, setting.task, purposes(setting.keys, "balance"), setting.train, context)
    used = np.concatenate([np.asarray(train.pool.rows).ravel(), train.parents.ravel()])
    leakage.refuse(setting.data.train, used[used < len(setting.data.train.y)], setting.data.test)
    return train


def warn_of_nothing(setting: Setting, curves: Curves, arms: Sequence[Arm]) -> None:
    """Say that `gan_synth` has nothing to generate: its arms are what they would be without it."""
    able = ", ".join(setting.task.class_names[label] for label in gan.drawable_classes(setting))
    why = f"no class that has a GAN ({able}) lacks rows for its option 'to', so no GAN is trained and no row is generated"
    for arm in arms:
        message = f"{why}: the arm equals the one without gan_synth"
        logging.warning("%s: %s", arm.name, message)
        for seed in setting.seeds:
            curves.warn("gan", seed, 0, message, arm.name)


def warn_of_alike(setting: Setting, curves: Curves, seed: int, name: str, spread: Mapping[int, float]) -> None:
    """Say of which classes all generated rows are one and the same; the lane goes on with those of the others."""
    for label in monitor.alike(spread):
        message = f"the rows that the GAN made of class {setting.task.class_names[label]} are all one and the same"
        logging.warning("%s, seed %d: %s", name, seed, message)
        curves.warn("gan", seed, setting.config.gan.epochs, message, name)


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
