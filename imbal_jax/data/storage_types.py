"""Rows as they are kept and as networks see them: pixels in [0, 1], samples of a signal in [-1, 1], scaled columns.

Pixels are kept as uint8 and samples as int16, a quarter and half of the memory of floats, and a batch is turned into floats
where it is read. What has more levels than these, or no limits, is kept as float32, as networks see it.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# The stored value that means 1, by dtype; signed ones go down to -1.
ONE = {"uint8": 255.0, "int16": 32767.0}


def floats(x: Any) -> jax.Array:
    """Kept rows as float32 of the same shape: uint8 in [0, 1], int16 in [-1, 1]; floats as they are."""
    x = jnp.asarray(x)
    wide = x.astype(jnp.float32)
    return wide / ONE[x.dtype.name] if x.dtype.name in ONE else wide


def flat(x: Any) -> jax.Array:
    """Kept rows [N, ...] as float32 vectors [N, D], see `floats`."""
    return floats(x).reshape(x.shape[0], -1)


def pixels(x: Any) -> np.ndarray:
    """Kept images as uint8 of the same shape, for pictures: values beyond black and white are clipped."""
    return np.asarray(x if x.dtype == np.uint8 else kept(floats(x), jnp.uint8))


def kept(x: jax.Array, dtype: Any) -> jax.Array:
    """Float rows as they are kept, NaN as 0: clipped and rounded to uint8 or int16, not clipped in other types."""
    name = jnp.dtype(dtype).name
    if name not in ONE:
        return jnp.where(jnp.isnan(x), 0, x).astype(dtype)
    low = -1.0 if name.startswith("int") else 0.0
    return jnp.round(jnp.nan_to_num(jnp.clip(x, low, 1.0)) * ONE[name]).astype(dtype)
