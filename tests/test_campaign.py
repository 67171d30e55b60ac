"""The campaign: runs in order, each until it is finished, paused on request, collected after each; nothing is trained."""

import json

import pytest
from absl import flags as absl_flags

from campaign.__main__ import TURN_OVER, finished, go_on
from campaign.runs import RUNS, Run
from imbal_jax.flags import define, parse

THREE = tuple(Run(name, (f"--config={name}.py",), "why") for name in "abc")


class Fake:
    """A runner with given exit statuses; it leaves rows where the run has trained something."""

    def __init__(self, **statuses):
        self.statuses, self.started, self.collected = statuses, [], []

    def start(self, run, workdir):
        self.started.append(run.name)
        status = self.statuses.get(run.name, 0)
        if status != 2:
            (workdir / "rows.jsonl").write_text("{}\n")
        return status

    def collect(self, run, workdir):
        assert (workdir / "rows.jsonl").exists()
        self.collected.append(run.name)


def test_runs_in_order_each_once(tmp_path):
    fake = Fake()
    assert go_on(THREE, tmp_path, fake.start, fake.collect, paused=lambda: False) == []
    assert fake.started == fake.collected == ["a", "b", "c"]
    again = Fake()
    assert go_on(THREE, tmp_path, again.start, again.collect, paused=lambda: False) == [] and again.started == []


def test_a_paused_run_is_collected_and_goes_on_at_the_next_start(tmp_path):
    fake = Fake(b=143)
    go_on(THREE, tmp_path, fake.start, fake.collect, paused=lambda: False)
    assert fake.started == fake.collected == ["a", "b"]
    later = Fake()
    go_on(THREE, tmp_path, later.start, later.collect, paused=lambda: False)
    assert later.started == ["b", "c"]


def test_a_run_whose_time_is_over_is_collected_and_the_next_begins(tmp_path):
    fake = Fake(a=TURN_OVER)
    assert go_on(THREE, tmp_path, fake.start, fake.collect, paused=lambda: False) == []
    assert fake.started == fake.collected == ["a", "b", "c"] and not finished(THREE[0], tmp_path)
    later = Fake()
    go_on(THREE, tmp_path, later.start, later.collect, paused=lambda: False)
    assert later.started == ["a"]


def test_nothing_starts_while_the_pause_is_asked_for(tmp_path):
    fake = Fake()
    go_on(THREE, tmp_path, fake.start, fake.collect, paused=lambda: True)
    assert fake.started == []


def test_a_run_that_fails_does_not_hold_up_the_others(tmp_path):
    fake = Fake(a=2)
    assert go_on(THREE, tmp_path, fake.start, fake.collect, paused=lambda: False) == ["a"]
    assert fake.started == ["a", "b", "c"] and fake.collected == ["b", "c"]
    assert not finished(THREE[0], tmp_path) and finished(THREE[1], tmp_path)


def test_other_arguments_make_a_run_unfinished(tmp_path):
    fake = Fake()
    go_on(THREE[:1], tmp_path, fake.start, fake.collect, paused=lambda: False)
    assert json.loads((tmp_path / "a" / "finished.json").read_text()) == ["--config=a.py"]
    more = THREE[0]._replace(arguments=("--config=a.py", "--config.seeds=9"))
    assert not finished(more, tmp_path)


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_every_command_line_is_understood(run, monkeypatch):
    values = absl_flags.FlagValues()
    argv = ["launch.py", *(word.replace("{data}", "data") for word in run.arguments), "--workdir=x"]
    define(values, argv)
    assert parse(argv, values) == ["launch.py"] and values.config.seeds >= 1
