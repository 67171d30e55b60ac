"""Several processes, one experiment: who does which part, and how their rows come together.

Lanes never communicate, so neither do the processes: each trains seeds of its own on its own devices. They meet only to
tell each other their rows, through the key-value store of jax's coordination service, which process 0 runs:

    imbal_jax/stop               a process was asked to end: all save and leave
    imbal_jax/left/PROCESS       this one will come to no further meeting
    imbal_jax/NAME/rows/PROCESS/PART, imbal_jax/NAME/here/PROCESS    the rows of a meeting, then how many parts there are

A process that was killed is noticed where the others wait for it. Only the loss of process 0 ends the others at once: jax's
C++ client aborts the process as soon as its connection breaks (of jax 0.10.2, the callback that it could call instead cannot
be written in Python: its argument has no Python type). Its stack trace is replaced by one line (`_shorten_fatal_errors`) and
the abort by an exit with the status of every lost process (`_exit_where_aborted`).
"""

import base64
import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
from absl import logging

from imbal_jax.errors import Interrupted, Lost, UserError
from imbal_jax.runtime.streams import Tolerant

HEARTBEAT = 60  # seconds without a sign of life after which a process counts as lost
POLL = 0.2  # seconds between two looks at the store while waiting
ASK = 1.0  # seconds between two looks at it while training
PART = 1 << 20  # characters of rows in one entry of the store
FAREWELL = 120.0  # seconds that process 0 keeps the service for the others, who may be saving
FATAL = "Terminating process because the JAX distributed service detected fatal errors"
LOST = (
    "error: process 0, which coordinates the others, is gone or cannot be reached: what was saved last is kept; start the "
    "same command on every host again"
)
_FILTER = """
import sys
fatal, harmless, lost = (text.encode() for text in sys.argv[1:])
for line in sys.stdin.buffer:
    if fatal in line:
        sys.stdout.buffer.write(lost + b"\\n")
        sys.stdout.buffer.flush()
        sys.stdin.buffer.read()
        break
    if harmless in line or b"Polled an error from coordination service" in line:
        continue
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
"""


def start(coordinator: str | None = None, count: int | None = None, index: int | None = None) -> None:
    """Join the other processes; before anything is computed. On a TPU VM and under SLURM nothing need be given.

    Args:
        coordinator: HOST:PORT of process 0.
        count: how many processes there are.
        index: which of them this is, from 0.

    Raises:
        UserError: they did not find each other.
    """
    # jax's preemption service would take SIGTERM for itself; recoverable: a lost process does not end the others.
    for name, value in {"jax_enable_preemption_service": False, "jax_enable_recoverability": True}.items():
        with contextlib.suppress(AttributeError):  # a jax without it
            jax.config.update(name, value)
    _shorten_fatal_errors()
    _exit_where_aborted()
    try:
        jax.distributed.initialize(coordinator, count, index, heartbeat_timeout_seconds=HEARTBEAT)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"--distributed: the processes did not come together ({reason}); start the same command on every host, and give "
            "--coordinator=HOST:PORT --processes=N --process=I where the cluster does not tell them"
        ) from error


def finish(problem: Exception | None = None) -> None:
    """Leave the other processes; process 0 goes last, for without it the others end at once.

    Args:
        problem: by which this process ends, if it does: the others are told, and where it is process 0, save and leave.

    Raises:
        Lost: process 0 is gone, unless there is another problem.
    """
    if (store := _store()) is None:
        return
    own = jax.process_index()
    if problem is None:
        _get(store, "imbal_jax/stop")
    with contextlib.suppress(UserError):
        if problem is not None:
            _put(store, f"imbal_jax/left/{own}", f"process {own} failed ({' '.join(str(problem).split())[:300]})")
        if problem is not None and own == 0:
            _put(store, "imbal_jax/stop", "process 0 failed")
    until = time.monotonic() + FAREWELL
    while own == 0 and time.monotonic() < until and _alive(store) - {0}:
        time.sleep(POLL)
    if isinstance(problem, Lost):  # the farewell would wait for who is lost, or abort
        return
    with contextlib.suppress(Exception):  # whatever is wrong with a connection that is given up
        jax.distributed.shutdown()


def stopping(asked: Sequence[int]) -> Callable[[], bool]:
    """Whether this process, or another one of the experiment, was asked to end; to be asked after each chunk of steps.

    After True, this process promises to come to no further meeting: the others do not wait for it.

    Args:
        asked: the signals that this process got so far (see `interrupts.listen`).
    """
    told: list[bool] = []
    latest = [-ASK]

    def ask() -> bool:
        if told or (store := _store()) is None:
            return bool(told or asked)
        try:
            if not asked:
                now = time.monotonic()
                if now - latest[0] < ASK:
                    return False
                latest[0] = now
                if _get(store, "imbal_jax/stop") is None:
                    return False
            _put(store, "imbal_jax/stop", f"process {jax.process_index()} was asked to end")
            _put(store, f"imbal_jax/left/{jax.process_index()}", "")
        except UserError as problem:  # process 0 is gone: what is under way is saved before anything else
            logging.warning("%s", problem)
        told.append(True)
        return True

    return ask


def share(items: Sequence[Any]) -> list[Any]:
    """This process's part of `items`: each process takes every so-manieth."""
    return list(items[jax.process_index() :: jax.process_count()])


def gather(name: str, rows: list[dict[str, Any]], stopping: Callable[[], bool] = lambda: False) -> list[dict[str, Any]]:
    """The rows of all processes, in the order of the processes; every process calls it and gets them all.

    Args:
        name: of this meeting; a name is used once.
        rows: this process's, of JSON values.
        stopping: as the function of that name gives it.

    Raises:
        Interrupted: this process, or one that is still to come, was asked to end.
        UserError: a process that is still to come failed.
        Lost: one that is still to come, or process 0, is lost.
    """
    if jax.process_count() == 1 or (store := _store()) is None:
        return rows
    if stopping():
        raise Interrupted("stopped before the processes met")
    own, everyone = jax.process_index(), range(jax.process_count())
    text = base64.b85encode(zlib.compress(json.dumps(rows).encode(), 1)).decode()
    parts = [text[start : start + PART] for start in range(0, len(text), PART)]
    for number, part in enumerate(parts):
        _put(store, f"imbal_jax/{name}/rows/{own}/{number}", part)
    _put(store, f"imbal_jax/{name}/here/{own}", str(len(parts)))
    here = _wait(store, name, set(everyone), stopping)
    found = []
    for process in everyone:
        texts = [_get(store, f"imbal_jax/{name}/rows/{process}/{number}") or "" for number in range(here[process])]
        found += json.loads(zlib.decompress(base64.b85decode("".join(texts))))
    return found


def _wait(store: Any, name: str, everyone: set[int], stopping: Callable[[], bool]) -> dict[int, int]:
    """The parts of each process's rows, once all are there.

    This process has come, so it leaves only when the meeting can no longer take place: when one that has not come was asked
    to end, or is lost. Whoever has come waits on even if it is asked to end itself: the others count on its rows alone.
    """
    missed: set[int] = set()
    looked = time.monotonic()
    while True:
        here = {int(process): int(parts) for process, parts in _all(store, f"imbal_jax/{name}/here/").items()}
        if everyone <= here.keys():
            return here
        absent = everyone - here.keys()
        left = {int(process): why for process, why in _all(store, "imbal_jax/left/").items()}
        if gone := absent & left.keys():
            if why := left[min(gone)]:
                raise UserError(f"{why}; what is finished is kept: start the same command on every host again")
            raise Interrupted("the processes were asked to end before they met")
        stopping()
        if time.monotonic() - looked > 10 * POLL:
            looked, dead = time.monotonic(), absent - _alive(store)
            if lost := dead & missed:  # seen twice: one that leaves says so before it disconnects
                raise Lost(
                    f"process {min(lost)} of {len(everyone)} is lost: no sign of life for {HEARTBEAT} s; what is finished is "
                    "kept: see why on its host, then start the same command on every host again"
                )
            missed = dead
        time.sleep(POLL)


# ---- the store


def _store() -> Any:
    """The client of the coordination service; None where this is the only process."""
    from jax._src import distributed

    return distributed.global_state.client if (getattr(distributed.global_state, "num_processes", 1) or 1) > 1 else None


def _put(store: Any, key: str, value: str) -> None:
    with _reached():
        store.key_value_set(key, value, allow_overwrite=True)


def _get(store: Any, key: str) -> str | None:
    with _reached():
        try:
            return store.key_value_try_get(key)
        except jax.errors.JaxRuntimeError as problem:
            if "NOT_FOUND" not in str(problem):
                raise
            return None


def _all(store: Any, folder: str) -> dict[str, str]:
    """The entries below a name that ends in '/', by the rest of their keys."""
    with _reached():
        return {key.removeprefix(folder): value for key, value in store.key_value_dir_get(folder)}


def _alive(store: Any) -> set[int]:
    everyone = list(range(jax.process_count()))
    try:
        return set(store.get_live_nodes(everyone))
    except (AttributeError, jax.errors.JaxRuntimeError):  # an older jax, or no answer: nothing is known
        return set(everyone)


@contextlib.contextmanager
def _reached() -> Any:
    try:
        yield
    except jax.errors.JaxRuntimeError as problem:
        raise Lost(f"{LOST.removeprefix('error: ')} ({' '.join(str(problem).split())[:80]})") from problem


def _shorten_fatal_errors() -> None:
    """Let what C++ writes to standard error pass a filter that replaces the stack trace of a lost coordinator by one line.

    Python's own standard error stays as it is, a terminal if it was one.
    """
    try:
        before = os.dup(2)
        read, write = os.pipe()
        command = [sys.executable, "-S", "-c", _FILTER, FATAL, "Using experimental recoverable task feature", LOST]
        subprocess.Popen(command, stdin=read, stdout=before, stderr=subprocess.DEVNULL, start_new_session=True)
        os.close(read)
        sys.stderr.flush()
        own = os.fdopen(before, "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")
        os.dup2(write, 2)
        os.close(write)
    except (OSError, ValueError):
        return

    sys.stderr = Tolerant(own)
    logging.get_absl_handler().python_handler.stream = sys.stderr


def _exit_where_aborted() -> None:
    """Turn an abort of C++ code into an exit with its signal's number, 6, as status: no core dump, no 'Aborted' of the shell.

    Python's own handlers run in the main thread between two instructions, which an abort never reaches.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # no C library of that kind
        library = ctypes.CDLL(None)
        library.signal.argtypes, library.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
        library.signal(signal.SIGABRT, ctypes.cast(library._exit, ctypes.c_void_p))
