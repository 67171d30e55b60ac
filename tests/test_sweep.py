"""Sweeps: the arms of a grid, what is still missing, one program for arms alike, several processes, a polite end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import ecg_gan, fer2013_affine, methods_mnist, retinopathy_dcgan
from imbal_jax import arms as arms_of
from imbal_jax import experiment, start_message, sweep
from imbal_jax.arms import Arm
from imbal_jax.artifacts import checkpoint, json_files, point_file
from imbal_jax.data import batches
from imbal_jax.errors import Interrupted, UserError
from imbal_jax.evaluate import interim, stats
from imbal_jax.report import build, run
from imbal_jax.stages import training_set
from tests import small

ROOT = Path(__file__).resolve().parent.parent


def config_of(**fields):
    config = small.get_config()
    config.baselines = ("none",)
    config.method = "over"
    config.classifier.epochs = 1
    with config.ignore_type():  # a range of seeds is a text
        for name, value in fields.items():
            config[name] = value
    return config


# --- arms and grid ----------------------------------------------------------------------------------------------------


def test_without_a_grid_the_arms_are_the_specs():
    config = config_of(baselines=("none", "over", "none"), method="mixup")
    assert arms_of.arms(config) == [Arm("none"), Arm("over"), Arm("mixup")]
    assert [arm.name for arm in arms_of.arms(config)] == ["none", "over", "mixup"]


def test_an_option_multiplies_the_specs_that_have_its_method():
    config = config_of(baselines=("none", "over | mixup"), grid="{'mixup.alpha': (0.1, 0.4)}")
    names = [arm.name for arm in arms_of.arms(config)]
    assert names == ["none", "over | mixup(alpha=0.1)", "over | mixup(alpha=0.4)", "over"]


def test_a_field_of_the_config_multiplies_all():
    config = config_of(grid="{'classifier.learning_rate': (0.01, 0.1), 'classifier.epochs': 2}")
    found = arms_of.arms(config)
    assert [arm.name for arm in found][:2] == [
        "none [classifier.learning_rate=0.01, classifier.epochs=2]",
        "none [classifier.learning_rate=0.1, classifier.epochs=2]",
    ]
    assert found[0].untraced == (("classifier.epochs", 2),)
    there = arms_of.at(config, found[1].point)
    assert there.classifier.epochs == 2 and there.classifier.learning_rate == 0.1
    assert config.classifier.epochs == 1  # the config itself stays as it is


def test_texts_multiply_too():
    grid = "{'classifier.optimizer': ('sgd', 'adam'), 'sampling.kind': ('sqrt', 'progressive')}"
    config = config_of(baselines=("none",), method="sampling", grid=grid)
    found = arms_of.arms(config)
    assert [arm.name for arm in found][-2:] == [
        "sampling(kind=progressive) [classifier.optimizer=sgd]",
        "sampling(kind=progressive) [classifier.optimizer=adam]",
    ]
    assert len(found) == 6 and arms_of.at(config, found[0].point).classifier.optimizer == "sgd"


def test_arms_that_differ_in_traced_numbers_are_one_group():
    config = config_of(
        baselines=("none", "mixup(alpha=0.3)", "logit_adjust(tau=2)", "mixup"),
        grid="{'classifier.learning_rate': (0.01, 0.1)}",
    )
    sizes = [len(group) for group in arms_of.groups(arms_of.arms(config))]
    assert sizes == [2, 4, 2, 2]  # none, mixup, logit_adjust, over


def test_several_grids_one_after_the_other():
    config = config_of(baselines=("none",), method="mixup", grid="[{}, {'classifier.epochs': 2}, {'mixup.alpha': (0.1, 0.2)}]")
    found = [arm.name for arm in arms_of.arms(config)]
    longer = [f"{name} [classifier.epochs=2]" for name in ("none", "mixup")]
    assert found == ["none", "mixup", *longer, "mixup(alpha=0.1)", "mixup(alpha=0.2)"]


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ("mixup.alpha", ["config.grid must be a dict", "(got 'mixup.alpha')"]),
        ("[{'mixup.alpha': 1}, 2]", ["must be a dict such as", "a list of dicts"]),
        ("{'classifier.epochs': ('a', 1)}", ["'classifier.epochs' must be a number (got 'a')"]),
        ("{'classifier.optimizer': ('adam', 1)}", ["'classifier.optimizer' must be a text (got 1)"]),
        ("{'data.name': ('mnist', 'cifar10')}", ["a text of config.classifier or config.gan"]),
        ("{'over.to': (True,)}", ["must map names to tuples of numbers"]),
        ("{'over.to': (nan,)}", ["must be a dict"]),
        ("{'classifier.learning_rat': (0.1,)}", ["did you mean 'classifier.learning_rate'"]),
        ("{'mixup.alpha': (0.1,)}", ["'mixup.alpha' is neither a number of the config", "nor an option of a method in use"]),
        ("{'seed': (1, 2)}", ["'seed' is neither a number of the config"]),
        ("{'over.too': (1, 2)}", ["method 'over' has no option 'too'; did you mean 'to'"]),
    ],
)
def test_what_a_grid_may_not_be(grid, words):
    with pytest.raises(UserError) as problem:
        arms_of.arms(config_of(grid=grid))
    assert all(word in str(problem.value) for word in words), problem.value


def test_the_baseline():
    assert run.baseline_of(config_of()) == "none"
    assert run.baseline_of(config_of(baselines=("smote",))) == "smote"
    assert run.baseline_of(config_of(baseline="over")) == "over"


# --- chunks and what is missing ---------------------------------------------------------------------------------------


def test_the_rounds_of_a_range_of_seeds():
    config = config_of(seeds="7:16")
    assert sweep.plan_rounds(config, 4) == [[(7, 8, 9), (10, 11, 12), (13, 14, 15)]]
    config.stop = "decided(margin=0.01, every=4)"
    assert sweep.plan_rounds(config, 3) == [[(7, 8), (9, 10)], [(11, 12), (13, 14)], [(15,)]]


def test_the_rounds_of_a_sweep():
    config = config_of(seeds=9)
    assert sweep.plan_rounds(config, 4) == [[(0, 1, 2), (3, 4, 5), (6, 7, 8)]]
    assert sweep.plan_rounds(config, 100) == [[tuple(range(9))]]
    config.stop = "decided(margin=0.01, every=4)"
    assert sweep.plan_rounds(config, 3) == [[(0, 1), (2, 3)], [(4, 5), (6, 7)], [(8,)]]
    assert sweep.stop_rule(config) == (0.01, 4)


@pytest.mark.parametrize("stop", ["decide", "decided(every=0)", "decided(margin=2)", "decided(more=1)", "decided | none"])
def test_what_the_stop_rule_may_not_be(stop):
    with pytest.raises(UserError, match=r"config\.stop must"):
        sweep.stop_rule(config_of(stop=stop))


def test_only_what_is_missing_is_run():
    none, over = Arm("none"), Arm("over")
    rows = [{"method": "none", "seed": seed} for seed in (0, 1, 2)] + [{"method": "over", "seed": 0}]
    assert sweep.missing_units([none, over], (0, 1), rows) == [((1,), [[over]])]
    assert sweep.missing_units([none, over], (0,), rows) == []
    assert sweep.missing_units([none, over], (2, 3), rows) == [((3,), [[none]]), ((2, 3), [[over]])]


def test_which_arms_are_at_work():
    told = [experiment.describe_turn(places, 7) for places in ([1], [1, 2, 3], [0, 2])]
    assert told == ["arm 2 of 7", "arms 2-4 of 7", "arms 1, 3 of 7"]


def test_the_work_to_come_is_counted(tmp_path):
    """By hand: lanes times epochs times steps; the GAN counts once for its arms of a chunk."""
    config = config_of(seeds=6, baselines=("none", "gan_synth"), method="gan_synth | mixup")
    one = training_set.prepare(config, tmp_path, seeds=(0,))
    real, batch = sum(one.task.counts), config.classifier.batch
    config.classifier.epochs, config.gan.epochs = 3, 5
    units = sweep.missing_units(arms_of.arms(config), (0, 1), [{"method": "none", "seed": 1}])
    found = sweep.steps_of_units(one, units)
    lanes = 3 + 2  # seed 0 of three arms, seed 1 of two
    assert found["classifier"] == lanes * 3 * (real // batch)
    assert found["gan"] == 2 * 5 * (real // min(config.gan.batch, real))
    assert sweep.steps_of_units(one, []) == {}


def test_the_order_of_an_epoch_does_not_depend_on_the_room():
    key, epoch = jax.random.key(1), jnp.asarray(3)
    plain = batches.shuffled(key, epoch, 100)
    assert sorted(plain.tolist()) == list(range(100))
    roomy = batches.shuffled(key, epoch, jnp.asarray(100), room=256)
    assert roomy[:100].tolist() == plain.tolist()
    assert sorted(roomy.tolist()) == list(range(256))


# --- whole sweeps -----------------------------------------------------------------------------------------------------


def figures(workdir):
    """The rows' figures by arm and seed."""
    return {(row["method"], row["seed"]): (row["accuracy"], row["nll"]) for row in json_files.read(workdir / "rows.jsonl")}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, (accuracy, nll) in one.items():
        assert accuracy == pytest.approx(other[name][0], abs=0.002), name
        assert nll == pytest.approx(other[name][1], rel=1e-3), name


@pytest.fixture(scope="module")
def grid_run(tmp_path_factory):
    """Three seeds, in chunks of two and one, of mixup at two strengths and two learning rates, beside nothing."""
    workdir = tmp_path_factory.mktemp("grid")
    config = config_of(
        seeds=3, method="mixup", lanes_per_device=1, grid="{'mixup.alpha': (0.1, 1), 'classifier.learning_rate': (0.01, 0.1)}"
    )
    bases = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "local_devices", lambda *_, **__: jax.devices()[:2])
        real = experiment.load_common
        patch.setattr(experiment, "load_common", lambda *args: bases.append(real(*args)) or bases[-1])
        experiment.run(config, workdir)
    return config, workdir, bases[0]


def test_a_grid_compiles_one_training_for_each_skeleton(grid_run):
    _, workdir, base = grid_run
    trainings = [key for key in base.programs if key[0] == "train"]
    assert len(trainings) == 2  # none; mixup, whatever its alpha, rate and seeds
    for key in trainings:
        assert base.programs[key].run.__closure__ is not None
    rows = json_files.read(workdir / "rows.jsonl")
    assert len(rows) == 3 * 2 * 3
    assert {row["lanes"] for row in rows if row["method"].startswith("mixup")} == {8, 4}  # 4 arms x 2 seeds, then x 1
    assert all(row["compile_seconds"] >= 0 and row["device"] == "cpu" for row in rows)


def test_a_grids_arm_is_what_it_is_alone(grid_run, tmp_path):
    config, workdir, _ = grid_run
    alone = config_of(seeds=1, baselines=(), method="mixup(alpha=1)")
    alone.classifier.learning_rate = 0.1
    experiment.run(alone, tmp_path)
    name = "mixup(alpha=1) [classifier.learning_rate=0.1]"
    found = figures(workdir)
    assert_same({(name, 0): figures(tmp_path)["mixup(alpha=1)", 0]}, {(name, 0): found[name, 0]})
    assert found[name, 0] != found["mixup(alpha=0.1) [classifier.learning_rate=0.1]", 0]


def test_each_point_is_compared_with_its_own_baseline(grid_run):
    paired = json.loads((grid_run[1] / "results.json").read_text())["paired"]
    assert len(paired) == 4 and not any(name.startswith("none") for name in paired)
    found = figures(grid_run[1])
    name, base = "mixup(alpha=1) [classifier.learning_rate=0.1]", "none [classifier.learning_rate=0.1]"
    difference = np.mean([found[name, seed][0] - found[base, seed][0] for seed in range(3)])
    assert paired[name]["accuracy"]["mean"] == pytest.approx(difference)


def test_more_seeds_are_added_to_those_that_are_there(grid_run, tmp_path):
    config = config_of(seeds=1)
    experiment.run(config, tmp_path)
    before = (tmp_path / "rows.jsonl").read_text()
    config.seeds = 2
    experiment.run(config, tmp_path)
    after = (tmp_path / "rows.jsonl").read_text()
    assert after.startswith(before) and len(json_files.read(tmp_path / "rows.jsonl")) == 4


def test_a_range_of_seeds_gives_the_rows_of_the_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "_draw", lambda run: None)
    for name, asked in (("whole", 4), ("part", "2:4")):
        experiment.run(config_of(seeds=asked, baselines=(), method="none"), tmp_path / name)
    whole, part = figures(tmp_path / "whole"), figures(tmp_path / "part")
    assert_same(part, {lane: whole[lane] for lane in (("none", 2), ("none", 3))})


@pytest.mark.slow
def test_the_parts_of_an_array_are_one_experiment(tmp_path, monkeypatch):
    """Rows of '2:4' are rows 2 and 3 of four seeds; a part goes on where it stopped; the parts' report is that of the whole."""
    monkeypatch.setattr(build, "_draw", lambda run: None)
    config = config_of(seeds=4, lanes_per_device=1)
    experiment.run(config, tmp_path / "whole")
    places = [tmp_path / "first", tmp_path / "second"]
    for place, asked in zip(places, (2, "2:3"), strict=True):
        experiment.run(config_of(seeds=asked, lanes_per_device=1), place)
    before = (places[1] / "rows.jsonl").read_text()
    experiment.run(config_of(seeds="2:4", lanes_per_device=1), places[1])
    assert (places[1] / "rows.jsonl").read_text().startswith(before) and (places[1] / "checkpoints" / "seeds-3").is_dir()
    whole, second = figures(tmp_path / "whole"), figures(places[1])
    assert second.keys() == {(arm, seed) for arm in ("none", "over") for seed in (2, 3)}
    assert second == {lane: whole[lane] for lane in second}
    assert json_files.read_json(places[1] / "results.json")["missing"] == []
    build.join(places, tmp_path / "both")
    both, alone = (json_files.read_json(tmp_path / name / "results.json") for name in ("both", "whole"))
    assert both["seeds"] == [0, 1, 2, 3] and both["planned"]["seeds"] == 3  # '2:3' was planned before '2:4'
    for arm in ("none", "over"):
        assert both["methods"][arm]["metrics"] == alone["methods"][arm]["metrics"]
    assert both["paired"]["over"]["accuracy"]["mean"] == alone["paired"]["over"]["accuracy"]["mean"]


def test_a_decided_sweep_stops(tmp_path, monkeypatch):
    config = config_of(seeds=6, stop="decided(every=2)")
    asked = []

    def undecided(rows, *_, history, **__):
        asked.append((len(rows), sorted(history.seeds.get("over", ())), history.plan))
        return [] if len(rows) >= 8 else ["over"]

    def run(chunk, curves, arms, trained_gan, measured_gan):
        return [
            {"seed": seed, "method": arms[0].name, "accuracy": 0.5, config.metric: 0.5 + 0.1 * seed} for seed in chunk.seeds
        ]

    monkeypatch.setattr(experiment.stats, "undecided", undecided)
    monkeypatch.setattr(experiment.arm_group, "run", run)
    monkeypatch.setattr(experiment.build, "build", lambda *_: Path())
    monkeypatch.setattr(experiment.terminal_table, "text", str)
    json_files.write_json(tmp_path / "results.json", {})
    experiment.run(config, tmp_path)
    plan = interim.Plan(6, interim.PLANNED_ANALYSES)
    assert asked == [(4, [], plan), (8, [], plan)]  # 2 and 4 seeds could not give a verdict
    kept = json_files.read_json(tmp_path / "analyses.json")
    assert kept["plan"] == plan._asdict() and [a["seeds"] for a in kept["analyses"]] == [{"over": 2}, {"over": 4}]
    assert {row["seed"] for row in json_files.read(tmp_path / "rows.jsonl")} == {0, 1, 2, 3}


def test_too_few_seeds_for_a_verdict_are_told_before_the_start(tmp_path):
    six = ("none", "over", "under", "mixup", "class_weights", "logit_adjust")
    config = config_of(seeds=5, baselines=six, method="smote")
    line = "no verdict possible with 5 seeds and 6 comparisons: add --config.seeds=8, same workdir"
    assert start_message.verdict_warning(config, tmp_path) == line
    config.seeds = 8
    assert start_message.verdict_warning(config, tmp_path) == ""
    experiment.analyses.begin(tmp_path, config.to_dict())
    config.seeds = 2  # of 8 that were planned
    line = start_message.verdict_warning(config, tmp_path)
    assert "2 seeds and 6 comparisons (8 seeds were planned): add --config.seeds=8" in line


@pytest.mark.parametrize(
    ("module", "variant", "needed"),
    [
        (methods_mnist, "every", 11),
        (fer2013_affine, "small", 8),
        (ecg_gan, "inter", 9),
        (ecg_gan, "intra", 9),
        (retinopathy_dcgan, "grade4", 9),
        (retinopathy_dcgan, "grades34", 9),
    ],
)
def test_a_config_with_too_few_seeds_says_how_many_are_needed(module, variant, needed):
    """Those whose arms take long begin with fewer seeds than a verdict needs, and say so."""
    config = module.get_config(variant)
    others = [arm for arm in arms_of.arms(config) if arm.spec != run.baseline_of(config)]
    assert config.seeds < stats.seeds_needed(len(others)) == needed
    assert f"at least --config.seeds={needed} are needed" in module.__doc__


def test_the_warning_knows_the_seeds_that_are_there_and_their_spread(tmp_path):
    config = config_of(seeds="2:4", baselines=("none", "under"), method="over")
    line = start_message.verdict_warning(config, tmp_path)
    assert "no verdict possible with 2 seeds and 2 comparisons" in line and "all parts together need 7" in line
    assert "--report=DIR,DIR" in line and "spread" not in line
    gaps = {"over": (0.10, 0.13, 0.10, 0.13), "under": (-0.02, 0.02, 0.03, -0.01)}
    rows = [{"method": "none", "seed": seed, config.metric: 0.5} for seed in range(4)]
    rows += [{"method": arm, "seed": n, config.metric: 0.5 + gap} for arm, of in gaps.items() for n, gap in enumerate(of)]
    json_files.append(tmp_path / "rows.jsonl", rows)
    line = start_message.verdict_warning(config, tmp_path)
    assert "no verdict possible with 4 seeds" in line and "\n" not in line  # two that are there, two asked for
    config = config_of(seeds=4, baselines=("none", "under"), method="over")
    line = start_message.verdict_warning(config, tmp_path)
    history = experiment.analyses.history(experiment.analyses.read(tmp_path), config.to_dict(), [], {})
    needed = {arm: stats.pairs_needed(of, 2, config.margin, arm, history) for arm, of in gaps.items()}
    assert f"a power of 0.8 takes {needed['over']} seeds for over (+0.1150, sd 0.0173)" in line
    assert f"and {needed['under']} seeds for under (+0.0050, sd 0.0238)" in line and needed["under"] > 100 > needed["over"]
    config = config_of(seeds="4:8", baselines=("none", "under"), method="over")
    assert start_message.verdict_warning(config, tmp_path) == ""  # eight together


def test_a_grid_over_a_field_that_is_not_traced(tmp_path):
    """Each value has programs and checkpoints of its own."""
    config = config_of(seeds=1, baselines=(), grid="{'classifier.epochs': (1, 2)}")
    experiment.run(config, tmp_path)
    rows = json_files.read(tmp_path / "rows.jsonl")
    assert [row["method"] for row in rows] == ["over [classifier.epochs=1]", "over [classifier.epochs=2]"]
    assert rows[1]["examples_seen"] == 2 * rows[0]["examples_seen"]
    folder = tmp_path / "checkpoints" / "seeds-0" / "classifier.epochs=2"
    assert (folder / "classifier").is_dir() and point_file.read(folder) == ([0], {"classifier.epochs": 2})


def test_asked_to_end_it_saves_and_goes_on_later(tmp_path):
    config = config_of(seeds=1)
    config.classifier.epochs = 3
    config.chunk_seconds = 0.0
    times = []

    def stopping():
        times.append(None)
        return len(times) == 3

    with pytest.raises(Interrupted, match="stopped at step 6 of 12 of arm 1 of 2, classifier none"):
        experiment.run(config, tmp_path / "cut", stopping)
    assert checkpoint.steps(tmp_path / "cut" / "checkpoints" / "seeds-0" / "classifier" / "none") == [6]
    experiment.run(config, tmp_path / "cut")
    experiment.run(config, tmp_path / "whole")
    assert figures(tmp_path / "cut") == figures(tmp_path / "whole")


# --- processes --------------------------------------------------------------------------------------------------------


def start(workdir, cache, *argv):
    """launch.py in a process of its own, on one device."""
    flags = ["--config=tests/small.py", f"--workdir={workdir}", f"--compilation_cache={cache}", "--config.method=over"]
    environment = {**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=1"}  # compiled in less time
    environment.pop("IMBAL_DATA_DIR", None)
    return subprocess.Popen(
        [sys.executable, "launch.py", *flags, *argv], cwd=ROOT, env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def together(workdir, cache, count, *argv):
    """So many processes of one experiment."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    many = ("--distributed", f"--coordinator=localhost:{port}", f"--processes={count}")
    return [start(workdir, cache, *many, f"--process={i}", *argv) for i in range(count)]


def ended(process, seconds=300):
    out, _ = process.communicate(timeout=seconds)
    return process.returncode, out


SEEDS = ("--config.seeds=3", "--config.lanes_per_device=1", "--config.baselines=('none',)")


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    status, out = ended(start(folder / "run", folder / "cache", *SEEDS))
    assert status == 0, out
    return folder / "run", folder / "cache"


def test_two_processes_give_the_rows_of_one(one_process, tmp_path):
    alone, cache = one_process
    workdir = tmp_path / "two"
    first, second = together(workdir, cache, 2, *SEEDS)
    (status, out), (other, more) = ended(first), ended(second)
    assert status == other == 0, out + more
    assert_same(figures(workdir), figures(alone))
    assert len(json_files.read(workdir / "process-1" / "rows.jsonl")) == 2  # one of three seeds, two arms
    assert (workdir / "report.html").exists() and json.loads((workdir / "results.json").read_text())["seeds"] == [0, 1, 2]


@pytest.mark.slow
def test_one_of_two_processes_is_killed(one_process, tmp_path):
    """Nothing that was finished is lost, and whoever goes on, even a single process, comes to the same rows."""
    alone, cache = one_process
    workdir = tmp_path / "two"
    first, second = together(workdir, cache, 2, *SEEDS, "--config.chunk_seconds=0", "--config.save_seconds=0")
    rows = workdir / "process-1" / "rows.jsonl"
    deadline = time.monotonic() + 300
    while not (rows.exists() and "\n" in rows.read_text()):
        assert second.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    second.kill()
    ended(second)
    finished = json_files.read(rows)
    first.kill()  # or the service would end it, after its heartbeat
    ended(first)
    status, out = ended(start(workdir, cache, *SEEDS, "--config.chunk_seconds=0", "--config.save_seconds=0"))
    assert status == 0, out
    assert_same(figures(workdir), figures(alone))
    assert all(row in json_files.read(workdir / "rows.jsonl") for row in finished)


def test_sigterm_saves_and_exits_soon(one_process, tmp_path):
    alone, cache = one_process
    workdir = tmp_path / "cut"
    argv = (*SEEDS, "--config.chunk_seconds=0", "--config.save_seconds=1000", "--config.classifier.epochs=300")
    process = start(workdir, cache, *argv)
    deadline = time.monotonic() + 200
    while '"epoch": 3' not in ((workdir / "metrics.jsonl").read_text() if (workdir / "metrics.jsonl").exists() else ""):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    status, out = ended(process, 60)
    assert status == 128 + signal.SIGTERM and time.monotonic() - asked < 30
    assert "ended by a signal: stopped at step" in out and "the same command resumes the run" in out
    (chunk,) = (workdir / "checkpoints").glob("seeds-0*")  # one lane for each core
    assert checkpoint.steps(chunk / "classifier" / "none")


def test_a_second_process_on_the_same_workdir_is_refused(tmp_path):
    with json_files.lock_folder(tmp_path), pytest.raises(UserError, match="another process is using"):
        experiment.run(config_of(), tmp_path)


def test_a_workdir_prepared_for_one_point_names_it(tmp_path):
    config = config_of()
    assert training_set.prepare(config, tmp_path, seeds=(0, 1, 4)).folder.name == "seeds-0-1,4"
