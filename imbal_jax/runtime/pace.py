"""How long all trainings of a run will take from here, and how long compiling will: from what was measured so far.

Work is counted in lane-steps (optimiser steps times lanes), by kind of training ('gan', 'classifier'). Nothing is asked of a
device: the training loop reports the times that it takes anyway.
"""

import contextlib
from collections.abc import Hashable, Mapping
from pathlib import Path

from imbal_jax.artifacts import json_files
from imbal_jax.errors import UserError
from imbal_jax.runtime.progress import clock

FILE = "compile_seconds.json"  # in the folder of the compilation cache
NEGLIGIBLE = 0.5  # seconds of compiling that are not worth a word
READ = 0.5  # a program that took less than this share of what compiling took before was read from the cache


class Pace:
    """The rates and compilation times of one process.

    Args:
        folder: of the compilation cache, where the times of compiling are kept for the next start; None: they are not.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._file = None if folder is None else folder / FILE
        self._coming: dict[str, float] = {}
        self._may_end = False
        self._measured: dict[str, tuple[float, float]] = {}  # lane-steps, seconds
        self._own = (0.0, 0.0)  # the same of the training that is under way
        self._compiled: dict[str, float] = {}
        self._programs: set[Hashable] = set()

    def expect(self, coming: Mapping[str, float], may_end: bool = False) -> None:
        """Set which trainings are still to begin.

        Args:
            coming: lane-steps by kind.
            may_end: whether a stop rule may end the run before all of it.
        """
        self._coming, self._may_end = dict(coming), may_end

    def begin(self, kind: str, work: float) -> None:
        """Take a training that begins, of so many lane-steps in all, off what is to come."""
        self._coming[kind] = max(0.0, self._coming.get(kind, 0.0) - work)
        self._own = (0.0, 0.0)

    def measure(self, kind: str, work: float, seconds: float) -> None:
        """Count lane-steps that were done, and the seconds they took without compiling."""
        done, took = self._measured.get(kind, (0.0, 0.0))
        self._measured[kind] = done + work, took + seconds
        self._own = self._own[0] + work, self._own[1] + seconds

    def left(self, kind: str, work: float) -> str:
        """'12 min 30 s overall': until the run's end, with this training's `work` that is left; '' where it is the last.

        'at least' where trainings of a kind that has no rate yet are to come, 'at most' where a stop rule may end the run.
        """
        if not any(self._coming.values()):
            return ""
        rates = {name: took / done for name, (done, took) in self._measured.items() if done}
        if kind not in rates:
            return ""
        own = self._own[1] / self._own[0] if self._own[0] else rates[kind]
        seconds = work * own + sum(amount * rates[name] for name, amount in self._coming.items() if name in rates)
        unknown = any(amount for name, amount in self._coming.items() if name not in rates)
        bound = "" if unknown and self._may_end else "at least " if unknown else "at most " if self._may_end else ""
        return f"{bound}{clock(seconds)} overall"

    def compiling(self, program: Hashable, name: str) -> str:
        """'compiling (about 40 s, once)' before the first call of a program; '' where it has been called before.

        Args:
            program: tells programs apart.
            name: of the kind of program; one of the same name tells how long this one will take.
        """
        if program in self._programs:
            return ""
        if name in self._compiled:
            return f"compiling (about {_rounded(self._compiled[name])}, once)"
        kept = self._kept().get(name)  # of another start: what it compiled may lie in the cache
        return f"compiling (at most about {_rounded(kept)}, once)" if kept else "compiling (once)"

    def compiled(self, program: Hashable, name: str, seconds: float) -> bool:
        """Keep how long the first call of a program spent on compiling; whether it had been called before."""
        if program in self._programs:
            return True
        self._programs.add(program)
        if seconds < NEGLIGIBLE:
            return False
        self._compiled[name] = seconds
        kept = self._kept()
        if self._file is not None and seconds >= READ * kept.get(name, 0.0):
            with contextlib.suppress(OSError, UserError):  # a folder that cannot be written to does no harm
                json_files.write_json(self._file, {**kept, name: round(seconds, 1)})
        return False

    def _kept(self) -> dict[str, float]:
        if self._file is None:
            return {}
        try:
            found = json_files.read_object(self._file)
        except (OSError, UserError):  # damaged: as if there were none
            return {}
        return {name: float(value) for name, value in found.items() if type(value) in (int, float) and 0 < value < 1e6}


def _rounded(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 60 else clock(seconds)
