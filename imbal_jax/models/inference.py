"""Running a network over many rows with bounded memory."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from imbal_jax.data.storage_types import floats


def in_batches(function: Callable[..., Any], rows: tuple[jax.Array, ...], batch: int) -> Any:
    """`function(*rows)` for arrays [N, ...] of one length, `batch` rows at a time: its outputs, leaves [N, ...].

    Products are float32 on every device, whatever the network was trained in.
    """
    n = rows[0].shape[0]
    batch = min(batch, n)
    wrap = jnp.arange(n + (-n % batch)) % n  # the last batch is filled up with the first rows
    split = tuple(array[wrap].reshape(-1, batch, *array.shape[1:]) for array in rows)
    with jax.default_matmul_precision("float32"):  # a GPU's default is TF32
        out = jax.lax.map(lambda part: function(*part), split)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:n], out)


def apply_in_batches(model: Any, params: Any, x: jax.Array, batch: int = 500) -> tuple[jax.Array, jax.Array]:
    """Logits [N, K] and features [N, D] of kept rows [N, ...example], `batch` at a time so that memory stays bounded."""
    return in_batches(lambda part: model.apply(params, floats(part)), (x,), batch)
