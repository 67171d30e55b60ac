"""The evaluation stage: the metrics of every arm and seed on the whole test set."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax import methods
from imbal_jax.arms import Arm
from imbal_jax.data import Dataset
from imbal_jax.data.batches import gather
from imbal_jax.evaluate import measures, metrics
from imbal_jax.methods import Recipe
from imbal_jax.methods.recipe import corrected
from imbal_jax.models.inference import apply_in_batches
from imbal_jax.runtime import lanes
from imbal_jax.stages.classifier_training import Fitted
from imbal_jax.stages.context import Chunk
from imbal_jax.stages.second_stage import of_arm, values_of

MOST_GROUPS = 200  # of test rows, up to which a confusion matrix is kept for each


def evaluate(chunk: Chunk, fitted: Fitted, arms: Sequence[Arm]) -> list[list[dict[str, Any]]]:
    """The metrics of every arm and lane on the whole test set: a flat dict each, as in rows.jsonl.

    Test rows that are also in the training set (`Dataset.duplicates`) are left out, except in the two metrics that end in
    '_with_twins'. If the epoch was chosen by validation, 'epoch_selected' gives it. If the test rows are in groups (patients),
    'confusion_by_group' [G, K, K] has a confusion matrix for each, in the groups' order.

    Post-hoc corrections are applied first; those with fitted parameters are fitted on the lane's validation rows, never on the
    test set.
    """
    task, counts, model = chunk.task, fitted.train.counts, fitted.model
    test = chunk.program("test", lambda: _test(chunk))
    groups = len(groups_of_test(chunk.data)[0])
    spec = methods.part(arms[0].spec, task, methods.AFTER)

    def measure(lane, shared):
        (_, (params, rows, values)), ((x, y, unseen, group), training) = lane, shared
        recipe = methods.recipe_of(spec, task, counts, values) if spec else Recipe()
        validation = None
        if recipe.needs_validation:
            validation = (apply_in_batches(model, params, gather(training.x, rows))[0], training.y[rows])
        logits, _ = apply_in_batches(model, params, x)
        z = corrected(recipe, logits, validation)
        on_all_rows = metrics.classification(z, y)
        if group.shape[0]:
            index = (group, y.astype(jnp.int32), jnp.argmax(z, axis=-1))
            tables = jnp.zeros((groups, z.shape[-1], z.shape[-1]), jnp.int32).at[index].add(1)
            on_all_rows = {**on_all_rows, "confusion_by_group": tables}
        if unseen.shape[0] == y.shape[0]:
            return on_all_rows
        with_duplicates = {f"{name}_with_twins": on_all_rows[name] for name in ("accuracy", "balanced_accuracy")}
        return {**metrics.classification(z[unseen], y[unseen]), **with_duplicates}

    key = ("evaluate", model, (methods.skeleton(spec), counts) if spec else ())
    run = chunk.program(key, lambda: chunk.over_lanes(measure))
    by_arm = []
    for i, arm in enumerate(arms):
        inputs = (of_arm(fitted.params, i), chunk.validation, values_of(chunk, arm, methods.AFTER))
        result = jax.tree.map(np.asarray, run((), inputs, (test, chunk.shared)))
        per_lane = [jax.tree.map(lambda leaf, lane=lane: leaf[lane], result) for lane in range(len(chunk.seeds))]
        by_arm.append([_flat(lane, task.class_names, chunk.data.measures) for lane in per_lane])
        if fitted.selected is not None:
            epochs = fitted.selected[i].tolist()
            by_arm[-1] = [{**row, "epoch_selected": epoch} for row, epoch in zip(by_arm[-1], epochs, strict=True)]
    return by_arm


def _flat(result: dict[str, Any], class_names: Sequence[str], kind: str) -> dict[str, Any]:
    extra: dict[str, Any] = {name: float(value) for name, value in result.items() if name.endswith("_with_twins")}
    extra |= measures.of(kind, result["confusion"], class_names)
    if "confusion_by_group" in result:
        extra["confusion_by_group"] = np.asarray(result["confusion_by_group"]).tolist()
    return {**metrics.flatten(result, class_names), **extra}


def groups_of_test(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The groups of the test rows (its clusters, if it has any), ascending, and the index of each row's group, int32 [N].

    Both are empty if the rows have no groups, or more than `MOST_GROUPS`.
    """
    of_row = data.clusters if len(data.clusters) else data.test.groups
    names, place = np.unique(of_row, return_inverse=True)
    if len(names) > MOST_GROUPS or len(names) == len(of_row):
        return names[:0], place[:0].astype(np.int32)
    return names, place.astype(np.int32)


def test_counts(data: Dataset) -> list[int]:
    """Test rows of each class that the metrics are computed on, [K]: without those that are also in the training set."""
    y = data.test.y[~data.duplicates] if len(data.duplicates) else data.test.y
    return np.bincount(y, minlength=len(data.class_names)).tolist()


def _test(chunk: Chunk) -> tuple[jax.Array, ...]:
    """The test rows, their labels, the numbers of those that are not also in the training set, their groups' indices."""
    test, duplicates = chunk.data.test, chunk.data.duplicates
    unseen = np.flatnonzero(~duplicates) if len(duplicates) else np.arange(len(test.y))
    return lanes.replicate(
        tuple(map(jnp.asarray, (test.x, test.y, unseen, groups_of_test(chunk.data)[1]))), chunk.common.devices
    )
