"""Estimates of the time that the trainings of a run still take, and of compilation times, from measurements.

Work is counted in lane-steps (optimiser steps times lanes), by kind of training ('gan', 'classifier'). The training loop
reports the times, so no device is queried.
"""

import contextlib
from collections.abc import Hashable, Mapping
from pathlib import Path

from imbal_jax.artifacts import json_files
from imbal_jax.errors import UserError
from imbal_jax.runtime.progress import clock

FILE = "compile_seconds.json"  # in the folder of the compilation cache
NEGLIGIBLE = 0.5  # seconds of compiling that are not reported
READ = 0.5  # a program with less than this share of the earlier compilation time was read from the cache


class Pace:
    """The rates and compilation times of one process.

    Args:
        folder: of the compilation cache, where compilation times are kept for the next start; None: they are not kept.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._file = None if folder is None else folder / FILE
        self._coming: dict[str, float] = {}
        self._may_end = False
        self._measured: dict[str, tuple[float, float]] = {}  # lane-steps, seconds
        self._own = (0.0, 0.0)  # the same for the current training
        self._compiled: dict[str, float] = {}
        self._programs: set[Hashable] = set()

    def expect(self, coming: Mapping[str, float], may_end: bool = False) -> None:
        """Set the trainings that have not begun.

        Args:
            coming: lane-steps by kind.
            may_end: whether a stop rule may end the run earlier.
        """
        self._coming, self._may_end = dict(coming), may_end

    def begin(self, kind: str, work: float) -> None:
        """Subtract a training that begins, with its total lane-steps, from the trainings that have not begun."""
        self._coming[kind] = max(0.0, self._coming.get(kind, 0.0) - work)
        self._own = (0.0, 0.0)

    def measure(self, kind: str, work: float, seconds: float) -> None:
        """Add finished lane-steps and their seconds, compilation excluded."""
        done, took = self._measured.get(kind, (0.0, 0.0))
        self._measured[kind] = done + work, took + seconds
        self._own = self._own[0] + work, self._own[1] + seconds

    def left(self, kind: str, work: float) -> str:
        """'12 min 30 s overall': the time until the run's end, with `work` lane-steps left here; '' in the last training.

        'at least' if trainings of a kind without a measured rate follow, 'at most' if a stop rule may end the run earlier.
        """
        if not any(self._coming.values()):
            return ""
        rates = {name: took / done for name, (done, took) in self._measured.items() if done}
        if kind not in rates:
            return ""
        own_rate = self._own[1] / self._own[0] if self._own[0] else rates[kind]
        seconds = work * own_rate + sum(amount * rates[name] for name, amount in self._coming.items() if name in rates)
        without_rate = any(amount for name, amount in self._coming.items() if name not in rates)
        bound = "" if without_rate and self._may_end else "at least " if without_rate else "at most " if self._may_end else ""
        return f"{bound}{clock(seconds)} overall"

    def compiling(self, program: Hashable, name: str) -> str:
        """'compiling (about 40 s, once)' before the first call of a program; '' before later calls.

        Args:
            program: identifies the program.
            name: of the kind of program; the compilation time of an earlier one with this name is the estimate.
        """
        if program in self._programs:
            return ""
        if name in self._compiled:
            return f"compiling (about {_rounded(self._compiled[name])}, once)"
        seconds = self._kept().get(name)  # of an earlier start: the program may be in the cache
        return f"compiling (at most about {_rounded(seconds)}, once)" if seconds else "compiling (once)"

    def compiled(self, program: Hashable, name: str, seconds: float) -> bool:
        """Record the compilation time of a program's first call; returns whether the program had been called before."""
        if program in self._programs:
            return True
        self._programs.add(program)
        if seconds < NEGLIGIBLE:
            return False
        self._compiled[name] = seconds
        seconds_by_name = self._kept()
        if self._file is not None and seconds >= READ * seconds_by_name.get(name, 0.0):
            with contextlib.suppress(OSError, UserError):  # an unwritable folder is ignored
                json_files.write_json(self._file, {**seconds_by_name, name: round(seconds, 1)})
        return False

    def _kept(self) -> dict[str, float]:
        if self._file is None:
            return {}
        try:
            content = json_files.read_object(self._file)
        except (OSError, UserError):  # a damaged file counts as missing
            return {}
        return {name: float(value) for name, value in content.items() if type(value) in (int, float) and 0 < value < 1e6}


def _rounded(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 60 else clock(seconds)
