"""Remix: mixup whose targets favour the rarer of the two classes."""

import jax
import jax.numpy as jnp

from imbal_jax.data.batches import Batch
from imbal_jax.methods.inputs.mixup import beta, blend
from imbal_jax.methods.method import Draw, Method, Task, check_range

TRACED = ("alpha", "kappa", "tau")


def make(task: Task, alpha: float = 1.0, kappa: float = 3.0, tau: float = 0.5) -> Method:
    """Blend each example with one of a second, independent batch, and give the target to the rarer class if it is far rarer.

    Paper: Chou, Chang, Pan, Wei, Juan, "Remix: Rebalanced Mixup", ECCV Workshops 2020.

    x = lambda x1 + (1 - lambda) x2 with lambda ~ Beta(alpha, alpha), t = mu t1 + (1 - mu) t2, where mu = 0 if
    n1 / n2 >= kappa and lambda < tau, 1 if n1 / n2 <= 1 / kappa and 1 - lambda < tau, otherwise lambda; n1, n2 are the
    training rows of the two examples' classes (of their largest one, if they are mixed already).

    Args:
        task: the problem.
        alpha: above 0.
        kappa: how many times rarer a class has to be, at least 1.
        tau: from 0 (which is mixup) to 1: the target is given over when the commoner one's share is below.
    """
    check_range("remix", "alpha", alpha, 0, above=True)
    check_range("remix", "kappa", kappa, 1)
    check_range("remix", "tau", tau, 0, 1)

    def transform(key: jax.Array, batch: Batch, draw: Draw, progress: jax.Array) -> Batch:
        share, other = jax.random.split(key)
        second = draw(other, None)
        lam = beta(share, alpha, alpha, batch.x.shape[0])
        counts = jnp.asarray(task.counts, jnp.float32)
        n1, n2 = counts[jnp.argmax(batch.t, axis=-1)], counts[jnp.argmax(second.t, axis=-1)]
        mu = target_share(lam, n1, n2, kappa, tau)
        return Batch(blend(batch.x, second.x, lam), blend(batch.t, second.t, mu))

    return Method(transform=transform)


def target_share(
    lam: jax.Array, n1: jax.Array, n2: jax.Array, kappa: jax.Array | float = 3.0, tau: jax.Array | float = 0.5
) -> jax.Array:
    """The first example's share mu in the target, float32 [B].

    Args:
        lam: its share in the blend, [B].
        n1: training rows of its class, float [B].
        n2: training rows of the second example's class, float [B].
        kappa: as in `make`.
        tau: as in `make`.
    """
    to_second = (n1 >= kappa * n2) & (lam < tau)
    to_first = (kappa * n1 <= n2) & (1 - lam < tau)
    return jnp.where(to_second, 0.0, jnp.where(to_first, 1.0, lam)).astype(jnp.float32)
