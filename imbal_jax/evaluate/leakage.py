"""No test row, and nobody whose rows are in the test set, may be among the parents of a training row."""

import numpy as np

from imbal_jax.data.dataset import Rows
from imbal_jax.errors import UserError


def refuse(train: Rows, used: np.ndarray, test: Rows) -> None:
    """Check before an evaluation that the training rows and the test rows have neither ids nor groups in common.

    Args:
        train: all real training rows.
        used: row numbers into `train` that a method trained on or made new rows from, any shape; -1 is passed over.
        test: the test rows.

    Raises:
        UserError: there is an overlap; it names how many and the first.
    """
    rows = np.unique(used[used >= 0])
    for kind, mine, theirs in (("row", train.ids[rows], test.ids), ("group", train.groups[rows], test.groups)):
        shared = np.intersect1d(mine, theirs)
        if len(shared):
            raise UserError(
                f"leakage: {len(shared)} {kind}(s) of the test set are among the parents of training rows "
                f"(the first: {kind} {shared[0]}); split by {kind} before anything else"
            )
