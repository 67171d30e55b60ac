"""Optimisers by name, over optax."""

import optax

from imbal_jax.errors import UserError, nearest

NAMES = ("sgd", "momentum", "adam", "adamw")
SCHEDULES = ("constant", "cosine")


def make(
    name: str, learning_rate: float, *, steps: int, schedule: str = "constant", beta1: float = 0.9
) -> optax.GradientTransformation:
    """An optax optimiser.

    Args:
        name: 'sgd', 'momentum' (SGD with momentum `beta1`), 'adam' or 'adamw'.
        learning_rate: the peak rate.
        steps: length of the training, for the schedule.
        schedule: 'constant' or 'cosine' (to zero at the last step).
        beta1: momentum, or Adam's first decay.

    Raises:
        UserError: an unknown name or schedule.
    """
    if schedule not in SCHEDULES:
        raise UserError(f"unknown schedule {schedule!r}{nearest(schedule, SCHEDULES)}; known: {', '.join(SCHEDULES)}")
    rate = optax.cosine_decay_schedule(learning_rate, steps) if schedule == "cosine" else learning_rate
    if name == "sgd":
        return optax.sgd(rate)
    if name == "momentum":
        return optax.sgd(rate, momentum=beta1)
    if name == "adam":
        return optax.adam(rate, b1=beta1)
    if name == "adamw":
        return optax.adamw(rate, b1=beta1)
    raise UserError(f"unknown optimizer {name!r}{nearest(name, NAMES)}; known: {', '.join(NAMES)}")
