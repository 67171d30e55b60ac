"""One experiment in several processes: each trains a part of the seeds, then they exchange their rows.

Lanes never communicate, and the processes train their own seeds on their own devices. They only exchange rows, through the
key-value store of jax's coordination service, which process 0 runs:

    imbal_jax/stop               a process received a signal to end: all save and exit
    imbal_jax/left/PROCESS       this process takes part in no further exchange
    imbal_jax/NAME/rows/PROCESS/PART, imbal_jax/NAME/here/PROCESS    the rows of an exchange, then the number of parts

A killed process is detected where the others wait for it. Only the loss of process 0 ends the others at once: jax's C++ client
aborts the process as soon as its connection breaks (in jax 0.10.2 the callback that could replace the abort cannot be written
in Python, since its argument has no Python type). `_shorten_fatal_errors` replaces its stack trace by one line, and
`_exit_where_aborted` the abort by the exit status of a lost process.
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
POLL = 0.2  # seconds between two queries of the store while waiting
ASK = 1.0  # seconds between two queries of it while training
PART = 1 << 20  # characters of rows in one entry of the store
FAREWELL = 120.0  # seconds for which process 0 keeps the service alive for the others, which may be saving
FATAL = "Terminating process because the JAX distributed service detected fatal errors"
LOST = (
    "error: process 0, the coordinator, has ended or cannot be reached: run the same command on every host again to resume "
    "from the last saved state"
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
    """Connect to the other processes; must be called before any computation. On a TPU VM and under SLURM without arguments.

    Args:
        coordinator: HOST:PORT of process 0.
        count: number of processes.
        index: number of this process, from 0.

    Raises:
        UserError: the processes could not connect.
    """
    # jax's preemption service would handle SIGTERM itself; recoverable: a lost process does not end the others.
    for name, value in {"jax_enable_preemption_service": False, "jax_enable_recoverability": True}.items():
        with contextlib.suppress(AttributeError):  # a jax without this setting
            jax.config.update(name, value)
    _shorten_fatal_errors()
    _exit_where_aborted()
    try:
        jax.distributed.initialize(coordinator, count, index, heartbeat_timeout_seconds=HEARTBEAT)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"--distributed: the processes could not connect ({reason}): start the same command on every host, and give "
            "--coordinator=HOST:PORT --processes=N --process=I where the cluster does not provide them"
        ) from error


def finish(problem: Exception | None = None) -> None:
    """Disconnect from the other processes; process 0 is the last, because without it the others are aborted.

    Args:
        problem: the error that ends this process, if any; the others are told, and if it ends process 0, they save and exit.

    Raises:
        Lost: process 0 has ended, unless `problem` is given.
    """
    if (store := _store()) is None:
        return
    process = jax.process_index()
    if problem is None:
        _get(store, "imbal_jax/stop")
    with contextlib.suppress(UserError):
        if problem is not None:
            _put(store, f"imbal_jax/left/{process}", f"process {process} failed ({' '.join(str(problem).split())[:300]})")
        if problem is not None and process == 0:
            _put(store, "imbal_jax/stop", "process 0 failed")
    until = time.monotonic() + FAREWELL
    while process == 0 and time.monotonic() < until and _alive(store) - {0}:
        time.sleep(POLL)
    if isinstance(problem, Lost):  # a shutdown would wait for the lost process, or abort
        return
    with contextlib.suppress(Exception):  # errors of a connection that is closed anyway
        jax.distributed.shutdown()


def stopping(asked: Sequence[int]) -> Callable[[], bool]:
    """A function: whether this or another process received a signal to end. It is called after each chunk of steps.

    After True, this process takes part in no further exchange, and the others do not wait for it.

    Args:
        asked: the signals that this process has received so far (see `interrupts.listen`).
    """
    stopped: list[bool] = []
    last_query = [-ASK]

    def ask() -> bool:
        if stopped or (store := _store()) is None:
            return bool(stopped or asked)
        try:
            if not asked:
                now = time.monotonic()
                if now - last_query[0] < ASK:
                    return False
                last_query[0] = now
                if _get(store, "imbal_jax/stop") is None:
                    return False
            _put(store, "imbal_jax/stop", f"process {jax.process_index()} received a signal to end")
            _put(store, f"imbal_jax/left/{jax.process_index()}", "")
        except UserError as problem:  # process 0 has ended: the state is saved first
            logging.warning("%s", problem)
        stopped.append(True)
        return True

    return ask


def share(items: Sequence[Any]) -> list[Any]:
    """This process's part of `items`: process I of N takes the items I, I + N, I + 2 N, ..."""
    return list(items[jax.process_index() :: jax.process_count()])


def gather(name: str, rows: list[dict[str, Any]], stopping: Callable[[], bool] = lambda: False) -> list[dict[str, Any]]:
    """The rows of all processes, in the order of the processes; every process must call it, and gets all rows.

    Args:
        name: of this exchange; each name is used once.
        rows: of this process, with JSON values.
        stopping: the function that `stopping` returns.

    Raises:
        Interrupted: this process, or one that has not yet arrived, received a signal to end.
        UserError: a process that has not yet arrived failed.
        Lost: a process that has not yet arrived, or process 0, is lost.
    """
    if jax.process_count() == 1 or (store := _store()) is None:
        return rows
    if stopping():
        raise Interrupted("stopped before the processes exchanged their rows")
    process_here, processes = jax.process_index(), range(jax.process_count())
    text = base64.b85encode(zlib.compress(json.dumps(rows).encode(), 1)).decode()
    parts = [text[start : start + PART] for start in range(0, len(text), PART)]
    for number, part in enumerate(parts):
        _put(store, f"imbal_jax/{name}/rows/{process_here}/{number}", part)
    _put(store, f"imbal_jax/{name}/here/{process_here}", str(len(parts)))
    part_counts = _wait(store, name, set(processes), stopping)
    all_rows = []
    for process in processes:
        texts = [_get(store, f"imbal_jax/{name}/rows/{process}/{number}") or "" for number in range(part_counts[process])]
        all_rows += json.loads(zlib.decompress(base64.b85decode("".join(texts))))
    return all_rows


def _wait(store: Any, name: str, processes: set[int], stopping: Callable[[], bool]) -> dict[int, int]:
    """The number of parts of each process's rows, once all processes have arrived.

    This process has arrived, and gives up only if the exchange can no longer happen: if a missing process received a signal to
    end, or is lost. A signal to this process itself is not a reason: its rows are stored, and the others need only those.
    """
    dead_before: set[int] = set()
    looked = time.monotonic()
    while True:
        part_counts = {int(process): int(parts) for process, parts in _all(store, f"imbal_jax/{name}/here/").items()}
        if processes <= part_counts.keys():
            return part_counts
        absent = processes - part_counts.keys()
        left = {int(process): why for process, why in _all(store, "imbal_jax/left/").items()}
        if absent_left := absent & left.keys():
            if why := left[min(absent_left)]:
                raise UserError(f"{why}; finished rows are kept: run the same command on every host again")
            raise Interrupted("stopped before the processes exchanged their rows: another one received a signal to end")
        stopping()
        if time.monotonic() - looked > 10 * POLL:
            looked, dead = time.monotonic(), absent - _alive(store)
            if lost := dead & dead_before:  # missing twice: a process that exits in order announces it before it disconnects
                raise Lost(
                    f"process {min(lost)} of {len(processes)} is lost (no heartbeat for {HEARTBEAT} s); finished rows are "
                    "kept: look for the cause on its host, then run the same command on every host again"
                )
            dead_before = dead
        time.sleep(POLL)


# ---- the store


def _store() -> Any:
    """The client of the coordination service; None for a single process."""
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
    processes = list(range(jax.process_count()))
    try:
        return set(store.get_live_nodes(processes))
    except (AttributeError, jax.errors.JaxRuntimeError):  # an older jax, or no answer: all count as alive
        return set(processes)


@contextlib.contextmanager
def _reached() -> Any:
    try:
        yield
    except jax.errors.JaxRuntimeError as problem:
        raise Lost(f"{LOST.removeprefix('error: ')} ({' '.join(str(problem).split())[:80]})") from problem


def _shorten_fatal_errors() -> None:
    """Filter what C++ writes to standard error: the stack trace about a lost coordinator is replaced by one line.

    Python's own standard error is not filtered, and stays a terminal if it is one.
    """
    try:
        before = os.dup(2)
        read, write = os.pipe()
        command = [sys.executable, "-S", "-c", _FILTER, FATAL, "Using experimental recoverable task feature", LOST]
        subprocess.Popen(command, stdin=read, stdout=before, stderr=subprocess.DEVNULL, start_new_session=True)
        os.close(read)
        sys.stderr.flush()
        unfiltered = os.fdopen(before, "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")
        os.dup2(write, 2)
        os.close(write)
    except (OSError, ValueError):
        return

    sys.stderr = Tolerant(unfiltered)
    logging.get_absl_handler().python_handler.stream = sys.stderr


def _exit_where_aborted() -> None:
    """Make an abort in C++ code exit with the status 6, the signal's number, without a core dump or a message of the shell.

    Python's own signal handlers run between two instructions of the main thread, which an abort never reaches.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another kind of C library
        library = ctypes.CDLL(None)
        library.signal.argtypes, library.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
        library.signal(signal.SIGABRT, ctypes.cast(library._exit, ctypes.c_void_p))
