"""A classifier's batch statistics recomputed, from rows as in its training: see `models.batch_statistics`."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from imbal_jax.data import batches
from imbal_jax.methods.recipe import Recipe
from imbal_jax.models import precise_batch_norm
from imbal_jax.runtime.lanes import purpose
from imbal_jax.train import classifier

ROWS = 10_000  # after the training; a pass over them is a third of an epoch of as many rows, once
JUDGED = 1_024  # after each epoch that is judged, or
SHARE = 0.1  # of the epoch's rows where these are fewer, so that they cost a few per cent of it; but two batches at least


def number_of(size: int, batch: int, rows: int) -> int:
    """How many batches hold `rows` of a training set, or all of it where it has fewer."""
    return max(1, math.ceil(min(size, rows) / batch))


def judged_rows(epoch: int, batch: int) -> int:
    """How many rows a judged epoch's statistics are of; `epoch`: rows that the epoch trains on."""
    return min(JUDGED, max(2 * batch, round(SHARE * epoch)))


def recomputed(
    model: Any,
    variables: Any,
    inputs: batches.Inputs,
    shared: batches.Shared,
    many: jax.Array,
    progress: jax.Array,
    *,
    recipe: Recipe,
    batch: int,
    split: Callable[[batches.Batch], batches.Batch] = lambda batch: batch,
) -> Any:
    """The variables of one lane with the moments of `many` batches for running averages.

    The rows are drawn and transformed as in a training step, there is no dropout, and all is float32, whatever the training
    is computed in. Which rows these are depends on the lane's key alone: all epochs are judged by the same ones.

    Args:
        model: a network as `imbal_jax.models` has them; one without batch normalisation has its variables back.
        variables: 'params' and 'batch_stats'.
        inputs, shared: as in the training.
        many: batches, int32 []; see `number_of`. Together they have each row once, but for the last, which is filled up
            with the first ones again. Where the recipe samples classes, they are drawn again.
        progress: float32 [], the share of the training that is done, from 0 to below 1: recipes may change with it.
        recipe, batch, split: see `train.classifier.epoch_of`.
    """
    key, size = purpose(inputs.key, "batch statistics"), inputs.counts.sum()
    batch_of = classifier.batches_of(recipe, inputs, shared, batch, split)
    rows, distort = purpose(key, "rows"), purpose(key, "transform")
    order = None
    if recipe.sample is None:
        order = batches.shuffled(key, jnp.zeros((), jnp.int32), size, room=inputs.pool.rows.shape[0])

    def moments(i: jax.Array) -> precise_batch_norm.Found:
        index = None if order is None else order[(i * batch + jnp.arange(batch)) % size]
        x = batch_of(index, jax.random.fold_in(rows, i), jax.random.fold_in(distort, i), progress).x
        return precise_batch_norm.of_batch(model, variables, x)[1]

    return precise_batch_norm.replaced(variables, precise_batch_norm.population(moments, many))
