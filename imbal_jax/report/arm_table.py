"""The main table: one row for each arm, sorted by the chosen metric, with published results beside or below them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from imbal_jax.evaluate import stats
from imbal_jax.report.formats import band, capital, down, duration, gap, is_share, name_of, number, p_value
from imbal_jax.report.markup import BLANK, NO_INTERVAL, Cell, Label, Small, table_section, with_interval
from imbal_jax.report.precision_recall import rarest
from imbal_jax.report.run import Published, Run, area_key, baselines, published, ranked, recall_key, same_spec, values_of
from imbal_jax.report.style import arm_colours

MOST_CLASSES = 6  # minority classes with a column each; with more, only their mean
RAREST = 2  # rarest minority classes that also have a column for PR-AUC
EPOCHS = {"epoch_seconds": "s per epoch", "epoch_selected": "Epoch selected"}  # columns shown if the run has them
SHORT = {"roc_auc": "ROC AUC"}  # column headers; the note has the full names
BREAKS = re.compile(r"(?<=[(_])|(?<=[.=])(?=[a-z])")  # in an arm's name: where a line may end
WORDS = {"none": "–"}  # verdicts shown differently


def compared(run: Run) -> Markup:
    """The section with the table."""
    metric = run.results["metric"]
    against = f"'{run.results['baseline']}'"
    units = "in points, " if is_share(metric) else ""
    times = run.results["analyses"]
    looks = f" and {len(times)} interim analyses (at {', '.join(map(str, times))} seeds)" if len(times) > 1 else ""
    note = (
        f"Worst seed and difference refer to {name_of(metric)}; small print: 95% intervals over seeds. Difference: {units}from "
        f"{against} on the same seeds. p: sign-flip test, adjusted for the number of arms (Holm){looks}. Effect: the mean "
        "difference divided by its standard deviation over seeds. Verdict: better or worse if p is below 0.05 and the interval "
        f"excludes 0; equivalent if the interval lies within {band(metric, run.results['margin'])}.{_levels(run)} Time: per "
        "seed. ROC AUC: mean over classes, each against the rest. Click a column header to sort."
    )
    heads, rows = _table(run)
    order = "ascending" if down(metric) else "descending"
    return table_section("Arms compared", heads, rows, note + _said_once(run), (1, order))


def _common(values: Sequence[Any]) -> Any:
    """The value that all rows share, which is then shown once below the table; None if they differ."""
    return values[0] if len(values) > 1 and all(value == values[0] for value in values) else None


def _reason(run: Run) -> str | None:
    """Why no arm has a verdict, if the reason is the same for all."""
    compared_pairs = [pairs.get(run.results["metric"]) or {} for pairs in run.results["paired"].values()]
    return _common([pair.get("reason") for pair in compared_pairs if pair.get("mean") is not None])


def _length(run: Run) -> list[str] | None:
    """How the training length was set, if it is the same for all arms."""
    return _common([summary["length"] for summary in run.results["methods"].values()])


def _seeds(run: Run) -> int | None:
    """The number of seeds, if it is the same for all arms."""
    return _common([len(summary["seeds"]) for summary in run.results["methods"].values()])


def _none_failed(run: Run) -> bool:
    return not any(summary["failed"] for summary in run.results["methods"].values())


def _said_once(run: Run) -> str:
    why, length, seeds = _reason(run), _length(run), _seeds(run)
    text = f" Steps: {'; '.join(length)}." if length else ""
    text += f" Seeds: {seeds} per arm." if seeds else ""
    text += " No seed failed." if _none_failed(run) else ""
    return text + (f" Undecided: {why}." if why else "")


def interval_words(run: Run, pair: Mapping[str, Any]) -> str:
    """The interval of a difference and what was resampled; or that all differences are equal."""
    metric, (low, high), n = run.results["metric"], pair["ci95"], pair["n"]
    if pair["effect"] is None and pair["interval"] != "two-level":
        return f"the differences of all {n} paired seeds are equal ({gap(metric, pair['mean'])}): no interval"
    over = f"{pair['groups']} test groups and {n} paired seeds, both resampled" if pair.get("groups") else f"{n} paired seeds"
    kind = {"t": "Student's t, ", "bootstrap": "bootstrap, "}.get(pair["interval"], "")
    return f"95% interval of the difference {gap(metric, low)} to {gap(metric, high)} ({kind}{over})"


def steps_words(run: Run, arm: str) -> str:
    """'trained N and M steps' if an arm and its baseline trained for different lengths, else ''."""
    arms = run.results["methods"]
    row = next(row for row in run.rows if row["method"] == arm)
    other = stats.opponent(row, run.results["baseline"], arms)
    if other is None or not arms[arm]["steps"] or not arms[other]["steps"] or arms[arm]["steps"] == arms[other]["steps"]:
        return ""
    return "trained {} and {} steps".format(*("/".join(f"{n:,}" for n in arms[name]["steps"]) for name in (arm, other)))


def _levels(run: Run) -> str:
    """A note on two-level intervals, if the rows have groups."""
    metric = run.results["metric"]
    groups = {pairs[metric]["groups"] for pairs in run.results["paired"].values() if pairs.get(metric, {}).get("groups")}
    if not groups:
        return ""
    return f" Intervals of differences are over seeds and over the {max(groups)} groups of the test set (two-level bootstrap)."


def labels(run: Run) -> dict[str, Label]:
    """For each arm its rank and its name, in its colour: for the table and the charts."""
    colours = arm_colours(list(run.results["methods"]))
    return {arm: Label(rank, colours[arm], BREAKS.split(arm)) for rank, arm in enumerate(ranked(run), 1)}


def _table(run: Run) -> tuple[list[str], list[list[Cell]]]:
    metric, rare = run.results["metric"], run.data["minority"]
    heads = ["Method", capital(name_of(metric)) + down(metric), "Worst seed", "Difference", "p (Holm)", "Effect", "Verdict"]
    measures = [] if metric == "accuracy" else ["accuracy"]
    measures += [recall_key(run, label) for label in rare] if len(rare) <= MOST_CLASSES else ["minority"]
    measures += [name for label in rarest(run.data["counts"], set(rare))[:RAREST] if _has(run, name := area_key(run, label))]
    measures += [name for name in ("roc_auc", "ece") if name != metric and _has(run, name)]
    columns = {name: column for column, name in enumerate(measures, len(heads))} | {metric: 1}  # where a metric is shown
    epochs = [name for name in EPOCHS if any(name in summary for summary in run.results["methods"].values())]
    stepped = any(summary["steps"] for summary in run.results["methods"].values())
    heads += [_head(run, name) for name in measures] + (["Steps"] if stepped else [])
    heads += ["Time", *(EPOCHS[name] for name in epochs)]
    heads += ([] if _seeds(run) else ["Seeds"]) + ([] if _none_failed(run) else ["Failed"])
    label = labels(run)
    rows = {arm: _row(run, arm, measures, epochs, label[arm], stepped) for arm in ranked(run)}
    separate = []
    for theirs in published(run.config):
        ours = same_spec(run, theirs)
        for arm in ours:
            _beside(rows[arm], theirs, columns)
        if not ours:
            separate.append(_apart(theirs, columns, len(heads)))
    return heads, [*rows.values(), *separate]


def _beside(row: list[Cell], theirs: Published, columns: Mapping[str, int]) -> None:
    """Add published results to the row of our arm of the same method."""
    for name, value in theirs.figures.items():
        if name in columns:
            row[columns[name]] = _with_small(row[columns[name]], Small(f"published {number(name, value)}"))
    row[0] = _with_small(row[0], Small(_described(theirs, columns), "words", "published"))


def _with_small(cell: Cell, line: Small) -> Cell:
    return cell._replace(small=(*cell.small, line))


def _apart(theirs: Published, columns: Mapping[str, int], width: int) -> list[Cell]:
    """A row for published results whose method is not among our arms, or is not given."""
    row = [Cell(None)] * width
    for name, value in theirs.figures.items():
        if name in columns:
            row[columns[name]] = Cell(value, number(name, value))
    spec = (Small(theirs.spec),) if theirs.spec else ()
    row[0] = Cell(theirs.source, _described(theirs, columns), spec, tag="published")
    return row


def _described(theirs: Published, columns: Mapping[str, int]) -> str:
    """The source, with its results that no column shows."""
    others = [f"{name_of(name)} {number(name, value)}" for name, value in theirs.figures.items() if name not in columns]
    return ": ".join(filter(None, (theirs.source, ", ".join(others))))


def _head(run: Run, measure: str) -> str:
    for label in run.data["minority"]:
        for key, what in ((recall_key, "Recall"), (area_key, "PR-AUC")):
            if measure == key(run, label):
                return f"{what} of {run.data['class_names'][label]}"
    return SHORT.get(measure) or capital(name_of(measure)) + down(measure)


def _has(run: Run, metric: str) -> bool:
    return any(row.get(metric) is not None for row in run.rows)


def _row(run: Run, arm: str, measures: list[str], epochs: list[str], label: Label, stepped: bool) -> list[Cell]:
    metric, arm_results = run.results["metric"], run.results["methods"][arm]
    summary = arm_results["metrics"].get(metric) or {}
    others = [stats.summary(name, values_of(run, arm, name)) for name in measures]
    failed, collapsed = arm_results["failed"], arm_results["collapsed"]
    collapsed_note = f"collapsed to a single predicted class in {collapsed} of {len(arm_results['seeds'])} seeds"
    return [
        Cell(arm, small=(Small(collapsed_note, "words bad"),) if collapsed else (), label=label),
        with_interval(metric, summary),
        Cell(summary.get("worst"), number(metric, summary.get("worst"))),
        *_against(run, arm),
        *(Cell(other["mean"], number(name, other["mean"])) for name, other in zip(measures, others, strict=True)),
        *([_steps(arm_results, bool(_length(run)))] if stepped else []),
        _time(arm_results),
        *(_epoch(name, arm_results.get(name)) for name in epochs),
        *([] if _seeds(run) else [Cell(len(arm_results["seeds"]), str(len(arm_results["seeds"])))]),
        *([] if _none_failed(run) else [Cell(failed, f"{failed} failed", kind="bad") if failed else Cell(0, "0")]),
    ]


def _against(run: Run, arm: str) -> list[Cell]:
    """Difference, p, effect and verdict."""
    metric = run.results["metric"]
    pair: Mapping[str, Any] = run.results["paired"].get(arm, {}).get(metric) or {}
    if arm in baselines(run):
        return [Cell(0.0, "baseline", kind="soft"), BLANK, BLANK, BLANK]
    if pair.get("mean") is None:
        return [BLANK] * 4
    mean, ends, effect = pair["mean"], pair["ci95"], pair["effect"]
    if not ends:
        return [Cell(mean, gap(metric, mean), (NO_INTERVAL,)), BLANK, BLANK, BLANK]
    small = Small(f"{gap(metric, ends[0])} to {gap(metric, ends[1])}")
    if effect is None and pair["interval"] != "two-level":
        small = Small(f"equal in all {pair['n']} seeds", "words")
    why = (Small(pair["reason"], "words"),) if pair["reason"] and not _reason(run) else ()
    return [
        Cell(mean, gap(metric, mean), (small,)),
        Cell(pair["p_holm"], p_value(pair["p_holm"])),
        BLANK if effect is None else Cell(effect, f"{effect:+.1f}".replace("-", "−")),
        Cell(pair["verdict"], WORDS.get(pair["verdict"], pair["verdict"]), why, kind=pair["verdict"]),
    ]


def _steps(arm_results: Mapping[str, Any], shown_once: bool) -> Cell:
    """Optimiser steps of a seed's classifier, and how that length was set unless it is shown once for all arms."""
    if not arm_results["steps"]:
        return BLANK
    length = (Small("; ".join(arm_results["length"]), "words"),) if arm_results["length"] and not shown_once else ()
    return Cell(arm_results["steps"][0], " / ".join(f"{steps:,}" for steps in arm_results["steps"]), length)


def _epoch(name: str, value: float | None) -> Cell:
    if value is None:
        return BLANK
    return Cell(value, f"{value:.3f}" if name == "epoch_seconds" and value < 1 else f"{value:.1f}")


def _time(arm_results: Mapping[str, Any]) -> Cell:
    seconds, gan = arm_results.get("seconds"), arm_results.get("gan_seconds")
    return Cell(seconds, duration(seconds), (Small(f"GAN {duration(gan)}"),) if gan else ())
