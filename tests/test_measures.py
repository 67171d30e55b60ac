import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imbal_jax.evaluate import clustered, confusion_matrix, grades, measures, metric_functions, metrics, stats


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


RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results" / "ecg_gan_better"
FILTER, RANDOM = "gan_synth(to=0.1, filter=discriminator)", "gan_synth(to=0.1, filter=random)"


def heartbeats():
    """The rows of the heartbeats' filters: two seeds, 22 records."""
    lines = (RESULTS / "rows.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def of_arm(rows, arm):
    return np.array([row["confusion_by_group"] for row in rows if row["method"] == arm])


def test_metrics_of_confusion_matrices_are_those_of_the_device():
    rng = np.random.default_rng(0)
    tables = rng.poisson(5, (6, 4, 4))
    tables[1, 2], tables[2, :, 1], tables[3, 0, 0] = 0, 0, 0  # no test row, never predicted, all missed
    names = ["N", "S", "V", "F"]
    ours = [jax.device_get(metrics.from_confusion(jnp.asarray(table))) for table in tables]
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "g_mean", "mcc"):
        found = metric_functions.by_name(name, names)(tables)
        np.testing.assert_allclose(found, [one[name] for one in ours], rtol=2e-5, atol=1e-6)
    for kind in ("recall", "precision"):
        for label, name in enumerate(names):
            found = metric_functions.by_name(f"{kind}_{name}", names)(tables)
            np.testing.assert_allclose(found, [one[kind][label] for one in ours], rtol=1e-6)
    assert metric_functions.by_name("pr_auc", names) is None
    row = heartbeats()[0]
    for name in ("j_kappa", "kappa", "se_S", "fpr_V", "macro_f1"):
        assert metric_functions.by_name(name, list("NSVFQ"))(np.array(row["confusion"])) == pytest.approx(row[name], rel=1e-5)


def test_a_classifier_that_predicts_one_class_is_collapsed():
    assert confusion_matrix.collapsed([[0, 5], [0, 3]]) == 1
    assert [confusion_matrix.collapsed(table) for table in ([[1, 5], [0, 3]], [[0, 5], [0, 0]], None)] == [None] * 3


def test_a_filter_harms_by_records_alone_and_not_over_records_and_seeds():
    rows = heartbeats()
    mine, theirs = of_arm(rows, FILTER), of_arm(rows, RANDOM)
    measure = metric_functions.by_name("j_kappa", list("NSVFQ"))
    np.testing.assert_allclose(measure(mine.sum(1)) - measure(theirs.sum(1)), [-0.0510, 0.0009], atol=1e-4)
    named = lambda tables: {"j_kappa": measure(tables)}  # noqa: E731
    alone = clustered.bootstrap(mine.sum(0), named, 0, minus=theirs.sum(0))["j_kappa"]
    both = clustered.bootstrap(mine, named, 0, minus=theirs)["j_kappa"]
    assert alone[1] < 0 < both[1]  # of the pooled seeds it seemed clear
    np.testing.assert_allclose(both, (-0.078, 0.0145), atol=0.003)
    found = clustered.two_level(mine, theirs, measure, 0)
    assert found.interval[0] < both[0] and both[1] < found.interval[1]  # two seeds are few, which percentiles cannot tell
    assert (found.groups, found.seeds) == (22, 2) and 1 < found.df < 21
    pair = stats.comparisons(rows, jax.random.key(0), RANDOM)[FILTER]["j_kappa"]
    assert pair["interval"] == "two-level" and pair["groups"] == 22 and pair["ci95"] == pytest.approx(found.interval, abs=0.03)
    assert pair["verdict"] == "undecided" and pair["reason"].startswith("no verdict possible with 2 seeds")
    assert stats.comparisons(rows, jax.random.key(0), RANDOM)[FILTER]["pr_auc"]["interval"] == "ungrouped"


@pytest.mark.slow
@pytest.mark.parametrize(("groups", "seeds"), [(10, 6), (20, 10)])
def test_the_two_level_interval_covers_what_it_says(groups, seeds):
    """Accuracies that vary by group, by seed and by both; the truth is that of all groups and seeds, a difference of 0."""
    rng, covered = np.random.default_rng(groups), []
    measure = metric_functions.by_name("accuracy", ["a", "b"])
    for _ in range(300):
        effect = rng.normal(0, 0.05, (1, groups)) + rng.normal(0, 0.04, (seeds, 1)) + rng.normal(0, 0.02, (seeds, groups))
        right = [rng.binomial(200, np.clip(0.7 + half, 0, 1)) for half in (effect / 2, -effect / 2)]
        tables = [np.stack([r, 200 - r, np.zeros_like(r), np.zeros_like(r)], -1).reshape(seeds, groups, 2, 2) for r in right]
        low, high = clustered.two_level(*tables, measure, 0, draws=400).interval
        covered.append(low <= 0 <= high)
    print(groups, seeds, np.mean(covered))
    assert np.mean(covered) >= 0.93


def test_groups_and_seeds_that_agree_with_the_two_way_formula():
    """With equal groups and the accuracy, the two variances are those of the groups' and of the seeds' means."""
    rng = np.random.default_rng(3)
    right = rng.binomial(50, 0.7, (2, 5, 8))
    tables = [np.stack([r, 50 - r, np.zeros_like(r), np.zeros_like(r)], -1).reshape(5, 8, 2, 2) for r in right]
    found = clustered.two_level(*tables, metric_functions.by_name("accuracy", ["a", "b"]), 0, draws=20_000)
    difference = (right[0] - right[1]) / 50
    expected = difference.mean(0).var(ddof=1) / 8 + difference.mean(1).var(ddof=1) / 5
    special = pytest.importorskip("scipy.special")
    half = (found.interval[1] - found.interval[0]) / 2 / special.stdtrit(found.df, 0.975)
    assert half**2 == pytest.approx(expected, rel=0.03) and found.mean == pytest.approx(difference.mean())
    assert clustered.two_level(tables[0][:1], tables[1][:1], metric_functions.by_name("accuracy", ["a", "b"]), 0) is None
