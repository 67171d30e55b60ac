"""Focal loss: examples that are already classified well count less."""

import jax
import jax.numpy as jnp

from imbal_jax.methods.method import Method, Task, check_range

TRACED = ("gamma",)


def make(task: Task, gamma: float = 2.0) -> Method:
    """Take the focal loss instead of the cross-entropy.

    Paper: Lin, Goyal, Girshick, He, Dollár: Focal Loss for Dense Object Detection. ICCV 2017.

    loss = -sum_k t_k (1 - p_k)^gamma log p_k with p = softmax(z): the published loss of the true class, for several
    classes and soft targets. gamma = 0 is the cross-entropy. The published factor for each class (alpha) is a method of
    its own: 'class_balanced | focal' or 'class_weights | focal'.

    Args:
        task: the problem.
        gamma: how much less they count, 0 or more.
    """
    check_range("focal", "gamma", gamma, 0)
    return Method(loss=lambda z, t: focal(z, t, gamma))


def focal(z: jax.Array, t: jax.Array, gamma: jax.Array | float) -> jax.Array:
    """The focal loss of each example.

    Args:
        z: float [B, K], logits.
        t: float [B, K], soft targets.
        gamma: 0 or more.

    Returns:
        float32 [B], in nats; its gradient is finite for all finite logits.
    """
    log_p = jax.nn.log_softmax(z.astype(jnp.float32))
    # The power as an exponential of a clipped logarithm: at p = 1 the derivative of 0^gamma would be infinite for gamma < 1.
    rest = jnp.log(jnp.maximum(-jnp.expm1(log_p), jnp.finfo(jnp.float32).tiny))
    return -jnp.sum(t.astype(jnp.float32) * jnp.exp(gamma * rest) * log_p, axis=-1)
