"""An experiment from its config to its report: load, cut, then for each chunk of seeds balance, train, evaluate; report."""

import itertools
import json
import math
import os
from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from imbal_jax import methods, models, saved_config, seed_range, start_message, sweep
from imbal_jax.arms import Arm, arms, at
from imbal_jax.artifacts import json_files
from imbal_jax.config import validate
from imbal_jax.errors import Interrupted, UserError, nearest
from imbal_jax.evaluate import measures, metrics, result_rows, stats
from imbal_jax.export import network_summary
from imbal_jax.gan import train as gan_train
from imbal_jax.report import analyses, build, terminal_table
from imbal_jax.report.curves import Curves, ranges
from imbal_jax.report.run import baseline_of, published
from imbal_jax.runtime import autotune, environment, memory, multihost
from imbal_jax.stages import (
    arm_group,
    classifier_network,
    evaluation,
    gan_grids,
    gan_quality,
    gan_training,
)
from imbal_jax.stages.context import Chunk, Common, begin
from imbal_jax.stages.training_set import prepare

# What may change from one start to the next: more of the same, or how it is computed.
ADDABLE = {f"config.{name}" for name in ("baselines", "method", "expected", "grid", "seeds", "stop", "baseline", "metric")} | {
    f"config.{name}" for name in ("margin", "unequal_steps", "lanes", "conv", "parallel", "lanes_per_device", "data_devices")
}


def run(config: Any, workdir: Path, stopping: Callable[[], bool] = lambda: False) -> Path:
    """Run the experiment, or what is left of it, and write its report.

    Args:
        config: a ConfigDict as the files in configs/ make it.
        workdir: where everything is kept; the same command goes on where an earlier run stopped.
        stopping: asked now and then: whether the process has to end, as a machine that is taken back says by SIGTERM.

    Returns:
        the path of report.html; of several processes, the first writes it.

    Raises:
        UserError: a mistake in the config, the data or the workdir.
        Interrupted: `stopping` said so; everything is saved.
    """
    own = workdir if jax.process_index() == 0 else workdir / f"process-{jax.process_index()}"
    check_workdir(config, own)
    with json_files.alone(own):
        return _run(config, own, stopping)


def _run(config: Any, workdir: Path, stopping: Callable[[], bool]) -> Path:
    clock = environment.start_compile_clock()
    common = start(config, workdir, lambda: clock()["compile_seconds"] + clock()["trace_seconds"], stopping)
    one = prepare(config, workdir, common, seed_range.of(config.seeds)[:1])
    every = checked_arms(one)
    write_run_files(one)
    start_message.print_data_summary(one)
    rule, own = sweep.stop_rule(config), workdir / "rows.jsonl"
    tested = evaluation.test_counts(common.data)
    known = gather_rows("start", own, _left_by_others(workdir), tested, stopping)
    rounds = sweep.rounds(config, sweep.lanes_at_once(one, every))
    for number, chunks in enumerate(rounds):
        units, *later = [_units(every, of_round, known) for of_round in rounds[number:]]
        for place, unit in enumerate(units, 1):
            after = sweep.steps_of_units(one, [*units[place:], *itertools.chain(*later)])
            run_unit(config, common, workdir, unit, full=max(map(len, chunks)), expect=partial(_expect, one, bool(rule), after))
        known = gather_rows(f"round {number}", own, stopping=stopping)
        if rule and not undecided(config, rule, every, known, own.parent, number):
            break
    report = build.build(workdir, clock()) if jax.process_index() == 0 else workdir
    if jax.process_index() == 0:
        print(terminal_table.text(json_files.read_json(workdir / "results.json")))
    return report


def _units(every: list[Arm], chunks: list[tuple[int, ...]], known: list[dict[str, Any]]) -> list[sweep.Unit]:
    """What this process has to run of these chunks of seeds."""
    return [unit for chunk in multihost.share(chunks) for unit in sweep.missing(every, chunk, known)]


def _expect(one: Chunk, may_end: bool, after: Counter[str], unit: sweep.Unit) -> None:
    """Say which trainings are still to come: those of a unit, and those after it."""
    one.common.pace.expect(sweep.steps_of_units(one, [unit]) + after, may_end)


def networks(config: Any, coloured: bool = False) -> str:
    """The networks of the experiment as text, layer by layer; nothing is trained or written.

    Raises:
        UserError: a mistake in the config or the data.
    """
    chunk = prepare(config, Path(), begin(config, 1, autotune.Choice("gemm", "loop", {}, False)), seeds=(0,))
    return network_summary.text(chunk, any(arm_group.uses_gan(arm.spec) for arm in checked_arms(chunk)), coloured)


def start(config: Any, workdir: Path, compiling: Callable[[], float], stopping: Callable[[], bool]) -> Common:
    """Load the data and choose how to compute, as the workdir's earlier runs on such a device did."""
    kept = workdir / "environment.json"
    before = json_files.read_object(kept)
    form = None
    if before.get("device_kind") == jax.devices()[0].device_kind and "form" in before:
        earlier = autotune.restored(before["form"], kept)
        if config.conv in ("auto", earlier.conv) and config.lanes in ("auto", earlier.inner):
            form = earlier
    wanted = -(-len(seed_range.or_none(config.seeds)) // jax.process_count()) or 1
    if config.lanes_per_device > 0:
        wanted = min(wanted, config.lanes_per_device * jax.local_device_count())
    return begin(config, wanted, form, compiling, stopping)


def run_unit(
    config: Any,
    common: Common,
    workdir: Path,
    unit: sweep.Unit,
    full: int,
    expect: Callable[[sweep.Unit], None] = lambda unit: None,
) -> None:
    """Train and evaluate groups of arms on one chunk of seeds; each group's rows are kept as soon as it is done.

    Args:
        config: the experiment's ConfigDict.
        common: what all chunks share.
        workdir: where results go.
        unit: the seeds and the groups.
        full: seeds in the longest chunk; one that lacks few is filled up to it, so that its programs serve.
        expect: told before each group what of the unit is still to be trained, that group included.
    """
    min_lanes = full if len(unit.seeds) == full - 1 else 1
    curves = Curves(workdir / "metrics.jsonl", unit.seeds)
    gans: dict[Any, tuple[arm_group.TrainedGan, arm_group.MeasuredGan]] = {}
    shown = False
    names = [arm.name for arm in arms(config)]
    for number, members in enumerate(unit.groups):
        expect(unit._replace(groups=unit.groups[number:]))
        point = members[0].untraced
        chunk = prepare(at(config, point), workdir, common, unit.seeds, Arm("", point).place)._replace(min_lanes=min_lanes)
        if len(names) > 1:
            chunk = chunk._replace(turn=turn([names.index(arm.name) for arm in members], len(names)))
        if point not in gans:
            trained = cache(partial(gan_training.fit, chunk, curves))
            gans[point] = trained, cache(partial(arm_group.judged, chunk, curves, trained))
        rows = arm_group.run(chunk, curves, members, *gans[point])
        if "gan_select" in rows[0] and chunk.pictured and not shown:  # else no GAN: gan_synth may have nothing to generate
            show_generator(chunk, *gans[point])
            shown = True
        json_files.append(workdir / "rows.jsonl", rows)
        if common.stopping():
            raise Interrupted("stopped between two trainings")


def turn(places: list[int], many: int) -> str:
    """Which arms are at work, counted from 1: 'arm 2 of 7', 'arms 2-4 of 7', 'arms 2, 5 of 7'."""
    if len(places) == 1:
        return f"arm {places[0] + 1} of {many}"
    return f"arms {ranges([place + 1 for place in places]).replace(',', ', ')} of {many}"


def gather_rows(
    name: str,
    path: Path,
    more: list[dict[str, Any]] | None = None,
    test_counts: list[int] | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> list[dict[str, Any]]:
    """The rows of all processes, each once; the first process keeps them all.

    Args:
        name: of this meeting.
        path: of this process's own rows.
        more: rows found elsewhere.
        test_counts: test rows of each class, for a check of the rows on the disk.
        stopping: whether this process has to end.
    """
    own = result_rows.read(path, test_counts)
    everyone = multihost.gather(name, [*own, *(more or [])], stopping)
    known: dict[tuple[str, int], dict[str, Any]] = {}
    for row in (*own, *everyone):
        known.setdefault((row["method"], row["seed"]), row)
    rows = list(known.values())
    if jax.process_index() == 0:
        json_files.append(path, rows[len({(row["method"], row["seed"]) for row in own}) :])
    return rows


def _left_by_others(workdir: Path) -> list[dict[str, Any]]:
    """Rows that other processes of an earlier run wrote and could not tell any more."""
    if jax.process_index():
        return []
    return [row for path in sorted(workdir.glob("process-*/rows.jsonl")) for row in result_rows.read(path)]


def undecided(
    config: Any, rule: sweep.Stop, every: list[Arm], rows: list[dict[str, Any]], workdir: Path, number: int
) -> list[str]:
    """The arms of which more seeds could still tell something; this is an interim analysis, and is recorded as one."""
    key, names = jax.random.key(config.seed), [arm.name for arm in every]
    mine = [row for row in rows if row["method"] in names]
    fixed = {"metric": config.metric, "baseline": baseline_of(config), "margin": float(config.margin)}
    ledger = analyses.read(workdir)
    if jax.process_count() > 1:  # all decide alike: by what the first process has recorded
        ledger = multihost.gather(f"analyses {number}", [ledger] if jax.process_index() == 0 else [])[0]
    history = analyses.history(ledger, config.to_dict(), mine, fixed)
    options: dict[str, Any] = {"baseline": fixed["baseline"], "margin": rule.margin, "history": history}
    options["unequal_steps"] = config.unequal_steps
    found = stats.comparisons(mine, key, metrics=(config.metric,), **options)
    analyses.record(workdir, ledger, history.plan, analyses.analysis(found, fixed))
    return stats.undecided(mine, key, config.metric, methods=names, **options)


def check_workdir(config: Any, workdir: Path) -> None:
    """Find that the workdir can be written to and holds no other experiment."""
    try:
        (workdir / "plots").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the workdir {workdir}: {error.strerror}; choose another --workdir") from error
    if not os.access(workdir, os.W_OK):
        raise UserError(f"cannot write to the workdir {workdir}; mend its permissions or choose another --workdir")
    path = workdir / "config.json"
    kept = saved_config.filled(json_files.read_object(path)) if path.exists() else None
    if kept and (different := differences(json.loads(json.dumps(config.to_dict())), json.loads(json.dumps(kept)))):
        raise UserError(
            f"{workdir} holds a different experiment: {'; '.join(different)}. Use another --workdir, or the same config"
        )


def write_run_files(chunk: Chunk) -> None:
    """Make the workdir this experiment's own: its config, and the data that it is begun with."""
    data = {
        "name": chunk.data.name,
        "source": chunk.data.source,
        "digest": chunk.data.digest,
        "class_names": list(chunk.data.class_names),
        "shape": list(chunk.task.shape),
        "dtype": chunk.data.train.x.dtype.name,
        "note": chunk.data.note,
        "scale": None if chunk.data.scale is None else chunk.data.scale._asdict(),
        "groups": evaluation.groups_of_test(chunk.data)[0].tolist(),
        "left_out": list(chunk.data.left_out),
        "counts": list(chunk.task.counts),
        "minority": list(chunk.task.minority),
        "test_counts": evaluation.test_counts(chunk.data),
    }
    begun = chunk.workdir / "environment.json"
    before = json_files.read_object(begun) or {"data": data}
    kept = before.get("data", data)
    if not isinstance(kept, dict) or not {"name", "source", "digest"} <= kept.keys():
        raise UserError(f"{begun} is damaged (its 'data' describes no data set); delete it and run the same command again")
    if kept["digest"] != data["digest"]:
        raise UserError(
            f"{chunk.workdir} was begun with other data: {kept['name']} from {kept['source']}, now "
            f"{data['name']} from {data['source']}. Use another --workdir, or the same data (data.dir, data.source)"
        )
    others = {row["digest"] for row in result_rows.read(chunk.workdir / "rows.jsonl") if row.get("digest")} - {data["digest"]}
    if others:  # rows that came from another machine
        raise UserError(
            f"{chunk.workdir} holds rows measured on other data (digest {min(others)[:12]}, here {data['digest'][:12]}). "
            "Use the same data (data.dir, data.source), or another --workdir"
        )
    if not begun.exists():
        model = models.classifier_for(chunk.config.classifier.model, chunk.task.shape)
        space = gan_quality.SPACE.format(model=model, source=chunk.data.source)
        form = chunk.common.form._asdict()
        here = {**environment.describe(), "data": data, "form": form, "generator_space": space}
        json_files.write_json(begun, here)
        before = here
    now = {**before, "data": {**data, **before.get("data", {})}}  # an older version kept less of the data
    if now != before:
        json_files.write_json(begun, now)
    json_files.write_json(chunk.workdir / "config.json", chunk.config.to_dict())
    analyses.begin(chunk.workdir, chunk.config.to_dict())


def differences(asked: Any, kept: Any, name: str = "config") -> list[str]:
    """The fields, in words, in which two configs describe different experiments; both in JSON's types, `name` is theirs."""
    if name in ADDABLE:
        return []
    if isinstance(asked, dict) and isinstance(kept, dict):
        fields = sorted(asked.keys() | kept.keys())
        return [line for f in fields for line in differences(asked.get(f), kept.get(f), f"{name}.{f}")]
    return [] if asked == kept else [f"{name} is {kept!r} there and {asked!r} now"]


def checked_arms(chunk: Chunk) -> list[Arm]:
    """The arms to run, after everything about them has been checked that only the data can tell.

    Raises:
        UserError: what is wrong.
    """
    config, common = chunk.config, chunk.common
    if config.data.validation and not chunk.validation.shape[1]:
        raise UserError(f"config.data.validation={config.data.validation:g} holds out no row: no class has two of them")
    found = arms(config)
    if baseline_of(config) not in {arm.spec for arm in found}:
        raise UserError(f"config.baseline is {config.baseline!r}, which is not among the methods that are run")
    measured: set[tuple[Any, ...]] = set()
    for arm in found:
        recipe = methods.recipe_of(arm.spec, chunk.task, chunk.task.counts)
        if recipe.needs_validation and not chunk.validation.shape[1]:
            raise UserError(
                f"method {arm.spec!r} is fitted on validation rows: hold some out with --config.data.validation=0.1"
            )
        there = at(config, arm.point)
        validate(there)
        nets = gan_training.nets_of(there, chunk.task, common.form.conv)
        sizes = (there.classifier.model, there.classifier.width, there.gan.model, there.gan.g_width, there.gan.d_width)
        first = (key := (*sizes, there.gan.latent, arm_group.uses_gan(arm.spec))) not in measured
        if arm_group.uses_gan(arm.spec):
            gan_training.check_data(there.gan, chunk.task)
            if first:
                gan_training.check_contract(nets, there.gan.model, chunk.task.shape)
            gan_training.check_shape(nets, there.gan.model, chunk.task.shape)
            gan_training.check_penalty(nets, there, chunk.task.shape)
        model = classifier_network.model_of(there, len(chunk.task.counts), common.form.conv, chunk.task.shape)
        classifier_network.check_network(there, model, chunk.task.shape)
        classifier_network.check_method(there, model, chunk.task, arm.spec)
        if first:
            measured.add(key)
            classifier_network.check_contract(there, model, chunk.task.shape, len(chunk.task.counts))
            refuse_too_large(chunk, model, nets if arm_group.uses_gan(arm.spec) else None)
    sweep.stop_rule(config)
    published(config.to_dict())
    names = chunk.task.class_names
    further = measures.of(chunk.data.measures, np.zeros((len(names),) * 2, int), names)
    known = [*metrics.SCALARS, *metrics.GENERATOR, *further]
    known += [metrics.class_key(kind, name) for kind in ("recall", "pr_auc", "roc_auc") for name in names]
    if config.metric not in known:
        raise UserError(f"config.metric is {config.metric!r}, which is no metric{nearest(config.metric, known)}")
    return found


def refuse_too_large(chunk: Chunk, model: Any, nets: Any) -> None:
    """Raise UserError where a network alone exceeds the memory, with its size: nothing of it is allocated for this.

    Args:
        chunk: of one seed.
        model: the classifier: its weights and their gradients count.
        nets: of the GAN, or None: the weights, their gradients and the optimisers' states count.
    """

    def size(init: Callable[..., Any], *args: Any) -> int:
        leaves = jax.tree.leaves(jax.eval_shape(init, jax.random.key(0), *args))
        return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)

    device = chunk.common.devices[0]
    rows = jax.ShapeDtypeStruct((1, *chunk.task.shape), np.float32)
    memory.refuse_weights("the classifier", 2 * size(model.init, rows), device, "config.classifier.width")
    if nets is not None:
        state = size(partial(gan_train.init, nets=nets, shape=chunk.task.shape))
        advice = "config.gan.g_width, config.gan.d_width or config.gan.latent"
        memory.refuse_weights("the GAN", state, device, advice)


def show_generator(chunk: Chunk, trained_gan: arm_group.TrainedGan, measured_gan: arm_group.MeasuredGan) -> None:
    """Draw the final samples and keep the generator's quality by class, once, of the first chunk of seeds."""
    trained = trained_gan().gan
    path = chunk.workdir / "plots" / "samples.png"
    gan_grids.draw(chunk, trained.nets, trained.generator, path, "the state drawn from", each=10)
    gan_grids.film(chunk, trained.nets, trained.generator, path.with_name("film_strip.png"))
    kept = chunk.workdir / "generator.json"
    if chunk.config.quality.samples and not kept.exists():
        json_files.write_json(kept, gan_quality.by_class(measured_gan()))
