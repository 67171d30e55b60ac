"""cRT, classifier re-training: the last layer is retrained with class-balanced batches, on frozen features."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from imbal_jax.data.batches import balanced
from imbal_jax.methods.method import Head, Method, Stage, Task, check_range
from imbal_jax.runtime.lanes import purpose

TRACED = ("learning_rate",)


def make(task: Task, epochs: int = 10, learning_rate: float = 0.1, batch: int = 128) -> Method:
    """Train the last layer a second time, from a new start, with class-balanced batches.

    Paper: Kang et al.: Decoupling Representation and Classifier for Long-Tailed Recognition. ICLR 2020.

    The network below the last layer stays as it is. SGD with momentum 0.9 and a cosine rate to 0, without weight decay, on
    the cross-entropy. The features are centred and brought to a mean squared length of 1 for it, and the layer found is
    expressed for the features as they were, so that one learning rate suits every network. They are computed once,
    without dropout or transforms; the paper passes the images through the network again.

    Args:
        task: the problem.
        epochs: length; an epoch has as many rows as the training set.
        learning_rate: the first rate.
        batch: rows of a batch.

    Raises:
        UserError: an option that is not above 0.
    """
    return second_stage("crt", crt, task, epochs, learning_rate, batch)


def second_stage(name: str, retrain: Callable[..., Head], task: Task, epochs: int, learning_rate: float, batch: int) -> Method:
    """A method that trains something of the last layer a second time.

    Args:
        name: the method's, for messages.
        retrain: (key, head, stage, epochs, learning rate, batch) -> head, such as `crt`.
        task: the problem.
        epochs, learning_rate, batch: options of the second training.

    Raises:
        UserError: an option that is not above 0.
    """
    for option, value in (("epochs", epochs), ("learning_rate", learning_rate), ("batch", batch)):
        check_range(name, option, value, 0, above=True)
    examples = second_steps(task.counts, epochs, batch) * batch
    return Method(finetune=lambda key, head, stage: retrain(key, head, stage, epochs, learning_rate, batch), examples=examples)


def crt(key: jax.Array, head: Head, stage: Stage, epochs: int, learning_rate: jax.Array | float, batch: int) -> Head:
    """A retrained last layer; only the shape of `head` is used.

    Args:
        key: typed key.
        head: kernel [D, K], bias [K].
        stage: features float32 [M, D], labels int32 [M] and the static class counts [K]; rows lie class by class.
        epochs: length, in passes over M rows.
        learning_rate: the first rate of the cosine.
        batch: rows of a batch.

    Returns:
        The new head, float32.
    """
    key = purpose(key, "crt")
    mean = stage.features.mean(axis=0)
    centred = stage.features - mean[None, :]
    size = jnp.sqrt(jnp.mean(jnp.sum(centred**2, axis=1)) + 1e-12)
    x = centred / size
    start = Head(0.01 * jax.random.normal(purpose(key, "weights"), head.kernel.shape), jnp.zeros(head.bias.shape))

    def logits(new: Head, at: jax.Array) -> jax.Array:
        return jnp.matmul(x[at], new.kernel, precision="highest") + new.bias[None, :]

    trained = second_training(key, start, logits, stage, epochs, learning_rate, batch)
    kernel = trained.kernel / size
    return Head(kernel, trained.bias - jnp.matmul(mean, kernel, precision="highest"))


def second_steps(counts: tuple[int, ...], epochs: int, batch: int) -> int:
    """Steps of a second training of so many passes over rows of these counts; a pass has at least one."""
    return epochs * max(1, sum(counts) // batch)


def second_training(
    key: jax.Array,
    params: Any,
    logits: Callable[[Any, jax.Array], jax.Array],
    stage: Stage,
    epochs: int,
    learning_rate: jax.Array | float,
    batch: int,
) -> Any:
    """Minimise the cross-entropy on class-balanced batches: SGD, momentum 0.9, cosine rate.

    Args:
        key: typed key, for the batches.
        params: where to start.
        logits: (params, positions [B] of the stage's rows) -> [B, K].
        stage: labels and class counts; classes without rows are not drawn.
        epochs: length, in passes over all rows; see `second_steps`.
        learning_rate: the first rate.
        batch: rows of a batch.
    """
    steps = second_steps(stage.counts, epochs, batch)
    optimizer = optax.sgd(optax.cosine_decay_schedule(learning_rate, steps), momentum=0.9)

    def loss(params: Any, at: jax.Array) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(logits(params, at), stage.y[at]).mean()

    def step(i: jax.Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        params, state = carry
        gradient = jax.grad(loss)(params, balanced(key, i, stage.counts, batch))
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state

    return jax.lax.fori_loop(0, steps, step, (params, optimizer.init(params)))[0]
