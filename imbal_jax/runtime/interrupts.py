"""Signals that ask the process to end: the first one lets it save what is under way, a second Ctrl-C ends it at once."""

import contextlib
import os
import signal
import time
from types import FrameType

ASKING = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"} | ({signal.SIGHUP: "SIGHUP"} if hasattr(signal, "SIGHUP") else {})
SAME = 0.3  # seconds within which a second Ctrl-C is the first one, passed on by a parent process too
NOTE = "\nasked to end by {}: saving at the next step that can be resumed; Ctrl-C ends at once\n"


def end_at_once() -> None:
    """Let Ctrl-C end the process in one line, with status 130; for the imports at the start."""

    def end(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):
            os.write(2, b"error: stopped before anything was trained\n")
        os._exit(128 + number)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where the parent ignores it
        signal.signal(signal.SIGINT, end)


def by_exception() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again, so that half-written files are removed."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def listen(asked: list[int]) -> None:
    """Add the signals that ask for an end to the list, instead of ending; a second call renews replaced handlers.

    Ctrl-C (SIGINT), pre-emption (SIGTERM) and a closed terminal (SIGHUP) count. A signal that the parent process ignores,
    as nohup does with SIGHUP, stays ignored. A second Ctrl-C ends the process with status 130 and saves nothing. To be
    called in the main thread.
    """
    began: list[float] = []

    def ask(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and asked and (not began or time.monotonic() - began[0] > SAME):
            os._exit(128 + number)
        if not asked:
            began.append(time.monotonic())
            with contextlib.suppress(OSError):  # a terminal that is gone
                os.write(2, NOTE.format(NAMES[signal.Signals(number)]).encode())
        asked.append(number)

    for number in ASKING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, ask)
