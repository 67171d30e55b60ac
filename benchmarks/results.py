"""What a comparison says: as a JSON line, as a sentence, as the table RESULTS.md."""

import argparse
import datetime
import importlib.metadata
import os
import pathlib
import platform
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks import harness

# The ratio may be at most this.
REQUIRED = {
    "sweep_scaling": 1.05,
    "sweep_vs_keras": 1.0,
    "mixup_step": 1.05,
    "affine_epoch_overhead": 1.1,
    "method_step-mixup": 1.05,
    "method_step-affine": 1.15,
}


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
            "unit": self.unit(),
            **self.of_required(),
        }

    def unit(self) -> str:
        """What the times are."""
        if self.name == "sweep_vs_keras":
            return f"ms per seed of a whole process of {self.lanes} seeds"
        return "ms/step" if self.lanes == 1 else f"ms/step per lane, {self.lanes} lanes"

    def of_required(self) -> dict[str, Any]:
        """What is said where a ratio is required only: it, the first step's seconds, memory, and the job's own notes."""
        if self.name not in REQUIRED:
            return {}
        last = self.ours[-1]
        return {"required": REQUIRED[self.name], "first_s": last.first, "memory_mib": last.memory, **last.notes}

    def sentence(self) -> str:
        """The same for a reader."""
        line = self.line()
        sentence = (
            f"{self.name}: ours {line['ours']:.1f}, {line['peer_name']} ({self.form}) {line['peer']:.1f} {line['unit']}, "
            f"ratio {self.ratio:.2f}"
        )
        if not (more := self.of_required()):
            return sentence
        required = more.pop("required")
        told = ", ".join(f"{name} {value}" for name, value in more.items())
        return f"{sentence} (required: {required:.2f}, {'met' if self.ratio <= required else 'missed'}); {told}"


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
    sizes = f"{harness.BATCH} ({', '.join(f'{name}: {batch}' for name, batch in harness.SMALLER.items())})"
    tried = {(c.name, c.peer): ", ".join(f"{form} {ms:.1f}" for form, ms in c.forms.items()) for c in found if c.forms}
    devices = sorted({m.device for c in found for m in (*c.ours, *c.theirs)})
    return "\n".join([
        "# Benchmarks",
        "",
        "Milliseconds per step (or call, or process) and lane: the median over processes (in brackets: lowest to highest).",
        "The ratio is ours / peer: below 1 we are faster. A lane is one seed's run; a peer trains one seed at a time.",
        "Made by `python -m benchmarks`; do not edit.",
        "",
        "| benchmark | lanes | ours | peer | peer's time | ratio | memory, ours and peer's, MiB |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
        "Memory is the most that a process held, its libraries included.",
        f"Batch {args.batch or sizes}; {args.repeats} processes a side take turns, each the median of {harness.BLOCKS} blocks.",
        f"Our own step without a method takes turns with it in one process, {harness.PAIR_BLOCKS} blocks each.",
        "Where a peer's step can be written in several ways, each is tried once, and the fastest is compared (ms/step; inf: it "
        "did not run):",
        "",
        *(f"- {name}, {harness.PEER_NAMES[peer]}: {text}" for (name, peer), text in tried.items()),
        "",
        *_scaling([c for c in found if c.name == "sweep_scaling"]),
        *_whole([c for c in found if c.name == "sweep_vs_keras"]),
        f"Machine: {cpu_model()}, {os.cpu_count()} cores, {memory_gib():.0f} GiB, {platform.system()}; "
        f"device: {', '.join(devices)}.",
        f"Versions: Python {platform.python_version()}, {', '.join(versions(args.peers))}.",
        f"Date: {start:%Y-%m-%d %H:%M} UTC; load average just before: {load:.2f}.",
        "",
    ])  # fmt: skip


def _scaling(found: Sequence[Comparison]) -> list[str]:
    """The section on seeds in one run; one seed's row is the peer's."""
    if not found:
        return []

    def row(lanes: int, ratio: float, measured: Sequence[harness.Measured]) -> str:
        last = measured[-1]
        notes = [
            str("-" if last.notes.get(name) is None else last.notes[name]) for name in ("device_mib", "images_mib", "computed")
        ]
        return f"| {lanes} | {lanes * ratio:.2f} | {ratio:.2f} | {last.first:.1f} | {_memory(measured)} | {' | '.join(notes)} |"

    return [
        "## Many seeds in one run (sweep_scaling)",
        "",
        f"Required on a CPU: at most {REQUIRED['sweep_scaling']:.2f} of single steps. The images are there once for all seeds.",
        "",
        "| seeds | time / time of one seed | the same per seed | first step (compilation), s | memory, MiB "
        "| on the device, MiB | images, MiB | computed as |",
        "|---|---|---|---|---|---|---|---|",
        row(1, 1.0, found[0].theirs),
        *(row(c.lanes, c.ratio, c.ours) for c in found),
        "",
    ]


def _whole(found: Sequence[Comparison]) -> list[str]:
    """The section on whole processes."""
    if not found:
        return []
    sides = {"ours": found[0].ours} | {harness.PEER_NAMES[c.peer]: c.theirs for c in found}
    warm = statistics.median(m.notes["warm_ms"] for m in found[0].ours) / 1e3
    return [
        "## A small sweep, start of the process to its end (sweep_vs_keras)",
        "",
        f"{found[0].lanes} seeds with and without over-sampling, from data to metrics; ours with an empty compilation cache "
        f"(with a filled one: {warm:.1f} s a seed).",
        "",
        *(f"- {name}: {harness.median(m) / 1e3:.1f} s a seed; {_scores(m[-1])}" for name, m in sides.items()),
        "",
    ]


def _scores(measured: harness.Measured) -> str:
    arms = measured.notes["scores"].items()
    return ", ".join(f"{arm}: accuracy {plain:.1%}, balanced {balanced:.1%}" for arm, (plain, balanced) in arms)


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
