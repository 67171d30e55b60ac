"""results.json, the plots and report.html of a run, or of several, from the files of their directories alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imbal_jax.artifacts import json_files
from imbal_jax.errors import UserError
from imbal_jax.evaluate import interim
from imbal_jax.report import analyses, page, plots, precision_recall
from imbal_jax.report.join import joined
from imbal_jax.report.run import Run, analysed, baselines, best, ranked, read, recall_key

KEPT = ("compile_seconds", "trace_seconds", "cache_hits", "cache_misses")  # taken over from an earlier results.json
MOST_MATRICES, FEW_CLASSES = 6, 6  # arms whose confusion matrix is drawn; twice as many if there are few classes


def build(workdir: Path, compiled: Mapping[str, Any] | None = None) -> Path:
    """Write results.json, plots/ and report.html of a run.

    Args:
        workdir: holds rows.jsonl; config.json, environment.json, metrics.jsonl and generator.json are used if they
            exist.
        compiled: compilation times for results.json; by default those already there.

    Returns:
        the path of report.html.

    Raises:
        UserError: no finished row, a damaged file, or an unknown config.metric.
    """
    if compiled is None:
        earlier = json_files.read_object(workdir / "results.json")
        compiled = {name: earlier[name] for name in KEPT if name in earlier}
    return _write(read(workdir), compiled)


def join(workdirs: Sequence[Path], out: Path) -> Path:
    """Write one report of several runs on the same data, without training; see `report.join.joined`.

    Args:
        workdirs: directories of runs; with a single one its own report is rebuilt.
        out: where results.json, plots/ and report.html go; none of `workdirs`.

    Returns:
        the path of report.html.

    Raises:
        UserError: the data differ, `out` is one of the runs, no finished row, or a damaged file.
    """
    if len(workdirs) == 1:
        return build(workdirs[0])
    if not workdirs:
        raise UserError("no run to report: give the directories of one or more runs")
    if out.resolve() in {workdir.resolve() for workdir in workdirs}:
        raise UserError(f"{out} is one of the runs to be joined: choose another --workdir for the report")
    return _write(joined(workdirs, out), {})


def _write(run: Run, compiled: Mapping[str, Any]) -> Path:
    ledger = analyses.read(run.folder)
    run = run._replace(results=analysed(run, compiled))
    now = analyses.analysis(run.results["paired"], {name: run.results[name] for name in analyses.FIXED})
    analyses.record(run.folder, ledger, interim.Plan(**run.results["planned"]), now)
    json_files.write_json(run.folder / "results.json", run.results)
    _draw(run)
    return page.write(run, _most_matrices(run))


def _most_matrices(run: Run) -> int:
    return MOST_MATRICES if len(run.data["class_names"]) > FEW_CLASSES else 2 * MOST_MATRICES


def _draw(run: Run) -> None:
    """The plots that compare the arms."""
    folder, names, rare = run.folder / "plots", run.data["class_names"], set(run.data["minority"])
    folder.mkdir(exist_ok=True)
    arms = run.results["methods"]
    plots.losses(folder / "losses.png", _curves(run))
    matrices = {arm: arms[arm]["confusion"] for arm in best(run, _most_matrices(run)) if arms[arm]["confusion"]}
    if matrices:
        plots.confusion(folder / "confusion.png", matrices, names)
        order = list(arms) if len(arms) <= plots.MOST_GROUPS else ranked(run)
        recalls = {arm: _recalls(run, arm) for arm in order if arms[arm]["confusion"]}
        plots.recalls(folder / "recalls.png", recalls, names, rare)
    curves = {arm: tables for arm in best(run, plots.MOST_LINES) if len(tables := _pr_curves(run, arm))}
    if curves:
        tested = np.sum(next(iter(matrices.values())), axis=1)
        shown = precision_recall.rarest(run.data["counts"], rare)
        precision_recall.curves(folder / "pr_curves.png", curves, tested / tested.sum(), names, shown, rare)
    after = {
        arm: arm_results["class_counts"]["after"] for arm, arm_results in arms.items() if arm_results["class_counts"]["after"]
    }
    if after:
        plots.class_counts(folder / "class_counts.png", run.data["counts"], after, names)


def _curves(run: Run) -> list[dict[str, Any]]:
    """The history of the best few arms; more curves would be unreadable."""
    trained = dict.fromkeys(line["method"] for line in run.history if line.get("stage") == "classifier")
    good = [arm for arm in dict.fromkeys([*baselines(run)[:1], *ranked(run)]) if arm in trained]
    shown = set(good[: plots.MOST_LINES] if len(trained) > plots.MOST_LINES else trained)
    return [line for line in run.history if line.get("stage") != "classifier" or line["method"] in shown]


def _pr_curves(run: Run, arm: str) -> np.ndarray:
    """float [L, K, 20]: the precisions of each class at increasing recall, for each seed that has them."""
    rows = [row["pr_curve"] for row in run.rows if row["method"] == arm and row.get("pr_curve")]
    return np.array(rows, np.float64)


def _recalls(run: Run, arm: str) -> np.ndarray:
    """float [L, K]: the recall of each class on each seed that has numbers; NaN where a class has no test row."""
    keys = [recall_key(run, label) for label in range(len(run.data["class_names"]))]
    rows = [row for row in run.rows if row["method"] == arm and row.get("confusion")]
    return np.array([[np.nan if row.get(key) is None else row[key] for key in keys] for row in rows])
