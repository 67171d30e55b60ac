"""Metrics against independent references: definitions written out in numpy, and scikit-learn."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imbal_jax.evaluate import confusion_matrix, metrics

CLASSES = 4
classification = jax.jit(metrics.classification)


def example(n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.choice(CLASSES, n, p=[0.55, 0.3, 0.1, 0.05]).astype(np.int32)
    logits = rng.normal(size=(n, CLASSES)) + 1.5 * np.eye(CLASSES)[y]
    return np.round(logits, 1).astype(np.float32), y  # rounded, so that scores tie


@pytest.fixture(scope="module")
def case() -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    logits, y = example()
    p = np.exp(logits.astype(np.float64))
    p /= p.sum(axis=1, keepdims=True)
    return y, p, logits.argmax(axis=1), jax.device_get(classification(logits, y))


def test_confusion_metrics_are_scikit_learns(case):
    reference = pytest.importorskip("sklearn.metrics")
    y, _, predicted, ours = case
    np.testing.assert_array_equal(ours["confusion"], reference.confusion_matrix(y, predicted))
    assert ours["confusion"].dtype == np.int32
    expected = {
        "accuracy": reference.accuracy_score(y, predicted),
        "balanced_accuracy": reference.balanced_accuracy_score(y, predicted),
        "macro_f1": reference.f1_score(y, predicted, average="macro"),
        "mcc": reference.matthews_corrcoef(y, predicted),
        "recall": reference.recall_score(y, predicted, average=None),
        "precision": reference.precision_score(y, predicted, average=None),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(ours["g_mean"], np.prod(expected["recall"]) ** (1 / CLASSES), rtol=1e-5)


def test_probability_metrics_are_scikit_learns(case):
    reference = pytest.importorskip("sklearn.metrics")
    y, p, _, ours = case
    np.testing.assert_allclose(ours["nll"], reference.log_loss(y, p), rtol=1e-5)
    np.testing.assert_allclose(ours["pr_auc"], reference.average_precision_score(np.eye(CLASSES)[y], p), rtol=1e-5)
    each = reference.average_precision_score(np.eye(CLASSES)[y], p, average=None)
    np.testing.assert_allclose(ours["average_precision"], each, rtol=1e-5)


def test_areas_under_the_roc_curve_are_scikit_learns(case):
    reference = pytest.importorskip("sklearn.metrics")
    y, p, _, ours = case
    expected = [reference.roc_auc_score(y == k, p[:, k]) for k in range(CLASSES)]
    np.testing.assert_allclose(ours["roc_areas"], expected, rtol=2e-4)  # float32 breaks ties of equal probabilities
    np.testing.assert_allclose(ours["roc_auc"], reference.roc_auc_score(y, p, multi_class="ovr"), rtol=2e-4)


def test_the_area_under_the_roc_curve_with_many_ties():
    reference = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    score, positive = rng.integers(0, 5, 60).astype(np.float32), rng.random(60) < 0.3
    ours = jax.jit(metrics.roc_area)(jnp.asarray(score), jnp.asarray(positive))
    np.testing.assert_allclose(ours, reference.roc_auc_score(positive, score), rtol=1e-6)
    assert metrics.roc_area(jnp.ones(9), jnp.arange(9) < 3) == 0.5
    assert np.isnan(metrics.roc_area(jnp.ones(9), jnp.zeros(9))) and np.isnan(metrics.roc_area(jnp.ones(9), jnp.ones(9)))


def test_the_roc_curve_of_a_sure_classifier_still_tells_its_rows_apart():
    """Probabilities of 1 - 1e-9 round to 1; what orders the rows are the logits."""
    reference = pytest.importorskip("sklearn.metrics")
    logits, y = example()
    sure = 40.0 * logits
    ours = classification(jnp.asarray(sure), jnp.asarray(y))
    others = np.stack([np.delete(sure.astype(np.float64), k, axis=1) for k in range(CLASSES)], axis=1)
    odds = sure - np.logaddexp.reduce(others, axis=-1)
    expected = [reference.roc_auc_score(y == k, odds[:, k]) for k in range(CLASSES)]
    np.testing.assert_allclose(ours["roc_areas"], expected, rtol=2e-3)


@pytest.mark.parametrize(("name", "limits"), [("accuracy", (0, 1)), ("recall_6", (0, 1)), ("mcc", (-1, 1)), ("kappa", (-1, 1))])
def test_bounds_of_metrics(name, limits):
    assert metrics.bounds(name) == limits
    assert metrics.bounds("nll") == (0, np.inf) and metrics.bounds("seconds") == (-np.inf, np.inf)


def test_brier_and_calibration_by_definition(case):
    y, p, predicted, ours = case
    np.testing.assert_allclose(ours["brier"], ((p - np.eye(CLASSES)[y]) ** 2).sum(axis=1).mean(), rtol=1e-5)
    confidence, correct, error = p.max(axis=1), predicted == y, 0.0
    for b in range(15):
        inside = (confidence > b / 15) & (confidence <= (b + 1) / 15)
        if inside.any():
            error += inside.mean() * abs(confidence[inside].mean() - correct[inside].mean())
    np.testing.assert_allclose(ours["ece"], error, rtol=1e-4)


def test_average_precision_with_many_ties():
    reference = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    score, positive = rng.integers(0, 5, 60).astype(np.float32), rng.random(60) < 0.3
    ours = metrics.average_precision(jnp.asarray(score), jnp.asarray(positive))
    np.testing.assert_allclose(ours, reference.average_precision_score(positive, score), rtol=1e-6)


def test_precision_at_recall_with_ties():
    reference = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(2)
    score, positive = rng.integers(0, 30, 400).astype(np.float32), rng.random(400) < 0.2
    precision, recall, _ = reference.precision_recall_curve(positive, score)  # by rising threshold
    expected = [precision[recall >= r - 1e-6][-1] for r in metrics.RECALLS]
    np.testing.assert_allclose(metrics.precision_at(jnp.asarray(score), jnp.asarray(positive)), expected, rtol=1e-6)
    assert np.isnan(metrics.precision_at(jnp.asarray(score), jnp.zeros(400))).all()


def test_perfect_and_hopeless_classifiers():
    y = jnp.arange(300, dtype=jnp.int32) % CLASSES
    perfect = classification(100.0 * jax.nn.one_hot(y, CLASSES), y)
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "g_mean", "mcc", "pr_auc"):
        np.testing.assert_allclose(perfect[name], 1.0, rtol=1e-6, err_msg=name)
    for name in metrics.LOWER_IS_BETTER & set(metrics.SCALARS):
        np.testing.assert_allclose(perfect[name], 0.0, atol=1e-6, err_msg=name)
    one_class = classification(jnp.zeros((300, CLASSES)).at[:, 2].set(5.0), y)
    assert one_class["g_mean"] == 0 and one_class["mcc"] == 0 and one_class["accuracy"] == 0.25


def test_a_class_without_test_rows_is_left_out_of_the_means():
    logits, y = example()
    y = np.where(y == 3, 0, y)
    ours = classification(jnp.asarray(logits), jnp.asarray(y))
    assert np.isnan(ours["recall"][3])
    np.testing.assert_allclose(ours["balanced_accuracy"], np.nanmean(ours["recall"]), rtol=1e-6)
    flat = metrics.flatten(jax.device_get(ours), ["a", "b", "c", "d"])
    np.testing.assert_allclose(ours["pr_auc"], np.nanmean(ours["average_precision"]), rtol=1e-6)
    np.testing.assert_allclose(ours["roc_auc"], np.nanmean(ours["roc_areas"]), rtol=1e-6)
    assert flat["recall_d"] is flat["pr_auc_d"] is flat["roc_auc_d"] is None and flat["balanced_accuracy"] > 0
    assert set(flat["pr_curve"][3]) == {None} and min(flat["pr_curve"][0]) > 0


def test_lanes_are_the_single_runs():
    cases = [example(seed=s) for s in range(3)]
    lanes = jax.jit(jax.vmap(metrics.classification))(*(jnp.stack(part) for part in zip(*cases, strict=True)))
    alone = classification(*map(jnp.asarray, cases[1]))
    for name, value in alone.items():
        np.testing.assert_allclose(lanes[name][1], value, rtol=1e-5, err_msg=name)


def test_flatten_gives_plain_json(case):
    names = ["6", "T-shirt/top", "Ankle boot", "d"]
    flat = metrics.flatten(case[3], names)
    assert json.loads(json.dumps(flat, allow_nan=False)) == flat
    assert set(metrics.SCALARS) < set(flat)
    assert {"recall_6", "recall_T_shirt_top", "precision_Ankle_boot", "pr_auc_6"} < set(flat)
    assert metrics.is_metric("recall_6") and metrics.is_metric("pr_auc_6") and metrics.is_metric("ece")
    assert not any(map(metrics.is_metric, ("seed", "seconds", "confusion", "counts_after", "failed")))


@pytest.mark.parametrize("confusion", [[[9_999_990, 5], [3, 2]], [[99_998, 0], [1, 1]], [[999_000, 300], [650, 50]]])
def test_matthews_correlation_of_a_rare_class(confusion):
    exact = np.array(confusion, np.float64)
    total, actual, predicted = exact.sum(), exact.sum(1), exact.sum(0)
    spread = (total**2 - (actual**2).sum()) * (total**2 - (predicted**2).sum())
    expected = (np.trace(exact) * total - actual @ predicted) / np.sqrt(spread)
    np.testing.assert_allclose(metrics.from_confusion(jnp.asarray(confusion))["mcc"], expected, rtol=1e-5)
    on_the_host = confusion_matrix.mcc(confusion_matrix.counts(exact))
    np.testing.assert_allclose(on_the_host, expected, rtol=1e-12)


def test_one_implementation_serves_numpy_and_jax():
    """Many matrices at once, and each by itself; without any row a measure is 0, which `defined` makes NaN."""
    tables = np.random.default_rng(0).poisson(3, (4, 5, 5)).astype(np.float64)
    tables[1] = 0
    names = ("accuracy", "balanced_accuracy", "macro_f1", "g_mean", "mcc", "recall", "precision", "f1")
    for name in names:
        measure = getattr(confusion_matrix, name)
        together = measure(confusion_matrix.counts(tables))
        assert together.dtype == np.float64
        for table, value in zip(tables, together, strict=True):
            np.testing.assert_array_equal(measure(confusion_matrix.counts(table)), value)
            on_jax = measure(confusion_matrix.counts(jnp.asarray(table, jnp.float32)))
            assert isinstance(on_jax, jax.Array) and on_jax.dtype == jnp.float32
            np.testing.assert_allclose(on_jax, value, rtol=2e-6, atol=1e-6)
    counts = confusion_matrix.counts(tables)
    accuracy = confusion_matrix.accuracy(counts)
    assert accuracy[1] == 0 and np.isnan(confusion_matrix.defined(counts, accuracy)).tolist() == [False, True, False, False]
