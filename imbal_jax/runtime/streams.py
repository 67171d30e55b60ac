"""Standard output and error that cannot end a run: a closed pipe, a full disk or a terminal that is gone is left alone."""

import contextlib
import os
import sys
from typing import Any, TextIO


class Tolerant:
    """A text stream that goes on without its output once that can no longer be written; all else is the stream's own.

    Characters that its encoding lacks are written as escapes.

    Args:
        stream: standard output or error.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write the text, or drop it."""
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding or "ascii"
            self.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except (OSError, ValueError):  # ValueError: the stream is closed
            self._give_up()
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write the lines, or drop them."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what is held back, or drop it."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._give_up()

    def _give_up(self) -> None:
        """Let the file descriptor lead nowhere: what Python still holds back, and what C++ writes, is dropped as well."""
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def protect() -> None:
    """Make standard output and error tolerant, for the whole process; streams that were closed at the start lead nowhere."""
    for number in (0, 1, 2):  # in this order: a file that is opened later must not become standard output
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, Tolerant):
            setattr(sys, name, Tolerant(stream or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")))
