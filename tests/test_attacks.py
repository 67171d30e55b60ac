"""Signals, kills and lost output against whole processes; each run comes to the rows of one that was left in peace."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from imbal_jax.artifacts import json_files

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parent.parent
TINY = (
    "--config=tests/small.py", "--config.method=over", "--config.baselines=('none',)", "--config.seeds=2",
    "--config.lanes_per_device=1", "--config.classifier.epochs=4",
)  # fmt: skip
LONG = ("--config.chunk_seconds=0", "--config.save_seconds=1000", "--config.classifier.epochs=400")
# launch.py, with a heartbeat that a test can wait for.
# Ctrl-C is not ignored, as it would be below a shell that runs the tests in the background.
LAUNCH = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from imbal_jax.runtime import multihost
multihost.HEARTBEAT = 10
runpy.run_path("launch.py", run_name="__main__")
"""


def start(workdir, cache, *argv, before=(), cache_for_data=None, **options):
    """launch.py in a process of its own, on one device; `before` is a command that runs it."""
    environment = {**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=1", "PYTHONPATH": str(ROOT)}
    environment.pop("IMBAL_DATA_DIR", None)
    environment |= {"IMBAL_CACHE_DIR": str(cache_for_data)} if cache_for_data else {}
    command = [*before, sys.executable, "-c", LAUNCH, *TINY, f"--workdir={workdir}", f"--compilation_cache={cache}", *argv]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "errors": "surrogateescape", "start_new_session": True}
    return subprocess.Popen(command, cwd=ROOT, env=environment, **(streams | options))


def together(workdir, cache, *argv):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    many = ("--distributed", f"--coordinator=localhost:{port}", "--processes=2")
    return [start(workdir, cache, *many, f"--process={i}", *argv) for i in range(2)]


def ended(process, seconds=300):
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out or "", err or ""


def until(condition, *processes, seconds=200):
    deadline = time.monotonic() + seconds
    while not condition():
        assert all(process.poll() is None for process in processes) and time.monotonic() < deadline
        time.sleep(0.02)


def trained(workdir, epoch=3):
    """Whether this workdir's process has come to the epoch."""
    path = workdir / "metrics.jsonl"
    return lambda: path.exists() and f'"epoch": {epoch},' in path.read_text()


def figures(workdir):
    return {(row["method"], row["seed"]): (row["accuracy"], row["nll"]) for row in json_files.read(workdir / "rows.jsonl")}


def saved(workdir):
    return [path for path in workdir.rglob("record.json") if path.parent.name.isdecimal()]


@pytest.fixture(scope="module")
def peace(tmp_path_factory):
    """A run that was left in peace, and the cache."""
    folder = tmp_path_factory.mktemp("peace")
    status, _, err = ended(start(folder / "run", folder / "cache"))
    assert status == 0, err
    return folder / "run", folder / "cache"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGHUP, 129), (signal.SIGTERM, 143)])
def test_a_signal_saves(peace, tmp_path, number, status):
    process = start(tmp_path / "run", peace[1], *LONG)
    until(trained(tmp_path / "run"), process)
    process.send_signal(number)
    code, _, err = ended(process, 60)
    assert code == status and err.count("ended by a signal: stopped at step") == 1, err
    assert saved(tmp_path / "run") and "Traceback" not in err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGHUP, 129), (signal.SIGTERM, 143)])
def test_the_same_signal_twice_saves_once(peace, tmp_path, number, status):
    process = start(tmp_path / "run", peace[1], *LONG)
    until(trained(tmp_path / "run"), process)
    process.send_signal(number)
    process.send_signal(number)
    code, _, err = ended(process, 60)
    assert code == status and err.count("ended by a signal: stopped at step") == 1 and "Traceback" not in err, err
    assert saved(tmp_path / "run")


def test_a_second_ctrl_c_ends_at_once(peace, tmp_path):
    process = start(tmp_path / "run", peace[1], *LONG, "--config.chunk_seconds=1000")
    until(trained(tmp_path / "run"), process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process, 60)
    assert code == 130 and time.monotonic() - began < 5 and "Traceback" not in err


def test_a_terminal_that_is_closed(peace, tmp_path):
    """The pseudo-terminal goes away: SIGHUP, and every further write fails."""
    import pty

    master, slave = pty.openpty()
    process = start(tmp_path / "run", peace[1], *LONG, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    until(trained(tmp_path / "run"), process)
    os.close(master)
    process.send_signal(signal.SIGHUP)
    assert ended(process, 60)[0] == 129 and saved(tmp_path / "run")


@pytest.mark.parametrize("stream", ["pipe", "/dev/full"])
def test_lost_output_changes_nothing(peace, tmp_path, stream):
    if stream == "pipe":
        read, write = os.pipe()
        os.close(read)
    else:
        write = os.open(stream, os.O_WRONLY)
    process = start(tmp_path / "run", peace[1], stdout=write, stderr=write)
    os.close(write)
    assert ended(process)[0] == 0 and figures(tmp_path / "run") == figures(peace[0])


def test_a_workdir_with_brackets_and_a_name_that_is_not_utf8(peace, tmp_path):
    workdir = tmp_path / os.fsdecode(b"run [a*]? \xfc")
    often = (*LONG, "--config.save_seconds=0")
    process = start(workdir, peace[1], *often)
    until(lambda: saved(workdir), process)
    process.kill()
    ended(process)
    status, _, err = ended(start(workdir, peace[1], *often, "--config.classifier.epochs=4"))
    assert status == 2 and "holds a different experiment" in err  # which it read
    process = start(workdir, peace[1], *often)
    until(trained(workdir, 6), process)
    process.send_signal(signal.SIGTERM)
    status, _, err = ended(process, 60)
    assert status == 143 and "damaged" not in err and "Traceback" not in err, err


# --- full disks -------------------------------------------------------------------------------------------------------


def test_a_full_disk_below_the_cache_costs_time_alone(peace, tmp_path):
    """A file system of 64 kB for compiled programs and prepared data: one warning, and the rows of the run in peace."""
    private = ["unshare", "--map-root-user", "--mount"]
    trial = [*private, "mount", "-t", "tmpfs", "none", str(tmp_path)]
    if shutil.which("unshare") is None or subprocess.run(trial, capture_output=True).returncode:
        pytest.skip("no file system of a chosen size: that needs Linux with user namespaces")
    (disk := tmp_path / "disk").mkdir()
    small = [*private, "sh", "-c", f'mount -t tmpfs -o size=64k none "{disk}"; exec "$@"', "sh"]
    process = start(tmp_path / "run", disk, before=small, cache_for_data=disk)
    status, _, err = ended(process)
    assert status == 0 and err.count("no longer cached") == 1 and "Traceback" not in err, err
    assert figures(tmp_path / "run") == figures(peace[0])


# --- kill -9 at file operations ---------------------------------------------------------------------------------------

# A file that is opened to be written is one operation, each change of a name or of a folder another.
KILLER = """
import builtins, io, os, signal, sys, runpy
left = int(sys.argv.pop(1))
def count():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
def counted(function):
    def call(*args, **options):
        count()
        return function(*args, **options)
    return call
for name in ("replace", "rename", "fsync", "unlink", "truncate", "ftruncate", "mkdir", "rmdir"):
    setattr(os, name, counted(getattr(os, name)))
real = io.open
def opened(file, mode="r", *args, **options):
    if set(mode) & set("wax+"):
        count()
    found = real(file, mode, *args, **options)
    if set(mode) & set("wax+"):
        count()  # made, and still empty
    return found
builtins.open = io.open = opened
runpy.run_path("launch.py", run_name="__main__")
"""


@pytest.mark.parametrize("seed", range(10))
def test_killed_at_a_random_file_operation(peace, tmp_path, seed):
    """Killed thrice at a file operation, then finished: the rows of the run in peace, and no temporary file."""
    draw = random.Random(seed)
    argv = (*TINY, f"--workdir={tmp_path / 'run'}", f"--compilation_cache={peace[1]}", "--config.save_seconds=0")
    environment = {**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=1", "PYTHONPATH": str(ROOT)}
    environment.pop("IMBAL_DATA_DIR", None)
    killed = 0
    for _ in range(3):
        command = [sys.executable, "-c", textwrap.dedent(KILLER), str(draw.randrange(1, 100)), *argv]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        killed += done.returncode != 0
    assert killed
    status, _, err = ended(start(tmp_path / "run", peace[1], "--config.save_seconds=0"))
    assert status == 0, err
    assert figures(tmp_path / "run") == figures(peace[0])
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.endswith((".tmp", ".part"))]


# --- two processes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_one_of_two_is_asked_and_both_save(peace, tmp_path, which, number, status):
    workdir = tmp_path / "two"
    processes = together(workdir, peace[1], *LONG)
    for folder in (workdir, workdir / "process-1"):
        until(trained(folder), *processes)
    processes[which].send_signal(number)
    results = [ended(process, 100) for process in processes]
    assert results[which][0] == status and results[1 - which][0] == 143, results
    for (_, _, err), folder in zip(results, (workdir, workdir / "process-1"), strict=True):
        assert err.count("error: ended by a signal") == 1 and "Traceback" not in err and "@ " not in err, err
        assert any(("process-1" in str(path)) == (folder != workdir) for path in saved(workdir))


@pytest.mark.parametrize("which", [0, 1])
def test_one_of_two_is_killed_and_the_other_says_so_in_a_line(peace, tmp_path, which):
    workdir = tmp_path / "two"
    argv = ("--config.chunk_seconds=0", "--config.save_seconds=0", "--config.classifier.epochs=40")
    processes = together(workdir, peace[1], *argv)
    until(trained(workdir / "process-1" if which else workdir), *processes)
    processes[which].kill()
    ended(processes[which])
    status, _, err = ended(processes[1 - which], 200)
    lines = [line for line in err.splitlines() if "error" in line]
    assert status == 6, err
    assert len(lines) == 1 and f"process {which}" in lines[0] and "run the same command on every host again" in lines[0], err
    assert "Traceback" not in err and "*** Check failure" not in err
