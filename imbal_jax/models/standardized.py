"""A classifier that standardises its inputs: one place for training, evaluation and features alike."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from imbal_jax.errors import UserError


class Standardized(NamedTuple):
    """A network that sees (x - mean) / std. Rows stay as they are kept, and what distorts or mixes them comes before.

    Attributes:
        model: the network.
        mean, std: for each channel (the last axis of x), or one for all.
    """

    model: Any
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def init(self, key: jax.Array, x: jax.Array, **kwargs: Any) -> Any:
        """The network's variables."""
        return self.model.init(key, self._seen(x), **kwargs)

    def apply(self, variables: Any, x: jax.Array, **kwargs: Any) -> Any:
        """What the network's `apply` gives for the standardised x."""
        return self.model.apply(variables, self._seen(x), **kwargs)

    def _seen(self, x: jax.Array) -> jax.Array:
        ones = (1,) * (x.ndim - 1)
        mean, std = (jnp.asarray(numbers, jnp.float32).reshape(*ones, -1) for numbers in (self.mean, self.std))
        return ((x.astype(jnp.float32) - mean) / std).astype(x.dtype)


def check_channels(mean: Sequence[float], shape: tuple[int, ...]) -> None:
    """Raise UserError where config.classifier.mean does not fit examples of that shape."""
    if len(mean) not in (0, 1, shape[-1]):
        raise UserError(
            f"config.classifier.mean and .std have {len(mean)} numbers: give one, or one for each of the {shape[-1]} channels"
        )
