"""The page's table of what ECG papers report, with intervals over patients."""

from typing import Any

import numpy as np

from imbal_jax.evaluate import aami
from imbal_jax.report.arms import labels
from imbal_jax.report.markup import Cell, number, section, table
from imbal_jax.report.run import Run, ranked

COLUMNS = {
    "j_kappa": "j-kappa ↑",
    "kappa": "kappa ↑",
    "accuracy": "Accuracy ↑",
    "macro_f1": "Macro F1 ↑",
    "mean_sensitivity": "Mean Se ↑",
}
OF_CLASS = {"se": "Se ↑", "pp": "+P ↑", "f1": "F1 ↑", "fpr": "FPR ↓"}
SEED = 0  # of the bootstrap


def by_record(run: Run) -> str:
    """Every arm's measures, its seeds pooled; '' for data that is no ECG or has no records."""
    rows = [row for row in run.rows if row.get("confusion_by_group") and "kappa" in row]
    if not rows:
        return ""
    names, arms = run.data["class_names"], [arm for arm in ranked(run) if any(row["method"] == arm for row in rows)]
    tables = {arm: [np.array(row["confusion_by_group"]) for row in rows if row["method"] == arm] for arm in arms}
    pooled = {arm: np.stack(of_seeds).sum(0) for arm, of_seeds in tables.items()}
    columns = dict(COLUMNS) | {f"{kind}_{name}": f"{name}: {head}" for name in "SV" for kind, head in OF_CLASS.items()}
    first = aami.measures(pooled[arms[0]].sum(0), names)
    columns = {key: head for key, head in columns.items() if key in first}
    label = labels(run)
    lines = [[(arm, label[arm]), *_cells(pooled[arm], names, list(columns))] for arm in arms]
    records = len(pooled[arms[0]])
    note = (
        f"Confusion matrices of all seeds pooled. Small print: 95% intervals over the {records} test records, drawn anew as "
        "wholes: how much the figures would move with other patients, not with other seeds. Se: sensitivity, +P: positive "
        "predictivity, FPR: share of the other beats taken for the class; j-kappa = kappa / 2 + (Se + +P of S and V) / 8."
    )
    return section("AAMI measures", table(["Method", *columns.values()], lines), note)


def _cells(tables: np.ndarray, names: list[str], keys: list[str]) -> list[Cell]:
    found, ends = aami.measures(tables.sum(0), names), aami.bootstrap_by_record(tables, names, SEED)
    return [_cell(key, found[key], ends[key]) for key in keys]


def _cell(key: str, value: float, ends: tuple[float, float]) -> Cell:
    if not np.isfinite(value):
        return None, "–"
    small = " – ".join(_plain(key, end) for end in ends) if np.isfinite(ends).all() else ""
    return value, f"{number(key, value)}<small>{small}</small>"


def _plain(key: str, value: Any) -> str:
    return number(key, float(value)).removesuffix("%")
