"""The page's table of what ECG papers report, with intervals over patients."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from imbal_jax.evaluate import aami
from imbal_jax.report.arms import labels
from imbal_jax.report.markup import Cell, number, section, table
from imbal_jax.report.run import Run, baselines, ranked

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
    tables = {arm: {row["seed"]: np.array(row["confusion_by_group"]) for row in rows if row["method"] == arm} for arm in arms}
    pooled = {arm: _pooled(of_seeds, of_seeds) for arm, of_seeds in tables.items()}
    columns = dict(COLUMNS) | {f"{kind}_{name}": f"{name}: {head}" for name in "SV" for kind, head in OF_CLASS.items()}
    first = aami.measures(pooled[arms[0]].sum(0), names)
    columns = {key: head for key, head in columns.items() if key in first}
    label = labels(run)
    lines = [[(arm, label[arm]), *_cells(pooled[arm], names, list(columns))] for arm in arms]
    heads = ["Method", *columns.values()]
    base = next((arm for arm in baselines(run) if arm in tables), "")
    against = [_against(tables, arm, base, names) for arm in arms]
    if any(shown for _, shown in against):
        heads.insert(2, f"j-kappa against {base}")
        lines = [[*line[:2], cell, *line[2:]] for line, cell in zip(lines, against, strict=True)]
    records = len(pooled[arms[0]])
    note = (
        f"Confusion matrices of all seeds pooled. Small print: 95% intervals over the {records} test records, drawn anew as "
        "wholes: how much the figures would move with other patients, not with other seeds. Se: sensitivity, +P: positive "
        "predictivity, FPR: share of the other beats taken for the class; j-kappa = kappa / 2 + (Se + +P of S and V) / 8."
    )
    return section("AAMI measures", table(heads, lines), note)


def _pooled(of_seeds: Mapping[int, np.ndarray], seeds: Iterable[int]) -> np.ndarray:
    return np.stack([of_seeds[seed] for seed in seeds]).sum(0)


def _against(tables: Mapping[str, Mapping[int, np.ndarray]], arm: str, base: str, names: list[str]) -> tuple[float | None, str]:
    """How much more j-kappa an arm has than the baseline, on the seeds that both have and on the same draws of records."""
    seeds = sorted(set(tables[arm]) & set(tables.get(base, ())))
    if arm == base or not seeds:
        return None, ""
    mine, theirs = (_pooled(tables[name], seeds) for name in (arm, base))
    more, less = (aami.measures(table.sum(0), names).get("j_kappa", np.nan) for table in (mine, theirs))
    if not np.isfinite(more - less):
        return None, ""
    low, high = aami.bootstrap_by_record(mine, names, SEED, minus=theirs)["j_kappa"]
    return more - less, f"{more - less:+.3f}<small>{low:+.3f} – {high:+.3f}</small>"


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
