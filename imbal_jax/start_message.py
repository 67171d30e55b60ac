"""What is said before an experiment begins: where the data comes from, how it is split, and what cannot come out of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from imbal_jax.arms import arms
from imbal_jax.artifacts import json_files
from imbal_jax.data import Rows, split
from imbal_jax.evaluate import interim, stats
from imbal_jax.report import analyses, terminal_table
from imbal_jax.report.run import baseline_of
from imbal_jax.stages.context import Chunk
from imbal_jax.stages.evaluation import test_counts

FEW = 20  # test rows of a class
ACCELERATORS = {"/dev/nvidia0": "jax[cuda12]", "/dev/kfd": "jax[rocm]", "/dev/accel0": "jax[tpu]"}  # and what jax needs
CLASS = 38  # characters of a class's name in the table of classes
MOST_FILES = 20  # that are named at the start of those that cannot be used


def print_data_summary(chunk: Chunk) -> None:
    """Say what the experiment runs on, where the data comes from, how it is split, and what the cut left."""
    data, names = chunk.data, chunk.task.class_names
    devices = chunk.common.devices
    print(f"device: {len(devices)} x {devices[0].device_kind}, jax {jax.__version__}, precision {chunk.precision}")
    if warning := idle_accelerator(devices[0].platform):
        print(f"warning: {warning}")
    if data.note:
        print("\n".join(["=" * terminal_table.WIDTH, *terminal_table.wrapped(data.note), "=" * terminal_table.WIDTH]))
    before = np.bincount(data.train.y, minlength=len(names))
    test = test_counts(data)
    print(f"data: {data.name} from {data.source}, digest {data.digest[:12]}")
    shape = "x".join(map(str, data.train.x.shape[1:]))
    print(f"rows: {shape} {data.train.x.dtype}; {_rows(data.train)} to train, {_rows(data.test)} to test")
    for line in data.left_out[:MOST_FILES]:
        print(f"left out: {line}")
    if (more := len(data.left_out) - MOST_FILES) > 0:
        print(f"left out: {more} more, see environment.json")
    print("\n".join(_classes(chunk, before, test)))
    few = [f"{name} ({many})" for name, many in zip(names, test, strict=True) if many < FEW]
    if few:
        why = "one row more or less that is right changes their recall by 5 points or more"
        print(f"warning: fewer than {FEW} test rows of {', '.join(few[:MOST_FILES])}: {why}")
    for line in not_matched(chunk):
        print(f"warning: {line}")
    if warning := verdict_warning(chunk.config, chunk.workdir):
        print(warning)


def _classes(chunk: Chunk, before: np.ndarray, test: list[int]) -> list[str]:
    """A line for each class with its rows: at hand, in training, in the test set; names that are cut in full below."""
    called, legend = terminal_table.shortened(chunk.task.class_names, CLASS)
    width = max(12, *map(len, called.values()))
    lines = [f"{'class':>{width}} {'at hand':>9} {'training':>9} {'test':>9}"]
    for label, (name, old, tested) in enumerate(zip(chunk.task.class_names, before, test, strict=True)):
        mark = "  minority" if label in chunk.task.minority else ""
        lines.append(f"{called[name]:>{width}} {old:>9} {chunk.task.counts[label]:>9} {tested:>9}{mark}")
    return lines + legend


def idle_accelerator(platform: str, root: Path = Path("/")) -> str:
    """One line about an accelerator that the machine has and jax does not use; '' where there is none.

    Args:
        platform: of the devices that are used.
        root: below which the machine's device files lie.
    """
    there = [name for name in ACCELERATORS if (root / name[1:]).exists()]
    if platform != "cpu" or not there:
        return ""
    advice = f"pip install '{ACCELERATORS[there[0]]}', or check its driver"
    return f"{there[0]} is an accelerator, and jax computes on the CPU: {advice}"


def not_matched(chunk: Chunk) -> list[str]:
    """The classes of which another share is held out for validation than was asked for, a line each."""
    rows, share = chunk.data.train, chunk.config.data.validation
    if not 0 < share < 1 or np.array_equal(rows.groups, rows.ids):
        return []
    names = chunk.task.class_names
    return [
        f"validation: {out} of {of} rows of class {names[label]} are held out ({out / of:.3f}; {share:g} asked): its rows lie "
        "in too few groups, or in groups with rows of other classes"
        for label, out, of in split.unmatched(rows.y, np.asarray(chunk.validation[0]), share)
    ]


def _rows(rows: Rows) -> str:
    groups = len(np.unique(rows.groups))
    return f"{len(rows.y):,}" + (f" in {groups:,} groups" if groups < len(rows.y) else "")


def verdict_warning(config: Any, workdir: Path) -> str:
    """One line that says that the seeds asked for allow no verdict on any arm, and how many would; '' where they do.

    The rows that the workdir holds count, and tell how many seeds the spread of their differences asks for.
    """
    every = [{"method": arm.name, "point": arm.point_text} for arm in arms(config)]
    names, baseline = [arm["method"] for arm in every], baseline_of(config)
    compared = {arm["method"]: other for arm in every if (other := stats.opponent(arm, baseline, names))}
    asked = analyses.seeds_of(config.to_dict())
    if not compared or not asked:
        return ""
    fixed = {"metric": config.metric, "baseline": baseline, "margin": float(config.margin)}
    history = analyses.history(analyses.read(workdir), config.to_dict(), [], fixed)
    if history.changed:
        return history.changed
    history = history._replace(joined=asked.start > 0)
    rows = {(row["method"], row["seed"]): row for row in json_files.read(workdir / "rows.jsonl")}
    pairs = {arm: _pairs(rows, arm, compared[arm], asked) for arm in compared}
    shares = {arm: interim.share(n, arm, history) for arm, n in pairs.items()}
    if any(stats.possible(pairs[arm], len(compared), shares[arm]) for arm in compared):
        return ""
    best = max(compared, key=shares.__getitem__)
    return stats.too_few(pairs[best], len(compared), best, history) + _by_spread(rows, compared, fixed, history)


def _pairs(rows: Mapping[tuple[str, int], Any], arm: str, other: str, asked: range) -> int:
    """The seeds that both arms will have: those asked for, and those that are there."""
    there = ({seed for name, seed in rows if name == of} for of in (arm, other))
    return len(set.intersection(*(seeds | set(asked) for seeds in there)))


def _by_spread(
    rows: Mapping[tuple[str, int], Any], compared: Mapping[str, str], fixed: Mapping[str, Any], history: interim.History
) -> str:
    """'; at the spread seen so far ...': the seeds that the easiest and the hardest comparison need; '' without two pairs."""
    metric, found = fixed["metric"], {}
    for arm, other in compared.items():
        values = [
            (row[metric], rows[other, seed][metric])
            for (name, seed), row in rows.items()
            if name == arm and (other, seed) in rows and None not in (row.get(metric), rows[other, seed].get(metric))
        ]
        if len(values) > 1:
            gaps = np.subtract(*np.array(values, np.float64).T)
            needed = stats.pairs_needed(gaps, len(compared), fixed["margin"], arm, history)
            found[arm] = needed or stats.MOST_PAIRS + 1, gaps
    if not found:
        return ""
    ends = dict.fromkeys(pick(found, key=lambda arm: found[arm][0]) for pick in (min, max))
    told = [
        f"{needed if needed <= stats.MOST_PAIRS else f'more than {stats.MOST_PAIRS}'} seeds for {arm} "
        f"({gaps.mean():+.4f}, sd {gaps.std(ddof=1):.4f})"
        for arm, (needed, gaps) in ((arm, found[arm]) for arm in ends)
    ]
    return f"; at the spread of the differences in {metric} so far, a power of {stats.POWER:g} takes {' and '.join(told)}"
