"""Classification metrics on the device, at the test set's class frequencies: pure jnp, can be jitted and vmapped."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax.evaluate import confusion_matrix
from imbal_jax.evaluate.confusion_matrix import mean_where

SCALARS = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "g_mean",
    "mcc",
    "pr_auc",
    "roc_auc",
    "ece",
    "brier",
    "nll",
)
# Domain-specific ones, see `evaluate.measures`.
FURTHER = ("kappa", "j_kappa", "mean_sensitivity", "quadratic_kappa")
# Of an arm's GAN, the mean over its classes, see `evaluate.generators.quality`.
GENERATOR = ("gan_frechet", "gan_precision", "gan_recall", "gan_density", "gan_coverage", "gan_copies")
BY_CLASS = ("recall_", "precision_", "pr_auc_", "roc_auc_", "se_", "pp_", "f1_", "fpr_")
LOWER_IS_BETTER = frozenset({"ece", "brier", "nll", "fpr_S", "fpr_V", "gan_frechet", "gan_copies"})
# Bounds of metrics that are not in [0, 1].
BOUNDS = {
    "mcc": (-1.0, 1.0),
    "kappa": (-1.0, 1.0),
    "quadratic_kappa": (-1.0, 1.0),
    "j_kappa": (-0.5, 1.0),
    "brier": (0.0, 2.0),
    "nll": (0.0, np.inf),
    "gan_frechet": (0.0, np.inf),
    "gan_density": (0.0, np.inf),
}
SHARES_BESIDE = ("recall", "minority", "accuracy_with_twins", "balanced_accuracy_with_twins")  # shares derived from metrics
ECE_BINS = 15
RECALLS = tuple(i / 20 for i in range(1, 21))  # the points of `pr_curve`


def classification(logits: jax.Array, y: jax.Array) -> dict[str, jax.Array]:
    """All metrics of one classifier on one test set.

    Classes without a test row are left out of every mean over classes, and their recall is NaN; the precision of a
    class that is never predicted is 0. The prediction is the largest logit, the first one where several are equal.

    Args:
        logits: float32 [N, K], unnormalised log-probabilities (log-probabilities give the same numbers).
        y: int [N], true classes in [0, K).

    Returns:
        float32 scalars `accuracy`, `balanced_accuracy` (mean recall), `macro_f1`, `g_mean` (geometric mean of the
        recalls), `mcc` (Matthews correlation for K classes, Gorodkin 2004), `pr_auc` (mean over classes of the
        one-vs-rest average precision), `roc_auc` (mean over classes of the one-vs-rest area under the ROC curve; classes
        without a positive or a negative test row are left out, NaN where none is left), `ece` (Guo et al. 2017: 15 equal
        bins of the top probability), `brier` (Brier 1950: squared error summed over classes, 0 to 2), `nll` (nats);
        float32 [K] `recall`, `precision`, `average_precision` and `roc_areas` (NaN where the class has no test row);
        float32 [K, 20] `pr_curve` (see `precision_at`); int32 [K, K] `confusion` (rows true, columns predicted). Shares
        lie in [0, 1].
    """
    classes = logits.shape[-1]
    y = y.astype(jnp.int32)
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    predicted = jnp.argmax(log_p, axis=-1).astype(jnp.int32)
    confusion = jnp.zeros((classes, classes), jnp.int32).at[y, predicted].add(1)
    truth = jax.nn.one_hot(y, classes, dtype=jnp.float32)
    present, areas = truth.sum(axis=0) > 0, jax.vmap(average_precision, in_axes=1)(log_p, truth)
    roc_areas = jax.vmap(roc_area, in_axes=1)(_log_odds(log_p), truth)
    some = jnp.isfinite(roc_areas)
    return {
        **from_confusion(confusion),
        "pr_auc": mean_where(jnp, areas, present),
        "average_precision": jnp.where(present, areas, jnp.nan),
        "roc_auc": jnp.where(some.any(), mean_where(jnp, roc_areas, some), jnp.nan),
        "roc_areas": roc_areas,
        "ece": calibration_error(log_p, y),
        "brier": jnp.mean(jnp.sum((jnp.exp(log_p) - truth) ** 2, axis=-1)),
        "nll": -jnp.mean(jnp.take_along_axis(log_p, y[:, None], axis=-1)),
        "pr_curve": jax.vmap(precision_at, in_axes=1)(log_p, truth),
        "confusion": confusion,
    }


def from_confusion(confusion: jax.Array) -> dict[str, jax.Array]:
    """The metrics that depend on the confusion matrix alone.

    Args:
        confusion: int [K, K], rows true, columns predicted.

    Returns:
        float32 scalars `accuracy`, `balanced_accuracy`, `macro_f1`, `g_mean`, `mcc` and [K] `recall`, `precision`,
        with the conventions of `classification`.
    """
    counts = confusion_matrix.counts(confusion.astype(jnp.float32))
    return {
        "accuracy": confusion_matrix.accuracy(counts),
        "balanced_accuracy": confusion_matrix.balanced_accuracy(counts),
        "macro_f1": confusion_matrix.macro_f1(counts),
        "g_mean": confusion_matrix.g_mean(counts),
        "mcc": confusion_matrix.mcc(counts),
        "recall": confusion_matrix.recall(counts),
        "precision": confusion_matrix.precision(counts),
    }


def average_precision(score: jax.Array, positive: jax.Array) -> jax.Array:
    """Average precision: the sum of precision x step in recall over the distinct thresholds; equal scores count as one.

    Args:
        score: float [N], larger means more likely positive.
        positive: float or bool [N], 1 for the rows of the class.

    Returns:
        float32 scalar in [0, 1]; 0 where there is no positive row.
    """
    positive, precision, _ = _by_threshold(score, positive)
    return jnp.sum(positive * precision) / jnp.maximum(positive.sum(), 1.0)


def roc_area(score: jax.Array, positive: jax.Array) -> jax.Array:
    """The area under the ROC curve: how often a positive row scores above a negative one, equal scores counting half.

    Args:
        score: float [N], larger means more likely positive.
        positive: float or bool [N], 1 for the rows of the class.

    Returns:
        float32 scalar in [0, 1]; NaN where there is no positive or no negative row.
    """
    n = score.shape[0]
    order = jnp.argsort(-score)
    score, positive = score[order], positive[order].astype(jnp.float32)
    index = jnp.arange(n, dtype=jnp.int32)
    differs = score[1:] != score[:-1]
    first = jax.lax.cummax(jnp.where(jnp.append(True, differs), index, 0), axis=0)
    last = jax.lax.cummin(jnp.where(jnp.append(differs, True), index, n - 1), axis=0, reverse=True)
    positives_found = jnp.cumsum(positive)
    above, not_below = (
        positives_found[first] - positive[first],
        positives_found[last],
    )  # positive rows, exclusive and inclusive of equal scores
    positives, negatives = positive.sum(), (1.0 - positive).sum()
    shares = (above + not_below) / (2.0 * jnp.maximum(positives, 1.0))
    area = jnp.sum((1.0 - positive) * shares) / jnp.maximum(negatives, 1.0)
    return jnp.where((positives > 0) & (negatives > 0), area, jnp.nan)


def _log_odds(log_p: jax.Array) -> jax.Array:
    """Log-probabilities [N, K] -> log(p / (1 - p)): order-preserving, and accurate where p rounds to 1."""
    top = jax.nn.one_hot(jnp.argmax(log_p, axis=-1), log_p.shape[-1], dtype=bool)
    others = jax.nn.logsumexp(jnp.where(top, -jnp.inf, log_p), axis=-1, keepdims=True)
    return log_p - jnp.where(top, others, jnp.log1p(-jnp.exp(jnp.where(top, -jnp.inf, log_p))))


def precision_at(score: jax.Array, positive: jax.Array, recalls: Sequence[float] = RECALLS) -> jax.Array:
    """The precision at the highest threshold whose recall is at least each of `recalls`: points of the PR curve.

    Args:
        score: float [N], larger means more likely positive.
        positive: float or bool [N], 1 for the rows of the class.
        recalls: R shares in (0, 1].

    Returns:
        float32 [R] in [0, 1]; NaN where there is no positive row.
    """
    positive, precision, positives_found = _by_threshold(score, positive)
    positives = positive.sum()
    needed = jnp.ceil(jnp.asarray(recalls, jnp.float32) * positives - 1e-3)  # rows: whole numbers compare exactly
    index = jnp.minimum(jnp.searchsorted(positives_found, jnp.maximum(needed, 1.0)), score.shape[0] - 1)
    return jnp.where(positives > 0, precision[index], jnp.nan)


def _by_threshold(score: jax.Array, positive: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """By decreasing score, [N] each: positive or not, precision, and positives so far; tied scores share a threshold."""
    n = score.shape[0]
    order = jnp.argsort(-score)
    score, positive = score[order], positive[order].astype(jnp.float32)
    index = jnp.arange(n, dtype=jnp.int32)
    last_of_ties = jnp.append(score[1:] != score[:-1], True)
    end = jax.lax.cummin(jnp.where(last_of_ties, index, n - 1), axis=0, reverse=True)
    positives_found = jnp.cumsum(positive)[end]
    return positive, positives_found / (end + 1).astype(jnp.float32), positives_found


def calibration_error(log_p: jax.Array, y: jax.Array, bins: int = ECE_BINS) -> jax.Array:
    """Expected calibration error of the top class (Guo et al. 2017), equal-width bins, open below and closed above.

    Args:
        log_p: float32 [N, K] log-probabilities.
        y: int32 [N] true classes.
        bins: number of bins over [0, 1].

    Returns:
        float32 scalar in [0, 1]: the mean over rows of |confidence - accuracy| of the row's bin.
    """
    confidence = jnp.exp(jnp.max(log_p, axis=-1))
    correct = (jnp.argmax(log_p, axis=-1) == y).astype(jnp.float32)
    bin_of = jnp.clip(jnp.ceil(confidence * bins).astype(jnp.int32) - 1, 0, bins - 1)
    gap = jnp.zeros((bins,), jnp.float32).at[bin_of].add(confidence - correct)
    return jnp.sum(jnp.abs(gap)) / log_p.shape[0]


def flatten(result: Mapping[str, Any], class_names: Sequence[str]) -> dict[str, Any]:
    """One lane's metrics as a flat dict for JSON.

    Args:
        result: what `classification` returns for one lane, as numpy or host arrays.
        class_names: K names; in keys their characters other than letters and digits become '_'.

    Returns:
        The scalars, `recall_<class>`, `precision_<class>`, `pr_auc_<class>` and `roc_auc_<class>` as floats (None where
        not finite: JSON has no NaN), `confusion` as a nested list of ints, and `pr_curve` as one of floats with four digits.
    """
    flat: dict[str, Any] = {name: _number(result[name]) for name in SCALARS}
    kinds = {"recall": "recall", "precision": "precision", "pr_auc": "average_precision", "roc_auc": "roc_areas"}
    for kind, of_class in kinds.items():
        flat |= {class_key(kind, name): _number(v) for name, v in zip(class_names, result[of_class], strict=True)}
    curves = [[_number(round(float(value), 4)) for value in curve] for curve in np.asarray(result["pr_curve"])]
    return flat | {"confusion": np.asarray(result["confusion"]).tolist(), "pr_curve": curves}


def class_key(kind: str, class_name: str) -> str:
    """The flat name of a per-class metric: class_key('recall', 'T-shirt/top') is 'recall_T_shirt_top'."""
    return f"{kind}_{re.sub('[^0-9A-Za-z]', '_', class_name)}"


def is_metric(name: str) -> bool:
    """Whether a key of a flat row is a metric that can be averaged (not a count, time or text)."""
    return name in (*SCALARS, *FURTHER, *GENERATOR) or name.startswith(BY_CLASS)


def bounds(name: str) -> tuple[float, float]:
    """The range of a metric; infinite for unbounded metrics and for other names."""
    if name in BOUNDS:
        return BOUNDS[name]
    return (0.0, 1.0) if is_metric(name) or name in SHARES_BESIDE else (-np.inf, np.inf)


def _number(value: Any) -> float | None:
    number = float(value)
    return number if np.isfinite(number) else None
