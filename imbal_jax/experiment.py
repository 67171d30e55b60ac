"""An experiment from its config to its report: load the data, then balance, train and evaluate for each chunk of seeds."""

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
from imbal_jax.artifacts import json_files, point_file
from imbal_jax.config import validate
from imbal_jax.errors import Interrupted, UserError, nearest
from imbal_jax.evaluate import measures, metrics, result_rows, stats
from imbal_jax.export import network_summary
from imbal_jax.gan import train as gan_train
from imbal_jax.report import analyses, build, terminal_table
from imbal_jax.report.curves import Curves, ranges
from imbal_jax.report.run import baseline_of, criteria_of, published
from imbal_jax.runtime import autotune, environment, memory, multihost
from imbal_jax.stages import (
    arm_group,
    classifier_network,
    evaluation,
    gan_grids,
    gan_quality,
    gan_training,
)
from imbal_jax.stages.context import Chunk, Common, load_common
from imbal_jax.stages.training_set import prepare

# Fields that may change between two starts in one workdir: they add arms or seeds, or choose how to compute.
ADDABLE = {f"config.{name}" for name in ("baselines", "method", "expected", "grid", "seeds", "stop", "baseline", "metric")} | {
    f"config.{name}" for name in ("margin", "unequal_steps", "lanes", "conv", "parallel", "lanes_per_device", "data_devices")
}


def run(config: Any, workdir: Path, stopping: Callable[[], bool] = lambda: False) -> Path:
    """Run the experiment, or what an earlier run left unfinished, and write its report.

    Args:
        config: a ConfigDict as the files in configs/ make it.
        workdir: the folder of all results; the same command resumes where an earlier run stopped.
        stopping: whether the process has to end, as on SIGTERM when a machine is pre-empted; called regularly.

    Returns:
        the path of report.html; of several processes, process 0 writes it.

    Raises:
        UserError: a mistake in the config, the data or the workdir.
        Interrupted: `stopping` returned True; the state is saved.
    """
    own_folder = workdir if jax.process_index() == 0 else workdir / f"process-{jax.process_index()}"
    check_workdir(config, own_folder)
    with json_files.lock_folder(own_folder):
        return _run(config, own_folder, stopping)


def _run(config: Any, workdir: Path, stopping: Callable[[], bool]) -> Path:
    clock = environment.start_compile_clock()
    common = load_common_of_run(config, workdir, lambda: clock()["compile_seconds"] + clock()["trace_seconds"], stopping)
    first = prepare(config, workdir, common, seed_range.of(config.seeds)[:1])
    compared = checked_arms(first)
    write_run_files(first)
    start_message.print_data_summary(first)
    rule, rows_path = sweep.stop_rule(config), workdir / "rows.jsonl"
    test_counts = evaluation.test_counts(common.data)
    rows = gather_rows("start", rows_path, _left_by_others(workdir), test_counts, stopping)
    rounds = sweep.plan_rounds(config, sweep.lanes_at_once(first, compared))
    for number, chunks in enumerate(rounds):
        units, *later = [_units(compared, of_round, rows) for of_round in rounds[number:]]
        for done, unit in enumerate(units, 1):
            after = sweep.steps_of_units(first, [*units[done:], *itertools.chain(*later)])
            run_unit(
                config, common, workdir, unit, full=max(map(len, chunks)), expect=partial(_expect, first, bool(rule), after)
            )
        rows = gather_rows(f"round {number}", rows_path, stopping=stopping)
        if rule and not undecided_arms(config, rule, compared, rows, rows_path.parent, number):
            break
    report = build.build(workdir, clock()) if jax.process_index() == 0 else workdir
    if jax.process_index() == 0:
        print(terminal_table.text(json_files.read_json(workdir / "results.json")))
    return report


def _units(compared: list[Arm], chunks: list[tuple[int, ...]], rows: list[dict[str, Any]]) -> list[sweep.Unit]:
    """The units of these chunks of seeds that this process has to run."""
    return [unit for chunk in multihost.share(chunks) for unit in sweep.missing_units(compared, chunk, rows)]


def _expect(first: Chunk, may_end: bool, after: Counter[str], unit: sweep.Unit) -> None:
    """Tell the time estimate which trainings are left: those of a unit, and those after it."""
    first.common.pace.expect(sweep.steps_of_units(first, [unit]) + after, may_end)


def describe_networks(config: Any, coloured: bool = False) -> str:
    """The networks of the experiment as text, layer by layer; nothing is trained or written.

    Raises:
        UserError: a mistake in the config or the data.
    """
    chunk = prepare(config, Path(), load_common(config, 1, autotune.Choice("gemm", "loop", {}, False)), seeds=(0,))
    return network_summary.text(chunk, any(arm_group.uses_gan(arm.spec) for arm in checked_arms(chunk)), coloured)


def load_common_of_run(config: Any, workdir: Path, compiling: Callable[[], float], stopping: Callable[[], bool]) -> Common:
    """Load the data and choose how to compute; an earlier choice in the workdir on the same kind of device is kept."""
    path = workdir / "environment.json"
    earlier_run = json_files.read_object(path)
    choice = None
    if earlier_run.get("device_kind") == jax.devices()[0].device_kind and "form" in earlier_run:
        saved_choice = autotune.restore_choice(earlier_run["form"], path)
        if config.conv in ("auto", saved_choice.conv) and config.lanes in ("auto", saved_choice.inner):
            choice = saved_choice
    wanted = -(-len(seed_range.or_none(config.seeds)) // jax.process_count()) or 1
    if config.lanes_per_device > 0:
        wanted = min(wanted, config.lanes_per_device * jax.local_device_count())
    return load_common(config, wanted, choice, compiling, stopping)


def run_unit(
    config: Any,
    common: Common,
    workdir: Path,
    unit: sweep.Unit,
    full: int,
    expect: Callable[[sweep.Unit], None] = lambda unit: None,
) -> None:
    """Train and evaluate groups of arms on one chunk of seeds; each group's rows are written as soon as it is finished.

    Args:
        config: the experiment's ConfigDict.
        common: what all chunks share.
        workdir: the folder of the results.
        unit: the seeds and the groups.
        full: seeds in the longest chunk; a chunk with one seed less is filled up to it, to use the same compiled programs.
        expect: called before each group with the part of the unit that is left, that group included.
    """
    min_lanes = full if len(unit.seeds) == full - 1 else 1
    curves = Curves(workdir / "metrics.jsonl", unit.seeds)
    gans: dict[Any, tuple[arm_group.TrainedGan, arm_group.MeasuredGan]] = {}
    drawn = False
    names = [arm.name for arm in arms(config)]
    for number, members in enumerate(unit.groups):
        expect(unit._replace(groups=unit.groups[number:]))
        point = members[0].untraced
        chunk = prepare(at(config, point), workdir, common, unit.seeds, point)._replace(min_lanes=min_lanes)
        point_file.write(chunk.folder, chunk.seeds, dict(point))
        if len(names) > 1:
            chunk = chunk._replace(turn=describe_turn([names.index(arm.name) for arm in members], len(names)))
        if point not in gans:
            trained = cache(partial(gan_training.fit, chunk, curves))
            gans[point] = trained, cache(partial(arm_group.measure_generators, chunk, curves, trained))
        rows = arm_group.run(chunk, curves, members, *gans[point])
        if (
            "gan_select" in rows[0] and chunk.pictured and not drawn
        ):  # no GAN is trained where gan_synth has nothing to generate
            show_generator(chunk, *gans[point])
            drawn = True
        json_files.append(workdir / "rows.jsonl", rows)
        if common.stopping():
            raise Interrupted("stopped between two trainings")


def describe_turn(places: list[int], many: int) -> str:
    """The arms that are trained now, counted from 1: 'arm 2 of 7', 'arms 2-4 of 7', 'arms 2, 5 of 7'."""
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
    """The rows of all processes, each once; process 0 writes all of them into its file.

    Args:
        name: of this exchange, used once.
        path: of this process's own rows.jsonl.
        more: further rows, such as those of an earlier run's processes.
        test_counts: test rows of each class, to check the rows on the disk against.
        stopping: whether this process has to end.
    """
    own_rows = result_rows.read(path, test_counts)
    gathered = multihost.gather(name, [*own_rows, *(more or [])], stopping)
    by_arm_and_seed: dict[tuple[str, int], dict[str, Any]] = {}
    for row in (*own_rows, *gathered):
        by_arm_and_seed.setdefault((row["method"], row["seed"]), row)
    rows = list(by_arm_and_seed.values())
    if jax.process_index() == 0:
        json_files.append(path, rows[len({(row["method"], row["seed"]) for row in own_rows}) :])
    return rows


def _left_by_others(workdir: Path) -> list[dict[str, Any]]:
    """Rows that other processes of an earlier run wrote without passing them on."""
    if jax.process_index():
        return []
    return [row for path in sorted(workdir.glob("process-*/rows.jsonl")) for row in result_rows.read(path)]


def undecided_arms(
    config: Any, rule: sweep.Stop, compared: list[Arm], rows: list[dict[str, Any]], workdir: Path, number: int
) -> list[str]:
    """The arms whose comparison more seeds could still decide; this is an interim analysis and is recorded as one."""
    key, names = jax.random.key(config.seed), [arm.name for arm in compared]
    own_rows = [row for row in rows if row["method"] in names]
    criteria = criteria_of(config)
    ledger = analyses.read(workdir)
    if jax.process_count() > 1:  # all processes decide by the analyses that process 0 has recorded
        ledger = multihost.gather(f"analyses {number}", [ledger] if jax.process_index() == 0 else [])[0]
    history = analyses.history(ledger, config.to_dict(), own_rows, criteria)
    options: dict[str, Any] = {"baseline": criteria["baseline"], "margin": rule.margin, "history": history}
    options["unequal_steps"] = config.unequal_steps
    comparisons = stats.comparisons(own_rows, key, metrics=(config.metric,), **options)
    analyses.record(workdir, ledger, history.plan, analyses.analysis(comparisons, criteria))
    return stats.undecided(own_rows, key, config.metric, methods=names, **options)


def check_workdir(config: Any, workdir: Path) -> None:
    """Raise UserError where the workdir cannot be written to, or holds another experiment."""
    try:
        (workdir / "plots").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--workdir={workdir} cannot be created ({error.strerror}): choose another folder") from error
    if not os.access(workdir, os.W_OK):
        raise UserError(f"--workdir={workdir} is not writable: change its permissions or choose another folder")
    path = workdir / "config.json"
    saved = saved_config.fill_defaults(json_files.read_object(path)) if path.exists() else None
    if saved and (different := differences(json.loads(json.dumps(config.to_dict())), saved)):
        raise UserError(
            f"--workdir={workdir} holds a different experiment ({'; '.join(different)}): use another folder, or the same config"
        )


def write_run_files(chunk: Chunk) -> None:
    """Write config.json and environment.json, and check that the workdir's earlier rows are of the same data."""
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
    path = chunk.workdir / "environment.json"
    before = json_files.read_object(path) or {"data": data}
    first_data = before.get("data", data)
    if not isinstance(first_data, dict) or not {"name", "source", "digest"} <= first_data.keys():
        raise UserError(f"{path} is damaged ('data' does not describe a data set): delete it and run the same command again")
    if first_data["digest"] != data["digest"]:
        raise UserError(
            f"--workdir={chunk.workdir} was begun with other data ({first_data['name']} from {first_data['source']}, now "
            f"{data['name']} from {data['source']}): use another folder, or the same data (config.data.dir, config.data.source)"
        )
    other_digests = {row["digest"] for row in result_rows.read(chunk.workdir / "rows.jsonl") if row.get("digest")} - {
        data["digest"]
    }
    if other_digests:  # rows from another machine
        raise UserError(
            f"--workdir={chunk.workdir} holds rows measured on other data (digest {min(other_digests)[:12]}, now "
            f"{data['digest'][:12]}): use the same data (config.data.dir, config.data.source), or another folder"
        )
    if not path.exists():
        model = models.classifier_for(chunk.config.classifier.model, chunk.task.shape)
        space = gan_quality.SPACE.format(model=model, source=chunk.data.source)
        form = chunk.common.form._asdict()
        content = {**environment.describe(), "data": data, "form": form, "generator_space": space}
        json_files.write_json(path, content)
        before = content
    completed = {**before, "data": {**data, **before.get("data", {})}}  # an earlier version wrote fewer fields of the data
    if completed != before:
        json_files.write_json(path, completed)
    json_files.write_json(chunk.workdir / "config.json", chunk.config.to_dict())
    analyses.begin(chunk.workdir, chunk.config.to_dict())


def differences(new: Any, saved: Any, name: str = "config") -> list[str]:
    """The fields in which two configs describe different experiments, as text.

    Args:
        new, saved: configs, or parts of them, in JSON's types.
        name: of the part, such as 'config.gan'.
    """
    if name in ADDABLE:
        return []
    if isinstance(new, dict) and isinstance(saved, dict):
        fields = sorted(new.keys() | saved.keys())
        return [line for f in fields for line in differences(new.get(f), saved.get(f), f"{name}.{f}")]
    return [] if new == saved else [f"{name} is {saved!r} there and {new!r} now"]


def checked_arms(chunk: Chunk) -> list[Arm]:
    """The arms to run, checked for everything that depends on the data.

    Raises:
        UserError: an arm that the data does not allow, an unknown baseline or metric, or a network too large for the memory.
    """
    config, common = chunk.config, chunk.common
    if config.data.validation and not chunk.validation.shape[1]:
        raise UserError(
            f"config.data.validation holds out no row (got {config.data.validation:g}): a class needs at least two rows"
        )
    compared = arms(config)
    if baseline_of(config) not in (specs := {arm.spec for arm in compared}):
        raise UserError(
            f"config.baseline must be one of the methods that are run (got {config.baseline!r}): {', '.join(sorted(specs))}"
        )
    measured: set[tuple[Any, ...]] = set()
    for arm in compared:
        recipe = methods.recipe_of(arm.spec, chunk.task, chunk.task.counts)
        if recipe.needs_validation and not chunk.validation.shape[1]:
            raise UserError(
                f"method {arm.spec!r} needs validation rows to be fitted on: hold some out with --config.data.validation=0.1"
            )
        asked = at(config, arm.point)
        validate(asked)
        nets = gan_training.nets_of(asked, chunk.task, common.form.conv)
        sizes = (asked.classifier.model, asked.classifier.width, asked.gan.model, asked.gan.g_width, asked.gan.d_width)
        first = (key := (*sizes, asked.gan.latent, arm_group.uses_gan(arm.spec))) not in measured
        if arm_group.uses_gan(arm.spec):
            gan_training.check_data(asked.gan, chunk.task)
            if first:
                gan_training.check_contract(nets, asked.gan.model, chunk.task.shape)
            gan_training.check_shape(nets, asked.gan.model, chunk.task.shape)
            gan_training.check_penalty(nets, asked, chunk.task.shape)
        model = classifier_network.model_of(asked, len(chunk.task.counts), common.form.conv, chunk.task.shape)
        classifier_network.check_network(asked, model, chunk.task.shape)
        classifier_network.check_method(asked, model, chunk.task, arm.spec)
        if first:
            measured.add(key)
            classifier_network.check_contract(asked, model, chunk.task.shape, len(chunk.task.counts))
            refuse_too_large(chunk, model, nets if arm_group.uses_gan(arm.spec) else None)
    sweep.stop_rule(config)
    published(config.to_dict())
    names = chunk.task.class_names
    data_measures = measures.of(chunk.data.measures, np.zeros((len(names),) * 2, int), names)
    metric_names = [*metrics.SCALARS, *metrics.GENERATOR, *data_measures]
    metric_names += [metrics.class_key(kind, name) for kind in ("recall", "pr_auc", "roc_auc") for name in names]
    if config.metric not in metric_names:
        raise UserError(f"unknown metric {config.metric!r} (config.metric){nearest(config.metric, metric_names)}")
    return compared


def refuse_too_large(chunk: Chunk, model: Any, nets: Any) -> None:
    """Raise UserError where the weights of one network alone exceed the memory; nothing is allocated to find out.

    Args:
        chunk: of one seed.
        model: the classifier; its weights and their gradients are counted.
        nets: of the GAN, or None; the weights, their gradients and the optimisers' states are counted.
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
    """Draw the final samples and write the generator's quality by class; once, for the first chunk of seeds."""
    trained = trained_gan().gan
    path = chunk.workdir / "plots" / "samples.png"
    gan_grids.draw(chunk, trained.nets, trained.generator, path, "the selected state", each=10)
    gan_grids.film(chunk, trained.nets, trained.generator, path.with_name("film_strip.png"))
    quality_path = chunk.workdir / "generator.json"
    if chunk.config.quality.samples and not quality_path.exists():
        json_files.write_json(quality_path, gan_quality.by_class(measured_gan()))
