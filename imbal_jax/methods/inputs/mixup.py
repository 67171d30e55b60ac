"""mixup: each example is blended with another one, and so are their targets."""

import math

import jax
import jax.numpy as jnp

from imbal_jax.data.batches import Batch
from imbal_jax.methods.method import Draw, Method, Task, check_range

PROPOSALS = 8

TRACED = ("alpha",)


def make(task: Task, alpha: float = 0.2) -> Method:
    """Blend each example with one of a second, independent batch.

    Paper: Zhang, Cisse, Dauphin, Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", ICLR 2018.

    x = lambda x1 + (1 - lambda) x2, t = lambda t1 + (1 - lambda) t2, with lambda ~ Beta(alpha, alpha) for each example.

    Args:
        task: the problem.
        alpha: above 0; towards 0 examples stay as they are, 1 draws lambda uniformly.
    """
    check_range("mixup", "alpha", alpha, 0, above=True)

    def transform(key: jax.Array, batch: Batch, draw: Draw, progress: jax.Array) -> Batch:
        share, second = jax.random.split(key)
        return mix(batch, draw(second, None), beta(share, alpha, alpha, batch.x.shape[0]))

    return Method(transform=transform)


def mix(batch: Batch, second: Batch, lam: jax.Array) -> Batch:
    """lam of the first batch and 1 - lam of the second, with lam [B]; the first batch's shapes and dtypes."""
    return Batch(blend(batch.x, second.x, lam), blend(batch.t, second.t, lam))


def blend(first: jax.Array, second: jax.Array, lam: jax.Array) -> jax.Array:
    """lam first + (1 - lam) second, computed in float32: arrays [B, ...], lam [B]; the first's dtype."""
    share = lam.astype(jnp.float32).reshape(-1, *[1] * (first.ndim - 1))
    return (share * first.astype(jnp.float32) + (1 - share) * second.astype(jnp.float32)).astype(first.dtype)


def beta(key: jax.Array, a: jax.Array | float, b: jax.Array | float, many: int) -> jax.Array:
    """Draws from Beta(a, b), float32 [many]; a and b are positive scalars and may be traced.

    lambda = sigmoid(log G_a - log G_b), with G from Gamma(a, 1) and Gamma(b, 1): in logarithms nothing is lost to underflow,
    however small a and b are. G_a = G_(a + 1) U^(1 / a), and G_(a + 1) by rejection (Marsaglia and Tsang, "A Simple Method
    for Generating Gamma Variables", 2000). A proposal is accepted with a probability above 0.95, so a fixed number of them
    does: all fail in less than one of 10^10 draws, and there is no loop, which would cost an accelerator more than a small
    network's step.
    """
    u = jax.random.uniform(key, (2 * PROPOSALS + 1, 2, many))
    shape = jnp.stack([jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)])[None, :, None]
    d = shape + (1 - 1 / 3)
    normal = math.sqrt(2) * jax.lax.erf_inv(2 * u[:PROPOSALS] - 1)
    root = 1 + normal / jnp.sqrt(9 * d)
    log_v = 3 * jnp.log(jnp.maximum(root, 1e-6))
    bound = 0.5 * normal**2 + d * (1 - jnp.exp(log_v) + log_v)
    accepted = (root > 0) & (jnp.log1p(-u[PROPOSALS:-1]) < bound)
    first = jnp.argmax(accepted, axis=0, keepdims=True)
    log_gamma = (jnp.log(d) + jnp.take_along_axis(log_v, first, axis=0) + jnp.log1p(-u[-1:]) / shape)[0]
    return jax.nn.sigmoid(log_gamma[0] - log_gamma[1])
