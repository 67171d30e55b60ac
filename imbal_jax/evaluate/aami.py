"""The measures that ECG papers report, from confusion matrices over AAMI beat classes.

ANSI/AAMI EC57; de Chazal et al. 2004, "Automatic classification of heartbeats using ECG morphology and heartbeat interval
features". Every confusion counts as an error: AAMI's option to ignore F classified as V, and Q as anything, is not used.
Host-side NumPy.
"""

from collections.abc import Sequence

import numpy as np

from imbal_jax.evaluate import confusion_matrix

ARRHYTHMIAS = ("S", "V")


def measures(confusion: np.ndarray, class_names: Sequence[str]) -> dict[str, np.ndarray]:
    """All measures of one classifier on one test set, or of several.

    Args:
        confusion: int [..., K, K], rows true, columns predicted.
        class_names: K letters of AAMI classes, such as 'NSVFQ'.

    Returns:
        float64 [...] each. For each of the classes S and V that is among the names: `se_S` (sensitivity), `pp_S` (positive
        predictivity, +P), `f1_S`, `fpr_S` (share of the other beats classified as S). `accuracy`; `macro_f1` and
        `mean_sensitivity` over the classes that have beats; `kappa` (Cohen 1960); and, if S and V are both present,
        `j_kappa` = kappa / 2 + (se_S + se_V + pp_S + pp_V) / 8 (Mar et al. 2011, "Optimization of ECG classification by
        means of feature selection"). Shares in [0, 1], kappa and j_kappa at most 1. As elsewhere in the library, the +P of
        a class that is never predicted is 0. Undefined values (se and f1 of a class without beats, kappa with a single
        class, and measures that use them) are NaN.

    Raises:
        ValueError: the shape does not fit the names.
    """
    table, classes = np.asarray(confusion, np.float64), len(class_names)
    if table.ndim < 2 or table.shape[-2:] != (classes, classes):
        raise ValueError(f"confusion of shape {table.shape} does not fit the {classes} classes {', '.join(class_names)}")
    counts = confusion_matrix.counts(table)
    total = table.sum(axis=(-2, -1))
    by_class = {
        "se": confusion_matrix.recall(counts),
        "pp": confusion_matrix.precision(counts),
        "f1": confusion_matrix.f1(counts),
        "fpr": _share(counts.predicted - counts.hits, total[..., None] - counts.actual),
    }
    labels = {name: list(class_names).index(name) for name in ARRHYTHMIAS if name in class_names}
    values = {f"{kind}_{name}": by_class[kind][..., label] for name, label in labels.items() for kind in by_class}
    values["accuracy"] = confusion_matrix.defined(counts, confusion_matrix.accuracy(counts))
    values["macro_f1"] = confusion_matrix.defined(counts, confusion_matrix.macro_f1(counts))
    values["mean_sensitivity"] = confusion_matrix.defined(counts, confusion_matrix.balanced_accuracy(counts))
    expected = _share((counts.actual * counts.predicted).sum(axis=-1), total**2)
    values["kappa"] = _share(values["accuracy"] - expected, 1.0 - expected)
    if len(labels) == len(ARRHYTHMIAS):
        values["j_kappa"] = values["kappa"] / 2 + sum(values[f"{kind}_{name}"] for kind in ("se", "pp") for name in labels) / 8
    return {name: np.asarray(value)[()] for name, value in values.items()}  # scalars for a single table


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN if the whole is 0."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)
