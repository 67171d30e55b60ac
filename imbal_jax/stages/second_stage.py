"""The second stage of an arm: its last layer is retrained or rescaled on frozen features (cRT, LWS, tau-normalisation)."""

from collections.abc import Sequence, Set
from typing import Any

import jax
import jax.numpy as jnp

from imbal_jax import methods
from imbal_jax.arms import Arm
from imbal_jax.data.batches import pick
from imbal_jax.methods import Head, Stage
from imbal_jax.methods.recipe import finetuned
from imbal_jax.models import head
from imbal_jax.models.inference import in_batches
from imbal_jax.runtime.lanes import purpose
from imbal_jax.stages.classifier_training import Fitted
from imbal_jax.stages.context import Chunk
from imbal_jax.train import loop
from imbal_jax.train.cost import Cost


def apply(chunk: Chunk, fitted: Fitted, arms: Sequence[Arm]) -> Fitted:
    """The classifiers with the last layers of their arms' second stages."""
    task, counts, model = chunk.task, fitted.train.counts, fitted.model
    spec = methods.part(arms[0].spec, task, {"finetune"})
    if not spec:
        return fitted

    def one(lane, shared):
        _, (key, params, pool, values) = lane
        recipe = methods.recipe_of(spec, task, counts, values)

        def features_of(index):
            x, y = pick(pool, shared, index)
            return model.apply(params, x)[1].astype(jnp.float32), y

        features, y = in_batches(features_of, (jnp.arange(pool.rows.shape[0]),), 500)
        return finetuned(recipe, purpose(key, "second stage"), Head(*head.read(params)), Stage(features, y, counts))

    run = chunk.program(("second stage", model, methods.skeleton(spec), counts), lambda: chunk.over_lanes(one))
    clock = loop.stopwatch(chunk.common.compiling)
    heads = [
        run(
            (),
            (chunk.keys, of_arm(fitted.params, i), fitted.train.pool, values_of(chunk, arm, {"finetune"})),
            chunk.shared,
        )
        for i, arm in enumerate(arms)
    ]
    heads = jax.block_until_ready(jax.tree.map(lambda *leaves: jnp.stack(leaves), *heads))
    seconds = clock() / (len(arms) * len(chunk.seeds))
    rows = sum(counts)  # for whose features the network runs once
    examples = rows + sum(method.examples or 0 for method in methods.build(spec, task._replace(counts=counts)))
    return fitted._replace(params=head.replace(fitted.params, *heads), second=Cost(seconds, examples))


def of_arm(params: Any, arm: int) -> Any:
    """The parameters of one arm, leaves [L, ...], from those of all arms, [A, L, ...]."""
    return jax.tree.map(lambda leaf: leaf[arm], params)


def values_of(chunk: Chunk, arm: Arm, hooks: Set[str]) -> dict[str, jax.Array]:
    """The traced numbers of the methods with these hooks, the same for all lanes: {name: [L]}."""
    spec = methods.part(arm.spec, chunk.task, hooks)
    numbers = methods.numbers(spec) if spec else {}
    return {name: jnp.full(len(chunk.seeds), value, jnp.float32) for name, value in numbers.items()}
