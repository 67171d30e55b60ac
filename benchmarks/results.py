"""What a comparison says: as a JSON line, as a sentence, as the table RESULTS.md."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks import adapters_cold, harness
from benchmarks.kept import Comparison, Conditions, Kept

# The ratio may be at most this.
REQUIRED = {
    "sweep_scaling": 1.05,
    "sweep_vs_keras": 1.0,
    "mixup_step": 1.05,
    "affine_epoch_overhead": 1.1,
    "method_step-mixup": 1.05,
    "method_step-affine": 1.15,
    **dict.fromkeys((f"adapters_cold-{case}" for case in (*adapters_cold.SAMPLERS, "grid")), 1.2),
    "batch_statistics-efficientnet": 0.6,
    "batch_statistics-resnet32": 0.6,
}


def line(comparison: Comparison) -> dict[str, Any]:
    """The JSON object that the command prints."""
    return {
        "name": comparison.name,
        "ours": round(harness.median(comparison.ours), 3),
        "peer": round(harness.median(comparison.theirs), 3),
        "peer_name": harness.PEER_NAMES[comparison.peer],
        "ratio": round(comparison.ratio, 4),
        "unit": unit(comparison),
        **of_required(comparison),
    }


def unit(comparison: Comparison) -> str:
    """What the times are."""
    if comparison.name == "sweep_vs_keras":
        return f"ms per seed of a whole process of {comparison.lanes} seeds"
    if comparison.name.startswith("adapters_cold"):
        return "ms per process"
    return "ms/step" if comparison.lanes == 1 else f"ms/step per lane, {comparison.lanes} lanes"


def of_required(comparison: Comparison) -> dict[str, Any]:
    """What is said where a ratio is required only: it, the first step's seconds, memory, and the job's own notes."""
    if comparison.name not in REQUIRED:
        return {}
    last = comparison.ours[-1]
    return {"required": REQUIRED[comparison.name], "first_s": last.first, "memory_mib": last.memory, **last.notes}


def sentence(comparison: Comparison) -> str:
    """The same for a reader."""
    told = line(comparison)
    text = (
        f"{told['name']}: ours {told['ours']:.1f}, {told['peer_name']} ({comparison.form}) {told['peer']:.1f} {told['unit']}, "
        f"ratio {comparison.ratio:.2f}"
    )
    if not (more := of_required(comparison)):
        return text
    required = more.pop("required")
    notes = ", ".join(f"{name} {value}" for name, value in more.items())
    return f"{text} (required: {required:.2f}, {'met' if comparison.ratio <= required else 'missed'}); {notes}"


def table(kept: Sequence[Kept]) -> str:
    """The text of RESULTS.md: the comparisons, in the order of the rows, and what each was measured under."""
    found = [each.comparison for each in kept]
    days: dict[tuple, list[Kept]] = {}
    for each in kept:
        days.setdefault(_day(each), []).append(each)
    numbers = {day: number for number, day in enumerate(sorted(days), start=1)}
    tried = {(c.name, c.peer): ", ".join(f"{form} {ms:.1f}" for form, ms in c.forms.items()) for c in found if c.forms}
    return "\n".join([
        "# Benchmarks",
        "",
        "Milliseconds per step (or call, or process) and lane: the median over processes (in brackets: lowest to highest).",
        "The ratio is ours / peer: below 1 we are faster. A lane is one seed's run; a peer trains one seed at a time.",
        "Made from results.jsonl, the newest of each, by `python -m benchmarks`; do not edit.",
        "",
        "| benchmark | lanes | ours | peer | peer's time | ratio | memory, ours and peer's, MiB | measured |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(each.comparison, numbers[_day(each)]) for each in kept),
        "",
        "Memory is the most that a process held, its libraries included.",
        f"Processes take turns, each the median of {harness.BLOCKS} blocks; our own step without a method takes turns in one "
        f"process with the one that has it, {harness.PAIR_BLOCKS} blocks each.",
        "Where a peer's step can be written in several ways, each is tried once, and the fastest is compared (ms/step; inf: it "
        "did not run):",
        "",
        *(f"- {name}, {harness.PEER_NAMES[peer]}: {text}" for (name, peer), text in tried.items()),
        "",
        *_scaling([c for c in found if c.name == "sweep_scaling"]),
        *_whole([c for c in found if c.name == "sweep_vs_keras"]),
        "## Measured",
        "",
        *(f"{number}. {_told(day, days[day])}" for day, number in numbers.items()),
        "",
    ])  # fmt: skip


def _row(c: Comparison, number: int) -> str:
    """A line of the table; `number` is that of what it was measured under."""
    return (
        f"| {c.name} | {c.lanes} | {_spread(c.ours)} | {harness.PEER_NAMES[c.peer]} ({c.form}) | {_spread(c.theirs)} "
        f"| **{_ratio(c.ratio)}** | {_memory(c.ours)}, {_memory(c.theirs)} | {number} |"
    )


def _day(kept: Kept) -> tuple:
    """Comparisons with the same one are told of together."""
    conditions, ours = kept.conditions, kept.comparison.ours
    return conditions.day, conditions.machine, ours[0].device, len(ours), conditions.batch


def _told(day: tuple, kept: Sequence[Kept]) -> str:
    date, machine, device, repeats, batch = day
    versions = dict.fromkeys(version for each in kept for version in each.conditions.versions)
    return (
        f"{date}: {machine}; device: {device}; batch {batch}; {repeats} process{'es' if repeats > 1 else ''} a side; "
        f"load average before it at most {max(each.conditions.load for each in kept):.2f}; {', '.join(versions)}."
    )


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


def conditions(peer: str, batch: int, when: datetime.datetime, load: float) -> Conditions:
    """What a comparison with a peer is measured under here and now."""
    machine = f"{cpu_model()}, {os.cpu_count()} cores, {memory_gib():.0f} GiB, {platform.system()}"
    return Conditions(batch, when.isoformat(timespec="minutes"), round(load, 2), machine, versions(peer))


def versions(peer: str) -> list[str]:
    """'package version' of what is timed against a peer."""
    packages = dict.fromkeys(package for side in ("ours", peer) for package in harness.PACKAGES[side])
    python = f"Python {platform.python_version()}"
    return [python, *(f"{package} {importlib.metadata.version(package)}" for package in packages)]


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
