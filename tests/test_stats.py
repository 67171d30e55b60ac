"""Statistics against scipy, against full enumeration, and for honesty with few seeds."""

import itertools
import json

import jax
import numpy as np
import pytest
from scipy import stats as reference

from imbal_jax.evaluate import stats

KEY = jax.random.key(0)


def test_summary_has_the_t_interval():
    values = np.random.default_rng(0).normal(0.9, 0.02, 7)
    ours = stats.summary("accuracy", values)
    low, high = reference.t.interval(0.95, 6, loc=values.mean(), scale=reference.sem(values))
    np.testing.assert_allclose(ours["ci95"], [low, high])
    np.testing.assert_allclose([ours["mean"], ours["std"]], [values.mean(), values.std(ddof=1)])
    assert ours["worst"] == values.min() and ours["n"] == 7 and ours["left_out"] == 0


def test_worst_is_the_highest_where_lower_is_better():
    assert stats.summary("ece", [0.1, 0.3, 0.2])["worst"] == 0.3
    assert stats.summary("recall_6", [0.1, 0.3, 0.2])["worst"] == 0.1


def test_one_seed_has_no_interval_and_failed_seeds_are_counted():
    one = stats.summary("accuracy", [None, 0.9, float("nan")])
    assert one == {"mean": 0.9, "std": None, "ci95": None, "worst": 0.9, "n": 1, "left_out": 2}
    assert stats.summary("accuracy", [None])["mean"] is None


@pytest.mark.parametrize("n", [2, 3, 5])
def test_permutation_p_is_exact(n):
    rng = np.random.default_rng(n)
    a, b = rng.random(n) + 0.3, rng.random(n)
    flips = [abs(np.dot(signs, a - b)) for signs in itertools.product([1, -1], repeat=n)]
    expected = np.mean([value >= abs((a - b).sum()) - 1e-12 for value in flips])
    assert stats.paired(a, b, KEY)["p"] == pytest.approx(expected)


def test_permutation_p_agrees_with_scipy_when_sampled():
    rng = np.random.default_rng(0)
    a = rng.normal(size=15)
    b = a - rng.normal(0.3, 0.6, size=15)
    flips = reference.permutation_test((a - b,), np.mean, permutation_type="samples", n_resamples=2**15, rng=rng)
    assert stats.paired(a, b, KEY)["p"] == pytest.approx(flips.pvalue, abs=0.015)


def test_equal_methods_are_not_told_apart():
    same = stats.paired([0.9, 0.8, 0.7], [0.9, 0.8, 0.7], KEY)
    assert same["mean"] == 0 and same["p"] == 1 and same["ci95"] == [0, 0]


def test_few_pairs_take_the_t_interval():
    a, b = np.array([0.95, 0.93]), np.array([0.90, 0.91])
    ours = stats.paired(a, b, KEY)
    low, high = reference.t.interval(0.95, 1, loc=(a - b).mean(), scale=reference.sem(a - b))
    assert ours["interval"] == "t" and ours["p"] == 0.5
    np.testing.assert_allclose(ours["ci95"], [low, high])
    assert stats.paired([0.9, None], [0.8, 0.7], KEY) == {
        "mean": pytest.approx(0.1),
        "effect": None,
        "ci95": None,
        "p": None,
        "n": 1,
        "interval": None,
    }


def test_bootstrap_interval_covers_about_95_percent():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(150):
        a = rng.normal(0.5, 1.0, 10)
        low, high = stats.paired(a, np.zeros(10), KEY)["ci95"]
        covered += low <= 0.5 <= high
    assert 0.88 <= covered / 150 <= 0.995


def test_the_same_key_gives_the_same_interval():
    a, b = np.arange(8.0), np.arange(8.0)[::-1] ** 1.1
    assert stats.paired(a, b, KEY) == stats.paired(a, b, KEY)
    assert stats.paired(a, b, KEY)["ci95"] != stats.paired(a, b, jax.random.key(1))["ci95"]


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="2 and 3"):
        stats.paired([1.0, 2.0], [1.0, 2.0, 3.0], KEY)


def row(seed: int, method: str, accuracy: float | None, failed: str | None = None) -> dict:
    return {
        "seed": seed,
        "method": method,
        "accuracy": accuracy,
        "recall_6": accuracy,
        "seconds": 10.0 + seed,
        "failed": failed,
        "confusion": None if accuracy is None else [[3, 1], [0, 4]],
        "counts_before": [9, 2],
        "counts_after": [9, 9],
        "source": "tfds",
        "digest": "abc",
    }


def test_results_and_comparisons_of_rows():
    rows = [row(1, "none", 0.8), row(0, "none", 0.7), row(0, "gan", 0.6), row(1, "gan", None, "NaN loss")]
    table = stats.results(rows)
    assert list(table) == ["none", "gan"]
    assert table["none"]["metrics"]["accuracy"]["mean"] == pytest.approx(0.75)
    assert table["none"]["seconds"] == 10.5 and table["none"]["gan_seconds"] is None
    assert table["none"]["confusion"] == [[6, 2], [0, 8]] and table["none"]["failed"] == 0
    assert table["gan"]["failed"] == 1 and table["gan"]["metrics"]["accuracy"]["n"] == 1
    assert table["gan"]["class_counts"] == {"before": [9, 2], "after": [9, 9]}
    assert set(table["gan"]["metrics"]) == {"accuracy", "recall_6"}
    against = stats.comparisons(rows, KEY)
    assert list(against) == ["gan"]
    assert against["gan"]["accuracy"]["mean"] == pytest.approx(-0.1) and against["gan"]["accuracy"]["n"] == 1
    assert stats.comparisons(rows[2:], KEY) == {}
    json.dumps([table, against], allow_nan=False)


def test_holm_on_numbers_worked_out_by_hand():
    adjusted = stats.holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": None})
    assert adjusted == {"a": pytest.approx(0.03), "c": pytest.approx(0.06), "b": pytest.approx(0.06), "d": None}
    assert stats.holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}


@pytest.mark.parametrize(
    ("name", "interval", "p", "said"),
    [
        ("accuracy", (0.01, 0.03), 0.01, "better"),
        ("ece", (0.01, 0.03), 0.01, "worse"),
        ("ece", (-0.03, -0.01), 0.01, "better"),
        ("accuracy", (-0.03, -0.01), 0.01, "worse"),
        ("accuracy", (0.01, 0.03), 0.06, "undecided"),
        ("accuracy", (-0.01, 0.03), 0.01, "undecided"),
        ("accuracy", (0.0005, 0.0015), 0.001, "equivalent"),
        ("accuracy", (-0.001, 0.001), 0.9, "equivalent"),
        ("accuracy", None, None, "undecided"),
    ],
)
def test_verdicts(name, interval, p, said):
    assert stats.verdict(name, interval, p) == said


def test_comparisons_are_adjusted_over_the_methods():
    gains = {"none": 0.0, "good": 0.1, "same": 0.0001}
    rows = [
        {"seed": seed, "method": method, "accuracy": 0.5 + gain + 0.001 * ((3 * seed) % 7) * (method != "none")}
        for method, gain in gains.items()
        for seed in range(8)
    ]
    found = stats.comparisons(rows, jax.random.key(0))
    good, same = found["good"]["accuracy"], found["same"]["accuracy"]
    assert good["verdict"] == "better" and good["p_holm"] == pytest.approx(2 * good["p"])
    assert good["effect"] == pytest.approx(good["mean"] / np.std([0.001 * ((3 * s) % 7) for s in range(8)], ddof=1))
    assert same["p_holm"] >= same["p"]
