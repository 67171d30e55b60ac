"""Early signs that a GAN is failing, read off its losses by epoch."""

from collections.abc import Mapping, Sequence

import numpy as np

from imbal_jax.data.storage_types import floats
from imbal_jax.gan import losses

ALIKE = 0.1  # grey levels that the images of a class differ by; rounding alone makes an untrained net's differ by more
FALLING = 5  # after this many epochs of a falling generator loss, images may fool a blind discriminator
MEMORY = FALLING + 1  # epochs that `signs` looks at
SWING = 0.5  # how far a discriminator's loss may oscillate from epoch to epoch, as a share of its mean
SMALL = 0.1  # oscillations below this are no warning sign: the loss is close to zero, which is one itself


def broken(history: Sequence[dict]) -> str | None:
    """Why the lane's generator has failed, or None. `history` is one lane's epochs, in order, as in metrics.jsonl.

    After a restart from an earlier state only the epochs since then count. A lane that was stopped has failed.
    """
    history = _since(history)
    if history and "stopped" in history[-1]:
        return f"gan: stopped after epoch {history[-1]['epoch']} ({history[-1]['stopped']})"
    for row in history:
        if not all(_finite(row.get(name)) for name in ("d_loss", "g_loss")):
            return f"gan: NaN in epoch {row['epoch']}"
    if history and (won := _loss_of(history[-1]).won) is not None and history[-1]["d_loss"] < won:
        return f"gan: collapsed, discriminator loss {history[-1]['d_loss']:.2g} at the end"
    return None


def spread(images: np.ndarray, labels: np.ndarray, most: int = 64) -> dict[int, float]:
    """How far the generated rows of each class differ, in grey levels (1/255 of the scale), of the classes that have two.

    Args:
        images: kept rows [S, ...].
        labels: int [S].
        most: images considered in each class.
    """
    groups = {int(label): np.asarray(floats(images[labels == label][:most])) for label in np.unique(labels)}
    return {label: 255 * float(group.std(axis=0).mean()) for label, group in groups.items() if len(group) > 1}


def alike(found: Mapping[int, float]) -> list[int]:
    """The classes in mode collapse, whose generated rows are identical, from their `spread`."""
    return [label for label, value in found.items() if value < ALIKE]


def collapsed(found: Mapping[int, float]) -> str | None:
    """Why all of a lane's generated rows are useless, or None: mode collapse, identical rows within every class."""
    if found and len(alike(found)) == len(found):
        return f"gan: collapsed, the images of a class differ by {max(found.values()):.2g} grey levels"
    return None


def signs(history: Sequence[dict]) -> list[str]:
    """Warnings about the newest epoch of one lane: NaN, discriminator loss at zero or swinging, generator loss falling.

    The signs are those practitioners watch for (discriminator loss 0.0: failure; of high variance: neither network gets
    anywhere; generator loss falling steadily: garbage that fools the discriminator). Each loss brings its own thresholds,
    see `losses.Loss`; a Wasserstein loss has no scale, so only NaN is looked for there.
    """
    history = _since(history)
    if not history:
        return []
    last = history[-1]
    if not (_finite(last.get("d_loss")) and _finite(last.get("g_loss"))):
        return ["NaN in the losses: this seed has failed"]
    loss = _loss_of(last)
    if loss.won is None:
        return []
    warnings = []
    if last["d_loss"] < loss.won:
        warnings.append(
            f"discriminator loss is {last['d_loss']:.2g}: the discriminator has won, the generator no longer learns"
        )
    recent = history[-MEMORY:]
    if len(recent) < MEMORY or not all(_finite(row.get(name)) for row in recent for name in ("d_loss", "g_loss")):
        return warnings
    d_loss, g_loss = (np.array([row[name] for row in recent]) for name in ("d_loss", "g_loss"))
    if (swing := _swing(d_loss)) > max(SWING * d_loss.mean(), SMALL):
        warnings.append(f"discriminator loss oscillates by {swing:.2g} about {d_loss.mean():.2g}: a healthy one varies little")
    if loss.fooled is not None and np.all(np.diff(g_loss) < 0) and g_loss[-1] < loss.fooled:
        warnings.append(
            f"generator loss fell {FALLING} epochs in a row to {g_loss[-1]:.2g}: the discriminator may accept garbage"
        )
    return warnings


def _loss_of(row: dict) -> losses.Loss:
    """The loss that an epoch was trained with; rows of old files without a name are of 'bce'."""
    return losses.make(row.get("loss_name", "bce"))


def _swing(values: np.ndarray) -> float:
    """How far a series oscillates per step: the length of its path beyond that from the first value to the last.

    Of a series that only falls or only rises it is 0, of independent values about their standard deviation.
    """
    steps = np.diff(values)
    return float((np.abs(steps).sum() - abs(steps.sum())) / len(steps))


def _since(history: Sequence[dict]) -> Sequence[dict]:
    """The epochs after the last that ended with a restart."""
    first = max((i + 1 for i, row in enumerate(history) if "restarted" in row), default=0)
    return history[first:]


def _finite(value: object) -> bool:
    return isinstance(value, (int, float)) and bool(np.isfinite(value))
