"""Drawing from a trained generator, and choosing among the drawn."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax.data.storage_types import floats, kept
from imbal_jax.errors import UserError, nearest
from imbal_jax.gan.step import Nets
from imbal_jax.models.inference import in_batches

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


def draw(nets: Nets, variables: Any, z: jax.Array, counts: Sequence[int], *, dtype: Any) -> jax.Array:
    """Rows of a lane's GAN, class by class, [sum(counts), ...] of that dtype.

    Args:
        nets: the static part of the GAN.
        variables: of the generator; leaves [O, ...] where O classes have one each.
        z: latents [sum(counts), latent].
        counts: rows to draw of each class, [K], static.
        dtype: of the rows.

    Raises:
        UserError: rows of a class that has no generator.
    """
    return _by_class(
        nets, counts, variables, (z,), lambda own, z, y: generate(nets.generator, own, z, y, nets.classes, dtype=dtype)
    )


def drawable(nets: Nets) -> tuple[int, ...]:
    """The classes that rows can be drawn of, ascending."""
    return nets.own or tuple(range(nets.classes))


def evenly(nets: Nets, each: int) -> tuple[int, ...]:
    """`each` rows of every class that rows can be drawn of, 0 of the others: counts [K]."""
    return tuple(each if label in drawable(nets) else 0 for label in range(nets.classes))


def scores(nets: Nets, variables: Any, x: jax.Array, counts: Sequence[int]) -> jax.Array:
    """Logits float32 [S] of the discriminator, or of each class's own, for kept rows [S, ...] that lie class by class."""
    apply = nets.discriminator.apply
    return _by_class(
        nets, counts, variables, (x,), lambda own, x, y: discriminator_scores(partial(apply, own), x, y, nets.classes)
    )


def _by_class(nets: Nets, counts: Sequence[int], variables: Any, rows: tuple[jax.Array, ...], function: Any) -> jax.Array:
    """`function(variables, *rows, labels)` on all rows at once, or with each class's own variables on its rows."""
    labels = np.repeat(np.arange(len(counts)), counts)
    if not nets.own:
        return function(variables, *rows, jnp.asarray(labels))
    if alien := sorted(set(labels.tolist()) - set(nets.own)):
        raise UserError(f"class number {alien[0]} has no GAN of its own; add it to config.gan.classes")
    parts, ends = [], np.cumsum(counts)
    for number, label in enumerate(nets.own):
        if counts[label]:
            class_rows = slice(int(ends[label] - counts[label]), int(ends[label]))
            class_variables = jax.tree.map(lambda leaf, number=number: leaf[number], variables)
            parts.append(function(class_variables, *(array[class_rows] for array in rows), jnp.asarray(labels[class_rows])))
    return jnp.concatenate(parts)


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
