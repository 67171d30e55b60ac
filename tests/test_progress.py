import io
import math
import time

import pytest

from imbal_jax.runtime.pace import Pace
from imbal_jax.runtime.progress import Progress, clock


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def now(monkeypatch):
    """A clock that the test moves: now[0] += seconds."""
    moment = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: moment[0])
    return moment


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (-0.001, "0.0 s"),
        (12.34, "12.3 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (470, "7 min 50 s"),
        (3599.4, "59 min 59 s"),
        (3599.7, "1 h 00 min"),
        (3780, "1 h 03 min"),
        (93780, "26 h 03 min"),
        (math.inf, "unknown"),
        (math.nan, "unknown"),
    ],
)
def test_clock(seconds, words):
    assert clock(seconds) == words


def test_plain_lines_come_every_ten_seconds_and_at_the_end(now):
    stream = io.StringIO()
    with Progress("gan", 100, stream=stream) as progress:
        for done in range(1, 101):
            now[0] += 0.5
            progress.update(done, d_loss=0.6123, g_loss=1234.5)
    lines = stream.getvalue().splitlines()
    assert lines == [
        "gan: 20/100 steps, 20%, 2 steps/s, 40.0 s left, d_loss 0.612, g_loss 1.23e+03",
        "gan: 40/100 steps, 40%, 2 steps/s, 30.0 s left, d_loss 0.612, g_loss 1.23e+03",
        "gan: 60/100 steps, 60%, 2 steps/s, 20.0 s left, d_loss 0.612, g_loss 1.23e+03",
        "gan: 80/100 steps, 80%, 2 steps/s, 10.0 s left, d_loss 0.612, g_loss 1.23e+03",
        "gan: 100/100 steps, 100%, 2 steps/s, took 50.0 s, d_loss 0.612, g_loss 1.23e+03",
    ]


def test_the_rate_is_of_this_process_and_without_compilation(now):
    stream = io.StringIO()
    with Progress("classifier", 2000, done=1000, unit="epoch", stream=stream) as progress:
        now[0] += 60  # compiles
        progress.update(1100)
        now[0] += 20
        progress.update(1300)
        now[0] += 70
        progress.update(2000)
    first, second, end = stream.getvalue().splitlines()
    assert first == "classifier: 1100/2000 epochs, 55%, compiled"
    assert second == "classifier: 1300/2000 epochs, 65%, 10 epochs/s, 1 min 10 s left"
    assert end == "classifier: 2000/2000 epochs, 100%, 10 epochs/s, took 2 min 30 s"


def test_compiling_and_the_whole_are_told(now):
    stream = io.StringIO()
    with Progress("gan", 100, stream=stream, first="compiling (about 40 s, once)") as progress:
        assert stream.getvalue() == "gan: compiling (about 40 s, once)\n"  # at once
        now[0] += 40
        progress.update(1, "12 min 00 s overall")
        now[0] += 12
        progress.update(13, "11 min 40 s overall", d_loss=0.5)
        now[0] += 1
        progress.update(100)
    assert stream.getvalue().splitlines()[1:] == [
        "gan: 1/100 steps, 1%, compiled (12 min 00 s overall)",
        "gan: 13/100 steps, 13%, 1 steps/s, 1 min 27 s left (11 min 40 s overall), d_loss 0.5",
        "gan: 100/100 steps, 100%, 7.62 steps/s, took 53.0 s",
    ]
    terminal = Terminal()
    with Progress("gan", 4, stream=terminal, first="compiling (once)") as progress:
        assert "compiling (once)" in terminal.getvalue()
        progress.update(4, "2.0 s overall", d_loss=0.5)
    assert "left, 2.0 s overall, d_loss 0.5" in terminal.getvalue().split("\r")[-1]
    done = io.StringIO()
    with Progress("gan", 5, done=5, stream=done, first="compiling (once)"):
        pass
    assert "compiling" not in done.getvalue()


def test_the_time_left_over_all_trainings():
    """Two classifiers and a GAN to come; rates of 10 and 2 lane-steps a second."""
    pace = Pace()
    pace.expect({"classifier": 300.0, "gan": 80.0})
    pace.begin("gan", 80)
    assert pace.left("gan", 80) == ""  # no rate yet
    pace.measure("gan", 20, 10.0)
    assert pace.left("gan", 60) == "at least 30.0 s overall"  # 60 / 2, and classifiers of unknown rate
    pace.begin("classifier", 100)
    pace.measure("classifier", 50, 4.0)
    pace.measure("classifier", 50, 6.0)
    assert pace.left("classifier", 0) == "20.0 s overall"
    pace.expect({"classifier": 300.0}, may_end=True)
    assert pace.left("classifier", 0) == "at most 30.0 s overall"
    pace.begin("classifier", 100)
    pace.begin("classifier", 100)
    pace.measure("classifier", 100, 40.0)  # a slow one: 50 of its own at 2.5 a second, 100 at the mean of 4
    assert pace.left("classifier", 50) == "at most 45.0 s overall"
    pace.begin("classifier", 100)
    assert pace.left("classifier", 50) == ""  # nothing but this training: its own time left says it


def test_how_long_compiling_takes(tmp_path):
    pace = Pace(tmp_path)
    assert pace.compiling("a", "gan") == "compiling (once)"
    pace.compiled("a", "gan", 40.2)
    assert pace.compiling("a", "gan") == ""  # there is nothing to compile
    assert pace.compiling("b", "gan") == "compiling (about 40 s, once)" and pace.compiling("c", "net") == "compiling (once)"
    again = Pace(tmp_path)
    assert again.compiling("b", "gan") == "compiling (at most about 40 s, once)"  # it may lie in the cache
    again.compiled("b", "gan", 2.0)  # it did
    assert Pace(tmp_path).compiling("b", "gan") == "compiling (at most about 40 s, once)"
    again.compiled("c", "net", 0.1)
    assert again.compiling("d", "net") == "compiling (once)"
    (tmp_path / "compile_seconds.json").write_text('{"gan": "long", "net": 70')
    assert Pace(tmp_path).compiling("b", "gan") == "compiling (once)"
    Pace(tmp_path / "nowhere").compiled("a", "gan", 3.0)  # cannot be kept: no harm


def test_work_found_done_says_so(now):
    stream = io.StringIO()
    with Progress("gan", 5, done=5, stream=stream):
        pass
    assert stream.getvalue() == "gan: 5/5 steps, 100%, took 0.0 s\n"


def test_nothing_to_do(now):
    stream = io.StringIO()
    with Progress("gan", 0, stream=stream):
        pass
    assert stream.getvalue() == "gan: 0/0 steps, 100%, took 0.0 s\n"


def test_a_failure_says_how_far_the_work_came(now):
    stream = io.StringIO()
    with pytest.raises(RuntimeError), Progress("gan", 10, stream=stream) as progress:
        now[0] += 2
        progress.update(4, d_loss=math.nan)
        raise RuntimeError
    assert stream.getvalue() == "gan: 4/10 steps, 40%, 2 steps/s, stopped after 2.0 s, d_loss nan\n"


def test_standard_error_by_default(capsys):
    with Progress("gan", 1) as progress:
        progress.update(1)
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("gan: 1/1 steps, 100%")


def test_a_terminal_has_one_moving_line():
    stream = Terminal()
    with Progress("gan", 4, done=1, stream=stream) as progress:
        for done in (2, 3, 4):
            progress.update(done, d_loss=0.5)
    text = stream.getvalue()
    assert text.count("\n") == 1 and text.endswith("\n")
    last = text.strip().split("\r")[-1]
    assert last.startswith("gan: 100% |") and "4/4" in last and "steps/s" in last and "left, d_loss 0.5" in last
