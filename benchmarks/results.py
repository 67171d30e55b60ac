"""What a comparison says: as a JSON line, as a sentence, as the table RESULTS.md."""

import argparse
import datetime
import importlib.metadata
import os
import pathlib
import platform
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

    def line(self) -> dict[str, Any]:
        """The JSON object that the command prints."""
        return {
            "name": self.name,
            "ours": round(harness.median(self.ours), 3),
            "peer": round(harness.median(self.theirs), 3),
            "peer_name": harness.PEER_NAMES[self.peer],
            "ratio": round(self.ratio, 4),
            "unit": "ms/step" if self.lanes == 1 else f"ms/step per lane, {self.lanes} lanes",
        }

    def sentence(self) -> str:
        """The same for a reader."""
        line = self.line()
        return (
            f"{self.name}, {self.lanes} lane{'s' * (self.lanes > 1)}: ours {line['ours']:.1f}, "
            f"{line['peer_name']} ({self.form}) {line['peer']:.1f} ms/step per lane, ratio {self.ratio:.2f}"
        )


def table(found: Sequence[Comparison], args: argparse.Namespace, start: datetime.datetime, load: float) -> str:
    """The text of RESULTS.md.

    Args:
        found: the comparisons, in the order of the rows.
        args: the command line (`batch`, `repeats`, `peers`).
        start: when the first process started, in UTC.
        load: the machine's load average just before: well above zero, other work disturbed the times.
    """
    rows = [
        f"| {c.name} | {c.lanes} | {_spread(c.ours)} | {harness.PEER_NAMES[c.peer]} ({c.form}) | {_spread(c.theirs)} "
        f"| **{_ratio(c.ratio)}** | {_memory(c.ours)}, {_memory(c.theirs)} |"
        for c in found
    ]
    tried = {(c.name, c.peer): ", ".join(f"{form} {ms:.1f}" for form, ms in c.forms.items()) for c in found}
    devices = sorted({m.device for c in found for m in (*c.ours, *c.theirs)})
    return "\n".join([
        "# Benchmarks",
        "",
        "Milliseconds per step (or call) and lane: the median over processes (in brackets: lowest to highest).",
        "The ratio is ours / peer: below 1 we are faster. A lane is one seed's run; a peer trains one seed at a time.",
        "Made by `python -m benchmarks`; do not edit.",
        "",
        "| benchmark | lanes | ours | peer | peer's time | ratio | memory, ours and peer's, MiB |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
        "Memory is the most that a process held, its libraries included.",
        f"Batch {args.batch}; {args.repeats} processes a side take turns, each the median of {harness.BLOCKS} blocks.",
        "Every form of a peer's step is tried once, and the fastest is compared (ms/step; inf: it did not run):",
        "",
        *(f"- {name}, {harness.PEER_NAMES[peer]}: {text}" for (name, peer), text in tried.items()),
        "",
        f"Machine: {cpu_model()}, {os.cpu_count()} cores, {memory_gib():.0f} GiB, {platform.system()}; "
        f"device: {', '.join(devices)}.",
        f"Versions: Python {platform.python_version()}, {', '.join(versions(args.peers))}.",
        f"Date: {start:%Y-%m-%d %H:%M} UTC; load average just before: {load:.2f}.",
        "",
    ])  # fmt: skip


def versions(peers: Sequence[str]) -> list[str]:
    """'package version' of everything that was timed."""
    packages = dict.fromkeys(package for side in ("ours", *peers) for package in harness.PACKAGES[side])
    return [f"{package} {importlib.metadata.version(package)}" for package in packages]


def cpu_model() -> str:
    """The processor's name, as far as the system tells."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def memory_gib() -> float:
    """The machine's memory in GiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _ratio(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 0.1 else f"1/{1 / ratio:.0f}"


def _memory(measured: Sequence[harness.Measured]) -> str:
    return f"{max(m.memory for m in measured):.0f}"


def _spread(measured: Sequence[harness.Measured]) -> str:
    times = sorted(m.ms for m in measured)
    return f"{harness.median(measured):.1f} ({times[0]:.1f} to {times[-1]:.1f})"
