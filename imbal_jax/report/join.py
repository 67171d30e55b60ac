"""Join several runs on the same data into one report; arms get distinct names if the configs differ."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imbal_jax import seed_range
from imbal_jax.errors import UserError
from imbal_jax.evaluate import stats
from imbal_jax.report import analyses
from imbal_jax.report.run import Run, Source, ordered, read, selection

# Fields that select rows, or say how they were computed or shown; they do not change what a row means.
ROWS = {"seeds", "baselines", "method", "grid", "stop"}
SHOWN = {"name", "expected", "metric", "margin", "baseline"}
COMPUTED = {"conv", "lanes", "parallel", "lanes_per_device", "data_devices", "chunk_seconds", "save_seconds", "data.dir"}
MOST_NAMED = 3  # differing fields in an arm's name; with more, the directory's name is used


def joined(workdirs: Sequence[Path], out: Path) -> Run:
    """The rows of several runs on the same data.

    If two runs with equal configs have the same (method, seed), the first one's row is used. If configs differ in what a row
    means, the arms get distinct names ('over [classifier.epochs=10]'), each compared with the baseline of its own config.

    Args:
        workdirs: directories of runs, at least one.
        out: directory of the report.

    Raises:
        UserError: the data differ, or a directory holds no finished row.
    """
    runs = [read(workdir) for workdir in workdirs]
    for run in runs[1:]:
        _refuse_other_data(runs[0], run)
    configs = [_flat(run.config) for run in runs]
    differing = _differing(configs)
    differences = [{field: config.get(field) for field in differing} for config in configs]
    taken: dict[tuple[str, int], dict[str, Any]] = {}
    history: list[dict[str, Any]] = []
    sources, ledgers = [], []
    same_config = not differing
    drawn = next((run for run in runs if run.generator), runs[0])  # one run's generator is shown
    for run, differs in zip(runs, differences, strict=True):
        point = _point(run, differs)
        names = {row["method"]: _placed(row, point)["method"] for row in run.rows}
        placed = {(names[row["method"]], row["seed"]): _placed(row, point) for row in run.rows}
        new = {lane: row for lane, row in placed.items() if lane not in taken}
        taken |= new
        ledgers.append((run.ledger, names))
        lines = [{**line, "method": names.get(line.get("method", ""), line.get("method"))} for line in run.history]
        history += [line for line in lines if _is_used(line, new, run is drawn)]
        repeated = len(placed) - len(new)
        sources.append(Source(str(run.folder), run.environment.get("command"), differs, len(new), repeated))
    seeds_differ = same_config and _apart(runs)
    config = _config(runs, same_config)
    return Run(
        name=" + ".join(dict.fromkeys(run.name for run in runs)),
        config=config,
        environment=_environment(runs, drawn),
        data=runs[0].data,
        rows=ordered(list(taken.values()), config),
        history=history,
        generator=drawn.generator,
        folder=out,
        sources=tuple(sources),
        ledger=analyses.merged(ledgers, analyses.read(out), seeds_differ),
    )


def _refuse_other_data(first: Run, other: Run) -> None:
    for field, word in {
        "name": "data set",
        "digest": "digest of the data",
        "counts": "rows of each class after the cut",
    }.items():
        ours, theirs = first.data[field], other.data[field]
        if ours != theirs and ours and theirs:
            raise UserError(
                f"{first.folder} and {other.folder} do not belong in one report: {word} {ours} and {theirs}; "
                "report each by itself"
            )


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The fields that decide what a row means, as {'classifier.epochs': 10}."""
    fields: dict[str, Any] = {}
    for name, value in config.items():
        name = prefix + name
        if name in ROWS | SHOWN | COMPUTED:
            continue
        fields |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return fields


def _differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    fields = dict.fromkeys(field for config in configs for field in config)
    return [field for field in fields if any(config.get(field) != configs[0].get(field) for config in configs)]


def _point(run: Run, differs: Mapping[str, Any]) -> str:
    if len(differs) > MOST_NAMED:
        return run.folder.name
    return ", ".join(f"{field}={value}" for field, value in differs.items())


def _placed(row: dict[str, Any], point: str) -> dict[str, Any]:
    """The row with `point` added to its arm's name."""
    if not point:
        return row
    points = ", ".join(filter(None, (point, row.get("point"))))
    return {**row, "method": stats.at_point(stats.off_point(row), points), "point": points}


def _is_used(line: Mapping[str, Any], new: Mapping[tuple[str, int], Any], drawn: bool) -> bool:
    """Whether a line of metrics.jsonl belongs to a row that is used, or to the generator that is shown."""
    if line.get("method") is not None:
        return (line["method"], line.get("seed")) in new
    return drawn or (line.get("stage") == "warning" and line.get("seed") in {seed for _, seed in new})


def _apart(runs: Sequence[Run]) -> bool:
    """Whether the runs' seeds are disjoint: parts of one experiment, such as the jobs of an array."""
    of_runs = [{row["seed"] for row in run.rows} for run in runs]
    return len(set().union(*of_runs)) == sum(map(len, of_runs))


def _config(runs: Sequence[Run], same_config: bool) -> dict[str, Any]:
    """The first run's config, with the methods and published results of all; with equal configs also the seeds of all."""
    specs = dict.fromkeys(spec for run in runs for spec in (*run.config.get("baselines", ()), run.config.get("method")) if spec)
    expected = {source: value for run in runs for source, value in (run.config.get("expected") or {}).items()}
    config = {**runs[0].config, "baselines": list(specs), "method": None, "expected": expected}
    seeds = {seed for run in runs for seed in (*analyses.seeds_of(run.config), *(row["seed"] for row in run.rows))}
    seed_span = range(min(seeds), max(seeds) + 1)
    return config | (
        {"seeds": seed_range.written(seed_span) if len(seed_span) == len(seeds) else len(seeds)} if same_config else {}
    )


def _environment(runs: Sequence[Run], drawn: Run) -> dict[str, Any]:
    """The first run's environment; facts about a single run name that run."""
    space = drawn.environment.get("generator_space")
    return {
        **runs[0].environment,
        "command": None,
        "generator_space": f"{space}; of {drawn.folder}" if space else None,
        "selection": "; ".join(dict.fromkeys(selection(run.config) for run in runs)),
        "looks": max(int(run.environment.get("looks") or 1) for run in runs),
    }
