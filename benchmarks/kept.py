"""What was measured, line by line in results.jsonl: RESULTS.md shows the newest of each comparison."""

import datetime
import json
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks import harness


class Comparison(NamedTuple):
    """Ours against one peer: a measurement for each process; `forms`: ms/step of every form tried."""

    name: str
    lanes: int
    peer: str
    form: str
    forms: dict[str, float]
    ours: list[harness.Measured]
    theirs: list[harness.Measured]

    @property
    def ratio(self) -> float:
        """Our time / the peer's time: below 1 is faster than the peer."""
        return harness.median(self.ours) / harness.median(self.theirs)


class Conditions(NamedTuple):
    """What a comparison was measured under.

    batch: examples in a batch.
    when: ISO date and time in UTC, of the start.
    load: the machine's load average just before: well above zero, other work disturbed the times.
    machine: processor, cores, memory, in words.
    versions: 'package version' of everything that was timed.
    """

    batch: int
    when: str
    load: float
    machine: str
    versions: list[str]

    @property
    def day(self) -> str:
        """The date alone."""
        return str(datetime.datetime.fromisoformat(self.when).date())


class Kept(NamedTuple):
    """A line."""

    comparison: Comparison
    conditions: Conditions


def add(path: pathlib.Path, kept: Sequence[Kept]) -> None:
    """Appends lines to a file, which is made where it is missing."""
    with path.open("a") as file:
        file.writelines(json.dumps(_line(each)) + "\n" for each in kept)


def newest(path: pathlib.Path, order: Sequence[str]) -> list[Kept]:
    """The last line of each benchmark, number of lanes, peer and device; benchmarks as in `order`, others are left out."""
    found: dict[tuple, Kept] = {}
    for line in map(json.loads, path.read_text().splitlines()):
        if line["name"] in order:
            kept = _read(line)
            one = kept.comparison
            found[order.index(one.name), list(harness.PEER_NAMES).index(one.peer), one.lanes, one.ours[0].device] = kept
    return [found[key] for key in sorted(found)]


def _line(kept: Kept) -> dict[str, Any]:
    sides = {side: [each._asdict() for each in getattr(kept.comparison, side)] for side in ("ours", "theirs")}
    forms = {name: ms if ms < float("inf") else None for name, ms in kept.comparison.forms.items()}
    return kept.comparison._asdict() | sides | {"forms": forms} | kept.conditions._asdict()


def _read(line: dict[str, Any]) -> Kept:
    sides = {side: [harness.Measured(**each) for each in line[side]] for side in ("ours", "theirs")}
    forms = {name: float("inf") if ms is None else ms for name, ms in line["forms"].items()}
    values = line | sides | {"forms": forms}
    return Kept(Comparison(*(values[f] for f in Comparison._fields)), Conditions(*(values[f] for f in Conditions._fields)))
