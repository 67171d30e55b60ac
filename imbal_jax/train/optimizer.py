"""Optimisers and their learning rates by name, over optax."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from imbal_jax.errors import UserError, nearest

NAMES = ("sgd", "momentum", "nesterov", "adam", "adamw")
SCHEDULES = ("constant", "cosine", "step")

Number = jax.Array | float


def make(
    name: str,
    learning_rate: Number,
    *,
    steps: jax.Array | int,
    schedule: str = "constant",
    beta1: float = 0.9,
    beta2: float = 0.999,
    weight_decay: float = 0.0,
    warmup: float = 0.0,
    milestones: Sequence[float] = (),
    decay: float = 0.1,
    clip: float = 0.0,
) -> optax.GradientTransformation:
    """An optax optimiser.

    Args:
        name: 'sgd', 'momentum' and 'nesterov' (SGD with momentum `beta1`), 'adam' or 'adamw'.
        learning_rate: the peak rate; may be traced, so that lanes with different rates share one program.
        steps: length of the training, for the schedule; may be traced.
        schedule: see `rate_at`; so are `warmup`, `milestones` and `decay`.
        beta1: momentum, or Adam's first decay.
        beta2: Adam's second decay.
        weight_decay: added to the gradient as `weight_decay` times the weights, as PyTorch's optimisers do it; for adamw
            decoupled from the gradient (Loshchilov and Hutter 2019). It is applied to all parameters, biases and the scales
            of BatchNorm among them: so do PyTorch's optimisers, and with them the published long-tailed protocols.
        clip: the largest global norm of the gradients, before the weight decay; larger ones are scaled down to it; 0: no limit.

    Raises:
        UserError: an unknown name or schedule.
    """
    if schedule not in SCHEDULES:
        raise UserError(f"unknown schedule {schedule!r}{nearest(schedule, SCHEDULES)}; known: {', '.join(SCHEDULES)}")
    if name not in NAMES:
        raise UserError(f"unknown optimizer {name!r}{nearest(name, NAMES)}; known: {', '.join(NAMES)}")

    def scheduled(count: jax.Array) -> jax.Array:
        return rate_at(count, learning_rate, steps, schedule, warmup, milestones, decay)

    rate = learning_rate if schedule == "constant" and not warmup else scheduled
    before = [optax.clip_by_global_norm(clip)] if clip else []
    if weight_decay and name != "adamw":
        before.append(optax.add_decayed_weights(weight_decay))
    rule = _rule(name, rate, beta1, beta2, weight_decay)
    return optax.chain(*before, rule) if before else rule


def fixed_part(options: Any, epochs: float) -> tuple[tuple[str, Any], ...]:
    """What of a training's options is compiled into its optimiser, as arguments of `make`.

    Args:
        options: `config.classifier`, or others with the same fields.
        epochs: length of the training.
    """
    fixed = {
        "name": options.optimizer,
        "schedule": options.schedule,
        "beta1": options.momentum,
        "beta2": options.beta2,
        "weight_decay": options.weight_decay,
        "warmup": options.warmup / epochs,
        "milestones": tuple(options.milestones),
        "decay": options.decay,
        "clip": options.clip,
    }
    return tuple(fixed.items())


def of_options(
    options: Any, epochs: float, learning_rate: Number | None = None, steps: jax.Array | int = 1
) -> optax.GradientTransformation:
    """The optimiser of a training.

    Args:
        options, epochs: see `fixed_part`.
        learning_rate: the peak rate, which may be traced; default: that of the options.
        steps: see `make`.
    """
    rate = options.learning_rate if learning_rate is None else learning_rate
    return make(learning_rate=rate, steps=steps, **dict(fixed_part(options, epochs)))


def rate_at(
    count: jax.Array | int,
    learning_rate: Number,
    steps: jax.Array | int,
    schedule: str = "constant",
    warmup: float = 0.0,
    milestones: Sequence[float] = (),
    decay: float = 0.1,
) -> jax.Array:
    """The learning rate of a step, float32 []; any argument that is a number may be traced, but for `warmup`.

    Args:
        count: the step's number, from 0.
        learning_rate: the peak.
        steps: length of the training.
        schedule: 'constant'; 'cosine', from the end of the warm-up to zero at the last step (Loshchilov and Hutter 2017);
            'step', multiplied by `decay` at each milestone.
        warmup: share of the training in which the rate rises in a line, the first step's being the first part of it.
        milestones: shares of the training. (0.8, 0.9) with decay 0.01: at epochs 160 and 180 of 200, as Cao et al. 2019.
        decay: see `milestones`.
    """
    count = jnp.asarray(count, jnp.float32)
    done = jnp.minimum(count / steps, 1.0)
    rate = jnp.asarray(learning_rate, jnp.float32)
    if schedule == "cosine":
        falling = jnp.maximum(done - warmup, 0.0) / (1.0 - warmup) if warmup else done
        rate = rate * 0.5 * (1.0 + jnp.cos(jnp.pi * falling))
    if schedule == "step":
        for milestone in milestones:
            rate = rate * jnp.where(done >= milestone, decay, 1.0)
    if warmup:
        rate = rate * jnp.minimum((count + 1.0) / (warmup * steps), 1.0)
    return rate


def _rule(
    name: str, rate: optax.ScalarOrSchedule, beta1: float, beta2: float, weight_decay: float
) -> optax.GradientTransformation:
    if name == "sgd":
        return optax.sgd(rate)
    if name in ("momentum", "nesterov"):
        return optax.sgd(rate, momentum=beta1, nesterov=name == "nesterov")
    if name == "adam":
        return optax.adam(rate, b1=beta1, b2=beta2)
    return optax.adamw(rate, b1=beta1, b2=beta2, weight_decay=weight_decay)
