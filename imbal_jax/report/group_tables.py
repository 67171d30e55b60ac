"""Tables of domain-specific measures, with intervals over groups of the test set such as records or patients."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from imbal_jax.evaluate import aami, clustered, grades
from imbal_jax.evaluate.metrics import bounds, class_key
from imbal_jax.report.arm_table import labels
from imbal_jax.report.formats import number
from imbal_jax.report.markup import BLANK, NO_INTERVAL, Cell, Small, table_section
from imbal_jax.report.run import Run, baselines, ranked

OF_CLASS = {"se": "Se ↑", "pp": "+P ↑", "f1": "F1 ↑", "fpr": "FPR ↓"}
SEED = 0  # of the bootstrap


class Field(NamedTuple):
    """The measures of one application domain.

    Attributes:
        title: title of the table.
        mark: a metric that identifies rows of this domain.
        main: key and name of the measure used to compare arms.
        groups: name of the test set's groups.
        measure: confusion matrices and class names -> measures, see `clustered.bootstrap`.
        columns: class names -> {measure: column header}.
        note: explanation of abbreviations.
    """

    title: str
    mark: str
    main: tuple[str, str]
    groups: str
    measure: Callable[[np.ndarray, Sequence[str]], Mapping[str, np.ndarray]]
    columns: Callable[[Sequence[str]], dict[str, str]]
    note: str


def _of_beats(names: Sequence[str]) -> dict[str, str]:
    overall = {"j_kappa": "j-kappa ↑", "kappa": "kappa ↑", "accuracy": "Accuracy ↑", "macro_f1": "Macro F1 ↑"}
    overall["mean_sensitivity"] = "Mean Se ↑"
    has_both = all(name in names for name in aami.ARRHYTHMIAS)
    shown = overall if has_both else {name: head for name, head in overall.items() if name != "j_kappa"}
    return shown | {
        f"{kind}_{name}": f"{name}: {head}" for name in aami.ARRHYTHMIAS if name in names for kind, head in OF_CLASS.items()
    }


def _of_grades(names: Sequence[str]) -> dict[str, str]:
    overall = {"quadratic_kappa": "Quadratic kappa ↑", "balanced_accuracy": "Balanced accuracy ↑", "accuracy": "Accuracy ↑"}
    return overall | {class_key("recall", name): f"Recall of {name} ↑" for name in names}


FIELDS = (
    Field(
        "AAMI measures",
        "kappa",
        ("j_kappa", "j-kappa"),
        "test records",
        aami.measures,
        _of_beats,
        " Se: sensitivity, +P: positive predictivity, FPR: share of the other beats classified as the class; j-kappa = kappa / "
        "2 + (Se + +P of S and V) / 8.",
    ),
    Field(
        "Grades", "quadratic_kappa", ("quadratic_kappa", "quadratic kappa"), "test patients", grades.measures, _of_grades, ""
    ),
)


def by_group(run: Run) -> Markup:
    """Every arm's measures, pooled over seeds; '' for other data or without groups."""
    return Markup("").join(_section(run, field) for field in FIELDS)


def _section(run: Run, field: Field) -> Markup:
    rows = [row for row in run.rows if row.get("confusion_by_group") and field.mark in row]
    if not rows:
        return Markup("")
    names, arms = run.data["class_names"], [arm for arm in ranked(run) if any(row["method"] == arm for row in rows)]
    tables = {arm: {row["seed"]: np.array(row["confusion_by_group"]) for row in rows if row["method"] == arm} for arm in arms}
    measure: clustered.Measure = lambda tables: field.measure(tables, names)  # noqa: E731
    columns, label = field.columns(names), labels(run)
    stacked = {arm: np.stack(list(of_seeds.values())) for arm, of_seeds in tables.items()}
    lines = [[Cell(arm, label=label[arm]), *_cells(stacked[arm], measure, list(columns))] for arm in arms]
    heads = ["Method", *columns.values()]
    base = next((arm for arm in baselines(run) if arm in tables), "")
    against = [_against(tables, arm, base, measure, field.main[0]) for arm in arms]
    if any(cell.text for cell in against):
        heads.insert(2, f"{field.main[1]} against {base}")
        lines = [[*line[:2], cell, *line[2:]] for line, cell in zip(lines, against, strict=True)]
    seeds, groups = max(len(table) for table in stacked.values()), stacked[arms[0]].shape[1]
    levels = f"the {groups} {field.groups}" + (f" and the {seeds} seeds" if seeds > 1 else "")
    note = f"Confusion matrices are pooled over seeds. Small print: 95% bootstrap intervals, which resample {levels}."
    note += " One seed: the variation over seeds is not included." if seeds == 1 else ""
    if any(cell.text for cell in against):
        note += " Differences: mean over seeds, interval over both levels, not corrected for several arms or analyses."
    note += field.note
    return table_section(field.title, heads, lines, note)


def _against(
    tables: Mapping[str, Mapping[int, np.ndarray]], arm: str, base: str, measure: clustered.Measure, main: str
) -> Cell:
    """The difference from the baseline on shared seeds, with an interval over groups and seeds."""
    seeds = sorted(set(tables[arm]) & set(tables.get(base, ())))
    if arm == base or not seeds:
        return Cell(None)
    mine, theirs = (np.stack([tables[name][seed] for seed in seeds]) for name in (arm, base))
    missing = np.array(np.nan)
    of_seeds = np.asarray(measure(mine.sum(1)).get(main, missing)) - np.asarray(measure(theirs.sum(1)).get(main, missing))
    if not np.isfinite(of_seeds).all():
        return Cell(None)
    mean = float(of_seeds.mean())
    difference = clustered.two_level(mine, theirs, lambda table: np.asarray(measure(table)[main]), SEED)
    if difference is None:
        return Cell(mean, f"{mean:+.3f}", (NO_INTERVAL,))
    low, high = _within(main, difference.interval)
    return Cell(mean, f"{mean:+.3f}", (Small(f"{low:+.3f} – {high:+.3f}"),))


def _within(measure: str, ends: tuple[float, float]) -> tuple[float, float]:
    """The interval of a difference, clipped to the measure's range."""
    low, high = bounds(measure)
    return max(ends[0], low - high), min(ends[1], high - low)


def _cells(tables: np.ndarray, measure: clustered.Measure, keys: list[str]) -> list[Cell]:
    values, ends = measure(tables.sum((0, 1))), clustered.bootstrap(tables, measure, SEED)
    return [_cell(key, float(values[key]), ends[key]) for key in keys]


def _cell(key: str, value: float, ends: tuple[float, float]) -> Cell:
    if not np.isfinite(value):
        return BLANK
    small = " – ".join(_plain(key, end) for end in ends) if np.isfinite(ends).all() else ""
    return Cell(value, number(key, value), (Small(small),))


def _plain(key: str, value: Any) -> str:
    return number(key, float(value)).removesuffix("%")
