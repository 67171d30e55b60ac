"""Errors that the user can mend."""

import difflib
import signal
from collections.abc import Iterable


class UserError(Exception):
    """One clear line: what was wrong, where, and what to do. `launch.py` prints it and exits with 2."""


class Lost(UserError):
    """Another process of the experiment is lost; `launch.py` exits with 6: the same command on every host goes on."""


class Interrupted(Exception):
    """The process was asked to end; what was under way is saved, and the same command goes on from there.

    Args:
        message: where it stopped.
        number: of the signal that asked; `launch.py` exits with 128 more.
    """

    def __init__(self, message: str, number: int = signal.SIGTERM) -> None:
        super().__init__(message)
        self.number = number


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint "; did you mean 'x' or 'y'?" with the known names closest to `word`, or '' when none is close."""
    close = difflib.get_close_matches(str(word), list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(name) for name in close)}?" if close else ""
