"""Evaluation refuses test rows, and groups of test rows, among the parents of training rows."""

import numpy as np
import pytest

from imbal_jax.data import Rows
from imbal_jax.errors import UserError
from imbal_jax.evaluate import leakage


def rows(ids, groups):
    n = len(ids)
    return Rows(np.zeros((n, 2), np.uint8), np.zeros(n, np.int32), np.array(ids), np.array(groups))


def test_separate_rows_pass_and_unused_overlaps_do_not_matter():
    train, test = rows([0, 1, 2], [0, 1, 2]), rows([9, 2], [9, 8])
    leakage.refuse(train, np.array([[0, 1], [1, -1]]), test)  # row 2 would overlap, but nothing used it


def test_a_test_row_among_the_parents_is_refused():
    with pytest.raises(UserError, match=r"1 row\(s\).*the first: row 2"):
        leakage.refuse(rows([0, 1, 2], [0, 1, 2]), np.array([2]), rows([9, 2], [9, 8]))


def test_a_patient_on_both_sides_is_refused():
    with pytest.raises(UserError, match=r"group\(s\).*the first: group 7"):
        leakage.refuse(rows([0, 1], [7, 6]), np.array([0, 1]), rows([5], [7]))
