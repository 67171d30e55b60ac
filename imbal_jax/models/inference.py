"""Running a network over many rows with bounded memory."""

from typing import Any

import jax
import jax.numpy as jnp


def apply_in_batches(model: Any, params: Any, x: jax.Array, batch: int = 500) -> tuple[jax.Array, jax.Array]:
    """Logits [N, K] and features [N, D] of uint8 rows [N, ...example], `batch` at a time so that memory stays bounded."""
    n = x.shape[0]
    batch = min(batch, n)
    x = jnp.concatenate([x, x[: -n % batch]]) if n % batch else x

    def one(part: jax.Array) -> tuple[jax.Array, jax.Array]:
        return model.apply(params, part.astype(jnp.float32) / 255.0)

    logits, features = jax.lax.map(one, x.reshape(-1, batch, *x.shape[1:]))
    return logits.reshape(-1, logits.shape[-1])[:n], features.reshape(-1, features.shape[-1])[:n]
