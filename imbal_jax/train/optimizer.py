"""Optimisers by name, over optax."""

import jax
import jax.numpy as jnp
import optax

from imbal_jax.errors import UserError, nearest

NAMES = ("sgd", "momentum", "adam", "adamw")
SCHEDULES = ("constant", "cosine")


def make(
    name: str,
    learning_rate: jax.Array | float,
    *,
    steps: jax.Array | int,
    schedule: str = "constant",
    beta1: float = 0.9,
) -> optax.GradientTransformation:
    """An optax optimiser.

    Args:
        name: 'sgd', 'momentum' (SGD with momentum `beta1`), 'adam' or 'adamw'.
        learning_rate: the peak rate; may be traced, so that lanes with different rates share one program.
        steps: length of the training, for the schedule; may be traced.
        schedule: 'constant' or 'cosine' (to zero at the last step).
        beta1: momentum, or Adam's first decay.

    Raises:
        UserError: an unknown name or schedule.
    """
    if schedule not in SCHEDULES:
        raise UserError(f"unknown schedule {schedule!r}{nearest(schedule, SCHEDULES)}; known: {', '.join(SCHEDULES)}")
    rate = _cosine(learning_rate, steps) if schedule == "cosine" else learning_rate
    if name == "sgd":
        return optax.sgd(rate)
    if name == "momentum":
        return optax.sgd(rate, momentum=beta1)
    if name == "adam":
        return optax.adam(rate, b1=beta1)
    if name == "adamw":
        return optax.adamw(rate, b1=beta1)
    raise UserError(f"unknown optimizer {name!r}{nearest(name, NAMES)}; known: {', '.join(NAMES)}")


def _cosine(learning_rate: jax.Array | float, steps: jax.Array | int) -> optax.Schedule:
    # As optax.cosine_decay_schedule, which refuses a traced length.
    def rate(count: jax.Array) -> jax.Array:
        done = jnp.minimum(jnp.asarray(count, jnp.float32) / steps, 1.0)
        return learning_rate * 0.5 * (1.0 + jnp.cos(jnp.pi * done))

    return rate
