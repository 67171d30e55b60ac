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


def check(mean: Sequence[float], std: Sequence[float], shape: tuple[int, ...]) -> None:
    """Raise UserError for config.classifier.mean and .std that do not fit examples of that shape; both empty is nothing."""
    if not len(mean) and not len(std):
        return
    channels = shape[-1]
    if len(mean) != len(std) or len(mean) not in (1, channels):
        raise UserError(
            f"config.classifier.mean has {len(mean)} numbers and config.classifier.std {len(std)}: give both one number, or "
            f"one for each of the {channels} channels, or leave both empty"
        )
    if not all(0 < value < float("inf") for value in std) or not all(abs(value) < float("inf") for value in mean):
        raise UserError(f"config.classifier.std is {tuple(std)} and .mean {tuple(mean)}: they must be finite, and std above 0")
