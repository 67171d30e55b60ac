"""Leakage check: no test row, and no group (such as a patient) of the test set, may be a parent of a training row."""

import numpy as np

from imbal_jax.data.dataset import Rows
from imbal_jax.errors import UserError


def refuse(train: Rows, used: np.ndarray, test: Rows) -> None:
    """Check before an evaluation that training and test rows share neither ids nor groups.

    Args:
        train: all real training rows.
        used: row numbers into `train` that a method trained on or generated rows from, any shape; -1 is ignored.
        test: the test rows.

    Raises:
        UserError: they overlap; it gives the number and the first one.
    """
    rows = np.unique(used[used >= 0])
    for kind, mine, theirs in (("row", train.ids[rows], test.ids), ("group", train.groups[rows], test.groups)):
        shared = np.intersect1d(mine, theirs)
        if len(shared):
            raise UserError(
                f"leakage: {len(shared)} {kind}(s) of the test set are among the parents of training rows "
                f"(the first: {kind} {shared[0]}); split by {kind} before anything else"
            )
