"""GAN losses by name: each a pair of functions of discriminator logits."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from imbal_jax.errors import UserError, nearest

NAMES = ("bce", "hinge", "wgan-gp")


class Loss(NamedTuple):
    """A GAN loss.

    Attributes:
        discriminator: (real logits [B], fake logits [B]) -> scalar.
        generator: (fake logits [B]) -> scalar.
        penalty: weight of the gradient penalty on interpolates (0: none).
    """

    discriminator: Callable[[jax.Array, jax.Array], jax.Array]
    generator: Callable[[jax.Array], jax.Array]
    penalty: float = 0.0


def _bce(logits: jax.Array, target: float) -> jax.Array:
    return optax.sigmoid_binary_cross_entropy(logits, jnp.full_like(logits, target)).mean()


def _bce_discriminator(real: jax.Array, fake: jax.Array, real_target: float) -> jax.Array:
    return 0.5 * (_bce(real, real_target) + _bce(fake, 0.0))


def make(name: str, *, real_target: float = 1.0) -> Loss:
    """A loss by name.

    - 'bce': binary cross-entropy, the generator with the non-saturating form (Goodfellow et al. 2014).
    - 'hinge': Lim and Ye 2017, "Geometric GAN".
    - 'wgan-gp': Wasserstein with gradient penalty 10 (Gulrajani et al. 2017).

    Args:
        name: one of the above.
        real_target: 'bce' only: the label of real images (0.9 is one-sided smoothing, Salimans et al. 2016).

    Raises:
        UserError: an unknown name.
    """
    if name == "bce":
        return Loss(lambda real, fake: _bce_discriminator(real, fake, real_target), lambda fake: _bce(fake, 1.0))
    if name == "hinge":
        return Loss(
            lambda real, fake: jnp.mean(jax.nn.relu(1 - real)) + jnp.mean(jax.nn.relu(1 + fake)),
            lambda fake: -jnp.mean(fake),
        )
    if name == "wgan-gp":
        return Loss(lambda real, fake: jnp.mean(fake) - jnp.mean(real), lambda fake: -jnp.mean(fake), 10.0)
    raise UserError(f"unknown GAN loss {name!r} (gan.loss){nearest(name, NAMES)}; known: {', '.join(NAMES)}")


def r1(critic: Callable[[jax.Array], jax.Array], real: jax.Array) -> jax.Array:
    """E[|gradient of critic at a real row|**2] / 2, to be weighted with gamma; real [B, ...].

    Mescheder, Geiger, Nowozin, "Which training methods for GANs do actually converge?", ICML 2018; they took gamma = 10.
    """
    slopes = jax.grad(lambda x: jnp.sum(critic(x)))(real)
    return jnp.mean(jnp.sum(slopes**2, axis=tuple(range(1, slopes.ndim)))) / 2


def gradient_penalty(critic: Callable[[jax.Array], jax.Array], real: jax.Array, fake: jax.Array, key: jax.Array) -> jax.Array:
    """E[(|gradient of critic at a random point between real and fake| - 1)**2]; real and fake [B, ...], B may differ."""
    n = min(real.shape[0], fake.shape[0])
    share = jax.random.uniform(key, (n, *[1] * (real.ndim - 1)))
    between = share * real[:n] + (1 - share) * fake[:n]
    slopes = jax.grad(lambda x: jnp.sum(critic(x)))(between)
    norms = jnp.sqrt(jnp.sum(slopes**2, axis=tuple(range(1, slopes.ndim))) + 1e-12)
    return jnp.mean((norms - 1) ** 2)
