"""Drawing from a trained generator, and choosing among the drawn."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from imbal_jax.errors import UserError, nearest
from imbal_jax.models.inference import in_batches
from imbal_jax.stored import floats, kept

LATENTS = ("normal", "uniform")


def latents(key: jax.Array, shape: tuple[int, int], kind: str) -> jax.Array:
    """Latent vectors float32 [S, latent].

    Args:
        key: typed key.
        shape: (S, latent).
        kind: 'normal', as in training, or 'uniform' on [0, 1), as the MNIST source drew them for synthesis.

    Raises:
        UserError: another kind.
    """
    if kind == "normal":
        return jax.random.normal(key, shape)
    if kind == "uniform":
        return jax.random.uniform(key, shape)
    raise UserError(f"unknown latent {kind!r}{nearest(kind, LATENTS)}; known: {', '.join(LATENTS)}")


def generate(
    generator: Any, params: Any, z: jax.Array, y: jax.Array, classes: int, batch: int = 250, *, dtype: Any = jnp.uint8
) -> jax.Array:
    """Rows [S, ...] of that dtype for latents [S, latent] and labels int [S], `batch` at a time to bound the memory."""

    def one(z: jax.Array, y: jax.Array) -> jax.Array:
        return kept(generator.apply(params, z, jax.nn.one_hot(y, classes)), dtype)

    return in_batches(one, (z, y), batch)


def keep_best(scores: jax.Array, counts: tuple[int, ...], candidates: tuple[int, ...]) -> jax.Array:
    """Positions int32 [sum(counts)] of the best-scored candidates of each class, classes in order.

    Args:
        scores: float32 [sum(candidates)], the candidates lying class by class.
        counts: how many to keep of each class.
        candidates: how many each class has.
    """
    kept, start = [], 0
    for count, size in zip(counts, candidates, strict=True):
        if count:
            kept.append(start + jax.lax.top_k(scores[start : start + size], count)[1])
        start += size
    return jnp.concatenate(kept)


def discriminator_scores(apply: Callable[..., jax.Array], x: jax.Array, y: jax.Array, classes: int, batch: int = 250):
    """Discriminator logits float32 [S] of kept rows [S, ...] with their labels."""
    return in_batches(lambda x, y: apply(floats(x), jax.nn.one_hot(y, classes)), (x, y), batch)
