"""What an experiment prints at its start: device, data, classes, and warnings about what its seeds cannot decide."""

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
from imbal_jax.report.run import baseline_of, criteria_of
from imbal_jax.stages.context import Chunk
from imbal_jax.stages.evaluation import test_counts

FEW = 20  # test rows of a class below which a warning is printed
ACCELERATORS = {
    "/dev/nvidia0": "jax[cuda12]",
    "/dev/kfd": "jax[rocm]",
    "/dev/accel0": "jax[tpu]",
}  # device file -> the package that jax needs
CLASS = 38  # characters of a class name in the table of classes
MOST_FILES = 20  # unusable files that are listed


def print_data_summary(chunk: Chunk) -> None:
    """Print the device, the source of the data, the rows of each class, and warnings."""
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
    print(f"rows: {shape} {data.train.x.dtype}; {_rows(data.train)} for training, {_rows(data.test)} for testing")
    for line in data.left_out[:MOST_FILES]:
        print(f"left out: {line}")
    if (more := len(data.left_out) - MOST_FILES) > 0:
        print(f"left out: {more} more, see environment.json")
    print("\n".join(_classes(chunk, before, test)))
    few = [f"{name} ({rows})" for name, rows in zip(names, test, strict=True) if rows < FEW]
    if few:
        why = "one row classified differently changes their recall by 5 points or more"
        print(f"warning: fewer than {FEW} test rows of {', '.join(few[:MOST_FILES])}: {why}")
    for line in not_matched(chunk):
        print(f"warning: {line}")
    if warning := verdict_warning(chunk.config, chunk.workdir):
        print(warning)


def _classes(chunk: Chunk, before: np.ndarray, test: list[int]) -> list[str]:
    """A line for each class with its rows: available, in training, in the test set; below, shortened names in full."""
    called, legend = terminal_table.shortened(chunk.task.class_names, CLASS)
    width = max(12, *map(len, called.values()))
    lines = [f"{'class':>{width}} {'available':>9} {'training':>9} {'test':>9}"]
    for label, (name, old, tested) in enumerate(zip(chunk.task.class_names, before, test, strict=True)):
        mark = "  minority" if label in chunk.task.minority else ""
        lines.append(f"{called[name]:>{width}} {old:>9} {chunk.task.counts[label]:>9} {tested:>9}{mark}")
    return lines + legend


def idle_accelerator(platform: str, root: Path = Path("/")) -> str:
    """A line about an accelerator that the machine has and jax does not use; '' where there is none.

    Args:
        platform: of the devices in use, such as 'cpu'.
        root: the folder that contains dev/.
    """
    device_files = [name for name in ACCELERATORS if (root / name[1:]).exists()]
    if platform != "cpu" or not device_files:
        return ""
    advice = f"pip install '{ACCELERATORS[device_files[0]]}', or check its driver"
    return f"jax computes on the CPU although {device_files[0]} is an accelerator: {advice}"


def not_matched(chunk: Chunk) -> list[str]:
    """A line for each class whose held-out share differs from `config.data.validation`."""
    rows, share = chunk.data.train, chunk.config.data.validation
    if not 0 < share < 1 or np.array_equal(rows.groups, rows.ids):
        return []
    names = chunk.task.class_names
    return [
        f"validation: {out} of {of} rows of class {names[label]} are held out ({out / of:.3f}, not {share:g}): its "
        " rows are in too few groups, or in groups with rows of other classes"
        for label, out, of in split.unmatched(rows.y, np.asarray(chunk.validation[0]), share)
    ]


def _rows(rows: Rows) -> str:
    groups = len(np.unique(rows.groups))
    return f"{len(rows.y):,}" + (f" in {groups:,} groups" if groups < len(rows.y) else "")


def verdict_warning(config: Any, workdir: Path) -> str:
    """A warning that the config's seeds are too few for a verdict on any arm, and how many are needed; '' where they suffice.

    The rows in the workdir count as well; from the spread of their differences a number of seeds is estimated.
    """
    heads = [{"method": arm.name, "point": arm.point_text} for arm in arms(config)]
    names, baseline = [arm["method"] for arm in heads], baseline_of(config)
    compared = {arm["method"]: other for arm in heads if (other := stats.opponent(arm, baseline, names))}
    seeds = analyses.seeds_of(config.to_dict())
    if not compared or not seeds:
        return ""
    criteria = criteria_of(config)
    history = analyses.history(analyses.read(workdir), config.to_dict(), [], criteria)
    if history.changed:
        return history.changed
    history = history._replace(joined=seeds.start > 0)
    rows = {(row["method"], row["seed"]): row for row in json_files.read(workdir / "rows.jsonl")}
    pairs = {arm: _pairs(rows, arm, compared[arm], seeds) for arm in compared}
    shares = {arm: interim.share(n, arm, history) for arm, n in pairs.items()}
    if any(stats.possible(pairs[arm], len(compared), shares[arm]) for arm in compared):
        return ""
    best = max(compared, key=shares.__getitem__)
    return stats.too_few(pairs[best], len(compared), best, history) + _by_spread(rows, compared, criteria, history)


def _pairs(rows: Mapping[tuple[str, int], Any], arm: str, other: str, planned: range) -> int:
    """The number of seeds that both arms will have: those of the config, and those of the rows."""
    of_each = ({seed for name, seed in rows if name == of} for of in (arm, other))
    return len(set.intersection(*(seeds | set(planned) for seeds in of_each)))


def _by_spread(
    rows: Mapping[tuple[str, int], Any], compared: Mapping[str, str], criteria: Mapping[str, Any], history: interim.History
) -> str:
    """'; at the spread of the differences ...': the seeds that the easiest and the hardest comparison need, or ''."""
    metric, by_arm = criteria["metric"], {}
    for arm, other in compared.items():
        values = [
            (row[metric], rows[other, seed][metric])
            for (name, seed), row in rows.items()
            if name == arm and (other, seed) in rows and None not in (row.get(metric), rows[other, seed].get(metric))
        ]
        if len(values) > 1:
            gaps = np.subtract(*np.array(values, np.float64).T)
            needed = stats.pairs_needed(gaps, len(compared), criteria["margin"], arm, history)
            by_arm[arm] = needed or stats.MOST_PAIRS + 1, gaps
    if not by_arm:
        return ""
    extremes = dict.fromkeys(pick(by_arm, key=lambda arm: by_arm[arm][0]) for pick in (min, max))
    texts = [
        f"{needed if needed <= stats.MOST_PAIRS else f'more than {stats.MOST_PAIRS}'} seeds for {arm} "
        f"({gaps.mean():+.4f}, sd {gaps.std(ddof=1):.4f})"
        for arm, (needed, gaps) in ((arm, by_arm[arm]) for arm in extremes)
    ]
    return f"; at the spread of the differences in {metric} so far, a power of {stats.POWER:g} takes {' and '.join(texts)}"
