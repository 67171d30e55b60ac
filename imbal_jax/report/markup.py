"""Pieces of HTML and the form of numbers on the page. All text from a run passes through `text`."""

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from imbal_jax.evaluate.metrics import BY_CLASS, LOWER_IS_BETTER
from imbal_jax.report.style import DPI

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
    "gan_copies": "GAN: copies",
    "accuracy_with_twins": "accuracy with test rows that are also in train",
    "balanced_accuracy_with_twins": "balanced accuracy with test rows that are also in train",
    "frechet": "Fréchet distance",
    "nearest_train_mean": "nearest training row, mean",
    "nearest_train_min": "nearest training row, closest",
}
NO_INTERVAL = '<small class="words">one seed: no interval</small>'
Cell = tuple[Any, str]  # what a column is sorted by (None is last), and the HTML


def text(value: Any) -> str:
    """The value as text that is safe in HTML and in its attributes."""
    return escape(str(value), quote=True)


def name_of(metric: str) -> str:
    """The metric's name in words; plain text."""
    words = metric.replace("_", " ")
    for kind, area in (("pr_auc_", "PR-AUC of"), ("roc_auc_", "ROC AUC of")):
        if metric.startswith(kind):
            return NAMES.get(metric, area + words[len(kind) - 1 :])
    return NAMES.get(metric, words)


def capital(words: str) -> str:
    """The words with their first letter large, the others as they are."""
    return words[:1].upper() + words[1:]


def down(metric: str) -> str:
    """An arrow where lower is better."""
    return " ↓" if metric in LOWER_IS_BETTER else ""


def is_share(metric: str) -> bool:
    """Whether the metric is shown in percent, and its differences in points."""
    return metric in SHARES or metric.startswith(BY_CLASS)


def number(metric: str, value: float | None) -> str:
    """'87.65%' for shares, '0.123' else; '–' for None."""
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
    """'±0.2 points': the differences that are of no interest."""
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
    return "–" if p is None else "&lt;0.001" if p < 0.001 else f"{p:.2g}"


def with_interval(metric: str, summary: Mapping[str, Any]) -> Cell:
    """A mean and, in small print, its 95 % interval."""
    mean, ends = summary.get("mean"), summary.get("ci95")
    if mean is None:
        return None, "–"
    if not ends:
        return mean, number(metric, mean) + NO_INTERVAL
    low, high = (max(ends[0], 0.0), min(ends[1], 1.0)) if is_share(metric) else ends
    inside = f"{100 * low:.2f} – {100 * high:.2f}" if is_share(metric) else f"{number(metric, low)} – {number(metric, high)}"
    return mean, f"{number(metric, mean)}<small>{inside}</small>"


def table(heads: Sequence[str], rows: Sequence[Sequence[Cell]], sorted_by: tuple[int, str] | None = None) -> str:
    """A table that scrolls sideways where it must, its first column in sight, and that is sorted by a click on a head.

    Args:
        heads: plain text.
        rows: one cell for each head.
        sorted_by: column and 'ascending' or 'descending', where the rows come sorted.
    """
    head = ""
    for place, name in enumerate(heads):
        order = f' aria-sort="{sorted_by[1]}"' if sorted_by and sorted_by[0] == place else ""
        head += f'<th scope="col"{order}><button type="button">{text(name)}</button></th>'
    body = ""
    for row in rows:
        cells = (f'<td data-v="{text("" if key is None else key)}">{html}</td>' for key, html in row)
        body += f"<tr>{''.join(cells)}</tr>"
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def section(title: str, content: str, note: str = "", kind: str = "") -> str:
    """A card with a heading; the note is plain text."""
    note = f'<p class="note">{text(note)}</p>' if note else ""
    return f"<section{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}><h2>{text(title)}</h2>{content}{note}</section>"


def folded(title: str, content: str) -> str:
    """A part of the page that is closed at first."""
    return f"<details><summary>{text(title)}</summary>{content}</details>"


def as_json(value: Mapping[str, Any]) -> str:
    """A dict as it is kept."""
    return f"<pre>{text(json.dumps(value, indent=2, ensure_ascii=False))}</pre>"


def image(path: Path, name: str, kind: str) -> str:
    """A PNG inside the page, at the size it was drawn for."""
    png = path.read_bytes()
    width, height = (round(int.from_bytes(png[at : at + 4], "big") * 96 / DPI) for at in (16, 20))
    data = base64.b64encode(png).decode()
    size = f'width="{width}" height="{height}"'
    return f'<img class="{kind}" alt="{text(name)}" {size} src="data:image/png;base64,{data}">'


def listed(name: str, numbers: Sequence[Any]) -> str:
    """'seed 3', 'seeds 0, 2', 'seeds 0 to 31', '40 epochs from 34 to 314'; '' for none."""
    found = sorted(set(numbers))
    if not found:
        return ""
    if len(found) > 4 and found == list(range(found[0], found[-1] + 1)):
        return f"{name}s {found[0]} to {found[-1]}"
    if len(found) > 12:
        return f"{len(found)} {name}s from {found[0]} to {found[-1]}"
    return f"{name}{'s' if len(found) > 1 else ''} {', '.join(map(str, found))}"
