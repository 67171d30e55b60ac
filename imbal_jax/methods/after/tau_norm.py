"""tau-normalisation: the last layer's weights are brought to similar lengths after the training."""

import jax
import jax.numpy as jnp

from imbal_jax.methods.method import Head, Method, Stage, Task, check_range

TRACED = ("tau",)


def make(task: Task, tau: float = 1.0) -> Method:
    """Divide each class's weights by their length to the power tau and drop the bias.

    Paper: Kang et al.: Decoupling Representation and Classifier for Long-Tailed Recognition. ICLR 2020.

    kernel[:, k] becomes kernel[:, k] / |kernel[:, k]|^tau, and the bias 0, as in the paper. tau = 1 makes all lengths 1;
    tau = 0 leaves the weights as they are (but not the bias). The paper chooses tau on validation data.

    All logits shrink or grow with the lengths, so the probabilities become softer or harder and the calibration error
    says nothing about the method; 'tau_norm | temperature' puts that right.

    Args:
        task: the problem.
        tau: 0 or more.

    Raises:
        UserError: a negative tau.
    """
    check_range("tau_norm", "tau", tau, 0)

    def finetune(key: jax.Array, head: Head, stage: Stage) -> Head:
        return tau_norm(head, tau)

    return Method(finetune=finetune)


def tau_norm(head: Head, tau: jax.Array | float) -> Head:
    """The head with kernel [D, K] columns divided by their Euclidean length to the power tau, and no bias."""
    length = jnp.sqrt(jnp.sum(head.kernel**2, axis=0))
    safe = jnp.where(length > 0, length, 1.0)  # a class without weights stays without
    return Head(head.kernel / (safe**tau)[None, :], jnp.zeros_like(head.bias))
