"""What the transforms of signals share: which rows they take, which classes, and the last samples that are none."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from imbal_jax.data.batches import Batch
from imbal_jax.errors import UserError
from imbal_jax.methods.inputs.affine import read_classes, replace
from imbal_jax.methods.method import Draw, Method, Task, check_range

Change = Callable[[jax.Array, jax.Array], jax.Array]


def transforming(change: Change, task: Task, name: str, classes: int | str, tail: int) -> Method:
    """The method that changes the signals of a batch.

    Args:
        change: (key, signals float32 [B, T - tail, C]) -> the same shape and dtype.
        task: the problem.
        name: the method's, for messages.
        classes: whose examples are changed, as for `affine`.
        tail: the number of last samples that `change` does not touch.

    Raises:
        UserError: rows that are not signals [T, C]; `classes` or `tail` that do not fit them.
    """
    if len(task.shape) != 2:
        raise UserError(f"{name}: needs signals [T, C] (got rows of shape {task.shape})")
    check_range(name, "tail", tail, 0, task.shape[0], below=True)
    chosen = read_classes(name, task, classes)

    def transform(key: jax.Array, batch: Batch, draw: Draw, progress: jax.Array) -> Batch:
        end = batch.x.shape[1] - tail
        x = change(key, batch.x[:, :end].astype(jnp.float32)).astype(batch.x.dtype)
        return replace(batch, jnp.concatenate([x, batch.x[:, end:]], axis=1), chosen)

    return Method(transform=transform)
