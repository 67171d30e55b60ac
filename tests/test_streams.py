"""Output that cannot be written: the work goes on without it."""

import errno
import io
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from imbal_jax.runtime import interrupts, streams
from imbal_jax.runtime.progress import Progress

ROOT = Path(__file__).resolve().parent.parent


class Broken(io.StringIO):
    """A stream on a descriptor of its own whose writes fail."""

    def __init__(self, number, error):
        super().__init__()
        self.number, self.error = number, error

    def write(self, text):
        raise self.error

    def flush(self):
        raise self.error

    def fileno(self):
        return self.number


@pytest.mark.parametrize("error", [*(OSError(n, "x") for n in (errno.EPIPE, errno.EIO, errno.ENOSPC)), ValueError("closed")])
def test_a_stream_that_fails_is_given_up(error):
    read, write = os.pipe()
    os.close(read)
    stream = streams.Tolerant(Broken(write, error))
    print("text", file=stream, flush=True)
    with Progress("training", 3, stream=stream) as progress:
        progress.update(3, loss=1.0)
    assert os.write(write, b"now it leads nowhere") == 20
    os.close(write)


def test_characters_that_the_encoding_lacks_are_escaped():
    buffer = io.BytesIO()
    stream = streams.Tolerant(io.TextIOWrapper(buffer, encoding="ascii"))
    name = os.fsdecode(b"Gr\xfc")
    print("Größe", name, file=stream, flush=True)
    assert buffer.getvalue().startswith(b"Gr\\xf6\\xdfe Gr\\udcfc") and stream.encoding == "ascii" and not stream.isatty()


def script(tmp_path, body, *argv, **options):
    """What a program does that protects its streams."""
    begin = "import sys\nfrom imbal_jax.runtime import streams\nstreams.protect()\n"
    (tmp_path / "program.py").write_text(begin + textwrap.dedent(body))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([*argv, sys.executable, str(tmp_path / "program.py")], env=environment, **options)


def test_output_that_no_one_reads(tmp_path):
    body = f"""
        for i in range(10_000):
            print("line", i)
            print("line", i, file=sys.stderr)
        open({str(tmp_path / "done")!r}, "w").write("all")
    """
    process = script(tmp_path, body, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"line 0\n"
    process.stdout.close()
    process.stderr.close()
    assert process.wait(60) == 0 and (tmp_path / "done").read_text() == "all"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_output_on_a_full_disk(tmp_path):
    with open("/dev/full", "w") as full:
        process = script(tmp_path, "print('x' * 100_000, flush=True)\nprint('y', file=sys.stderr)", stdout=full, stderr=full)
        assert process.wait(60) == 0


def test_streams_that_are_closed_at_the_start(tmp_path):
    body = f"""
        print("nothing", flush=True)
        print("nothing", file=sys.stderr)
        with open({str(tmp_path / "rows")!r}, "w") as file:
            assert file.fileno() > 2, file.fileno()
    """
    process = script(tmp_path, body, "sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh")
    assert process.wait(60) == 0 and (tmp_path / "rows").exists()


# --- signals ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def restored():
    before = {number: signal.getsignal(number) for number in interrupts.ASKING}
    for number in before:  # a parent may have them ignored, as nohup and background jobs of a script do
        signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", interrupts.ASKING)
def test_the_first_signal_only_asks(restored, monkeypatch, number):
    monkeypatch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "no terminal")))
    asked = []
    interrupts.listen(asked)
    os.kill(os.getpid(), number)
    assert asked == [number]


def test_a_second_ctrl_c_ends_at_once(restored, monkeypatch):
    ends, now = [], [0.0]
    monkeypatch.setattr(interrupts.os, "_exit", ends.append)
    monkeypatch.setattr(interrupts.time, "monotonic", lambda: now[0])
    asked = []
    interrupts.listen(asked)
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)  # at the same time: passed on by a parent
    assert not ends
    signal.raise_signal(signal.SIGTERM)  # asked again by another: it is saving already
    assert not ends
    now[0] = 1.0
    signal.raise_signal(signal.SIGINT)
    assert ends == [130]


def test_a_signal_that_the_parent_ignores_stays_ignored(restored):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    asked = []
    interrupts.listen(asked)
    os.kill(os.getpid(), signal.SIGHUP)
    assert asked == [] and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
