"""How long a classifier is trained: the same number of steps for every arm, unless epochs of its own rows are asked for."""

from typing import Any, NamedTuple

from imbal_jax.errors import UserError, nearest

EPOCHS_OF = ("real", "own")


class Length(NamedTuple):
    """The length of a training.

    Attributes:
        batch: rows of a batch, the same for every arm.
        steps: optimiser steps in all.
        per_epoch: steps between two points of the curves.
        per_pass: steps in one pass over the arm's own rows, after which they are shuffled anew.
        unit: what fixed the length, as rows name it.
    """

    batch: int
    steps: int
    per_epoch: int
    per_pass: int
    unit: str

    @property
    def epochs(self) -> float:
        """Epochs in all; the last may be a part of one."""
        return self.steps / self.per_epoch


def of(options: Any, real: int, own: int) -> Length:
    """The length that a config asks for.

    Arms that are trained for equal epochs of their own rows differ in steps: over-sampling trains longer, under-sampling
    hardly at all, and what a comparison then shows is the length. So an epoch is a pass over the real rows by default.

    Args:
        options: `config.classifier`: batch, epochs, and it may have steps and epochs_of.
        real: rows of the training set before any balancing.
        own: rows of the arm's training set.

    Raises:
        UserError: a warm-up that is as long as the training.
    """
    own_epochs, steps = options.get("epochs_of", "real") == "own", options.get("steps", 0)
    rows = own if own_epochs else real
    batch = min(options.batch, rows)
    per_epoch = max(1, rows // batch)
    unit = "steps" if steps else "epochs of the arm's own rows" if own_epochs else "epochs of the real rows"
    found = Length(batch, steps or options.epochs * per_epoch, per_epoch, max(1, own // batch), unit)
    if (warmup := options.get("warmup", 0.0)) and warmup >= found.epochs:
        raise UserError(
            f"config.classifier.warmup is {warmup:g} epochs, the training {found.steps} steps ({found.epochs:.3g} epochs): "
            "the warm-up must be shorter"
        )
    return found


def check(options: Any) -> None:
    """Raise UserError for an unknown `epochs_of`."""
    if options.epochs_of not in EPOCHS_OF:
        hint = nearest(options.epochs_of, EPOCHS_OF)
        raise UserError(f"config.classifier.epochs_of is {options.epochs_of!r}{hint}; known: {', '.join(EPOCHS_OF)}")
