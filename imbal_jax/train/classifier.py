"""The classifier: init and step as pure functions of one lane."""

from collections.abc import Callable, Mapping
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
    """What a lane's training changes.

    Attributes:
        params: the trained collection, {'params': ...}.
        opt: the optimiser's state.
        stats: {'batch_stats': ...}, the running averages of batch statistics, or {} where the model has none.
    """

    params: Any
    opt: Any
    stats: Any


def variables(state: State) -> Any:
    """All that `model.apply` needs: the parameters and the running averages."""
    return {**state.params, **state.stats}


def init(key: jax.Array, model: Any, optimizer: optax.GradientTransformation, shape: tuple[int, ...]) -> State:
    """Initial weights from the key's purpose 'weights'; `shape` is that of one example."""
    made = model.init(purpose(key, "weights"), jnp.zeros((1, *shape), jnp.float32))
    params = {"params": made["params"]}
    return State(params, optimizer.init(params), {name: part for name, part in made.items() if name != "params"})


def epoch_of(
    model: Any,
    make_rule: Callable[[jax.Array, jax.Array], optax.GradientTransformation],
    batch: int,
    make_recipe: Callable[[Mapping[str, jax.Array]], Recipe] = lambda values: PLAIN,
    split: Callable[[batches.Batch], batches.Batch] = lambda batch: batch,
) -> Callable[..., Any]:
    """The step function of an epoch, for `train.loop.chunk`.

    What differs between the lanes of a sweep is traced, so that all of them, and arms that differ in the training set
    alone, are one program: the counts and the values in `batches.Inputs`, among them 'learning_rate'.

    Args:
        model: a network as `imbal_jax.models` has them.
        make_rule: (learning rate, steps of the whole training) -> an optax transformation.
        batch: rows in a batch.
        make_recipe: values -> what is done to batches, logits and losses.
        split: divides a batch among the devices of a lane, see `lanes.split_batch`; as it is by default.
    """

    def epoch(number: jax.Array, inputs: batches.Inputs, shared: batches.Shared, total: jax.Array):
        recipe, rule = make_recipe(inputs.values), make_rule(inputs.values["learning_rate"], total)
        size, classes = inputs.counts.sum(), inputs.counts.shape[0]
        order = None
        if recipe.sample is None:
            order = batches.shuffled(inputs.key, number, size, room=inputs.pool.rows.shape[0])
        dropout, balance, rows = (purpose(inputs.key, name) for name in ("dropout", "transform", "rows"))

        def batch_at(index: jax.Array) -> batches.Batch:
            x, y = batches.pick(inputs.pool, shared, index)
            return split(batches.Batch(x, jax.nn.one_hot(y, classes, dtype=x.dtype)))

        def draw(key: jax.Array, p: jax.Array | None, progress: jax.Array) -> batches.Batch:
            p = recipe.sample(progress) if p is None and recipe.sample is not None else p
            if p is None:
                return batch_at(jax.random.randint(key, (batch,), 0, size))
            return batch_at(batches.by_class(key, p, inputs.counts, batch))

        def step(state: State, i: jax.Array, position: jax.Array) -> tuple[State, dict[str, jax.Array]]:
            progress = i.astype(jnp.float32) / total
            if order is None:
                first = draw(jax.random.fold_in(rows, i), None, progress)
            else:
                first = batch_at(jax.lax.dynamic_slice(order, (position * batch,), (batch,)))
            again = lambda key, p: draw(key, p, progress)  # noqa: E731
            x, t = split(transform(recipe, jax.random.fold_in(balance, i), first, again, progress))

            def loss_of(params):
                now = state._replace(params=params)
                z, stats = _apply(model, now, x, jax.random.fold_in(dropout, i))
                return losses(recipe, z, t, progress).mean(), (z, stats)

            (loss, (z, stats)), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
            updates, opt = rule.update(grads, state.opt, state.params)
            right = jnp.mean(jnp.argmax(z, -1) == jnp.argmax(t, -1), dtype=jnp.float32)
            return State(optax.apply_updates(state.params, updates), opt, stats), {"loss": loss, "accuracy": right}

        return step

    return epoch


def _apply(model: Any, state: State, x: jax.Array, dropout: jax.Array) -> tuple[jax.Array, Any]:
    """Logits of a training batch, and the running averages after it."""
    if not state.stats:
        return model.apply(state.params, x, train=True, rngs={"dropout": dropout})[0], state.stats
    kept = list(state.stats)
    (z, _), stats = model.apply(variables(state), x, train=True, rngs={"dropout": dropout}, mutable=kept)
    return z, dict(stats)
