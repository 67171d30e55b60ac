"""The classifier: init, step and evaluation as pure functions of one lane."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from imbal_jax import batches
from imbal_jax.lanes import purpose

METRICS = ("loss", "accuracy")


class State(NamedTuple):
    """Parameters and optimiser state of one lane."""

    params: Any
    opt: Any


def init(key: jax.Array, model: Any, optimizer: optax.GradientTransformation, shape: tuple[int, ...]) -> State:
    """Initial weights from the key's purpose 'weights'; `shape` is that of one example."""
    params = model.init(purpose(key, "weights"), jnp.zeros((1, *shape), jnp.float32))
    return State(params, optimizer.init(params))


def epoch_of(model: Any, optimizer: optax.GradientTransformation, batch: int) -> Callable[..., Any]:
    """The step function of an epoch, for `train.loop.chunk`: softmax cross-entropy on shuffled batches of `batch` rows."""

    def epoch(number: jax.Array, inputs: batches.Inputs, shared: batches.Shared):
        order = batches.shuffled(inputs.key, number, inputs.pool.rows.shape[0])
        dropout = purpose(inputs.key, "dropout")

        def step(state: State, i: jax.Array, position: jax.Array) -> tuple[State, dict[str, jax.Array]]:
            index = jax.lax.dynamic_slice(order, (position * batch,), (batch,))
            x, y = batches.pick(inputs.pool, shared, index)

            def loss_of(params):
                logits, _ = model.apply(params, x, train=True, rngs={"dropout": jax.random.fold_in(dropout, i)})
                return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(), logits

            (loss, logits), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
            updates, opt = optimizer.update(grads, state.opt, state.params)
            right = jnp.mean(jnp.argmax(logits, -1) == y, dtype=jnp.float32)
            return State(optax.apply_updates(state.params, updates), opt), {"loss": loss, "accuracy": right}

        return step

    return epoch
