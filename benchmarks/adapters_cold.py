"""Our resamplers with imbalanced-learn's interface against its own on a small set, whole processes: the wait for an answer.

A case is one resampler's first `fit_resample`, or a grid search with two processes; a process loads the library, resamples
500 rows of 3 classes and ends. The note 'call_s' is the call alone. Compiled programs that others left on the disk are not
used.
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence

from benchmarks import harness

SAMPLERS = {
    "over": "RandomOverSampler", "under": "RandomUnderSampler", "smote": "SMOTE", "borderline": "BorderlineSMOTE",
    "adasyn": "ADASYN", "tomek": "TomekLinks", "enn": "EditedNearestNeighbours", "smotetomek": "SMOTETomek",
    "smoteenn": "SMOTEENN",
}  # fmt: skip
HOMES = {
    "ours": ("imbal_jax.adapters.imblearn",),
    "imblearn": ("imblearn.over_sampling", "imblearn.under_sampling", "imblearn.combine"),
}
CALL = """
import importlib, json, sys, time
import numpy as np
name, *homes = sys.argv[1:]
modules = [importlib.import_module(home) for home in homes]
sampler = next(getattr(module, name) for module in modules if hasattr(module, name))()
rng = np.random.default_rng(0)
y = rng.permutation(np.repeat([0, 1, 2], [300, 120, 80]))
x = rng.normal(size=(500, 10)) + 0.8 * y[:, None]
began = time.perf_counter()
sampler.fit_resample(x, y)
print(json.dumps(time.perf_counter() - began))
"""
GRID = """
import importlib, json, sys, time
import numpy as np
from imblearn.pipeline import make_pipeline
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
sampler = importlib.import_module(sys.argv[2]).SMOTE(random_state=0)
rng = np.random.default_rng(0)
y = rng.permutation(np.repeat([0, 1, 2], [300, 120, 80]))
x = rng.normal(size=(500, 10)) + 0.8 * y[:, None]
began = time.perf_counter()
grid = {"smote__k_neighbors": [3, 5, 7], "logisticregression__C": [0.1, 1.0]}
GridSearchCV(make_pipeline(sampler, LogisticRegression()), grid, cv=5, n_jobs=2).fit(x, y)
print(json.dumps(time.perf_counter() - began))
"""


def main(argv: Sequence[str] | None = None) -> None:
    """The worker: milliseconds of a whole process, the fastest of `--steps`."""
    harness.answer(measure(harness.read_job(argv)))


def measure(job: harness.Job) -> harness.Measured:
    """Runs one side's processes one after the other, after one that is not timed, so that files are in memory."""
    case = job.name.split("-")[1]
    script, name = (GRID, "SMOTE") if case == "grid" else (CALL, SAMPLERS[case])
    times = [_process(script, name, job.side) for _ in range(1 + job.steps)][1:]
    whole, call = (min(each) for each in zip(*times, strict=True))
    memory = harness.peak_mib(resource.RUSAGE_CHILDREN)
    return harness.Measured(1e3 * whole, "CPU", memory, round(call, 3), {"call_s": round(call, 4)})


def _process(script: str, name: str, side: str) -> tuple[float, float]:
    """Seconds of a whole process, and of the call in it."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        command = ["env", f"IMBAL_CACHE_DIR={folder}", sys.executable, "-c", script, name, *HOMES[side]]
        call = json.loads(harness.run(command, f"{name}, {side}"))
        return time.perf_counter() - began, call


if __name__ == "__main__":
    main()
