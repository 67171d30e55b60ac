"""Names of metrics and formats of numbers on the page, as plain text."""

from collections.abc import Sequence
from typing import Any

from imbal_jax.evaluate.metrics import BY_CLASS, LOWER_IS_BETTER

SHARES = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "g_mean",
    "pr_auc",
    "roc_auc",
    "recall",
    "precision",
    "coverage",
    "copies",
    "minority",
    "accuracy_with_twins",
    "balanced_accuracy_with_twins",
    "mean_sensitivity",
    "gan_precision",
    "gan_recall",
    "gan_coverage",
    "gan_copies",
)
NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "g_mean": "G-mean",
    "mcc": "MCC",
    "pr_auc": "PR-AUC (macro)",
    "roc_auc": "ROC AUC (macro, one vs rest)",
    "ece": "ECE",
    "brier": "Brier score",
    "nll": "log loss (nats)",
    "minority": "recall of the minority",
    "kappa": "Cohen's kappa",
    "j_kappa": "j-kappa",
    "mean_sensitivity": "mean sensitivity",
    "quadratic_kappa": "quadratic kappa",
    "gan_frechet": "GAN: Frechet distance",
    "gan_precision": "GAN: precision",
    "gan_recall": "GAN: recall",
    "gan_density": "GAN: density",
    "gan_coverage": "GAN: coverage",
    "gan_copies": "GAN: memorized samples",
    "accuracy_with_twins": "accuracy with train-test duplicates",
    "balanced_accuracy_with_twins": "balanced accuracy with train-test duplicates",
    "copies": "memorized samples",
    "frechet": "Fréchet distance",
    "nearest_train_mean": "nearest training row, mean",
    "nearest_train_min": "nearest training row, closest",
}


def name_of(metric: str) -> str:
    """The metric's name in words; plain text."""
    words = metric.replace("_", " ")
    for kind, area in (("pr_auc_", "PR-AUC of"), ("roc_auc_", "ROC AUC of")):
        if metric.startswith(kind):
            return NAMES.get(metric, area + words[len(kind) - 1 :])
    return NAMES.get(metric, words)


def capital(words: str) -> str:
    """The text with its first letter in upper case, the rest unchanged."""
    return words[:1].upper() + words[1:]


def down(metric: str) -> str:
    """An arrow down if lower is better, else ''."""
    return " ↓" if metric in LOWER_IS_BETTER else ""


def is_share(metric: str) -> bool:
    """Whether the metric is shown in percent, and its differences in points."""
    return metric in SHARES or metric.startswith(BY_CLASS)


def number(metric: str, value: float | None) -> str:
    """'87.65%' for shares, otherwise '0.123'; '–' for None."""
    if value is None:
        return "–"
    if is_share(metric):
        return f"{100 * value:.2f}%"
    return f"{value:.4f}" if abs(value) < 1 else f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def gap(metric: str, value: float | None) -> str:
    """A signed difference: in points of percent for shares, '+5.12'; else in the metric's units, '−0.0123'."""
    if value is None:
        return "–"
    return (f"{100 * value:+.2f}" if is_share(metric) else f"{value:+.4f}").replace("-", "−")


def band(metric: str, margin: float) -> str:
    """'±0.2 points': the margin within which arms are equivalent."""
    return f"±{100 * margin:g} points" if is_share(metric) else f"±{margin:g}"


def duration(seconds: float | None) -> str:
    """'0.4 s', '45 s', '3 min 20 s', '2 h 05 min'; '–' for None."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def p_value(p: float | None) -> str:
    """'0.016', '<0.001'; '–' for None."""
    return "–" if p is None else "<0.001" if p < 0.001 else f"{p:.2g}"


def listed(name: str, numbers: Sequence[Any]) -> str:
    """'seed 3', 'seeds 0, 2', 'seeds 0 to 31', '40 epochs from 34 to 314'; '' for none."""
    values = sorted(set(numbers))
    if not values:
        return ""
    if len(values) > 4 and values == list(range(values[0], values[-1] + 1)):
        return f"{name}s {values[0]} to {values[-1]}"
    if len(values) > 12:
        return f"{len(values)} {name}s from {values[0]} to {values[-1]}"
    return f"{name}{'s' if len(values) > 1 else ''} {', '.join(map(str, values))}"
