"""metrics.jsonl: a line for each lane and epoch, and warnings; tensorboard/ has the same curves."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imbal_jax.artifacts import curve_lines, json_files, tensorboard
from imbal_jax.report.style import slug

MOST_SEEDS = 8  # trained together; with more, TensorBoard shows only their mean
MOST_NAMED = 10**6  # seeds in the name of a folder
HEAD = ("stage", "method", "seed", "epoch")


class Curves(NamedTuple):
    """The curves of a run.

    Attributes:
        path: of metrics.jsonl.
        seeds: one per lane.
    """

    path: Path
    seeds: tuple[int, ...]

    def add(
        self,
        stage: str,
        arms: Sequence[str | None],
        epoch: int,
        means: dict[str, np.ndarray],
        each: Sequence[Mapping[str, Any] | None] = (),
        **more: Any,
    ) -> None:
        """Append one line per lane; the lanes are the seeds of the first arm, of the second, ...: `means` are [L].

        `more` goes into all lines, `each` [L] into those of its lanes; a lane of which it is None has no line.
        """
        rows = []
        for lane, (arm, seed) in enumerate(itertools.product(arms, self.seeds)):
            if (of_lane := each[lane] if each else {}) is None:
                continue
            head = {"stage": stage, "method": arm, "seed": seed, "epoch": epoch}
            rows.append({**head, **{name: float(value[lane]) for name, value in means.items()}, **more, **of_lane})
        json_files.append(self.path, rows)
        for arm in arms:
            for name, points in runs([row for row in rows if row["method"] == arm], self.seeds).items():
                tensorboard.append(self._board(stage, arm) / name, points)

    def warn(self, of: str, seed: int, epoch: int, message: str, method: str | None = None) -> None:
        """Append a warning about a stage, or about one method's part in it."""
        head = {"stage": "warning", "of": of, **({"method": method} if method else {})}
        json_files.append(self.path, [{**head, "seed": seed, "epoch": epoch, "message": message}])

    def resume(self, stage: str, arms: Sequence[str | None], epochs: int) -> None:
        """Remove the lines of a stage after the epochs in its checkpoint; they will be written again."""

        def kept(row: dict) -> bool:
            mine = row.get("of", row["stage"]) == stage and row.get("method") in arms and row["seed"] in self.seeds
            return not mine or row["epoch"] <= epochs

        curve_lines.read(self.path)  # all of them are lines of a training
        json_files.filter_rows(self.path, kept)
        rows = json_files.read(self.path) if epochs else []  # else none of these seeds are left
        for arm in arms:
            self._rewrite_board(stage, arm, [row for row in rows if row["stage"] == stage and row.get("method") == arm])

    def by_lane(self, stage: str, arms: Sequence[str | None], epochs: float = math.inf) -> list[list[dict]]:
        """The lines of a stage for each lane, [L], the lanes being those of `add`.

        With `epochs` only the newest ones; then only the end of the file is read.
        """
        lines: dict[Any, list[dict]] = {lane: [] for lane in itertools.product(arms, self.seeds)}
        newest = None
        for row in curve_lines.newest_first(self.path):
            if row["stage"] == stage and (lane := (row.get("method"), row["seed"])) in lines:
                newest = row["epoch"] if newest is None else newest
                if row["epoch"] <= newest - epochs:
                    break
                lines[lane].append(row)
        return [rows[::-1] for rows in lines.values()]

    def _board(self, stage: str, arm: str | None) -> Path:
        return self.path.parent / "tensorboard" / (f"{stage}-{slug(arm)}" if arm else stage)

    def _rewrite_board(self, stage: str, arm: str | None, rows: Sequence[Mapping[str, Any]]) -> None:
        folder = self._board(stage, arm)
        for path in folder.glob("seed*-*"):
            if set(seeds_of(path.name)) & set(self.seeds):  # of an earlier start, perhaps with other seeds beside them
                tensorboard.replace(path)
        for name, points in runs([row for row in rows if row["seed"] in self.seeds], self.seeds).items():
            tensorboard.replace(folder / name, points)


def runs(rows: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> dict[str, list[tensorboard.Point]]:
    """The TensorBoard runs of one stage of an arm.

    Args:
        rows: lines of metrics.jsonl of these seeds; of two for one seed and epoch the later one counts.
        seeds: that are trained together.

    Returns:
        {run: [(epoch, {name: value})]}, epochs rising: 'seeds-0-3' are means over seeds with a finite value; up to
        8 seeds also have a run each ('seed-2'), a single seed only that.
    """
    by_epoch: dict[int, dict[int, dict[str, float]]] = {}
    for row in sorted(rows, key=lambda row: row["epoch"]):
        by_epoch.setdefault(row["epoch"], {})[row["seed"]] = _figures(row)
    points: dict[str, list[tensorboard.Point]] = {}
    if len(seeds) > 1:
        points[f"seeds-{ranges(seeds)}"] = [(epoch, _mean(lanes.values())) for epoch, lanes in by_epoch.items()]
    if len(seeds) <= MOST_SEEDS:
        for seed in seeds:
            points[f"seed-{seed}"] = [(epoch, lanes[seed]) for epoch, lanes in by_epoch.items() if seed in lanes]
    return points


def ranges(numbers: Iterable[int]) -> str:
    """0, 1, 2, 5 -> '0-2,5'."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def seeds_of(name: str) -> list[int]:
    """The inverse of the names that `ranges` is part of: 'seeds-0-2,5' -> [0, 1, 2, 5]; [] for another name.

    Nor is a name of more than a million seeds one: whoever chose it would fill the memory.
    """
    seeds: list[int] = []
    for part in name.partition("-")[2].split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal() and max(len(first), len(last)) <= 10:
            if int(last or first) - int(first) + len(seeds) >= MOST_NAMED:
                return []
            seeds += range(int(first), int(last or first) + 1)
    return seeds


def _figures(row: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a line, except the fields that identify it."""
    numbers = {name: value for name, value in row.items() if name not in HEAD and isinstance(value, float)}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def _mean(lanes: Iterable[Mapping[str, float]]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for lane in lanes:
        for name, value in lane.items():
            values.setdefault(name, []).append(value)
    return {name: sum(numbers) / len(numbers) for name, numbers in values.items()}
