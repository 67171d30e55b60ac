"""Killed at any moment and started again with the same command, a run ends as if nothing had happened."""

import functools
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imbal_jax import experiment
from imbal_jax.artifacts import checkpoint, json_files
from imbal_jax.report.curves import Curves, seeds_of
from imbal_jax.runtime import lanes
from imbal_jax.stages import training_set
from imbal_jax.train import loop
from tests import small

ROOT = Path(__file__).resolve().parent.parent


# --- the loop alone ---------------------------------------------------------------------------------------------------


class Killed(BaseException):
    pass


def noisy_epoch(epoch, key, shared, total):
    """A training that depends on the epoch, the step, the lane's key and the state, and rounds at every step."""

    def step(state, i, position):
        noise = jax.random.normal(jax.random.fold_in(jax.random.fold_in(key, epoch), i), state.shape)
        state = state * 0.9 + noise / (1 + position) + shared
        return state, {"loss": jnp.sum(state**2), "first": state[0]}

    return step


@functools.cache
def advance():
    return lanes.over_lanes(loop.span_function(noisy_epoch), devices=jax.devices()[:1])


def train(folder, told, chunk_seconds=0.0, save_seconds=0.0):
    plan = loop.Plan("test", folder, 3, 5, chunk_seconds, save_seconds)
    keys = lanes.lane_keys(0, (0, 1))

    def on_epoch(epoch, means, state):
        told.append((epoch, {name: value.tolist() for name, value in means.items()}, np.asarray(state).tolist()))

    def on_resume(epochs):
        del told[epochs:]

    state = jnp.zeros((2, 7))
    return loop.train(plan, advance(), state, keys, jnp.float32(0.1), ("loss", "first"), on_epoch, on_resume)


def test_the_loop_goes_on_bit_for_bit_wherever_it_was_cut(tmp_path, monkeypatch):
    whole: list = []
    unbroken = train(tmp_path / "unbroken", whole, chunk_seconds=10.0, save_seconds=30.0)
    assert [epoch for epoch, *_ in whole] == [1, 2, 3]
    real, told, saves = checkpoint.save, [], []

    def save_and_die(*args, **options):
        real(*args, **options)
        saves.append(args[1])
        raise Killed

    monkeypatch.setattr(checkpoint, "save", save_and_die)
    while not saves or saves[-1] < 15:
        with pytest.raises(Killed):
            train(tmp_path / "cut", told)
    assert saves == [4, 5, 9, 10, 14, 15]  # each start runs one chunk, and none crosses the end of an epoch
    monkeypatch.setattr(checkpoint, "save", real)
    cut = train(tmp_path / "cut", told)
    assert told == whole
    assert np.array_equal(np.asarray(cut.state), np.asarray(unbroken.state))
    assert cut.seconds > 0


def test_an_epoch_told_but_not_saved_is_told_again(tmp_path):
    whole: list = []
    train(tmp_path / "unbroken", whole)

    class Dying(list):
        def append(self, row):
            super().append(row)
            if row[0] == 2:
                raise Killed  # after the line is written, before the checkpoint of the same step

    dying = Dying()
    with pytest.raises(Killed):
        train(tmp_path / "cut", dying)
    told = list(dying)
    train(tmp_path / "cut", told)
    assert told == whole


def test_a_finished_training_is_not_run_again(tmp_path):
    told: list = []
    first = train(tmp_path, told)
    again = train(tmp_path, told)
    assert len(told) == 3 and again.seconds == first.seconds
    assert np.array_equal(np.asarray(first.state), np.asarray(again.state))


def test_curves_forget_what_comes_after_the_checkpoint(tmp_path):
    curves = Curves(tmp_path / "metrics.jsonl", (0, 1))
    for epoch in (1, 2):
        curves.add("gan", [None], epoch, {"d_loss": np.array([0.5, np.nan])})
        curves.add("classifier", ["none"], epoch, {"loss": np.array([1.0, 2.0])})
        curves.warn("gan", 1, epoch, "NaN")
    curves.resume("gan", [None], 1)
    gan = curves.by_lane("gan", [None])
    assert [row["epoch"] for lane in gan for row in lane] == [1, 1] and gan[1][0]["d_loss"] is None
    assert [row["epoch"] for row in curves.by_lane("classifier", ["none"])[0]] == [1, 2]
    assert [row["epoch"] for row in json_files.read(curves.path) if row["stage"] == "warning"] == [1]


def test_names_of_folders_fill_no_memory():
    assert seeds_of("seeds-0-2,5") == [0, 1, 2, 5]
    assert seeds_of("seeds-0-99999999999") == seeds_of("seeds-0-4294967295") == []
    assert seeds_of("seeds-0-600000,1000000-1600000") == []


def test_recent_curves_are_the_end_of_all(tmp_path):
    curves = Curves(tmp_path / "metrics.jsonl", (0, 1))
    assert curves.by_lane("gan", ["a"], 2) == [[], []]
    for epoch in range(1, 6):
        stopped = None if epoch > 4 else {}
        curves.add("gan", ["a", "b"], epoch, {"d_loss": np.arange(4.0)}, [{}, stopped, {}, stopped])
        curves.add("gan", ["c"], epoch, {"d_loss": np.arange(2.0)})
        curves.warn("gan", 1, epoch, "NaN", "a")
        Curves(curves.path, (2,)).add("gan", ["a"], epoch, {"d_loss": np.zeros(1)})
    lanes = curves.by_lane("gan", ["a", "b"])
    assert [[row["epoch"] for row in lane] for lane in lanes] == [[1, 2, 3, 4, 5], [1, 2, 3, 4]] * 2
    expected = [[row for row in lane if row["epoch"] > 3] for lane in lanes]
    assert curves.by_lane("gan", ["a", "b"], 2) == expected and [len(lane) for lane in expected] == [2, 1, 2, 1]
    assert curves.by_lane("gan", ["a", "b"], 9) == lanes


def test_rows_of_a_torn_writing_are_written_again(tmp_path, monkeypatch):
    """The row of one lane is there and that of the other is not: it alone is written anew."""

    ran = []

    def run(chunk, curves, arms, trained_gan, measured_gan):
        ran.append(chunk.seeds)
        return [{"seed": seed, "method": arms[0].name, "accuracy": 0.5} for seed in chunk.seeds]

    monkeypatch.setattr(experiment.arm_group, "run", run)
    monkeypatch.setattr(experiment.build, "build", lambda *_: Path())
    monkeypatch.setattr(experiment.terminal_table, "text", str)
    config = small.get_config()
    config.method = "over"
    json_files.write_json(tmp_path / "results.json", {})
    (tmp_path / "rows.jsonl").write_text('{"seed": 0, "method": "over", "accuracy": 0.1}\n{"seed": 1, "meth')
    experiment.run(config, tmp_path)
    assert [(row["seed"], row["accuracy"]) for row in json_files.read(tmp_path / "rows.jsonl")] == [(0, 0.1), (1, 0.5)]
    assert ran == [(1,)]


def test_a_start_that_was_killed_leaves_a_workdir_to_go_on_with(tmp_path):
    config = small.get_config()
    prepared = training_set.prepare(config, tmp_path)
    experiment.write_run_files(prepared)
    (tmp_path / "config.json").unlink()  # killed between the two files
    experiment.write_run_files(prepared)
    assert json_files.read_json(tmp_path / "config.json")["seeds"] == 2


# --- whole runs, killed -----------------------------------------------------------------------------------------------


def launched(workdir, cache, variant, *argv):
    """The command and the environment of launch.py on one device."""
    flags = [f"--config=tests/small.py:{variant}", f"--workdir={workdir}", f"--compilation_cache={cache}", *argv]
    # Compiled in less time; the same for all runs that are compared.
    environment = {**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=1"}
    environment.pop("IMBAL_DATA_DIR", None)
    return [sys.executable, "launch.py", *flags], environment


def start(workdir, *args):
    """launch.py in a process of its own."""
    command, environment = launched(workdir, *args)
    with open(f"{workdir}.log", "ab") as log:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)


def finish(workdir, *args):
    assert start(workdir, *args).wait(timeout=500) == 0, Path(f"{workdir}.log").read_text()


def kill_when(reached, workdir, *args):
    """Start, and kill -9 as soon as `reached(workdir)`."""
    process = start(workdir, *args)
    deadline = time.monotonic() + 500
    while not reached(workdir):
        assert process.poll() is None, f"ended before the kill: {Path(f'{workdir}.log').read_text()}"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -9


def saved(folder, step, workdir):
    """The training kept in this folder has come to this step."""
    folder = folder if folder == "reference" else f"seeds-0-1/{folder}"
    return any(found >= step for found in checkpoint.steps(workdir / "checkpoints" / folder))


def finished(method, workdir):
    """The method's rows are being written."""
    path = workdir / "rows.jsonl"
    return path.exists() and f'"method": "{method}"' in path.read_text()


def plain(path):
    """The rows of a file without their times."""
    rows = json_files.read(path)
    return [{name: value for name, value in row.items() if not name.endswith("seconds")} for row in rows]


def same(broken, unbroken):
    """Rows and curves agree to the last digit, and no epoch is told twice or not at all."""
    assert plain(broken / "rows.jsonl") == plain(unbroken / "rows.jsonl")
    curves = plain(broken / "metrics.jsonl")
    assert curves == plain(unbroken / "metrics.jsonl")
    told = [(row["stage"], row.get("method"), row["seed"], row["epoch"]) for row in curves if row["stage"] != "warning"]
    assert len(told) == len(set(told))
    names = [json.loads((folder / "results.json").read_text()) for folder in (broken, unbroken)]
    assert names[0]["methods"].keys() == names[1]["methods"].keys() and names[0]["paired"] == names[1]["paired"]
    assert names[0]["generator"] == names[1]["generator"]
    for path in sorted(unbroken.glob("plots/*.png")):
        assert (broken / "plots" / path.name).stat().st_size > 0
    assert (broken / "report.html").exists()


CUT_OFTEN = ("--config.save_seconds=0", "--config.chunk_seconds=0")


def test_killed_in_the_gan_and_in_the_classifier(tmp_path):
    cache, unbroken, broken = tmp_path / "cache", tmp_path / "unbroken", tmp_path / "broken"
    finish(unbroken, cache, "least")
    kill_when(functools.partial(saved, "gan", 6), broken, cache, "least", *CUT_OFTEN)
    assert not saved("gan", 12, broken)
    kill_when(functools.partial(saved, "classifier/gan_synth", 4), broken, cache, "least", *CUT_OFTEN)
    finish(broken, cache, "least", *CUT_OFTEN)
    same(broken, unbroken)


FILLING = """
set -e
mount -t tmpfs -o size="$ROOM" none "$DISK"
status=0
"$@" > "$OUT/log" 2>&1 || status=$?
echo $status > "$OUT/status"
cp "$DISK/run/rows.jsonl" "$OUT/rows-before.jsonl"
mount -o remount,size=256m "$DISK"
"$@"
cp -r "$DISK/run" "$OUT/run"
"""


@pytest.mark.slow
def test_a_disk_that_fills_up_loses_nothing(tmp_path):
    """A real file system, too small for the second arm: one line tells, and with more room the same command goes on."""
    private = ["unshare", "--map-root-user", "--mount"]
    trial = [*private, "mount", "-t", "tmpfs", "none", str(tmp_path)]
    if shutil.which("unshare") is None or subprocess.run(trial, capture_output=True).returncode:
        pytest.skip("no file system of a chosen size: that needs Linux with user namespaces")
    cache, unbroken, disk, out = (tmp_path / name for name in ("cache", "unbroken", "disk", "out"))
    disk.mkdir()
    out.mkdir()
    arms = "--config.baselines=('over',)"
    finish(unbroken, cache, "least", arms)
    command, environment = launched(disk / "run", cache, "least", arms, *CUT_OFTEN)
    environment |= {"DISK": str(disk), "OUT": str(out), "ROOM": "1600k"}
    done = subprocess.run([*private, "sh", "-c", FILLING, "sh", *command], cwd=ROOT, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    log = (out / "log").read_text()
    assert (out / "status").read_text().strip() == "2" and "Traceback" not in log
    assert "no space left" in log.splitlines()[-1].lower() and "same command" in log.splitlines()[-1], log
    before = plain(out / "rows-before.jsonl")
    assert [row["method"] for row in before] == ["over", "over"] and before == plain(unbroken / "rows.jsonl")[:2]
    same(out / "run", unbroken)


@pytest.mark.slow
def test_killed_in_every_stage(tmp_path):
    cache, unbroken, broken = tmp_path / "cache", tmp_path / "unbroken", tmp_path / "broken"
    finish(unbroken, cache, "whole")
    places = [
        functools.partial(saved, "classifier/none", 5),
        functools.partial(finished, "none"),  # between two arms
        functools.partial(saved, "classifier/over", 1),
        functools.partial(saved, "gan", 3),
        functools.partial(saved, "gan", 7),
        functools.partial(saved, "classifier/gan_synth", 9),
        functools.partial(saved, "reference", 1),  # the generator is judged
        functools.partial(finished, "gan_synth"),
    ]
    for reached in places:
        kill_when(reached, broken, cache, "whole", *CUT_OFTEN)
    finish(broken, cache, "whole", *CUT_OFTEN)
    same(broken, unbroken)
    finish(broken, cache, "whole", *CUT_OFTEN)  # nothing is left to do, and the report is written again
    same(broken, unbroken)
