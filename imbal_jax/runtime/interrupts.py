"""Signals that end the process: after the first it saves its state and exits, a second Ctrl-C ends it at once."""

import contextlib
import os
import signal
import time
from types import FrameType

ASKING = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"} | ({signal.SIGHUP: "SIGHUP"} if hasattr(signal, "SIGHUP") else {})
SAME = 0.3  # seconds within which a second SIGINT counts as the first, which a parent process may pass on again
NOTE = "\nstopping after {}: saving at the next step that can be resumed; Ctrl-C exits at once without saving\n"


def end_at_once() -> None:
    """Make Ctrl-C end the process with one line and status 130; for the imports at the start."""

    def end(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):
            os.write(2, b"error: stopped before anything was trained\n")
        os._exit(128 + number)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not if the parent process ignores it
        signal.signal(signal.SIGINT, end)


def by_exception() -> None:
    """Make Ctrl-C raise KeyboardInterrupt again, so that half-written files are removed."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def listen(received: list[int]) -> None:
    """Append signals that end a process to a list instead of ending it; a second call restores replaced handlers.

    Handled are Ctrl-C (SIGINT), pre-emption (SIGTERM) and a closed terminal (SIGHUP). A signal that the parent process ignores,
    as nohup does with SIGHUP, stays ignored. A second Ctrl-C ends the process with status 130 and saves nothing. Must be called
    in the main thread.
    """
    began: list[float] = []

    def ask(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and received and (not began or time.monotonic() - began[0] > SAME):
            os._exit(128 + number)
        if not received:
            began.append(time.monotonic())
            with contextlib.suppress(OSError):  # a closed terminal
                os.write(2, NOTE.format(NAMES[signal.Signals(number)]).encode())
        received.append(number)

    for number in ASKING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, ask)
