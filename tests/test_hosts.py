"""Processes that meet: with a store of a dict, in this process; whole processes are in test_sweep.py and test_attacks.py."""

import subprocess
import sys

import jax
import pytest

from imbal_jax.errors import Interrupted, Lost, UserError
from imbal_jax.runtime import multihost


class Store:
    """The interface of jax's client, on a dict; `alive` are the processes that have not been lost."""

    def __init__(self, alive=(0, 1, 2)):
        self.entries, self.alive, self.looks = {}, set(alive), 0

    def key_value_set(self, key, value, allow_overwrite):
        assert allow_overwrite
        self.entries[key] = value

    def key_value_try_get(self, key):
        if key not in self.entries:
            raise jax.errors.JaxRuntimeError(f"NOT_FOUND: Config key {key} not found.")
        return self.entries[key]

    def key_value_dir_get(self, folder):
        self.looks += 1
        return [(key, value) for key, value in self.entries.items() if key.startswith(folder)]

    def get_live_nodes(self, processes):
        return dict.fromkeys(self.alive & set(processes), 1)


@pytest.fixture
def store(monkeypatch):
    made = Store()
    monkeypatch.setattr(multihost, "_store", lambda: made)
    monkeypatch.setattr(multihost, "POLL", 0.001)
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    return made


def as_process(monkeypatch, index):
    monkeypatch.setattr(jax, "process_index", lambda: index)


def arrive(monkeypatch, index, rows, name="start"):
    """What a process writes before it waits."""
    as_process(monkeypatch, index)
    with monkeypatch.context() as patch:
        patch.setattr(multihost, "_wait", lambda *_: (_ for _ in ()).throw(Interrupted("enough")))
        with pytest.raises(Interrupted, match="enough"):
            multihost.gather(name, rows)


def test_everyone_gets_the_rows_in_the_order_of_the_processes(store, monkeypatch):
    monkeypatch.setattr(multihost, "PART", 8)  # several entries each
    arrive(monkeypatch, 2, [{"seed": 2, "name": "Größe"}])
    arrive(monkeypatch, 1, [])
    as_process(monkeypatch, 0)
    assert multihost.gather("start", [{"seed": 0}, {"seed": 3}]) == [{"seed": 0}, {"seed": 3}, {"seed": 2, "name": "Größe"}]
    as_process(monkeypatch, 1)
    assert multihost.gather("start", []) == [{"seed": 0}, {"seed": 3}, {"seed": 2, "name": "Größe"}]


def test_who_is_asked_tells_the_others(store, monkeypatch):
    monkeypatch.setattr(multihost, "ASK", 0)
    as_process(monkeypatch, 1)
    other = multihost.stopping([])
    assert not other()
    as_process(monkeypatch, 2)
    assert multihost.stopping([15])()
    as_process(monkeypatch, 1)
    assert other() and {"imbal_jax/stop", "imbal_jax/left/1", "imbal_jax/left/2"} <= store.entries.keys()
    with pytest.raises(Interrupted):
        multihost.gather("start", [], other)
    assert "imbal_jax/start/here/1" not in store.entries  # it promised not to come


def test_the_store_is_not_asked_at_every_step(store, monkeypatch):
    as_process(monkeypatch, 1)
    other = multihost.stopping([])
    assert not other()
    store.entries["imbal_jax/stop"] = "process 0"
    assert not other()  # within the second


def test_who_waits_leaves_with_one_that_will_not_come(store, monkeypatch):
    arrive(monkeypatch, 0, [])
    store.entries["imbal_jax/left/2"] = ""
    as_process(monkeypatch, 1)
    with pytest.raises(Interrupted, match="stopped before the processes exchanged their rows"):
        multihost.gather("start", [])


def test_who_has_come_counts_though_it_was_asked_while_it_waited(store, monkeypatch):
    """Else one process would go through with a meeting that another has left."""
    arrive(monkeypatch, 0, [{"seed": 0}])
    arrive(monkeypatch, 2, [{"seed": 2}])
    store.entries["imbal_jax/left/2"] = ""  # of the time after this meeting
    as_process(monkeypatch, 1)
    assert multihost.gather("start", []) == [{"seed": 0}, {"seed": 2}]


def test_a_lost_process_is_named(store, monkeypatch):
    arrive(monkeypatch, 0, [])
    store.alive = {0, 1}
    as_process(monkeypatch, 1)
    with pytest.raises(Lost, match="process 2 of 3 is lost .*run the same command on every host again"):
        multihost.gather("start", [])


def test_one_that_failed_says_why(store, monkeypatch):
    monkeypatch.setattr(jax.distributed, "shutdown", lambda: None)
    as_process(monkeypatch, 2)
    multihost.finish(UserError("no space left\nhere"))
    as_process(monkeypatch, 1)
    with pytest.raises(UserError, match=r"process 2 failed \(no space left here\)"):
        multihost.gather("start", [])
    assert not multihost.stopping([])()


def test_where_the_first_fails_the_others_save_and_leave(store, monkeypatch):
    monkeypatch.setattr(jax.distributed, "shutdown", lambda: None)
    monkeypatch.setattr(multihost, "FAREWELL", 0.01)
    as_process(monkeypatch, 0)
    multihost.finish(UserError("no space left"))
    as_process(monkeypatch, 1)
    assert multihost.stopping([])()


def test_a_service_that_is_gone_lets_the_training_save(store, monkeypatch, caplog):
    def gone(*_):
        raise jax.errors.JaxRuntimeError("UNAVAILABLE: failed to connect\nto all addresses")

    monkeypatch.setattr(store, "key_value_try_get", gone)
    as_process(monkeypatch, 1)
    assert multihost.stopping([])() and "process 0, the coordinator, has ended" in caplog.text


def test_the_loss_of_the_first_is_told_at_the_end_too(store, monkeypatch):
    def gone(*_):
        raise jax.errors.JaxRuntimeError("UNAVAILABLE: failed to connect")

    monkeypatch.setattr(store, "key_value_try_get", gone)
    monkeypatch.setattr(jax.distributed, "shutdown", lambda: pytest.fail("waits for who is lost"))
    as_process(monkeypatch, 1)
    with pytest.raises(Lost, match="process 0, the coordinator, has ended"):
        multihost.finish()
    multihost.finish(Lost("process 0 is gone"))


def test_an_abort_of_cpp_code_is_an_exit_with_a_status():
    program = "import os; from imbal_jax.runtime import multihost; multihost._exit_where_aborted(); os.abort()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (6, "")


def test_a_single_process_asks_no_one():
    asked = []
    ask = multihost.stopping(asked)
    assert not ask()
    asked.append(15)
    assert ask() and multihost.gather("start", [{"seed": 0}]) == [{"seed": 0}]


def test_the_filter_leaves_one_line_of_a_stack_trace():
    before = "some warning\nE1128 Polled an error from coordination service\n"
    trace = f"F1128 client.h:80] {multihost.FATAL}. This most likely\n*** Check failure stack trace: ***\n    @ 0x7fa absl\n"
    command = [sys.executable, "-S", "-c", multihost._FILTER, multihost.FATAL, "recoverable", multihost.LOST]
    done = subprocess.run(command, input=before + trace, capture_output=True, text=True, check=True)
    assert done.stdout == f"some warning\n{multihost.LOST}\n"
