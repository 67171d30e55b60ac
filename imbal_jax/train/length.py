"""How long a classifier is trained: the same number of steps for every arm, unless epochs of its own rows are requested."""

from typing import Any, NamedTuple

from imbal_jax.errors import UserError

EPOCHS_OF = ("real", "own")


class Length(NamedTuple):
    """The length of a training.

    Attributes:
        batch: rows of a batch, the same for every arm.
        steps: optimiser steps in all.
        per_epoch: steps between two points of the curves.
        per_pass: steps in one pass over the arm's own rows, after which they are shuffled again.
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
        options: `config.classifier`: batch, epochs, epochs_of, steps, warmup.
        real: rows of the training set before any balancing.
        own: rows of the arm's training set.

    Raises:
        UserError: a warm-up that is as long as the training.
    """
    own_epochs, steps = options.epochs_of == "own", options.steps
    rows = own if own_epochs else real
    batch = min(options.batch, rows)
    per_epoch = max(1, rows // batch)
    unit = "steps" if steps else "epochs of the arm's own rows" if own_epochs else "epochs of the real rows"
    length = Length(batch, steps or options.epochs * per_epoch, per_epoch, max(1, own // batch), unit)
    if options.warmup and options.warmup >= length.epochs:
        raise UserError(
            f"config.classifier.warmup must be shorter than the training of {length.epochs:.3g} epochs ({length.steps} steps) "
            f"(got {options.warmup:g} epochs)"
        )
    return length
