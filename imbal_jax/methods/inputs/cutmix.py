"""CutMix: a box of each image, or an interval of each signal, is replaced by another example's."""

import math

import jax
import jax.numpy as jnp

from imbal_jax.data.batches import Batch
from imbal_jax.methods.inputs.mixup import beta, blend
from imbal_jax.methods.method import Draw, Method, Task, check_range, images

TRACED = ("alpha", "p")


def make(task: Task, alpha: float = 1.0, p: float = 1.0) -> Method:
    """Paste a box of a second, independent batch into each example; targets are mixed by what is left.

    Paper: Yun, Han, Oh, Chun, Choe, Yoo, "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable
    Features", ICCV 2019.

    lambda ~ Beta(alpha, alpha); the box's sides are the image's times sqrt(1 - lambda) (a signal's interval: times
    1 - lambda), its centre is uniform, and what lies outside the image is cut off. t = lambda' t1 + (1 - lambda') t2,
    where lambda' is the share that is really left. Each example has its own box.

    Args:
        task: the problem; images [H, W, C] or signals [T, C].
        alpha: above 0; 1 draws lambda uniformly.
        p: how likely an example is to be cut, from 0 to 1.
    """
    images(task, "cutmix", signals=True)
    check_range("cutmix", "alpha", alpha, 0, above=True)
    check_range("cutmix", "p", p, 0, 1)

    def transform(key: jax.Array, batch: Batch, draw: Draw, progress: jax.Array) -> Batch:
        share, chosen, place, second = jax.random.split(key, 4)
        many = batch.x.shape[0]
        lam = jnp.where(jax.random.bernoulli(chosen, p, (many,)), beta(share, alpha, alpha, many), 1.0)
        return paste(batch, draw(second, None), *boxes(place, lam, batch.x.shape[1:-1]))

    return Method(transform=transform)


def boxes(key: jax.Array, lam: jax.Array, size: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Random boxes that leave about the share lam [B] of arrays of n-dimensional `size`.

    Returns:
        int32 [B, n] twice: where the boxes begin, and where they end (exclusive), from 0 to `size`.
    """
    sides = jnp.asarray(size, jnp.int32)[None, :]
    ratio = (1 - lam.astype(jnp.float32)) ** (1 / len(size))
    half = jnp.floor(sides * ratio[:, None]).astype(jnp.int32) // 2
    centre = jax.random.randint(key, (lam.shape[0], len(size)), 0, sides)
    return jnp.maximum(centre - half, 0), jnp.minimum(centre + half, sides)


def paste(batch: Batch, second: Batch, begin: jax.Array, end: jax.Array) -> Batch:
    """The first batch, x [B, ...size, C], with the second's boxes from `begin` to `end` [B, n] in it.

    The targets are mixed by the share that is left of each example. Shapes and dtypes are the first batch's.
    """
    size = batch.x.shape[1:-1]
    inside = jnp.ones((batch.x.shape[0], *[1] * (len(size) + 1)), bool)
    for axis, length in enumerate(size):
        at = jnp.arange(length, dtype=jnp.int32)[None, :]
        within = (begin[:, axis, None] <= at) & (at < end[:, axis, None])
        inside = inside & within.reshape(-1, *[length if i == axis else 1 for i in range(len(size))], 1)
    x = jnp.where(inside, second.x.astype(batch.x.dtype), batch.x)
    left = 1 - jnp.prod(end - begin, axis=1) / math.prod(size)
    return Batch(x, blend(batch.t, second.t, left))
