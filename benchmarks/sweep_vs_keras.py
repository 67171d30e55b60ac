"""Several seeds with and without over-sampling, from data to metrics, whole processes: ours against Keras's and PyTorch's.

Ours is launch.py with an empty compilation cache; the note 'warm' is the same with a filled one. The peers are the loop
over seeds that a user would write (benchmarks/peers/*_sweep.py); they read an .npz that is made beforehand, not timed.
"""

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import harness

OVER = 5000  # rows of each class after over-sampling, of the published set: it shrinks with the images, as the cut does
PER_CLASS = 1000  # images of each digit, 6, 8 and 9 cut as published


def main(argv: Sequence[str] | None = None) -> None:
    """The worker: milliseconds of the whole process, per seed."""
    harness.answer(measure(harness.read_job(argv)))


def measure(job: harness.Job, per_class: int = PER_CLASS) -> harness.Measured:
    """Runs one side; `job.lanes` is the number of seeds, `job.steps` that of epochs.

    Raises:
        BenchmarkError: no data at hand, or the process failed.
    """
    if lacks := lacking_data():
        raise harness.BenchmarkError(lacks)
    with tempfile.TemporaryDirectory() as name:
        return (_ours if job.side == "ours" else _peer)(job, per_class, Path(name))


def lacking_data() -> str | None:
    """Why it cannot run, in one line, or None."""
    return None if os.environ.get("IMBAL_DATA_DIR") else "sweep_vs_keras is left out: it needs MNIST (set IMBAL_DATA_DIR)"


def _ours(job: harness.Job, per_class: int, folder: Path) -> harness.Measured:
    command = [
        sys.executable, "launch.py", "--config=configs/mnist_cgan.py", f"--compilation_cache={folder / 'cache'}",
        f"--config.seeds={job.lanes}", "--config.baselines=('none',)", f"--config.method=over(to={OVER})",
        f"--config.data.per_class={per_class}", f"--config.classifier.epochs={job.steps}",
        f"--config.classifier.batch={job.batch}", "--config.quality.samples=0",
    ]  # fmt: skip
    cold = _timed([*command, f"--workdir={folder / 'cold'}"], job)[0]
    memory = harness.peak_mib(resource.RUSAGE_CHILDREN)
    warm = _timed([*command, f"--workdir={folder / 'warm'}"], job)[0]
    rows = [json.loads(line) for line in (folder / "cold" / "rows.jsonl").read_text().splitlines()]
    scores = {
        arm: [
            float(np.mean([row[metric] for row in rows if row["method"] == spec]))
            for metric in ("accuracy", "balanced_accuracy")
        ]
        for arm, spec in (("none", "none"), ("over", f"over(to={OVER})"))
    }
    device = json.loads((folder / "cold" / "environment.json").read_text())["device_kind"]
    return harness.Measured(
        1e3 * cold / job.lanes, device, memory, 0.0, {"warm_ms": round(1e3 * warm / job.lanes), "scores": scores}
    )


def _peer(job: harness.Job, per_class: int, folder: Path) -> harness.Measured:
    path = folder / "data.npz"
    _save(path, per_class)
    flags = [f"--data={path}", f"--seeds={job.lanes}", f"--epochs={job.steps}", f"--batch={job.batch}", f"--form={job.form}"]
    seconds, last = _timed([sys.executable, "-m", f"benchmarks.peers.{job.side}_sweep", *flags], job)
    said = json.loads(last)
    memory = harness.peak_mib(resource.RUSAGE_CHILDREN)
    return harness.Measured(1e3 * seconds / job.lanes, said["device"], memory, 0.0, {"scores": said["scores"]})


def _timed(command: Sequence[str], job: harness.Job) -> tuple[float, str]:
    """Seconds from the start of the process to its exit, and the last line of its output."""
    began = time.perf_counter()
    last = harness.run(command, f"{job.name}, {job.side}")
    return time.perf_counter() - began, last


def _save(path: Path, per_class: int) -> None:
    """The images after the cut, and how many rows of each class over-sampling makes."""
    from configs.mnist_cgan import get_config
    from imbal_jax import data
    from imbal_jax.data import imbalance
    from imbal_jax.data.dataset import rank_in_class

    found = data.load("mnist", per_class=per_class)
    train, test, fraction = found.train, found.test, found.fraction
    counts = imbalance.target_counts(get_config("source").cut.profile, np.bincount(train.y), fraction)
    stays = rank_in_class(train.y) < counts[train.y]
    wanted = np.maximum(counts, round(OVER * fraction))
    y, test_y = train.y[stays].astype(np.int64), test.y.astype(np.int64)
    np.savez(path, train_x=train.x[stays], train_y=y, test_x=test.x, test_y=test_y, wanted=wanted)


if __name__ == "__main__":
    main()
