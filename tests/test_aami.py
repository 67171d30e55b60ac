"""The measures of ECG papers against numbers worked out by hand, and their intervals over records."""

from functools import partial

import numpy as np
import pytest

from imbal_jax.evaluate import aami, clustered

# Rows true, columns predicted: N, S, V.
TABLE = np.array([[80, 15, 5], [4, 6, 0], [1, 2, 7]])


def kappa(table):
    """Cohen's kappa from the beats themselves."""
    true = np.repeat(*np.nonzero(np.ones_like(table))[:1], table.ravel())
    predicted = np.repeat(np.nonzero(np.ones_like(table))[1], table.ravel())
    observed = np.mean(true == predicted)
    chance = sum(np.mean(true == k) * np.mean(predicted == k) for k in range(len(table)))
    return (observed - chance) / (1 - chance)


def test_measures_by_hand():
    found = aami.measures(TABLE, "NSV")
    expected = {
        "se_S": 6 / 10,
        "pp_S": 6 / 23,
        "f1_S": 12 / 33,
        "fpr_S": 17 / 110,
        "se_V": 7 / 10,
        "pp_V": 7 / 12,
        "f1_V": 14 / 22,
        "fpr_V": 5 / 110,
        "accuracy": 93 / 120,
        "macro_f1": (160 / 185 + 12 / 33 + 14 / 22) / 3,
        "mean_sensitivity": (0.8 + 0.6 + 0.7) / 3,
        "kappa": kappa(TABLE),
        "j_kappa": kappa(TABLE) / 2 + (0.6 + 0.7 + 6 / 23 + 7 / 12) / 8,
    }
    assert found == pytest.approx(expected) and list(found) == list(expected)
    assert all(isinstance(value, float) for value in found.values())


@pytest.mark.parametrize("seed", range(5))
def test_kappa(seed):
    table = np.random.default_rng(seed).integers(0, 30, (5, 5))
    assert aami.measures(table, "NSVFQ")["kappa"] == pytest.approx(kappa(table))


def test_the_order_of_the_classes_does_not_matter():
    order = [2, 0, 1]
    assert aami.measures(TABLE[np.ix_(order, order)], "VNS") == pytest.approx(aami.measures(TABLE, "NSV"))


def test_perfect():
    found = aami.measures(np.diag([50, 3, 2, 1]), "NSVF")
    assert {name for name, value in found.items() if value == 1.0} == set(found) - {"fpr_S", "fpr_V"}
    assert found["fpr_S"] == found["fpr_V"] == 0.0


def test_a_class_without_beats_and_one_that_is_never_predicted():
    found = aami.measures(np.array([[10, 0, 1], [0, 0, 0], [2, 0, 3]]), "NSV")
    assert np.isnan([found["se_S"], found["f1_S"], found["j_kappa"]]).all()
    assert found["pp_S"] == 0 and found["fpr_S"] == 0 and found["mean_sensitivity"] == pytest.approx((10 / 11 + 0.6) / 2)
    lost = aami.measures(np.array([[10, 0, 1], [4, 0, 0], [2, 0, 3]]), "NSV")
    assert (lost["se_S"], lost["pp_S"], lost["f1_S"]) == (0, 0, 0) and np.isfinite(list(lost.values())).all()


def test_a_single_class_and_no_beats_at_all():
    single = aami.measures(np.diag([10, 0, 0]), "NSV")
    assert np.isnan(single["kappa"]) and single["accuracy"] == 1 and single["fpr_S"] == 0
    nothing = aami.measures(np.zeros((3, 3), int), "NSV")
    assert {name for name, value in nothing.items() if not np.isnan(value)} == {"pp_S", "pp_V"}


def test_without_s_there_is_no_j_kappa():
    assert set(aami.measures(np.eye(2, dtype=int), "NV")) == {
        *("se_V", "pp_V", "f1_V", "fpr_V", "accuracy", "macro_f1", "mean_sensitivity", "kappa")
    }


def test_large_counts_do_not_overflow():
    table = TABLE.astype(np.int32) * 10_000_000
    assert aami.measures(table, "NSV") == pytest.approx(aami.measures(TABLE, "NSV"))


def records(many, seed=0):
    return np.random.default_rng(seed).poisson(TABLE, (many, 3, 3))


def bootstrap(tables, seed, **more):
    return clustered.bootstrap(tables, partial(aami.measures, class_names="NSV"), seed, **more)


def test_bootstrap_is_the_plain_one_draw_by_draw():
    tables, draws = records(6), 50
    times = np.random.default_rng(7).multinomial(6, np.full(6, 1 / 6), draws)
    every = [aami.measures(sum(n * table for n, table in zip(row, tables, strict=True)), "NSV") for row in times]
    found = bootstrap(tables, 7, draws=draws, level=0.9)
    for name in every[0]:
        assert found[name] == pytest.approx(np.quantile([one[name] for one in every], [0.05, 0.95]))


def test_bootstrap_holds_the_estimate_and_depends_on_the_seed_alone():
    tables = records(22)
    found = bootstrap(tables, 3)
    point = aami.measures(tables.sum(axis=0), "NSV")
    assert set(found) == set(point) and all(low < point[name] < high for name, (low, high) in found.items())
    assert found == bootstrap(tables, 3) != bootstrap(tables, 4)
    half = bootstrap(tables, 3, level=0.5)
    assert all(found[name][0] < low and high < found[name][1] for name, (low, high) in half.items())


def test_differences_are_of_the_same_draws():
    tables = records(22)
    none = bootstrap(tables, 3, minus=tables)
    assert all(ends == (0.0, 0.0) for ends in none.values())
    better = tables + np.diag([0, 3, 0])  # three S beats more in every record, all of them found
    assert all(bootstrap(better, 3, minus=tables)[name][0] > 0 for name in ("se_S", "pp_S", "accuracy"))
    with pytest.raises(ValueError, match="22 groups, and 21 to compare with"):
        bootstrap(tables, 3, minus=tables[1:])


def test_records_and_not_beats_are_drawn():
    """One record with all the S beats, all of them missed: with or without it, no sensitivity lies between."""
    tables = np.zeros((2, 3, 3), int)
    tables[0] = np.diag([100, 10, 10])
    tables[1] = [[100, 0, 0], [10, 0, 0], [0, 0, 10]]
    assert bootstrap(tables, 0)["se_S"] == (0.0, 1.0)


def test_bootstrap_leaves_out_draws_without_a_meaning():
    tables = np.zeros((3, 3, 3), int)
    tables[:] = np.diag([10, 0, 5])
    assert np.isnan(bootstrap(tables, 0)["se_S"]).all()
    tables[0, 1, 1] = 4  # S beats in one record only
    found = bootstrap(tables, 0)
    assert found["se_S"] == (1.0, 1.0) and found["j_kappa"] == pytest.approx((1.0, 1.0))


@pytest.mark.parametrize("table", [np.eye(2), np.zeros(3), np.zeros((3, 2))])
def test_wrong_shapes(table):
    with pytest.raises(ValueError, match="does not fit the 3 classes N, S, V"):
        aami.measures(table, "NSV")


@pytest.mark.parametrize("wrong", [{"draws": 0}, {"level": 1.0}, {"tables": np.zeros((0, 3, 3))}, {"tables": np.eye(3)}])
def test_wrong_bootstraps(wrong):
    with pytest.raises(ValueError, match=r"bootstrap\(\)"):
        bootstrap(**{"tables": records(2), "seed": 0} | wrong)
