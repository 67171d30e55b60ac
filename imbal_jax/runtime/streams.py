"""Standard output and error whose failures (a closed pipe or terminal, a full disk) do not end a run."""

import contextlib
import os
import sys
from typing import Any, TextIO


class Tolerant:
    """A text stream that drops its output once it can no longer be written; everything else is the wrapped stream's.

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
        """Write the buffered text, or drop it."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._give_up()

    def _give_up(self) -> None:
        """Redirect the file descriptor to the null device, so that buffered text and output of C++ are dropped too."""
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def protect() -> None:
    """Make standard output and error tolerant for the whole process; closed streams are opened on the null device."""
    for number in (0, 1, 2):  # in this order: a file that is opened later must not become standard output
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, Tolerant):
            setattr(sys, name, Tolerant(stream or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")))
