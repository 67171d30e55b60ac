"""GAN losses, a table of small makers: each a pair of functions of the discriminator's logits of real and generated rows.

A loss outside of the package is a module that exports `make(real_target=...) -> Loss`, named by its dotted path.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from imbal_jax import extensions
from imbal_jax.errors import UserError, nearest

WON = 1e-3  # a discriminator loss below this gives the generator no gradient to learn from


class Loss(NamedTuple):
    """A GAN loss. Real row i and generated row i of a batch have the same class, so losses may compare them pair by pair.

    Attributes:
        discriminator: (real logits [B], fake logits [B]) -> scalar.
        generator: (real logits [B], fake logits [B]) -> scalar. Both come from the updated discriminator.
        penalty: weight of the gradient penalty on interpolates (0: none).
        level: the logit above which a row counts as real in the discriminator's accuracies: a number, or a function
            (real logits [B], fake logits [B]) -> scalar. It does not influence the training.
        generator_sees_real: whether `generator` uses the real logits. They cost a pass of the discriminator over the real
            rows in every generator step; with False, `generator` gets None for them.
        won: the discriminator's loss below which the discriminator has won and the generator no longer learns. None: the
            losses have no scale (Wasserstein), and the monitor looks for NaN alone.
        fooled: the generator's loss below which a steady fall is a sign that the discriminator is fooled by garbage: generated
            rows are taken for real by odds of two, say. None: not looked for. `won` and `fooled` are read at real_target=1.
    """

    discriminator: Callable[[jax.Array, jax.Array], jax.Array]
    generator: Callable[[Any, jax.Array], jax.Array]
    penalty: float = 0.0
    level: float | Callable[[jax.Array, jax.Array], jax.Array] = 0.0
    generator_sees_real: bool = True
    won: float | None = WON
    fooled: float | None = None


def bce(*, real_target: float) -> Loss:
    """Binary cross-entropy, the generator with the non-saturating form.

    Paper: Goodfellow et al., "Generative Adversarial Nets", NeurIPS 2014.

    Args:
        real_target: the label of real rows; 0.9 is one-sided smoothing (Salimans et al. 2016).
    """

    def discriminator(real: jax.Array, fake: jax.Array) -> jax.Array:
        return 0.5 * (_cross_entropy(real, real_target) + _cross_entropy(fake, 0.0))

    return Loss(discriminator, lambda real, fake: _cross_entropy(fake, 1.0), generator_sees_real=False, fooled=0.4)


def _cross_entropy(logits: jax.Array, target: float) -> jax.Array:
    return optax.sigmoid_binary_cross_entropy(logits, jnp.full_like(logits, target)).mean()


def hinge(*, real_target: float) -> Loss:
    """Lim and Ye, "Geometric GAN", arXiv:1705.02894, 2017; `real_target` has no effect."""
    del real_target

    def discriminator(real: jax.Array, fake: jax.Array) -> jax.Array:
        return jnp.mean(jax.nn.relu(1 - real)) + jnp.mean(jax.nn.relu(1 + fake))

    return Loss(discriminator, lambda real, fake: -jnp.mean(fake), generator_sees_real=False, fooled=-1.0)


def wgan_gp(*, real_target: float) -> Loss:
    """Wasserstein distance with gradient penalty 10; `real_target` has no effect.

    Paper: Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017. The critic's values have no zero, so the
    accuracies, read at 0, mean little.
    """
    del real_target

    def discriminator(real: jax.Array, fake: jax.Array) -> jax.Array:
        return jnp.mean(fake) - jnp.mean(real)

    return Loss(discriminator, lambda real, fake: -jnp.mean(fake), penalty=10.0, generator_sees_real=False, won=None)


def lsgan(*, real_target: float) -> Loss:
    """Least squares: real rows are drawn to `real_target`, generated ones to 0, and the generator aims at `real_target`.

    Paper: Mao et al., "Least Squares Generative Adversarial Networks", ICCV 2017, with a = 0 and b = c = `real_target`. Rows
    count as real above the middle of the two targets.
    """

    def discriminator(real: jax.Array, fake: jax.Array) -> jax.Array:
        return 0.5 * (jnp.mean((real - real_target) ** 2) + jnp.mean(fake**2))

    def generator(real: None, fake: jax.Array) -> jax.Array:
        return 0.5 * jnp.mean((fake - real_target) ** 2)

    # At an output of 2/3, twice as near to real as to generated, the generator's loss is 1/18.
    return Loss(discriminator, generator, level=real_target / 2, generator_sees_real=False, fooled=1 / 18)


def relativistic(*, real_target: float) -> Loss:
    """Whether a real row looks more real than a generated one of its class: the paired form (RSGAN), not the averaged one.

    Paper: Jolicoeur-Martineau, "The relativistic discriminator: a key element missing from standard GAN", arXiv:1807.00734,
    2018, equations 7 and 8; `real_target` has no effect. Logits have a meaning only relative to each other, so rows count as
    real above the middle of the batch's two mean logits.
    """
    del real_target
    return Loss(
        lambda real, fake: jnp.mean(jax.nn.softplus(fake - real)),
        lambda real, fake: jnp.mean(jax.nn.softplus(real - fake)),
        level=lambda real, fake: 0.5 * (jnp.mean(real) + jnp.mean(fake)),
        fooled=0.4,
    )


LOSSES: Mapping[str, Callable[..., Loss]] = {
    "bce": bce,
    "hinge": hinge,
    "wgan-gp": wgan_gp,
    "lsgan": lsgan,
    "relativistic": relativistic,
}


def names() -> list[str]:
    """The names of the losses of the package."""
    return list(LOSSES)


def make(name: str, *, real_target: float = 1.0) -> Loss:
    """A loss by name.

    Args:
        name: one of `names`, or the dotted path of a module that exports `make(real_target=...) -> Loss`.
        real_target: the label of real rows, for losses that have one.

    Raises:
        UserError: an unknown name, a module without such a `make`, or functions that give no scalar.
    """
    if "." in name:
        module = extensions.find("imbal_jax.gan", name, "gan.loss", "make")
        owner = f"config.gan.loss is {name!r}"
        return _checked(extensions.call(module.make, owner, real_target=real_target), owner)
    if name not in LOSSES:
        raise UserError(f"config.gan.loss must be one of {', '.join(LOSSES)} (got {name!r}){nearest(name, LOSSES)}")
    return LOSSES[name](real_target=real_target)


def level_of(loss: Loss, real: jax.Array, fake: jax.Array) -> jax.Array | float:
    """The logit above which a row of this batch counts as real; real and fake are logits [B]."""
    return loss.level(real, fake) if callable(loss.level) else loss.level


def _checked(loss: Any, owner: str) -> Loss:
    """The loss, if its functions return scalars; only shapes are evaluated."""
    if not isinstance(loss, Loss):
        raise UserError(f"{owner}: make must return an imbal_jax.gan.losses.Loss (got {type(loss).__name__})")
    logits = jax.ShapeDtypeStruct((4,), jnp.float32)
    functions = {
        "discriminator": (loss.discriminator, logits),
        "generator": (loss.generator, logits if loss.generator_sees_real else None),
        "level": (lambda real, fake: jnp.asarray(level_of(loss, real, fake)), logits),
    }
    for name, (function, real) in functions.items():
        shape = extensions.shapes(function, f"{owner}: {name}(real logits [B], fake logits [B])", real, logits)
        if getattr(shape, "shape", None) != ():
            raise UserError(f"{owner}: {name}(real logits [B], fake logits [B]) must return a scalar (got {shape})")
    return loss


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
