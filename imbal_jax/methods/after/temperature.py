"""Temperature scaling: all logits are divided by one number, chosen on the validation rows."""

import math

import jax
import jax.numpy as jnp

from imbal_jax.methods.method import Method, Task

LARGEST = 20.0


def make(task: Task) -> Method:
    """Calibrate the probabilities; the predicted classes stay the same.

    Paper: Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks. ICML 2017.

    The test metrics see z / T, T minimising the cross-entropy of the validation rows. T lies between 1/20 and 20: where
    all validation rows are classified correctly, the smallest T would be the best one without end. Calibrated is what the
    validation rows are like: if their class frequencies are not the test's, the probabilities are off by that.

    Args:
        task: the problem.
    """
    return Method(fit=temperature, predict=lambda z, fitted: z.astype(jnp.float32) / fitted)


def temperature(z: jax.Array, y: jax.Array) -> jax.Array:
    """The temperature that minimises the mean of -log softmax(z / T)_y.

    The loss is convex in 1 / T; its slope, mean(E_p[z] - z_y), is brought to 0 by bisection on log(1 / T).

    Args:
        z: float [V, K], logits.
        y: int [V], true classes.

    Returns:
        float32 scalar, from 1/20 to 20; 1 where V = 0.
    """
    if not z.shape[0]:
        return jnp.ones((), jnp.float32)
    z = z.astype(jnp.float32)
    z = z - z.max(axis=1, keepdims=True)
    at_true = jnp.take_along_axis(z, y[:, None], axis=1)[:, 0]

    def halve(_: jax.Array, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends
        middle = (low + high) / 2.0
        expected = jnp.sum(jax.nn.softmax(z * jnp.exp(middle)) * z, axis=1)
        rising = jnp.mean(expected - at_true) > 0
        return jnp.where(rising, low, middle), jnp.where(rising, middle, high)

    edge = jnp.asarray(math.log(LARGEST), jnp.float32)
    low, high = jax.lax.fori_loop(0, 40, halve, (-edge, edge))
    return jnp.exp(-(low + high) / 2.0)
