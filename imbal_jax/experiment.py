"""An experiment from its config to its report: load, cut, balance, train, evaluate, report."""

import json
import os
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from imbal_jax import environment, methods, records
from imbal_jax.batches import Pool
from imbal_jax.errors import UserError
from imbal_jax.evaluate import leakage, stats
from imbal_jax.gan import monitor
from imbal_jax.lanes import purposes
from imbal_jax.methods import Context
from imbal_jax.report import page, plots, table
from imbal_jax.stages import classifier, gan, quality
from imbal_jax.stages.curves import Curves
from imbal_jax.stages.setting import Setting, prepare
from imbal_jax.train import optimizer

SELECTION = "last step"
ADDABLE = {"config.baselines", "config.method", "config.expected"}  # rows of other methods stay, new ones are added


def run(config: Any, workdir: Path) -> Path:
    """Run the experiment, or what is left of it, and write its report.

    Args:
        config: a ConfigDict as the files in configs/ make it.
        workdir: where everything is kept; the same command goes on where an earlier run stopped.

    Returns:
        the path of report.html.

    Raises:
        UserError: a mistake in the config, the data or the workdir.
    """
    refuse_other(config, workdir)
    with records.alone(workdir):
        return _run(config, workdir)


def _run(config: Any, workdir: Path) -> Path:
    clock = environment.start_compile_clock()
    setting = prepare(config, workdir)
    specs = check(setting)
    claim(setting)
    announce(setting)
    curves = Curves(workdir / "metrics.jsonl", setting.seeds)
    trained_gan = cache(partial(gan.fit, setting, curves))
    for spec in specs:
        if not done(setting, spec):
            rows = arm(setting, curves, spec, trained_gan)
            others = partial(_is_not, spec)
            records.keep(workdir / "rows.jsonl", others)  # a torn writing may have left some of this method's rows
            records.append(workdir / "rows.jsonl", rows)
    if any(uses_gan(spec) for spec in specs):
        judge_generator(setting, curves, trained_gan)
    report = finish(setting, curves, specs, clock())
    print(table.text(records.read_json(workdir / "results.json")))
    return report


def _is_not(spec: str, row: dict[str, Any]) -> bool:
    return row["method"] != spec


def refuse_other(config: Any, workdir: Path) -> None:
    """Find that the workdir can be written to and holds no other experiment."""
    try:
        (workdir / "plots").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the workdir {workdir}: {error.strerror}; choose another --workdir") from error
    if not os.access(workdir, os.W_OK):
        raise UserError(f"cannot write to the workdir {workdir}; mend its permissions or choose another --workdir")
    path = workdir / "config.json"
    if path.exists() and (different := _differences(json.loads(json.dumps(config.to_dict())), records.read_json(path))):
        raise UserError(
            f"{workdir} holds a different experiment: {'; '.join(different)}. Use another --workdir, or the same config"
        )


def claim(setting: Setting) -> None:
    """Make the workdir this experiment's own: its config, and the data that it is begun with."""
    data = {"name": setting.data.name, "source": setting.data.source, "digest": setting.data.digest}
    begun = setting.workdir / "environment.json"
    if not begun.exists():
        records.write_json(begun, {**environment.describe(), "data": data})
    elif (before := records.read_json(begun).get("data", data))["digest"] != data["digest"]:
        raise UserError(
            f"{setting.workdir} was begun with other data: {before['name']} from {before['source']}, now {data['name']} "
            f"from {data['source']}. Use another --workdir, or the same data (data.dir, data.source)"
        )
    records.write_json(setting.workdir / "config.json", setting.config.to_dict())


def _differences(asked: Any, kept: Any, name: str = "config") -> list[str]:
    if name in ADDABLE:
        return []
    if isinstance(asked, dict) and isinstance(kept, dict):
        fields = sorted(asked.keys() | kept.keys())
        return [line for f in fields for line in _differences(asked.get(f), kept.get(f), f"{name}.{f}")]
    return [] if asked == kept else [f"{name} is {kept!r} there and {asked!r} now"]


def check(setting: Setting) -> list[str]:
    """The method specs to run, the baselines first, each tried out before anything long begins."""
    config = setting.config
    specs = list(dict.fromkeys((*config.baselines, config.method)))
    for spec in specs:
        if not isinstance(spec, str):
            raise UserError(f"a method is a word in quotes, not {spec!r} (config.baselines)")
        methods.build(spec, setting.task)
        if methods.recipe_of(spec, setting.task, setting.task.counts).needs_validation and not setting.validation.shape[1]:
            raise UserError(f"method {spec!r} is fitted on validation rows: hold some out with --config.data.validation=0.1")
    gan.nets_of(config, len(setting.task.counts), setting.form)
    classifier.model_of(config, len(setting.task.counts), setting.form)
    for options in (config.classifier, config.quality):
        optimizer.make(options.optimizer, options.learning_rate, steps=1, schedule=options.schedule)
    setting.over_lanes(lambda lane, shared: lane)
    return specs


def announce(setting: Setting) -> None:
    """Say where the data comes from and what the cut left."""
    if setting.data.note:
        print(f"{'=' * 80}\n{setting.data.note}\n{'=' * 80}")
    before = np.bincount(setting.data.train.y, minlength=len(setting.task.counts))
    print(f"data: {setting.data.name} from {setting.data.source}, digest {setting.data.digest[:12]}")
    print(f"{'class':>12} {'before':>8} {'after':>8}")
    for name, old, new in zip(setting.task.class_names, before, setting.task.counts, strict=True):
        print(f"{name:>12} {old:>8} {new:>8}{'  cut' if new < old else ''}")


def uses_gan(spec: str) -> bool:
    """Whether a spec asks for the conditional GAN."""
    return any(word.name == "gan_synth" for word in methods.parse(spec))


def done(setting: Setting, spec: str) -> bool:
    """Whether rows.jsonl has this method's rows of all seeds."""
    rows = records.read(setting.workdir / "rows.jsonl")
    return set(setting.seeds) <= {row["seed"] for row in rows if row["method"] == spec}


def arm(setting: Setting, curves: Curves, spec: str, trained_gan: Any) -> list[dict[str, Any]]:
    """Balance, train and evaluate one method on all lanes: its rows."""
    plain = partial(classifier.fit, setting, curves, "none", setting.train)
    base = methods.training_part(spec, setting.task)
    context = Context(
        shared=setting.shared,
        trained={"gan": lambda: trained_gan()[0], "plain": lambda: plain().trained},
        over_lanes=setting.over_lanes,
    )
    train = methods.resample(base, setting.task, purposes(setting.keys, "balance"), setting.train, context)
    used = np.concatenate([np.asarray(train.pool.rows).ravel(), train.parents.ravel()])
    leakage.refuse(setting.data.train, used[used < len(setting.data.train.y)], setting.data.test)
    fitted = classifier.fit(setting, curves, spec, train)
    figures = classifier.evaluate(setting, fitted)
    gan_seconds, gan_seen = trained_gan()[1:] if uses_gan(spec) else (0.0, 0)
    lanes = len(setting.seeds)
    rows = []
    for lane, (seed, metrics) in enumerate(zip(setting.seeds, figures, strict=True)):
        why = failure(curves, spec, seed, metrics, jax.tree.map(lambda leaf, lane=lane: leaf[lane], train.pool))
        if why and "NaN" in why:
            metrics = dict.fromkeys(metrics)
        rows.append(
            {
                "seed": seed,
                "method": spec,
                **metrics,
                "failed": why,
                "seconds": (fitted.seconds + gan_seconds) / lanes,
                "classifier_seconds": fitted.seconds / lanes,
                "gan_seconds": gan_seconds / lanes,
                "examples_seen": fitted.examples + gan_seen,
                "counts_before": list(setting.task.counts),
                "counts_after": list(train.counts),
                "source": setting.data.source,
                "digest": setting.data.digest,
            }
        )
    return rows


def failure(curves: Curves, spec: str, seed: int, metrics: dict[str, Any], pool: Pool) -> str | None:
    """Why a lane's row means nothing or little, or None; `pool` is the lane's training set."""
    if uses_gan(spec):
        broken = monitor.broken(curves.of("gan", seed=seed))
        if why := broken or monitor.alike(np.asarray(pool.new_x), np.asarray(pool.new_y)):
            return why
    return "classifier: NaN in its outputs" if metrics["nll"] is None else None


def judge_generator(setting: Setting, curves: Curves, trained_gan: Any) -> None:
    """Draw the final samples and measure the generator, once."""
    trained = trained_gan()[0]
    path = setting.workdir / "plots" / "samples.png"
    gan.draw_grid(setting, trained.nets, trained.generator, path, "the last step", each=10)
    kept = setting.workdir / "generator.json"
    if setting.config.quality.samples and not kept.exists():
        records.write_json(kept, quality.measure(setting, trained, classifier.fit_reference(setting, curves)))


def finish(setting: Setting, curves: Curves, specs: list[str], compiled: dict[str, Any]) -> Path:
    """Aggregate the rows, draw the plots, write the page."""
    workdir = setting.workdir
    rows = [row for row in records.read(workdir / "rows.jsonl") if row["method"] in specs]
    kept = workdir / "generator.json"
    results = {
        "name": setting.config.name,
        "data": {
            "name": setting.data.name,
            "source": setting.data.source,
            "digest": setting.data.digest,
            "class_names": list(setting.data.class_names),
            "note": setting.data.note,
        },
        "seeds": list(setting.seeds),
        "selection": SELECTION,
        "methods": stats.results(rows),
        "paired": stats.comparisons(rows, jax.random.key(setting.config.seed)),
        "generator": records.read_json(kept) if kept.exists() else {},
        "generator_space": quality.SPACE.format(model=setting.config.classifier.model, source=setting.data.source),
        "warnings": curves.warnings(),
        **compiled,
    }
    records.write_json(workdir / "results.json", results)
    draw(setting, curves, rows)
    return page.write(workdir)


def draw(setting: Setting, curves: Curves, rows: list[dict[str, Any]]) -> None:
    """The plots that compare the arms."""
    folder, names = setting.workdir / "plots", setting.task.class_names
    rare = set(setting.task.minority)
    good = [row for row in rows if row["confusion"] is not None]
    arms = list(dict.fromkeys(row["method"] for row in good))
    by_arm = {name: [row for row in good if row["method"] == name] for name in arms}
    plots.losses(folder / "losses.png", records.read(curves.path))
    if arms:
        matrices = {name: np.sum([row["confusion"] for row in lanes], axis=0) for name, lanes in by_arm.items()}
        plots.confusion(folder / "confusion.png", matrices, names)
        recalls = {name: np.array([_recalls(row["confusion"]) for row in lanes]) for name, lanes in by_arm.items()}
        plots.recalls(folder / "recalls.png", recalls, names, rare)
    after = {row["method"]: row["counts_after"] for row in rows}
    plots.class_counts(folder / "class_counts.png", setting.task.counts, after, names)


def _recalls(confusion: list[list[int]]) -> np.ndarray:
    matrix = np.asarray(confusion, float)
    return np.diag(matrix) / np.maximum(matrix.sum(axis=1), 1)
