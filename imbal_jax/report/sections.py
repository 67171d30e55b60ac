"""The other sections of the page: warnings, images, the generator, experimental conditions, tables of all metrics."""

import re
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from imbal_jax.evaluate.metrics import LOWER_IS_BETTER
from imbal_jax.report.arm_table import labels
from imbal_jax.report.formats import NAMES, band, capital, down, duration, listed, name_of, number
from imbal_jax.report.markup import Cell, Small, folded_table, picture, render, table_section, with_interval
from imbal_jax.report.plots import MOST_LINES
from imbal_jax.report.precision_recall import MOST_CLASSES
from imbal_jax.report.run import Run, ranked, shots
from imbal_jax.report.style import slug

MOST_EPOCHS = 8  # sample grids in the page
MOST_FILES = 50  # skipped files that are listed
SHOTS = {"many": "more than 100 rows", "medium": "20 to 100", "few": "fewer than 20"}
ARROWS = {"frechet": " ↓", "copies": " ↓", "precision": " ↑", "recall": " ↑", "density": " ↑", "coverage": " ↑"}


def trouble(run: Run) -> Markup:
    """Failed seeds, and warnings. Warnings that differ only in a decimal number are merged; the last one is shown."""
    failed = [row for row in run.rows if row.get("failed") is not None]
    warnings = []
    by_message: dict[str, list[Mapping[str, Any]]] = {}
    for warning in run.results["warnings"]:
        by_message.setdefault(re.sub(r"\d+\.\d[\de+-]*|\d+e-\d+", "#", str(warning.get("message"))), []).append(warning)
    for lines in by_message.values():
        message = str(lines[-1].get("message"))
        occurrences = {name: [line[name] for line in lines if line.get(name) is not None] for name in ("seed", "epoch")}
        where = "; ".join(filter(None, (listed(name, numbers) for name, numbers in occurrences.items())))
        warnings.append((message, where))
    if not failed and not warnings:
        return Markup("")
    title, kind = ("Failures and warnings", "trouble failed") if failed else ("Warnings", "trouble")
    return render("trouble.html", title=title, kind=kind, failed=failed, warnings=warnings)


def sources(run: Run) -> Markup:
    """The joined directories, their commands, and the differences between their configs."""
    if not run.sources:
        return Markup("")
    fields = list(run.sources[0].differs)
    heads = ["Directory", *fields, "Rows", "Duplicates", "Command"]
    rows = [
        [
            Cell(source.folder, source.folder),
            *(Cell(_plain(source.differs[field]), _plain(source.differs[field])) for field in fields),
            Cell(source.rows, str(source.rows)),
            Cell(source.repeated, str(source.repeated)),
            Cell(source.command, source.command, kind="code") if source.command else Cell(source.command, "–"),
        ]
        for source in run.sources
    ]
    note = "The runs use the same data. "
    if not fields:
        note += "They have the same config: parts of one experiment with seeds of their own. "
    if fields:
        note += "Their configs differ in the fields shown, which are part of the arms' names; each arm is compared with the "
        note += "baseline of its own config. "
    if any(source.repeated for source in run.sources):
        note += "Duplicates: rows left out, since a directory above has the same method and seed."
    return table_section("Joined runs", heads, rows, note)


def figure(run: Run, title: str, name: str, note: str, wide: bool = False) -> Markup:
    """A plot of the run, if it was drawn."""
    path = run.folder / "plots" / f"{name}.png"
    if not path.exists():
        return Markup("")
    return render("figure.html", title=title, picture=picture(path, title, "plot"), note=note, wide=wide)


def confusion_note(run: Run, most: int) -> str:
    """The note below the confusion matrices."""
    seeds = max((len(arm["seeds"]) for arm in run.results["methods"].values()), default=1)
    summed = f"Test rows, summed over {seeds} seeds" if seeds > 1 else "Test rows of one seed"
    few = " The baseline and the best other arms." if len(run.results["methods"]) > most else ""
    return f"{summed}. Blue: share of the true class that is classified correctly; orange: incorrectly.{few}"


def curves_note(run: Run) -> str:
    """The note below the precision-recall curves."""
    arms = f" and the {MOST_LINES} best arms" if len(run.results["methods"]) > MOST_LINES else ""
    return (
        "Precision against recall of one class against the rest, as the threshold on its probability decreases; mean over "
        "seeds. Dotted: the precision of random guessing, which is the class's share of the test set. At most the "
        f"{MOST_CLASSES} rarest classes{arms}."
    )


def samples(run: Run) -> Markup:
    """Sample grids saved during training, shown one at a time."""
    folder = run.folder / "plots"
    epochs = sorted(folder.glob("samples_epoch_*.png"))
    if len(epochs) > MOST_EPOCHS:
        epochs = [epochs[round(i * (len(epochs) - 1) / (MOST_EPOCHS - 1))] for i in range(MOST_EPOCHS)]
    final = folder / "samples.png"
    paths = {f"after epoch {int(path.stem.rsplit('_', 1)[1])}": path for path in epochs}
    paths |= {"final": final} if final.exists() else {}
    if not paths:
        return Markup("")
    pictures = [(name, picture(path, f"samples {name}", "grid")) for name, path in paths.items()]
    note = "Real training rows next to generated ones."
    return render("samples.html", title="Generated samples", pictures=pictures, note=note)


def seen(run: Run) -> Markup:
    """Images before and after each arm's transformations."""
    paths = {arm: run.folder / "plots" / f"transformed-{slug(arm)}.png" for arm in run.results["methods"]}
    label = labels(run)
    figures = [
        (label[arm], picture(path, f"images before and after {arm}", "grid")) for arm, path in paths.items() if path.exists()
    ]
    note = (
        "Training images of the first seed before and after each method: one draw of a transformation that is drawn anew in "
        "every step, or rows that were generated once. Mixed images have their soft labels below."
    )
    return render("seen.html", title="What the network sees", figures=figures, note=note) if figures else Markup("")


def by_frequency(run: Run) -> Markup:
    """The recall of many-, medium- and few-shot classes, if the training set has at least two of these groups."""
    kinds = shots(run)
    if not kinds:
        return Markup("")
    label, arms = labels(run), run.results["methods"]
    heads = [
        "Method",
        *(f"{kind.capitalize()}-shot ({len(ks)} class{'es' if len(ks) > 1 else ''})" for kind, ks in kinds.items()),
    ]
    rows = [
        [Cell(arm, label=label[arm]), *(with_interval("recall", arms[arm]["shots"][kind]) for kind in kinds)]
        for arm in ranked(run)
    ]
    terms = "; ".join(f"{kind}-shot: {SHOTS[kind]}" for kind in kinds)
    note = (
        f"Mean recall of classes grouped by their training rows before balancing; {terms}. Small print: 95% intervals over "
        "seeds."
    )
    return table_section("Recall by frequency", heads, rows, note)


def left_out(run: Run) -> Markup:
    """The files that could not be read while loading the data."""
    lines = run.environment.get("data", {}).get("left_out") or []
    if not lines:
        return Markup("")
    more = f"{len(lines) - MOST_FILES:,}" if len(lines) > MOST_FILES else ""
    note = f"{len(lines):,} file{'s' if len(lines) > 1 else ''} could not be read and were skipped."
    return render("left_out.html", title="Files left out", lines=lines[:MOST_FILES], more=more, note=note)


def generator(run: Run) -> Markup:
    """The generator's quality by class."""
    quality = run.results["generator"]
    if not quality:
        return Markup("")
    measures = list(dict.fromkeys(name for values in quality.values() for name in values))
    heads = ["Class", *(NAMES.get(name, name.replace("_", " ")) + ARROWS.get(name, "") for name in measures)]
    rare = {run.data["class_names"][label] for label in run.data["minority"]}
    rows = [
        [
            Cell(name, name, tag="minority" if name in rare else ""),
            *(Cell(values.get(measure), number(measure, values.get(measure))) for measure in measures),
        ]
        for name, values in quality.items()
    ]
    space = run.results["generator_space"] or "not recorded"
    note = (
        f"Feature space of Fréchet distance, precision, recall, density and coverage: {space}. Distances to training rows "
        "are Euclidean, of pixels in [0, 1] or samples in [-1, 1]. Memorized samples: generated rows at most as far from a "
        "training row as the closest 1% of training rows are from another one. ↑ higher and ↓ lower is better; means over "
        "seeds."
    )
    return table_section("Quality of the generator", heads, rows, note)


def measured(run: Run) -> Markup:
    """The experimental conditions."""
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
    known = {name: value for name, value in facts.items() if value not in (None, "")}
    return render("measured.html", title="How this was measured", facts=known)


def all_metrics(run: Run) -> Markup:
    """Every metric of every arm."""
    arms = run.results["methods"]
    names = list(dict.fromkeys(name for arm in arms.values() for name in arm["metrics"]))
    rows = [
        [Cell(arm, arm), *(_metric(name, arm_results["metrics"].get(name) or {}) for name in names)]
        for arm, arm_results in arms.items()
    ]
    heads = ["Method", *(name_of(name) + down(name) for name in names)]
    return folded_table("All metrics", heads, rows, "Mean ± standard deviation over seeds.")


def every_seed(run: Run) -> Markup:
    """A short line for every row."""
    metrics = list(dict.fromkeys([run.results["metric"], "balanced_accuracy", "accuracy"]))
    heads = ["Method", "Seed", *(name_of(name) + (" ↓" if name in LOWER_IS_BETTER else "") for name in metrics)]
    selected = any(row.get("epoch_selected") is not None for row in run.rows)
    rows = [
        [
            Cell(row["method"], row["method"]),
            Cell(row["seed"], str(row["seed"])),
            *(Cell(row.get(name), number(name, row.get(name))) for name in metrics),
            *([Cell(row.get("epoch_selected"), _plain(row.get("epoch_selected")))] if selected else []),
            Cell(row.get("seconds"), duration(row.get("seconds"))),
            Cell(row.get("examples_seen"), f"{row['examples_seen']:,}" if row.get("examples_seen") is not None else "–"),
            Cell(None, "done") if row.get("failed") is None else Cell(row["failed"], "failed", kind="bad"),
        ]
        for row in run.rows
    ]
    heads += [*(["Epoch selected"] if selected else []), "Time", "Examples seen", "State"]
    return folded_table("Every seed", heads, rows)


def _metric(name: str, summary: Mapping[str, Any]) -> Cell:
    mean, std = summary.get("mean"), summary.get("std")
    return Cell(mean, number(name, mean), (Small(f"± {number(name, std)}"),) if std is not None else ())


def _intervals(results: Mapping[str, Any]) -> str:
    metric = results["metric"]
    groups = {pairs[metric]["groups"] for pairs in results["paired"].values() if pairs.get(metric, {}).get("groups")}
    words = "95%, over seeds: Student's t for an arm; "
    if groups:
        words += f"for paired differences over both seeds and the {max(groups)} groups of the test set: the "
        words += "variance of the two-level bootstrap, Student's t with Satterthwaite's degrees of freedom. p-values are over "
        words += "seeds."
    else:
        words += "for paired differences the bootstrap from 6 pairs on, Student's t with fewer. "
        words += "Test-sampling error is not included."
    return words + " Intervals of differences and p-values are corrected for interim analyses."


def _analyses(results: Mapping[str, Any]) -> str:
    times, plan = results["analyses"], results["planned"]["seeds"]
    finished = len(results["seeds"])
    words = f"{plan} seeds planned, {finished} finished. "
    if times:
        words += f"{len(times)} analys{'es' if len(times) > 1 else 'is'} that could give a verdict, at "
        words += f"{', '.join(map(str, times))} seeds. "
    words += "Each spends a part of the error of 5% (alpha spending: 95% of it up to the planned seeds, the rest for seeds "
    return words + "added later)." + (f" {capital(results['changed'])}." if results["changed"] else "")


def _plain(value: Any) -> str:
    return "–" if value is None else str(value)
