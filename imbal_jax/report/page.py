"""report.html: one self-contained page, built from the files of a run's directory alone, so that it can be built again.

The page asks nothing of any server (its own policy forbids it), follows the reader's light or dark setting, and folds
its tables into cards on a phone. All text from the run is escaped.
"""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imbal_jax.errors import UserError
from imbal_jax.evaluate import stats
from imbal_jax.evaluate.metrics import LOWER_IS_BETTER, class_key
from imbal_jax.report.plots import DPI, arm_colours, minority

BASELINE = "none"
HEADLINE = "balanced_accuracy"
SHARES = ("accuracy", "balanced_accuracy", "macro_f1", "g_mean", "pr_auc", "recall", "precision", "coverage", "copies")
NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "g_mean": "G-mean",
    "mcc": "MCC",
    "pr_auc": "PR-AUC (macro)",
    "ece": "ECE",
    "brier": "Brier score",
    "nll": "log loss (nats)",
    "frechet": "Fréchet distance",
    "nearest_train_mean": "nearest training row, mean",
    "nearest_train_min": "nearest training row, closest",
}
MOST_EPOCHS = 8  # sample grids kept in the page


class Run(NamedTuple):
    """What the page is built from: `arms` as `stats.results` gives them, `paired` as `stats.comparisons` does."""

    config: dict[str, Any]
    environment: dict[str, Any]
    results: dict[str, Any]
    rows: list[dict[str, Any]]
    history: list[dict[str, Any]]
    plots: Path
    class_names: list[str]
    rare: list[int]


def write(workdir: Path) -> Path:
    """Builds `report.html` in a run's directory.

    Args:
        workdir: holds results.json or at least rows.jsonl; config.json, environment.json, metrics.jsonl and plots/*.png
            are used where they are there.

    Returns:
        The path of the page; it is replaced as a whole, never left half written.

    Raises:
        UserError: where there is no result to report, or a file is no JSON.
    """
    run = _read(workdir)
    title = str(run.results.get("name") or workdir.name)
    parts = [
        _header(run, title),
        _trouble(run),
        _arms(run),
        _figure(run, "Recall", "recalls", "What each arm finds of each class; the minority is printed in orange."),
        _samples(run),
        _generator(run),
        _figure(run, "Confusion", "confusion", _confusion_note(run), wide=True),
        _figure(run, "Class counts", "class_counts", "What each arm trains on."),
        _figure(run, "Training", "losses", "Losses and the discriminator's accuracy by epoch.", wide=True),
        _measured(run),
        _folded("All metrics", _all_metrics(run)),
        _folded("Every seed", _every_seed(run)),
        _folded("Configuration", _json(run.config)),
        _folded("Environment", _json(run.environment)),
    ]
    page = workdir / "report.html"
    partial = page.with_name(page.name + ".part")
    partial.write_text(_document(title, "\n".join(parts)), encoding="utf-8")
    return partial.replace(page)


def headline(run: Run) -> tuple[str, str, str]:
    """What the method brought against doing nothing, on the seeds that both finished.

    Returns:
        (verdict, sentence, detail): verdict is 'gain', 'loss', 'even' (the interval holds 0), 'single' (one seed) or
        'unknown'; the sentence is HTML with escaped names, the detail plain text.
    """
    method, found = _method(run), run.results["methods"]
    if method is None:
        best = [f"{_e(arm)} reaches {_percent(_mean(run, arm, HEADLINE))}" for arm in found]
        return "unknown", f"Nothing to compare: {'; '.join(best) or 'no arm has finished'}.", ""
    name = f"<b>{_e(method)}</b>"
    pairs = _pairs(run, method)
    if not pairs:
        lost = found[method]["failed"] == len(found[method]["seeds"])
        why = "every seed of it failed" if lost else f"no seed has a result of it and of '{BASELINE}'"
        return "unknown", f"{name} cannot be compared with doing nothing: {why}.", ""
    ours, nothing = (float(np.mean(side)) for side in zip(*pairs, strict=True))
    gap = ours - nothing
    against = f"{_percent(ours)} against {_percent(nothing)}"
    interval = run.results.get("paired", {}).get(method, {}).get(HEADLINE) or {}
    ends = interval.get("ci95")
    if ends and ends[0] <= 0 <= ends[1]:
        sentence = f"{name} made no clear difference to doing nothing: {against} balanced accuracy ({_points(gap)})."
        return "even", sentence, _evidence(run, method, interval)
    verdict = ("gain" if gap > 0 else "loss") if ends else "single"
    did = "gained" if gap > 0 else "lost"
    to = "over" if gap > 0 else "to"
    sentence = f"{name} {did} {100 * abs(gap):.2f} points of balanced accuracy {to} doing nothing: {against}."
    if gap == 0:
        sentence = f"{name} equals doing nothing: {against} balanced accuracy."
    return verdict, sentence, _evidence(run, method, interval)


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


# Reading -------------------------------------------------------------------------------------------------------------


def _read(workdir: Path) -> Run:
    rows, history = _lines(workdir / "rows.jsonl"), _lines(workdir / "metrics.jsonl")
    results = _load(workdir / "results.json")
    if not rows and not results:
        raise UserError(f"{workdir} holds neither results.json nor rows.jsonl: give the directory of a run")
    if "methods" not in results:  # the run was stopped before its end
        results |= {"methods": stats.results(rows), "unfinished": True}
    counts = next((arm["class_counts"]["before"] for arm in results["methods"].values()), None)
    names = [str(name) for name in results.get("data", {}).get("class_names", range(len(counts or ())))]
    config, environment = _load(workdir / "config.json"), _load(workdir / "environment.json")
    rare = sorted(minority(counts)) if counts else []
    return Run(config, environment, results, rows, history, workdir / "plots", names, rare)


def _load(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise UserError(f"{path} is no JSON ({error}): delete it and run the same command again") from None


def _lines(path: Path) -> list[dict[str, Any]]:
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:  # a run killed while it wrote leaves a torn line
            continue
    return found


def _method(run: Run) -> str | None:
    others = [arm for arm in run.results["methods"] if arm != BASELINE]
    named = str(run.config.get("method"))
    return named if named in others else (others[-1] if others else None)


def _values(run: Run, arm: str, metric: str) -> list[float]:
    """The arm's numbers, seed by seed; 'minority' is the mean recall of the minority classes."""
    keys = [class_key("recall", run.class_names[i]) for i in run.rare] if metric == "minority" else [metric]
    rows = [[row.get(key) for key in keys] for row in run.rows if row["method"] == arm]
    found = [[float(value) for value in row if value is not None] for row in rows]
    return [sum(row) / len(row) for row in found if row and len(row) == len(keys)]


def _mean(run: Run, arm: str, metric: str) -> float | None:
    return (run.results["methods"][arm]["metrics"].get(metric) or {}).get("mean")


def _pairs(run: Run, method: str) -> list[tuple[float, float]]:
    score = {(row["method"], row["seed"]): row.get(HEADLINE) for row in run.rows}
    seeds = [seed for arm, seed in score if arm == method]
    pairs = [(score[method, seed], score.get((BASELINE, seed))) for seed in seeds]
    return [(ours, nothing) for ours, nothing in pairs if ours is not None and nothing is not None]


def _evidence(run: Run, method: str, interval: Mapping[str, Any]) -> str:
    parts = []
    n = interval.get("n") or len(_pairs(run, method))
    if interval.get("ci95"):
        low, high = interval["ci95"]
        kind = {"t": "Student's t", "bootstrap": "bootstrap"}.get(interval.get("interval", ""), "")
        parts.append(f"95% interval of the difference {_points(low)} to {_points(high)} ({kind}, {n} paired seeds)")
        floor = f" (the lowest possible with {n} seeds: {2 / 2**n:.2g})" if n < stats.FEWEST_TO_RESAMPLE else ""
        parts.append(f"sign-flip test p = {interval['p']:.2g}{floor}")
    else:
        parts.append("One seed: no interval, and no claim beyond this seed" if n == 1 else f"{n} paired seeds")
    failed = run.results["methods"][method]["failed"]
    if failed:
        parts.append(f"{failed} of {len(run.results['methods'][method]['seeds'])} seeds of this method failed")
    scores = {arm: _mean(run, arm, HEADLINE) for arm in run.results["methods"]}
    best = max((arm for arm in scores if scores[arm] is not None), key=lambda arm: scores[arm] or 0.0, default=method)
    if best not in (method, BASELINE):
        parts.append(f"the best arm was {best} with {_percent(scores[best])}")
    return "; ".join(parts) + "."


# Sections ------------------------------------------------------------------------------------------------------------


def _header(run: Run, title: str) -> str:
    verdict, sentence, detail = headline(run)
    words = {
        "gain": "better than doing nothing",
        "loss": "worse than doing nothing",
        "even": "no clear difference",
        "single": "one seed only",
        "unknown": "open",
    }
    data = run.results.get("data", {})
    seeds = run.results.get("seeds") or sorted({row["seed"] for row in run.rows})
    facts = [title, data.get("name"), f"{len(seeds)} seed{'s' if len(seeds) != 1 else ''}"]
    banner = f'<p class="banner">{_e(data["note"])}</p>' if data.get("note") else ""
    if run.results.get("unfinished"):
        banner += '<p class="banner">This run has not reached its end: the page shows what there is so far.</p>'
    return (
        f'<header><p class="facts">{" · ".join(_e(fact) for fact in facts if fact)}</p>{banner}'
        f'<p><span class="verdict {verdict}">{words[verdict]}</span></p><h1>{sentence}</h1>'
        f'<p class="detail">{_e(detail)}</p></header>'
    )


def _trouble(run: Run) -> str:
    """Failed lanes, and warnings with equal ones joined."""
    items = [
        f"<li><b>Failed:</b> {_e(row['method'])}, seed {_e(row['seed'])}: {_e(row['failed'])}</li>"
        for row in run.rows
        if row.get("failed") is not None
    ]
    told: dict[str, list[Mapping[str, Any]]] = {}
    heard = [line for line in run.history if line.get("stage") == "warning"]
    for warning in heard + list(run.results.get("warnings", ())):
        warning = warning if isinstance(warning, Mapping) else {"message": warning}
        told.setdefault(str(warning.get("message")), []).append(warning)
    for message, lines in told.items():
        where = "; ".join(filter(None, (_numbers("seed", lines), _numbers("epoch", lines))))
        items.append(f"<li>{_e(message)}{f' <span class=soft>({_e(where)})</span>' if where else ''}</li>")
    if not items:
        return ""
    failed = any(row.get("failed") is not None for row in run.rows)
    title, kind = ("Failures and warnings", "trouble failed") if failed else ("Warnings", "trouble")
    return f'<section class="{kind}"><h2>{title}</h2><ul>{"".join(items)}</ul></section>'


def _numbers(name: str, lines: Iterable[Mapping[str, Any]]) -> str:
    found = sorted({line[name] for line in lines if line.get(name) is not None})
    if not found:
        return ""
    if len(found) > 4 and found == list(range(found[0], found[-1] + 1)):
        return f"{name}s {found[0]} to {found[-1]}"
    return f"{name}{'s' if len(found) > 1 else ''} {', '.join(map(str, found))}"


def _arms(run: Run) -> str:
    tabs = [(HEADLINE, "Balanced accuracy"), ("accuracy", "Accuracy")]
    tabs += [("minority", "Recall of the minority")] if run.rare else []
    buttons = "".join(
        f'<input type="radio" name="metric" id="tab{i}"{" checked" if i == 0 else ""}><label for="tab{i}">{name}</label>'
        for i, (_, name) in enumerate(tabs)
    )
    charts = "".join(f'<div class="chart">{_dots(run, metric)}</div>' for metric, _ in tabs)
    most = max((len(arm["seeds"]) for arm in run.results["methods"].values()), default=0)
    note = "Strokes are seeds, the dot their mean, the bar its 95% interval (Student's t; cut at the frame)."
    if most < 2:
        note = "One seed: no interval."
    return (
        f'<section><h2>Arms compared</h2><div class="tabs">{buttons}{charts}</div>'
        f'<p class="note">{note}</p>{_arms_table(run)}</section>'
    )


def _dots(run: Run, metric: str) -> str:
    """One row for each arm, on a common scale: seeds as dots, mean, interval; published figures as dashed lines."""
    arms = list(run.results["methods"])
    values = {arm: _values(run, arm, metric) for arm in arms}
    published = run.config.get("expected") or {} if metric == "accuracy" else {}
    everything = [v for arm in arms for v in values[arm]] + list(published.values())
    if not everything:
        return '<p class="note">No finished seed yet.</p>'
    room = max(0.12 * (max(everything) - min(everything)), 0.005)
    low, high = max(min(everything) - room, 0.0), min(max(everything) + room, 1.0)

    def at(value: float) -> float:
        return round(100 * (min(max(value, low), high) - low) / (high - low), 2)

    colours = arm_colours(arms)
    lines = "".join(f'<i class="ref" style="left:{at(v)}%"></i>' for v in published.values())
    out = []
    for arm in arms:
        summary = stats.summary(metric, values[arm])
        marks = "".join(f'<i class="seed" style="left:{at(v)}%"></i>' for v in values[arm])
        if summary["ci95"]:
            left, right = (at(v) for v in summary["ci95"])
            marks = f'<i class="ci" style="left:{left}%;width:{max(right - left, 0.3):.2f}%"></i>' + marks
        if summary["mean"] is not None:
            marks += f'<i class="mean" style="left:{at(summary["mean"])}%"></i>'
        out.append(
            f'<div class="arm" style="--c:{colours[arm]}"><span class="name">{_e(arm)}</span>'
            f'<span class="track">{lines}{marks}</span><span class="value">{_percent(summary["mean"])}</span></div>'
        )
    for source, value in published.items():
        mark = f'{lines}<i class="mean" style="left:{at(value)}%"></i>'
        out.append(
            f'<div class="arm published"><span class="name">{_e(source)} {TAG}</span>'
            f'<span class="track">{mark}</span><span class="value">{_percent(value)}</span></div>'
        )
    ends = f"<span>{_percent(low, 1)}</span><span>{_percent(high, 1)}</span>"
    return "".join(out) + f'<div class="arm scale"><span class="name"></span><span class="ends">{ends}</span></div>'


TAG = '<span class="tag">published</span>'


def _arms_table(run: Run) -> str:
    colours = arm_colours(list(run.results["methods"]))
    heads = ["Arm", "Accuracy", "Balanced accuracy", "Worst seed", "Minority recall"]
    heads += ["Against doing nothing", "Cost of a seed", "Seeds"]
    rows = []
    for arm, found in run.results["methods"].items():
        name = f'<i class="key" style="--c:{colours[arm]}"></i>{_e(arm)}'
        worst = (found["metrics"].get(HEADLINE) or {}).get("worst")
        few = stats.summary("minority", _values(run, arm, "minority")) if run.rare else {}
        failed = f'<small class="bad">{found["failed"]} failed</small>' if found["failed"] else ""
        rows.append(
            [
                (arm, name),
                _with_interval(found["metrics"].get("accuracy") or {}),
                _with_interval(found["metrics"].get(HEADLINE) or {}),
                (worst, _percent(worst)),
                _with_interval(few),
                _difference(run, arm),
                _time(found),
                (len(found["seeds"]), f"{len(found['seeds'])}{failed}"),
            ]
        )
    for source, value in (run.config.get("expected") or {}).items():
        blank: list[Cell] = [(None, "")] * 6
        rows.append([(source, f"{_e(source)} {TAG}"), (value, _percent(value)), *blank])
    note = "Balanced accuracy: the mean recall over classes; worst seed and difference are of it, the latter in points."
    note += " Small print: 95% intervals over seeds; the verdict against doing nothing, with the p of the sign-flip test"
    note += " adjusted for the number of arms (Holm); the GAN's share of the time; examples seen in training."
    return _table(heads, rows, "cards") + f'<p class="note">{note}</p>'


NO_INTERVAL = '<small class="words">one seed: no interval</small>'
Cell = tuple[Any, str]  # what a column is sorted by, and the HTML


def _with_interval(summary: Mapping[str, Any]) -> Cell:
    mean = summary.get("mean")
    if mean is None:
        return None, "–"
    ends = summary.get("ci95")
    if not ends:
        return mean, _percent(mean) + NO_INTERVAL
    return mean, f"{_percent(mean)}<small>{100 * max(ends[0], 0.0):.2f} – {100 * min(ends[1], 1.0):.2f}</small>"


def _difference(run: Run, arm: str) -> Cell:
    if arm == BASELINE:
        return 0.0, '<span class="soft">is the baseline</span>'
    found = run.results.get("paired", {}).get(arm, {}).get(HEADLINE) or {}
    mean, ends = found.get("mean"), found.get("ci95")
    if mean is None:
        return None, "–"
    if not ends:
        return mean, _points(mean) + NO_INTERVAL
    kind = {"better": "good", "worse": "bad"}.get(found["verdict"], "")
    small = f"<small>{_points(ends[0])} to {_points(ends[1])}</small>"
    small += f"<small>{_e(found['verdict'])}, p = {found['p_holm']:.2g}</small>"
    return mean, f'<span class="{kind}">{_points(mean)}</span>{small}'


def _time(found: Mapping[str, Any]) -> Cell:
    seconds, gan = found.get("seconds"), found.get("gan_seconds")
    small = f"<small>GAN {duration(gan)}</small>" if gan else ""
    if found.get("examples_seen"):
        small += f"<small>{found['examples_seen']:,.0f} examples</small>"
    return seconds, duration(seconds) + small


def _figure(run: Run, title: str, name: str, note: str, wide: bool = False) -> str:
    path = run.plots / f"{name}.png"
    if not path.exists():
        return ""
    scroll = "scroll wide" if wide else "scroll"
    return (
        f'<section><h2>{_e(title)}</h2><div class="{scroll}">{_image(path, title, "plot")}</div>'
        f'<p class="note">{_e(note)}</p></section>'
    )


def _confusion_note(run: Run) -> str:
    seeds = max((len(arm["seeds"]) for arm in run.results["methods"].values()), default=1)
    summed = f"Test rows, summed over {seeds} seeds" if seeds > 1 else "Test rows of one seed"
    return f"{summed}. Blue: share of the true class that is right; orange: share that is wrong."


def _samples(run: Run) -> str:
    epochs = sorted(run.plots.glob("samples_epoch_*.png"))
    if len(epochs) > MOST_EPOCHS:
        epochs = [epochs[round(i * (len(epochs) - 1) / (MOST_EPOCHS - 1))] for i in range(MOST_EPOCHS)]
    final = run.plots / "samples.png"
    pictures = [(f"after epoch {int(path.stem.rsplit('_', 1)[1])}", path) for path in epochs]
    pictures += [("final", final)] if final.exists() else []
    if not pictures:
        return ""
    images = "".join(
        f'<figure{"" if i == len(pictures) - 1 else " hidden"} data-name="{_e(name)}">'
        f"{_image(path, f'samples {name}', 'grid')}</figure>"
        for i, (name, path) in enumerate(pictures)
    )
    last = len(pictures) - 1
    slider = (
        f'<p class="slide"><label>training <input type="range" min="0" max="{last}" value="{last}"></label> '
        f"<output>{_e(pictures[-1][0])}</output></p>"
        if last
        else ""
    )
    return (
        f'<section class="samples"><h2>Generated samples</h2>{slider}<div class="scroll">{images}</div>'
        '<p class="note">Real training rows on the left, generated ones on the right.</p></section>'
    )


def _generator(run: Run) -> str:
    found = run.results.get("generator") or {}
    if not found:
        return ""
    measures = list(dict.fromkeys(name for values in found.values() for name in values))
    arrows = {"frechet": " ↓", "copies": " ↓", "precision": " ↑", "recall": " ↑", "density": " ↑", "coverage": " ↑"}
    heads = ["Class", *(NAMES.get(name, name.replace("_", " ")) + arrows.get(name, "") for name in measures)]
    rare = {run.class_names[i] for i in run.rare}
    rows = [
        [
            (name, f"{_e(name)}{' <span class=rare>minority</span>' if name in rare else ''}"),
            *((values.get(measure), _value(measure, values.get(measure))) for measure in measures),
        ]
        for name, values in found.items()
    ]
    space = run.results.get("generator_space") or "not named by the run"
    note = (
        f"Feature space of Fréchet distance, precision, recall, density and coverage: {space}. Distances to training "
        "rows are Euclidean, in pixels scaled to [0, 1]. Copies: generated rows that lie as close to a training row as "
        "only the closest 1% of training rows lie to one another. ↑ higher and ↓ lower is better; means over seeds."
    )
    table = _table(heads, rows, "scroll")
    return f'<section><h2>Quality of the generator</h2>{table}<p class="note">{_e(note)}</p></section>'


def _measured(run: Run) -> str:
    data, environment = run.results.get("data", {}), run.environment
    seeds = run.results.get("seeds") or sorted({row["seed"] for row in run.rows})
    facts = {
        "Data": data.get("name"),
        "Source of the data": data.get("source"),
        "Digest (SHA-256)": data.get("digest"),
        "Note on the data": data.get("note"),
        "Checkpoint evaluated": run.results.get("selection"),
        "Seeds": _numbers("seed", [{"seed": seed} for seed in seeds]).removeprefix("seeds ").removeprefix("seed "),
        "Intervals": "95%, over seeds: Student's t for an arm; for differences on the same seeds Student's t below "
        f"{stats.FEWEST_TO_RESAMPLE} pairs and the bootstrap from there on. Test-sampling error is not in them."
        if len(seeds) > 1
        else "one seed: no interval",
        "Compilation": duration(run.results["compile_seconds"]) if run.results.get("compile_seconds") else None,
        "Device": environment.get("device"),
        "Commit": environment.get("commit"),
    }
    items = "".join(f"<dt>{_e(k)}</dt><dd>{_e(v)}</dd>" for k, v in facts.items() if v not in (None, ""))
    return f'<section><h2>How this was measured</h2><dl class="how">{items}</dl></section>'


def _all_metrics(run: Run) -> str:
    arms = run.results["methods"]
    names = list(dict.fromkeys(name for arm in arms.values() for name in arm["metrics"]))
    rows = [
        [(name, _e(NAMES.get(name, name.replace("_", " "))) + (" ↓" if name in LOWER_IS_BETTER else ""))]
        + [_metric_cell(name, arm["metrics"].get(name) or {}) for arm in arms.values()]
        for name in names
    ]
    return _table(["Metric", *arms], rows, "scroll") + '<p class="note">Mean ± standard deviation over seeds.</p>'


def _metric_cell(name: str, summary: Mapping[str, Any]) -> Cell:
    mean, std = summary.get("mean"), summary.get("std")
    spread = f"<small>± {_value(name, std)}</small>" if std is not None else ""
    return mean, _value(name, mean) + spread


def _every_seed(run: Run) -> str:
    heads = ["Arm", "Seed", "Accuracy", "Balanced accuracy", "Time", "Examples seen", "State"]
    rows = [
        [
            (row["method"], _e(row["method"])),
            (row["seed"], _e(row["seed"])),
            (row.get("accuracy"), _percent(row.get("accuracy"))),
            (row.get(HEADLINE), _percent(row.get(HEADLINE))),
            (row.get("seconds"), duration(row.get("seconds"))),
            (row.get("examples_seen"), f"{row['examples_seen']:,}" if row.get("examples_seen") is not None else "–"),
            (row.get("failed"), '<span class="bad">failed</span>' if row.get("failed") is not None else "done"),
        ]
        for row in run.rows
    ]
    return _table(heads, rows, "scroll")


# Pieces --------------------------------------------------------------------------------------------------------------


def _table(heads: Sequence[str], rows: Sequence[Sequence[Cell]], kind: str) -> str:
    """A table whose headers sort it; on a phone its rows become cards ('cards') or it scrolls ('scroll')."""
    head = "".join(f'<th scope="col"><button type="button">{_e(name)}</button></th>' for name in heads)
    body = ""
    for row in rows:
        cells = (
            f'<td data-label="{_e(name)}" data-v="{_e("" if key is None else key)}"'
            f"{'' if text else ' class=empty'}><span>{text}</span></td>"
            for name, (key, text) in zip(heads, row, strict=True)
        )
        body += f"<tr>{''.join(cells)}</tr>"
    return f'<div class="{kind}"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{_e(title)}</summary>{content}</details>"


def _json(value: Mapping[str, Any]) -> str:
    return f"<pre>{_e(json.dumps(value, indent=2, ensure_ascii=False))}</pre>"


def _image(path: Path, name: str, kind: str) -> str:
    png = path.read_bytes()
    width, height = (round(int.from_bytes(png[at : at + 4], "big") * 96 / DPI) for at in (16, 20))
    data = base64.b64encode(png).decode()
    size = f'width="{width}" height="{height}"'
    return f'<img class="{kind}" alt="{_e(name)}" {size} src="data:image/png;base64,{data}">'


def _value(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    if name in SHARES or name.startswith(("recall_", "precision_")):
        return _percent(value)
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def _percent(value: float | None, places: int = 2) -> str:
    return "–" if value is None else f"{100 * value:.{places}f}%"


def _points(value: float) -> str:
    return f"{100 * value:+.2f}".replace("-", "−")


def _e(value: Any) -> str:
    return escape(str(value), quote=True)


def _document(title: str, body: str) -> str:
    files = resources.files("imbal_jax.report")
    style, script = (files.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{_e(title)}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}
</main>
<script>
{script}</script>
</body>
</html>
"""
