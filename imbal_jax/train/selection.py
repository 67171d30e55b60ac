"""Which epoch's weights are kept: the best on validation rows so far, and when a lane has waited long enough."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

SELECT = ("last", "best")
BY = ("balanced_accuracy", "accuracy", "loss")


class Best(NamedTuple):
    """The best of a lane's epochs so far.

    Attributes:
        variables: what is evaluated, as it was after that epoch.
        figure: float32 [], larger is better.
        epoch: int32 [], from 1; 0: none has ended yet.
        waited: int32 [], epochs since then.
    """

    variables: Any
    figure: jax.Array
    epoch: jax.Array
    waited: jax.Array


def start(variables: Any) -> Best:
    """Before the first epoch."""
    zero = jnp.zeros((), jnp.int32)
    return Best(jax.tree.map(jnp.zeros_like, variables), jnp.asarray(-jnp.inf, jnp.float32), zero, zero)


def stopped(best: Best, patience: int) -> jax.Array:
    """Whether a lane has stopped training, bool []; `patience` 0: it never stops."""
    return (best.waited >= patience) & (patience > 0)


def goodness(by: str, figures: dict[str, jax.Array]) -> jax.Array:
    """What epochs are compared by, larger is better, float32 []: `figures` are 'val_loss', 'val_accuracy', ...

    A lane that has lost its numbers is as bad as can be: its predictions, all of the first class, still have an accuracy.
    """
    value = -figures["val_loss"] if by == "loss" else figures[f"val_{by}"]
    return jnp.where(jnp.isfinite(figures["val_loss"]), value, -jnp.inf)


def update(best: Best, variables: Any, figure: jax.Array, epoch: jax.Array, patience: int) -> Best:
    """After an epoch: the first of equally good ones stays, and so does all of a lane that has stopped.

    The first epoch is taken however bad it is, so that a lane that never had numbers is seen to have none.

    Args:
        best: so far.
        variables: after this epoch.
        figure: from `goodness`.
        epoch: its number, from 1.
        patience: see `stopped`.
    """
    done = stopped(best, patience)
    better = ((figure > best.figure) | (best.epoch == 0)) & ~done
    kept = jax.tree.map(lambda new, old: jnp.where(better, new, old), variables, best.variables)
    return Best(
        kept,
        jnp.where(better, figure, best.figure),
        jnp.where(better, jnp.asarray(epoch, jnp.int32), best.epoch),
        jnp.where(better, 0, best.waited + ~done),
    )
