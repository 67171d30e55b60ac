import numpy as np
import pytest

from imbal_jax.evaluate import clustered, grades, measures, metrics


def test_quadratic_kappa_by_hand():
    assert grades.quadratic_kappa(np.diag([3, 4, 5])) == 1.0
    table = np.array([[2, 1], [1, 2]])  # with two grades it is Cohen's: observed 4/6, by chance 1/2
    assert grades.quadratic_kappa(table) == pytest.approx((4 / 6 - 1 / 2) / (1 / 2))
    one_off, two_off = np.array([[1, 1, 0], [0, 2, 0], [0, 0, 2]]), np.array([[1, 0, 1], [0, 2, 0], [0, 0, 2]])
    assert grades.quadratic_kappa(two_off) < grades.quadratic_kappa(one_off) < 1
    assert np.isnan(grades.quadratic_kappa(np.array([[5, 0], [0, 0]])))


def test_grades_of_many_tables_are_those_of_each():
    tables = np.random.default_rng(0).poisson(4, (5, 3, 3))
    tables[2, 1] = 0  # a grade without rows
    found = grades.measures(tables, "abc")
    assert set(found) == {"quadratic_kappa", "accuracy", "balanced_accuracy", "recall_a", "recall_b", "recall_c"}
    for place, table in enumerate(tables):
        single = {name: values[place] for name, values in found.items()}
        assert single == pytest.approx({k: float(v) for k, v in grades.measures(table, "abc").items()}, nan_ok=True)
        recalls = [table[k, k] / table[k].sum() for k in range(3) if table[k].any()]
        assert single["accuracy"] == pytest.approx(np.trace(table) / table.sum())
        assert single["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert np.isnan(found["recall_b"][2])


def test_quadratic_kappa_is_scikit_learns():
    reference = pytest.importorskip("sklearn.metrics")
    y, predicted = np.random.default_rng(1).integers(0, 5, (2, 200))
    table = reference.confusion_matrix(y, predicted)
    expected = reference.cohen_kappa_score(y, predicted, weights="quadratic")
    assert grades.quadratic_kappa(table) == pytest.approx(expected)
    low, high = clustered.bootstrap(np.stack([table, table]), lambda t: {"kappa": grades.quadratic_kappa(t)}, 0)["kappa"]
    assert low == high == pytest.approx(expected)  # two patients alike: whoever is drawn


def test_a_kind_adds_what_is_not_there_already():
    table = np.array([[90, 5, 5, 0], [2, 8, 0, 0], [0, 0, 10, 0], [0, 0, 0, 0]])
    found = measures.of("aami", table, "NSVF")
    assert {"se_S", "pp_V", "f1_S", "fpr_V", "kappa", "j_kappa", "mean_sensitivity"} <= set(found)
    assert not set(found) & set(metrics.SCALARS) and all(metrics.is_metric(name) for name in found)
    assert found["se_S"] == 0.8 and found["pp_V"] == pytest.approx(10 / 15)
    assert measures.of("", table, "NSVF") == {} and set(measures.of("grades", table, "NSVF")) == {"quadratic_kappa"}
    assert measures.of("aami", np.zeros((2, 2), int), "NS")["se_S"] is None
