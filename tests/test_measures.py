import numpy as np
import pytest

from imbal_jax.evaluate import measures, metrics


def test_quadratic_kappa_by_hand():
    assert measures.quadratic_kappa(np.diag([3, 4, 5])) == 1.0
    table = np.array([[2, 1], [1, 2]])  # with two grades it is Cohen's: observed 4/6, by chance 1/2
    assert measures.quadratic_kappa(table) == pytest.approx((4 / 6 - 1 / 2) / (1 / 2))
    one_off, two_off = np.array([[1, 1, 0], [0, 2, 0], [0, 0, 2]]), np.array([[1, 0, 1], [0, 2, 0], [0, 0, 2]])
    assert measures.quadratic_kappa(two_off) < measures.quadratic_kappa(one_off) < 1
    assert np.isnan(measures.quadratic_kappa(np.array([[5, 0], [0, 0]])))


def test_a_kind_adds_what_is_not_there_already():
    table = np.array([[90, 5, 5, 0], [2, 8, 0, 0], [0, 0, 10, 0], [0, 0, 0, 0]])
    found = measures.of("aami", table, "NSVF")
    assert {"se_S", "pp_V", "f1_S", "fpr_V", "kappa", "j_kappa", "mean_sensitivity"} <= set(found)
    assert not set(found) & set(metrics.SCALARS) and all(metrics.is_metric(name) for name in found)
    assert found["se_S"] == 0.8 and found["pp_V"] == pytest.approx(10 / 15)
    assert measures.of("", table, "NSVF") == {} and set(measures.of("grades", table, "NSVF")) == {"quadratic_kappa"}
    assert measures.of("aami", np.zeros((2, 2), int), "NS")["se_S"] is None
