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
