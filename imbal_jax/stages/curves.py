"""metrics.jsonl: a line for each lane and epoch, and the warnings."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imbal_jax import records


class Curves(NamedTuple):
    """The curves of a run.

    Attributes:
        path: of metrics.jsonl.
        seeds: one per lane.
    """

    path: Path
    seeds: tuple[int, ...]

    def add(self, stage: str, arms: Sequence[str | None], epoch: int, means: dict[str, np.ndarray], **more: Any) -> None:
        """Append one line per lane; the lanes are the seeds of the first arm, of the second, ...: `means` are [L]."""
        rows = []
        for lane, (arm, seed) in enumerate(itertools.product(arms, self.seeds)):
            head = {"stage": stage, "method": arm, "seed": seed, "epoch": epoch}
            rows.append({**head, **{name: float(value[lane]) for name, value in means.items()}, **more})
        records.append(self.path, rows)

    def warn(self, of: str, seed: int, epoch: int, message: str) -> None:
        """Append a warning about a stage."""
        records.append(self.path, [{"stage": "warning", "of": of, "seed": seed, "epoch": epoch, "message": message}])

    def resume(self, stage: str, arms: Sequence[str | None], epochs: int) -> None:
        """Forget the lines of a stage after the epochs that its checkpoint has seen: they will be written again."""

        def kept(row: dict) -> bool:
            mine = row.get("of", row["stage"]) == stage and row.get("method") in arms and row["seed"] in self.seeds
            return not mine or row["epoch"] <= epochs

        if self.path.exists():
            records.keep(self.path, kept)

    def of(self, stage: str, method: str | None = None, seed: int | None = None) -> list[dict]:
        """The lines of a stage, of one seed or of all."""
        rows = records.read(self.path)
        rows = [row for row in rows if row["stage"] == stage and row.get("method") == method]
        return rows if seed is None else [row for row in rows if row["seed"] == seed]

    def by_seed(self, stage: str, method: str | None = None) -> dict[int, list[dict]]:
        """The lines of a stage for each seed; the file is read once."""
        found: dict[int, list[dict]] = {seed: [] for seed in self.seeds}
        for row in self.of(stage, method):
            if row["seed"] in found:
                found[row["seed"]].append(row)
        return found
