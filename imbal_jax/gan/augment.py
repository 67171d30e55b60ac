"""DiffAugment: the same differentiable distortions for real and generated images before the discriminator sees them.

Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training". It keeps a discriminator from learning a
few hundred images by heart.
"""

import jax
import jax.numpy as jnp

from imbal_jax.errors import UserError, nearest

KINDS = ("brightness", "contrast", "translation", "cutout")


def parse(text: str) -> tuple[str, ...]:
    """'translation, cutout' -> names in order; '' -> (). Raises UserError for an unknown one."""
    names = tuple(word.strip() for word in text.split(",") if word.strip())
    for name in names:
        if name not in KINDS:
            raise UserError(f"unknown augmentation {name!r} (gan.augment){nearest(name, KINDS)}; known: {', '.join(KINDS)}")
    return names


def augment(key: jax.Array, x: jax.Array, kinds: tuple[str, ...]) -> jax.Array:
    """Images [B, H, W, C] in [0, 1], each distorted with its own random numbers; differentiable in x."""
    for name in kinds:
        key, now = jax.random.split(key)
        x = {"brightness": _brightness, "contrast": _contrast, "translation": _translation, "cutout": _cutout}[name](now, x)
    return x


def _one_per_image(key: jax.Array, x: jax.Array) -> jax.Array:
    return jax.random.uniform(key, (x.shape[0], 1, 1, 1))


def _brightness(key: jax.Array, x: jax.Array) -> jax.Array:
    """Add a number in [-1/4, 1/4] (a quarter of the range, as in the paper)."""
    return x + (_one_per_image(key, x) - 0.5) / 2


def _contrast(key: jax.Array, x: jax.Array) -> jax.Array:
    """Stretch about the image's mean by a factor in [0.5, 1.5]."""
    mean = jnp.mean(x, axis=(1, 2, 3), keepdims=True)
    return (x - mean) * (_one_per_image(key, x) + 0.5) + mean


def _translation(key: jax.Array, x: jax.Array) -> jax.Array:
    """Move by whole pixels, up to an eighth of each side; what enters is zero.

    The shifts are products with one-hot matrices: the gradient of a gather would be a scatter, slow in a loop.
    """
    rows, columns = jax.random.split(key)
    down = _shift_matrix(rows, x.shape[0], x.shape[1])
    across = _shift_matrix(columns, x.shape[0], x.shape[2])
    return jnp.einsum("bph,bhwc,bqw->bpqc", down, x, across, precision="highest")  # pixels move, and stay what they are


def _shift_matrix(key: jax.Array, batch: int, n: int) -> jax.Array:
    most = max(1, n // 8)
    shift = jax.random.randint(key, (batch, 1, 1), -most, most + 1)
    return (jnp.arange(n)[None, :, None] == jnp.arange(n)[None, None, :] + shift).astype(jnp.float32)


def _cutout(key: jax.Array, x: jax.Array) -> jax.Array:
    """Blank a square of half the side around a random point."""
    b, h, w, _ = x.shape
    rows, columns = jax.random.split(key)

    def inside(key: jax.Array, n: int) -> jax.Array:
        centre = jax.random.randint(key, (b, 1), 0, n + 1)
        offset = jnp.arange(n)[None, :] - centre
        return (offset >= -(n // 4)) & (offset < n // 4)

    hole = inside(rows, h)[:, :, None] & inside(columns, w)[:, None, :]
    return jnp.where(hole[..., None], 0.0, x)
