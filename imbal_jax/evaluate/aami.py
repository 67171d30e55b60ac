"""The measures that ECG papers report, from confusion matrices over AAMI beat classes.

ANSI/AAMI EC57; de Chazal et al. 2004, "Automatic classification of heartbeats using ECG morphology and heartbeat interval
features". Every class counts against every other one: AAMI's leave not to punish F taken for V, or Q taken for anything,
is not taken. Host-side NumPy.
"""

from collections.abc import Sequence

import numpy as np

ARRHYTHMIAS = ("S", "V")


def measures(confusion: np.ndarray, class_names: Sequence[str]) -> dict[str, np.ndarray]:
    """All measures of one classifier on one test set, or of several.

    Args:
        confusion: int [..., K, K], rows true, columns predicted.
        class_names: K letters of AAMI classes, such as 'NSVFQ'.

    Returns:
        float64 [...] each. For each of the classes S and V that is among the names: `se_S` (sensitivity), `pp_S` (positive
        predictivity, +P), `f1_S`, `fpr_S` (share of the other beats that are taken for S). `accuracy`; `macro_f1` and
        `mean_sensitivity` over the classes that have beats; `kappa` (Cohen 1960); and, where S and V are both there,
        `j_kappa` = kappa / 2 + (se_S + se_V + pp_S + pp_V) / 8 (Mar et al. 2011, "Optimization of ECG classification by
        means of feature selection"). Shares in [0, 1], kappa and j_kappa at most 1. As elsewhere in the library, the +P of
        a class that is never predicted is 0; what has no meaning (se and f1 of a class without beats, kappa with a single
        class, and what is made of them) is NaN.

    Raises:
        ValueError: the shape does not fit the names.
    """
    table, classes = np.asarray(confusion).astype(np.int64), len(class_names)
    if table.ndim < 2 or table.shape[-2:] != (classes, classes):
        raise ValueError(f"confusion of shape {table.shape} does not fit the {classes} classes {', '.join(class_names)}")
    hits = np.diagonal(table, axis1=-2, axis2=-1)
    actual, predicted, total = table.sum(axis=-1), table.sum(axis=-2), table.sum(axis=(-2, -1))
    se, f1 = _share(hits, actual), np.where(actual > 0, _share(2 * hits, actual + predicted), np.nan)
    pp = np.where(predicted > 0, _share(hits, predicted), 0.0)
    fpr = _share(predicted - hits, total[..., None] - actual)
    found: dict[str, np.ndarray] = {}
    at = {name: list(class_names).index(name) for name in ARRHYTHMIAS if name in class_names}
    for name, k in at.items():
        found |= {f"{kind}_{name}": value[..., k] for kind, value in (("se", se), ("pp", pp), ("f1", f1), ("fpr", fpr))}
    found["accuracy"] = _share(hits.sum(axis=-1), total)
    found["macro_f1"], found["mean_sensitivity"] = _mean(f1), _mean(se)
    expected = _share((actual.astype(float) * predicted).sum(axis=-1), total.astype(float) ** 2)
    found["kappa"] = _share(found["accuracy"] - expected, 1.0 - expected)
    if len(at) == len(ARRHYTHMIAS):
        found["j_kappa"] = found["kappa"] / 2 + sum(found[f"{kind}_{name}"] for kind in ("se", "pp") for name in at) / 8
    return {name: np.asarray(value)[()] for name, value in found.items()}  # of one table plain numbers


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)


def _mean(values: np.ndarray) -> np.ndarray:
    """Over the last axis, without NaN; NaN where there is nothing else."""
    there = ~np.isnan(values)
    return _share(np.where(there, values, 0.0).sum(axis=-1), there.sum(axis=-1))
