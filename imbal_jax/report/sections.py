"""The other parts of the page: what went wrong, pictures, the generator, how it was measured, all numbers."""

import re
from collections.abc import Mapping
from typing import Any

from imbal_jax.evaluate.metrics import LOWER_IS_BETTER
from imbal_jax.report.arm_table import labels
from imbal_jax.report.markup import (
    NAMES,
    Cell,
    band,
    down,
    duration,
    image,
    listed,
    name_of,
    number,
    section,
    table,
    text,
    with_interval,
)
from imbal_jax.report.plots import MOST_LINES
from imbal_jax.report.precision_recall import MOST_CLASSES
from imbal_jax.report.run import Run, ranked, shots
from imbal_jax.report.style import slug

MOST_EPOCHS = 8  # sample grids kept in the page
MOST_FILES = 50  # left out when loading, that are named
SHOTS = {"many": "more than 100 rows", "medium": "20 to 100", "few": "fewer than 20"}
ARROWS = {"frechet": " ↓", "copies": " ↓", "precision": " ↑", "recall": " ↑", "density": " ↑", "coverage": " ↑"}


def trouble(run: Run) -> str:
    """Failed lanes, and warnings: those that differ in a decimal alone are joined, and the last of them is shown."""
    items = [
        f"<li><b>Failed:</b> {text(row['method'])}, seed {text(row['seed'])}: {text(row['failed'])}</li>"
        for row in run.rows
        if row.get("failed") is not None
    ]
    failed = bool(items)
    told: dict[str, list[Mapping[str, Any]]] = {}
    for warning in run.results["warnings"]:
        told.setdefault(re.sub(r"\d+\.\d[\de+-]*|\d+e-\d+", "#", str(warning.get("message"))), []).append(warning)
    for lines in told.values():
        message = str(lines[-1].get("message"))
        heard = {name: [line[name] for line in lines if line.get(name) is not None] for name in ("seed", "epoch")}
        where = "; ".join(filter(None, (listed(name, numbers) for name, numbers in heard.items())))
        items.append(f"<li>{text(message)}{f' <span class=soft>({text(where)})</span>' if where else ''}</li>")
    if not items:
        return ""
    title, kind = ("Failures and warnings", "trouble failed") if failed else ("Warnings", "trouble")
    return section(title, f"<ul>{''.join(items)}</ul>", kind=kind)


def sources(run: Run) -> str:
    """The directories that were joined, their commands, and where their configs differ."""
    if not run.sources:
        return ""
    fields = list(run.sources[0].differs)
    heads = ["Directory", *fields, "Rows", "Left out", "Command"]
    rows: list[list[Cell]] = [
        [
            (source.folder, text(source.folder)),
            *((_plain(source.differs[field]), text(_plain(source.differs[field]))) for field in fields),
            (source.rows, str(source.rows)),
            (source.repeated, str(source.repeated)),
            (source.command, f"<code>{text(source.command)}</code>" if source.command else "–"),
        ]
        for source in run.sources
    ]
    note = "The runs have the same data. "
    if not fields:
        note += "They have the same config: one experiment, whose seeds they share out. "
    if fields:
        note += "Their configs differ in the fields shown: arms carry these in their names, and are compared with the baseline "
        note += "of the same config. "
    if any(source.repeated for source in run.sources):
        note += "Left out: rows of a method and seed that a directory above has already."
    return section("Runs joined", table(heads, rows), note)


def figure(run: Run, title: str, name: str, note: str, wide: bool = False) -> str:
    """A plot of the run, where it was drawn."""
    path = run.folder / "plots" / f"{name}.png"
    if not path.exists():
        return ""
    return section(title, f'<div class="{"scroll wide" if wide else "scroll"}">{image(path, title, "plot")}</div>', note)


def confusion_note(run: Run, most: int) -> str:
    """What the confusion matrices show."""
    seeds = max((len(arm["seeds"]) for arm in run.results["methods"].values()), default=1)
    summed = f"Test rows, summed over {seeds} seeds" if seeds > 1 else "Test rows of one seed"
    few = " The baseline and the best other arms." if len(run.results["methods"]) > most else ""
    return f"{summed}. Blue: share of the true class that is right; orange: share that is wrong.{few}"


def curves_note(run: Run) -> str:
    """What the curves of precision and recall show."""
    arms = f" and the {MOST_LINES} best arms" if len(run.results["methods"]) > MOST_LINES else ""
    return (
        "What a class costs in precision when more of it must be found: one class against the others as its probability's "
        "threshold falls, mean over seeds. Dotted: the precision of guessing, its share of the test set. At most the "
        f"{MOST_CLASSES} rarest classes{arms}."
    )


def samples(run: Run) -> str:
    """Sample grids kept during training, one at a time."""
    folder = run.folder / "plots"
    epochs = sorted(folder.glob("samples_epoch_*.png"))
    if len(epochs) > MOST_EPOCHS:
        epochs = [epochs[round(i * (len(epochs) - 1) / (MOST_EPOCHS - 1))] for i in range(MOST_EPOCHS)]
    final = folder / "samples.png"
    pictures = [(f"after epoch {int(path.stem.rsplit('_', 1)[1])}", path) for path in epochs]
    pictures += [("final", final)] if final.exists() else []
    if not pictures:
        return ""
    last = len(pictures) - 1
    images = "".join(
        f'<figure{"" if i == last else " hidden"} data-name="{text(name)}">{image(path, f"samples {name}", "grid")}</figure>'
        for i, (name, path) in enumerate(pictures)
    )
    slider = (
        f'<p class="slide"><label>training <input type="range" min="0" max="{last}" value="{last}"></label> '
        f"<output>{text(pictures[-1][0])}</output></p>"
        if last
        else ""
    )
    note = "Real training rows beside generated ones."
    return section("Generated samples", f'{slider}<div class="scroll">{images}</div>', note, "samples")


def seen(run: Run) -> str:
    """What the arms do to images, an arm at a time."""
    paths = {arm: run.folder / "plots" / f"transformed-{slug(arm)}.png" for arm in run.results["methods"]}
    label = labels(run)
    figures = "".join(
        f'<figure><figcaption>{label[arm]}</figcaption><div class="scroll">'
        f"{image(path, f'images before and after {arm}', 'grid')}</div></figure>"
        for arm, path in paths.items()
        if path.exists()
    )
    note = (
        "Training images of the first seed, before and after: one draw of what every step draws anew, or rows that were made "
        "once. Beneath a mixed image stands its soft label."
    )
    return section("What the network sees", f'<div class="pairs">{figures}</div>', note, "seen") if figures else ""


def by_frequency(run: Run) -> str:
    """The recall of many-, medium- and few-shot classes, where the training set has at least two of these."""
    kinds = shots(run)
    if not kinds:
        return ""
    label, arms = labels(run), run.results["methods"]
    heads = [
        "Method",
        *(f"{kind.capitalize()}-shot ({len(ks)} class{'es' if len(ks) > 1 else ''})" for kind, ks in kinds.items()),
    ]
    rows = [[(arm, label[arm]), *(with_interval("recall", arms[arm]["shots"][kind]) for kind in kinds)] for arm in ranked(run)]
    terms = "; ".join(f"{kind}-shot: {SHOTS[kind]}" for kind in kinds)
    note = (
        f"Mean recall of the classes by their training rows before balancing; {terms}. Small print: 95% intervals over seeds."
    )
    return section("Recall by frequency", table(heads, rows), note)


def left_out(run: Run) -> str:
    """The files that could not be read when the data was loaded."""
    lines = run.environment.get("data", {}).get("left_out") or []
    if not lines:
        return ""
    items = "".join(f"<li>{text(line)}</li>" for line in lines[:MOST_FILES])
    more = len(lines) - MOST_FILES
    items += f"<li>and {more:,} more</li>" if more > 0 else ""
    note = f"{len(lines):,} file{'s' if len(lines) > 1 else ''} could not be used; the run went on without."
    return section("Files left out", f"<ul>{items}</ul>", note, "files")


def generator(run: Run) -> str:
    """The generator's quality, class by class."""
    found = run.results["generator"]
    if not found:
        return ""
    measures = list(dict.fromkeys(name for values in found.values() for name in values))
    heads = ["Class", *(NAMES.get(name, name.replace("_", " ")) + ARROWS.get(name, "") for name in measures)]
    rare = {run.data["class_names"][label] for label in run.data["minority"]}
    rows = [
        [
            (name, f"{text(name)}{' <span class=rare>minority</span>' if name in rare else ''}"),
            *((values.get(measure), number(measure, values.get(measure))) for measure in measures),
        ]
        for name, values in found.items()
    ]
    space = run.results["generator_space"] or "not named by the run"
    note = (
        f"Feature space of Fréchet distance, precision, recall, density and coverage: {space}. Distances to training rows "
        "are Euclidean, of pixels in [0, 1] or samples in [-1, 1]. Copies: generated rows that lie as close to a training row "
        "as only the closest 1% of training rows lie to one another. ↑ higher and ↓ lower is better; means over seeds."
    )
    return section("Quality of the generator", table(heads, rows), note)


def measured(run: Run) -> str:
    """The facts that the numbers rest on."""
    data, results, environment = run.data, run.results, run.environment
    facts = {
        "Command": environment.get("command"),
        "Data": data.get("name"),
        "Source of the data": data.get("source"),
        "Digest (SHA-256)": data.get("digest"),
        "Scale of the values": data.get("scale"),
        "Note on the data": data.get("note"),
        "Test rows": results["test_rows"],
        "Checkpoint evaluated": results["selection"],
        "Seeds": listed("seed", results["seeds"]).removeprefix("seeds ").removeprefix("seed "),
        "Intervals": _intervals(results) if len(results["seeds"]) > 1 else "one seed: no interval",
        "Equivalent": f"an interval within {band(results['metric'], results['margin'])}" if len(results["seeds"]) > 1 else None,
        "Interim analyses": _analyses(results),
        "Compilation": duration(results["compile_seconds"]) if results.get("compile_seconds") else None,
        "Device": environment.get("device_kind"),
        "Commit": environment.get("commit"),
    }
    items = "".join(f"<dt>{text(k)}</dt><dd>{text(v)}</dd>" for k, v in facts.items() if v not in (None, ""))
    return section("How this was measured", f'<dl class="how">{items}</dl>')


def all_metrics(run: Run) -> str:
    """Every metric of every arm."""
    arms = run.results["methods"]
    names = list(dict.fromkeys(name for arm in arms.values() for name in arm["metrics"]))
    rows = [
        [(arm, text(arm)), *(_metric(name, found["metrics"].get(name) or {}) for name in names)] for arm, found in arms.items()
    ]
    heads = ["Method", *(name_of(name) + down(name) for name in names)]
    return table(heads, rows) + '<p class="note">Mean ± standard deviation over seeds.</p>'


def every_seed(run: Run) -> str:
    """Every row, in short."""
    metrics = list(dict.fromkeys([run.results["metric"], "balanced_accuracy", "accuracy"]))
    heads = ["Method", "Seed", *(name_of(name) + (" ↓" if name in LOWER_IS_BETTER else "") for name in metrics)]
    selected = any(row.get("epoch_selected") is not None for row in run.rows)
    rows = [
        [
            (row["method"], text(row["method"])),
            (row["seed"], text(row["seed"])),
            *((row.get(name), number(name, row.get(name))) for name in metrics),
            *([(row.get("epoch_selected"), _plain(row.get("epoch_selected")))] if selected else []),
            (row.get("seconds"), duration(row.get("seconds"))),
            (row.get("examples_seen"), f"{row['examples_seen']:,}" if row.get("examples_seen") is not None else "–"),
            (row.get("failed"), '<span class="bad">failed</span>' if row.get("failed") is not None else "done"),
        ]
        for row in run.rows
    ]
    return table([*heads, *(["Epoch selected"] if selected else []), "Time", "Examples seen", "State"], rows)


def _metric(name: str, summary: Mapping[str, Any]) -> Cell:
    mean, std = summary.get("mean"), summary.get("std")
    spread = f"<small>± {number(name, std)}</small>" if std is not None else ""
    return mean, number(name, mean) + spread


def _intervals(results: Mapping[str, Any]) -> str:
    metric = results["metric"]
    groups = {found[metric]["groups"] for found in results["paired"].values() if found.get(metric, {}).get("groups")}
    words = "95%, over seeds: Student's t for an arm; "
    if groups:
        words += f"for differences on the same seeds over both seeds and the {max(groups)} groups of the test set: the "
        words += "two-level bootstrap's variance, Student's t with Satterthwaite's degrees of freedom. p-values are over seeds."
    else:
        words += "for differences on the same seeds the bootstrap where there are pairs enough (from 6 on), else Student's t. "
        words += "Test-sampling error is not in them."
    return words + " Those of differences, and the p-values, hold over all analyses of the growing seeds together."


def _analyses(results: Mapping[str, Any]) -> str:
    times, plan = results["analyses"], results["planned"]["seeds"]
    there = len(results["seeds"])
    words = f"{plan} seeds planned, {there} there. "
    if times:
        words += f"{len(times)} analys{'es' if len(times) > 1 else 'is'} that could give a verdict, of "
        words += f"{', '.join(map(str, times))} seeds. "
    words += "Each uses a part of the error of 5% (alpha-spending: 95% of it up to the planned seeds, the rest for seeds added "
    return words + "after these)." + (f" {results['changed'].capitalize()}." if results["changed"] else "")


def _plain(value: Any) -> str:
    return "–" if value is None else str(value)
