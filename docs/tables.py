"""Tables of docs/results and of README, in Markdown, from the rows of a folder alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax

from docs.folders import Folder, baseline_of, gan_steps, metric_of
from imbal_jax.evaluate import stats
from imbal_jax.evaluate.metrics import LOWER_IS_BETTER
from imbal_jax.report.formats import is_share, name_of

PERCENT = ("ece",)  # shown in percent beside the shares of `markup`
WIDEST = 80  # characters of a cell
SHORT = {  # heads of columns
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    "accuracy_with_twins": "with train-test duplicates",
    "mean_sensitivity": "mean Se",
    "nll": "log loss",
    "brier": "Brier score",
    "gan_coverage": "coverage",
    "gan_frechet": "Frechet distance",
    "gan_density": "density",
}
RENDERED = "<!-- Rendered by `make results` from rows.jsonl, config.json, environment.json and about.json; do not edit. -->"


def page(folder: Folder) -> str:
    """The text of docs/results/NAME/table.md."""
    told, lines = folder.about, [f"# {folder.about.title}", "", RENDERED, ""]
    if told.command:
        lines += ["```sh", *told.command, "```", ""]
    lines += [text for fault in told.faults for text in (f"**{fault}**", "")]
    lines += [text for text in (told.setting, f"Chosen on: {told.chosen}") for text in (text, "") if told.setting or text]
    lines += [*measured(folder), ""]
    lines += [*published(folder), *arms(folder), "", *legend(folder), "", *notes(folder), ""]
    lines += differences(folder)
    lines += [text for file, caption in told.pictures for text in (f"![{caption}]({file})", "")]
    return "\n".join(_without_doubles(lines)).rstrip("\n") + "\n"


def region(folder: Folder) -> str:
    """The part of README that stands for a folder: its arms and, where there are any, differences.

    Arms of another number of steps than the baseline's are named alone, unless a source has them so.
    """
    left_out = [] if folder.about.own_length else _pairs(folder)[1]
    shown = folder._replace(rows=[row for row in folder.rows if row["method"] not in left_out])
    lines = [*arms(shown), "", *legend(shown), "", *notes(shown), "", *differences(folder), *measured(folder)]
    return "\n".join(_without_doubles(lines))


def measured(folder: Folder) -> list[str]:
    """Where and when the rows were measured, a line for each machine."""
    return [f"Measured: {'; '.join(_machine(entry) for entry in folder.environment)}."]


def _machine(entry: Mapping[str, Any]) -> str:
    cores = f"{entry['cores']} cores" if entry.get("cores") else None
    device = entry.get("device_kind")
    where = ", ".join(filter(None, (None if device == "cpu" else device, entry.get("cpu") if device == "cpu" else None, cores)))
    jax_version = (entry.get("versions") or {}).get("jax")
    facts = (
        f"{sum(map(len, entry['rows'].values()))} trainings on {where or 'a machine that was not recorded'}",
        f"jax {jax_version}" if jax_version else None,
        f"commit {entry['commit'][:10]}" if entry.get("commit") else None,
        entry.get("date"),
    )
    return ", ".join(filter(None, facts))


def published(folder: Folder) -> list[str]:
    """What the sources say that they reached, as the config has it."""
    entries = folder.config.get("expected") or {}
    if not entries:
        return []
    lines = []
    for source, entry in entries.items():
        figures = dict(entry) if isinstance(entry, Mapping) else {"accuracy": entry}
        arm = figures.pop("arm", "")
        shown = ", ".join(f"{_head(name)} {_number(name, value)}" for name, value in figures.items())
        lines.append(f"- published, {source}{f' (`{arm}`)' if arm and len(arm) < WIDEST else ''}: {shown}")
    return [*lines, ""]


def arms(folder: Folder) -> list[str]:
    """A line for each arm, the best first: seeds, steps, then means with 95 % intervals over seeds."""
    by_arm, named = _by_arm(folder.rows), labels(folder)
    columns, metric = folder.about.columns, metric_of(folder.config)
    gans = {arm: gan_steps(rows[0], folder.config) for arm, rows in by_arm.items()}
    heads = ["arm", "seeds", "steps", *(["GAN steps"] if any(gans.values()) else []), *map(_head, columns)]
    lines = [_line(heads), _line(["---"] * len(heads))]
    for arm in sorted(by_arm, key=lambda arm: _rank(metric, by_arm[arm])):
        rows = by_arm[arm]
        cells = [named[arm], str(len(rows)), _steps(rows)]
        if any(gans.values()):
            cells.append(f"{gans[arm]:,}" if gans[arm] else "-")
        lines.append(_line([*cells, *(_mean(column, rows) for column in columns)]))
    return lines


def mean_of(folder: Folder, arm: str, metric: str) -> str:
    """An arm's mean with its interval and unit: '88.37 ± 0.84 %'."""
    return _mean(metric, _by_arm(folder.rows)[arm]) + (" %" if _in_percent(metric) else "")


def notes(folder: Folder) -> list[str]:
    """How to read the table."""
    several = any(len(rows) > 1 for rows in _by_arm(folder.rows).values())
    lines = ["Mean ± half of the 95 % interval over seeds (Student's t)." if several else "One seed: no interval."]
    lengths = sorted({row["length"] for row in folder.rows})
    lines[0] += f" Length: {'; '.join(lengths)}."
    if any(row["derived"] for row in folder.rows):
        lines[0] += " Steps of rows that did not keep them are computed from rows, batch and epochs."
    return lines


def differences(folder: Folder) -> list[str]:
    """Paired differences between arms of the same number of steps, with p-values adjusted for all of the table."""
    if not folder.about.compare:
        return []
    (pairs, left_out), named, lines = _pairs(folder), labels(folder), []
    if pairs:
        heads = ["difference", "metric", "pairs", "mean (95 % interval)", "p, Holm"]
        lines = [_line(heads), _line(["---"] * len(heads))]
        remarks: dict[str, None] = {}
        for metric in folder.about.differences or (metric_of(folder.config),):
            found = _by_pair(folder, metric, pairs)
            lines += [
                _line([f"{named[arm]} - {named[other]}", _head(metric), str(told["n"]), *_gap(metric, told)])
                for (arm, other), told in found.items()
            ]
            remarks |= dict.fromkeys(_remarks(found))
        lines += ["", " ".join(["Paired by seed; sign-flip tests, p adjusted over the pairs of each metric.", *remarks])]
    if left_out:
        lines += ["", "Not compared, since the number of steps differs: " + ", ".join(named[arm] for arm in left_out) + "."]
    shown = [(arm, why) for arm, why in folder.about.suspended.items() if arm in named]
    lines += [text for arm, why in shown for text in ("", f"Not compared: {named[arm]}; {why}.")]
    return [*lines, ""] if lines else []


def _by_pair(folder: Folder, metric: str, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], dict[str, Any]]:
    """The comparisons of a metric that have a mean, with `p_holm` adjusted over all of them."""
    key, by_arm = jax.random.key(folder.config.get("seed", 0)), _by_arm(folder.rows)
    found = {(arm, other): _compared(metric, by_arm[arm], by_arm[other], key) for arm, other in pairs}
    found = {pair: told for pair, told in found.items() if told["mean"] is not None}
    adjusted = stats.holm({"\n".join(pair): told["p"] for pair, told in found.items()})
    return {pair: {**told, "p_holm": adjusted["\n".join(pair)]} for pair, told in found.items()}


def _remarks(found: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[str]:
    """What the intervals are over, and whether so few seeds can give a verdict at all."""
    grouped = any(told["interval"] == "two-level" for told in found.values())
    said = ["Intervals over seeds and groups of test rows." if grouped else "Intervals over seeds alone."]
    fewest = min((told["n"] for told in found.values()), default=0)
    least = len(found) * 2 / 2**fewest
    if fewest > 1 and least >= stats.LEVEL:
        words = f"With {len(found)} comparisons and {fewest} pairs no adjusted p can be below {_p(min(1.0, least))}"
        said.append(f"{words}: no verdict.")
    return said


def _pairs(folder: Folder) -> tuple[list[tuple[str, str]], list[str]]:
    """The comparisons to show, and the arms that cannot be compared with the baseline for their length."""
    by_arm, base = _by_arm(folder.rows), baseline_of(folder)
    asked = [(arm, other) for arm, other in folder.about.pairs if arm in by_arm and other in by_arm]
    wanted = asked or [(arm, base) for arm in by_arm if arm != base and base in by_arm]
    wanted = [pair for pair in wanted if not set(pair) & folder.about.suspended.keys()]
    same = [(arm, other) for arm, other in wanted if _lengths(by_arm[arm]) == _lengths(by_arm[other])]
    return same, [] if asked else [arm for arm, other in wanted if (arm, other) not in same]


def _compared(metric: str, mine: Sequence[Mapping], theirs: Sequence[Mapping], key: jax.Array) -> dict[str, Any]:
    """The paired difference of two arms; its interval is over groups of test rows too where the rows have them."""
    arm, other = mine[0]["method"], theirs[0]["method"]
    return stats.comparisons([*theirs, *mine], key, baseline=other, metrics=(metric,))[arm][metric]


def _by_arm(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["seed"]):
        found.setdefault(row["method"], []).append(row)
    return found


def _lengths(rows: Sequence[Mapping[str, Any]]) -> set[int]:
    return {row["steps"] for row in rows}


def _rank(metric: str, rows: Sequence[Mapping[str, Any]]) -> tuple[bool, float]:
    mean = stats.summary(metric, [row.get(metric) for row in rows])["mean"]
    return mean is None, (mean or 0.0) * (1 if metric in LOWER_IS_BETTER else -1)


def _steps(rows: Sequence[Mapping[str, Any]]) -> str:
    return " or ".join(f"{steps:,}" for steps in sorted(_lengths(rows)))


def labels(folder: Folder) -> dict[str, str]:
    """What each arm is called in the tables: its code, or a number where that is too long for a cell (see `legend`)."""
    points = {row["method"]: row.get("point") for row in folder.rows}
    grid = len({stats.off_point(row) for row in folder.rows}) == 1 and any(points.values())
    long = [arm for arm in points if len(_code(arm, points, grid)) > WIDEST]
    named = {arm: _code(arm, points, grid) for arm in points}
    return {**named, **{arm: f"({number})" for number, arm in enumerate(long, start=1)}}


def legend(folder: Folder) -> list[str]:
    """The arms that stand in the tables as numbers."""
    return [f"- {label}: `{arm}`" for arm, label in labels(folder).items() if label.startswith("(")]


def _code(arm: str, points: Mapping[str, str | None], grid: bool) -> str:
    """The arm as code; of a grid over a single method the point alone."""
    if grid and not points[arm]:
        return "as the config has it"
    return f"`{points[arm] if grid else arm}`".replace("|", "\\|")


def _head(metric: str) -> str:
    if metric.startswith("recall_"):
        return f"recall of {metric.removeprefix('recall_')} %"
    if metric.startswith(("se_", "pp_")):
        return f"{metric[3:]}: {'Se' if metric.startswith('se_') else '+P'} %"
    if metric == "seconds":
        return "s per seed"
    words = SHORT.get(metric) or name_of(metric)
    return f"{words} %" if _in_percent(metric) else words


def _in_percent(metric: str) -> bool:
    return metric in PERCENT or (is_share(metric) and not metric.startswith("gan_"))


def _mean(metric: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """'88.02 ± 0.75'; of `failed` how many of the lanes did."""
    if metric == "failed":
        return f"{sum(row.get('failed') is not None for row in rows)} of {len(rows)}"
    found = stats.summary(metric, [row.get(metric) for row in rows])
    if found["mean"] is None:
        return "-"
    if metric == "seconds":
        return f"{found['mean']:.0f}"
    text = _number(metric, found["mean"])
    if not found["ci95"] or metric.startswith(("recall_", "se_", "pp_")):
        return text
    mean, (low, high) = found["mean"], found["ci95"]  # cut off where the metric ends
    return f"{text} ± {_number(metric, max(high - mean, mean - low))}"


def _number(metric: str, value: float) -> str:
    if _in_percent(metric):
        return f"{100 * value:.1f}" if metric.startswith(("recall_", "se_", "pp_")) else f"{100 * value:.2f}"
    return f"{value:.2f}" if metric.startswith("gan_") else f"{value:.3f}"


def _gap(metric: str, told: Mapping[str, Any]) -> tuple[str, str]:
    """The mean with its interval, and p."""
    mean, ends, p = told["mean"], told["ci95"], told["p_holm"]
    text = ("+" if mean >= 0 else "-") + _number(metric, abs(mean))
    if ends:
        low, high = (("-" if end < 0 else "") + _number(metric, abs(end)) for end in ends)
        text += f" ({low} to {high})"
    return text, "-" if p is None else _p(p)


def _p(p: float) -> str:
    return "below 0.001" if p < 0.001 else f"{p:.2g}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |" if set(cells) != {"---"} else f"|{'|'.join(cells)}|"


def _without_doubles(lines: Sequence[str]) -> list[str]:
    """Without the second of two empty lines."""
    return [line for i, line in enumerate(lines) if line or (i and lines[i - 1])]


