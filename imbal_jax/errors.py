"""Errors that the user can correct."""

import difflib
import signal
import unicodedata
from collections.abc import Iterable

LONGEST = 2000  # characters of a message


class UserError(Exception):
    """A mistake in the input, in one line: what is wrong, where, and what to do. `launch.py` prints it and exits with 2.

    Args:
        message: line ends become spaces, other control characters are escaped, and the middle of a message beyond
            `LONGEST` characters is left out.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(" ".join(str(message).splitlines())))


class Lost(UserError):
    """Another process of the experiment is lost; `launch.py` exits with 6. The same command on every host resumes the run."""


class Interrupted(Exception):
    """The process was told to end by a signal; the state is saved, and the same command resumes from there.

    Args:
        message: where it stopped.
        number: of the signal; `launch.py` exits with 128 more.
    """

    def __init__(self, message: str, number: int = signal.SIGTERM) -> None:
        super().__init__(message)
        self.number = number


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint "; did you mean 'x' or 'y'?" with the known names closest to `word`, or '' when none is close."""
    close = difflib.get_close_matches(str(word), list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(name) for name in close)}?" if close else ""


def one_line(text: str, longest: int = LONGEST) -> str:
    """The text with its control characters escaped, as \\n; the middle of a longer text is left out."""
    if len(text) > longest:
        text = f"{text[: longest // 2]} ... {text[-(longest // 2 - 5) :]}"
    return "".join(c.encode("unicode_escape").decode() if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)
