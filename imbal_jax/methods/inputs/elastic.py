"""Elastic distortions: each image of a batch is bent by a smooth random field of displacements."""

import jax
import jax.numpy as jnp

from imbal_jax.data.batches import Batch
from imbal_jax.methods.inputs.affine import read_classes, read_fill, replace_some
from imbal_jax.methods.method import Draw, Method, Task, check_range, images
from imbal_jax.ops import warp

TRACED = ("strength", "smoothness", "p")


def make(
    task: Task,
    strength: float = 34.0,
    smoothness: float = 4.0,
    fill: str = "constant",
    classes: int | str = "all",
    p: float = 1.0,
) -> Method:
    """Move each pixel by a random displacement that varies smoothly over the image.

    Paper: Simard, Steinkraus, Platt, "Best Practices for Convolutional Neural Networks Applied to Visual Document Analysis",
    ICDAR 2003; its values for digits are the defaults.

    Rows and columns of the field are drawn uniformly from -1 to 1, convolved with a Gaussian and scaled.

    Args:
        task: the problem.
        strength: what the smoothed field is multiplied by, in pixels (the paper's alpha); 0 has no effect.
        smoothness: the Gaussian's standard deviation in pixels (the paper's sigma), above 0.
        fill: 'constant' (black), 'nearest', 'reflect' or 'wrap': what lies outside an image.
        classes, p: as for `affine`.
    """
    images(task, "elastic")
    check_range("elastic", "strength", strength, 0)
    check_range("elastic", "smoothness", smoothness, 0, above=True)
    read_fill("elastic", fill)
    check_range("elastic", "p", p, 0, 1)
    chosen = read_classes("elastic", task, classes)

    def transform(key: jax.Array, batch: Batch, draw: Draw, progress: jax.Array) -> Batch:
        field = random_fields(key, batch.x.shape[0], batch.x.shape[1:3], strength, smoothness)
        return replace_some(key, batch, warp.displace(batch.x, field, fill=fill), chosen, p)

    return Method(transform=transform)


def random_fields(
    key: jax.Array, many: int, size: tuple[int, ...], strength: jax.Array | float, smoothness: jax.Array | float
) -> jax.Array:
    """Random displacements in pixels, float32 [many, 2, height, width], for `warp.displace` on images of `size`."""
    noise = jax.random.uniform(key, (many, 2, *size), minval=-1.0, maxval=1.0)
    down, across = (gaussian(length, smoothness) for length in size)
    return strength * jnp.einsum("ij,bcjk,lk->bcil", down, noise, across, precision="highest")


def gaussian(length: int, deviation: jax.Array | float) -> jax.Array:
    """The convolution with a Gaussian as a matrix, float32 [length, length]; beyond the ends the input is 0."""
    place = jnp.arange(length, dtype=jnp.float32)
    weight = jnp.exp(-0.5 * ((place[:, None] - place[None, :]) / deviation) ** 2)
    offsets = jnp.arange(-4 * length, 4 * length + 1, dtype=jnp.float32)  # all that counts, in a small image too
    return weight / jnp.exp(-0.5 * (offsets / deviation) ** 2).sum()
