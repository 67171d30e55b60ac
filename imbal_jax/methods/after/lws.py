"""LWS, learnable weight scaling: one factor for each class's logit, learnt with class-balanced batches."""

import jax
import jax.numpy as jnp

from imbal_jax.methods.after.crt import second_stage, second_training
from imbal_jax.methods.method import Head, Method, Stage, Task
from imbal_jax.runtime.lanes import purpose

TRACED = ("learning_rate",)


def make(task: Task, epochs: int = 10, learning_rate: float = 0.1, batch: int = 128) -> Method:
    """Keep the directions of the last layer's weights and learn their lengths a second time.

    Paper: Kang et al.: Decoupling Representation and Classifier for Long-Tailed Recognition. ICLR 2020.

    kernel[:, k] and bias[k] become f_k times themselves; f starts at 1 and is trained like crt's layer, the logits being
    brought to a mean square of 1 for it.

    Args:
        task: the problem.
        epochs: length; an epoch has as many rows as the training set.
        learning_rate: the first rate.
        batch: rows of a batch.

    Raises:
        UserError: an option that is not above 0.
    """
    return second_stage("lws", lws, task, epochs, learning_rate, batch)


def lws(key: jax.Array, head: Head, stage: Stage, epochs: int, learning_rate: jax.Array | float, batch: int) -> Head:
    """The head with each class's weights and bias scaled; arguments and result as those of `crt`."""
    z = jnp.matmul(stage.features, head.kernel, precision="highest") + head.bias[None, :]
    size = jnp.sqrt(jnp.mean(z**2) + 1e-12)

    def logits(change: jax.Array, at: jax.Array) -> jax.Array:
        return z[at] * (1.0 + change / size)[None, :]

    start = jnp.zeros(head.bias.shape)
    change = second_training(purpose(key, "lws"), start, logits, stage, epochs, learning_rate, batch)
    factors = 1.0 + change / size
    return Head(head.kernel * factors[None, :], head.bias * factors)
