"""The classifier: init and step as pure functions of one lane."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from imbal_jax import batches
from imbal_jax.lanes import purpose
from imbal_jax.methods.recipe import Recipe, losses, transform

METRICS = ("loss", "accuracy")
PLAIN = Recipe()


class State(NamedTuple):
    """Parameters and optimiser state of one lane."""

    params: Any
    opt: Any


def init(key: jax.Array, model: Any, optimizer: optax.GradientTransformation, shape: tuple[int, ...]) -> State:
    """Initial weights from the key's purpose 'weights'; `shape` is that of one example."""
    params = model.init(purpose(key, "weights"), jnp.zeros((1, *shape), jnp.float32))
    return State(params, optimizer.init(params))


def epoch_of(
    model: Any,
    optimizer: optax.GradientTransformation,
    batch: int,
    counts: tuple[int, ...],
    steps: int,
    recipe: Recipe = PLAIN,
) -> Callable[..., Any]:
    """The step function of an epoch, for `train.loop.chunk`.

    Args:
        model: a network as `imbal_jax.models` has them.
        optimizer: an optax transformation.
        batch: rows in a batch.
        counts: rows of each class in the pool, [K].
        steps: of the whole training: the measure of the recipe's `progress`.
        recipe: what is done to batches, logits and losses.
    """

    def epoch(number: jax.Array, inputs: batches.Inputs, shared: batches.Shared):
        size = inputs.pool.rows.shape[0]
        order = batches.shuffled(inputs.key, number, size) if recipe.sample is None else None
        dropout, balance, rows = (purpose(inputs.key, name) for name in ("dropout", "transform", "rows"))

        def batch_at(index: jax.Array) -> batches.Batch:
            x, y = batches.pick(inputs.pool, shared, index)
            return batches.Batch(x, jax.nn.one_hot(y, len(counts), dtype=x.dtype))

        def draw(key: jax.Array, p: jax.Array | None, progress: jax.Array) -> batches.Batch:
            p = recipe.sample(progress) if p is None and recipe.sample is not None else p
            if p is None:
                return batch_at(jax.random.randint(key, (batch,), 0, size))
            return batch_at(batches.by_class(key, p, counts, batch))

        def step(state: State, i: jax.Array, position: jax.Array) -> tuple[State, dict[str, jax.Array]]:
            progress = i.astype(jnp.float32) / steps
            if order is None:
                first = draw(jax.random.fold_in(rows, i), None, progress)
            else:
                first = batch_at(jax.lax.dynamic_slice(order, (position * batch,), (batch,)))
            again = lambda key, p: draw(key, p, progress)  # noqa: E731
            x, t = transform(recipe, jax.random.fold_in(balance, i), first, again, progress)

            def loss_of(params):
                z, _ = model.apply(params, x, train=True, rngs={"dropout": jax.random.fold_in(dropout, i)})
                return losses(recipe, z, t, progress).mean(), z

            (loss, z), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
            updates, opt = optimizer.update(grads, state.opt, state.params)
            right = jnp.mean(jnp.argmax(z, -1) == jnp.argmax(t, -1), dtype=jnp.float32)
            return State(optax.apply_updates(state.params, updates), opt), {"loss": loss, "accuracy": right}

        return step

    return epoch
