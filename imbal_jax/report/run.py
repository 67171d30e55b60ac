"""Read the files of a run's directory, from which its report is made."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from imbal_jax import saved_config
from imbal_jax.artifacts import curve_lines, json_files, json_kinds
from imbal_jax.data.imbalance import minority
from imbal_jax.errors import UserError, nearest
from imbal_jax.evaluate import confusion_matrix, result_rows, stats
from imbal_jax.evaluate.metrics import LOWER_IS_BETTER, class_key
from imbal_jax.report import analyses
from imbal_jax.report.formats import name_of

BASELINE = "none"
FEW_SCALES = 4  # channels or columns whose scale is shown
WITH_DUPLICATES = "_with_twins"  # suffix of metrics that include train-test duplicates
PER_CLASS = ("confusion", "pr_curve", "counts_before", "counts_after")  # fields of a row with an entry per class
MOST_SEEDS = 10**6  # of an experiment; more in a file are damage, and a set of them would fill the memory
MANY, FEW = 100, 20  # training rows: many-shot classes have more, few-shot ones fewer


class Source(NamedTuple):
    """One of the directories that a report joins.

    Attributes:
        folder: its path.
        command: the command line of the run, or None.
        differs: the config fields in which the directories differ, with this one's values.
        rows: number of its rows in the report.
        repeated: number of rows left out as duplicates of an earlier directory's.
    """

    folder: str
    command: str | None
    differs: dict[str, Any]
    rows: int
    repeated: int


class Published(NamedTuple):
    """Published results of one source: an entry of config.expected.

    Attributes:
        source: its name in the config.
        spec: the method; '' if not given.
        figures: values by metric; shares in [0, 1].
    """

    source: str
    spec: str
    figures: dict[str, float]


class Run(NamedTuple):
    """The content of a run's directory, or of several.

    Attributes:
        name: the title.
        config, environment: as in config.json and environment.json; {} if the file is missing.
        data: {"name", "source", "digest", "class_names" [K], "note", "counts" [K] (after the cut), "minority" (class
            numbers)}; values missing in older runs are taken from their rows, or None.
        rows: as in rows.jsonl; the arms in the order of the config, then of the rows.
        history: as in metrics.jsonl.
        generator: as in generator.json.
        folder: the directory of plots/.
        sources: the joined directories; () for a single run.
        results: the content of results.json, once computed.
        ledger: the earlier analyses, see `report.analyses`.
    """

    name: str
    config: dict[str, Any]
    environment: dict[str, Any]
    data: dict[str, Any]
    rows: list[dict[str, Any]]
    history: list[dict[str, Any]]
    generator: dict[str, Any]
    folder: Path
    sources: tuple[Source, ...] = ()
    results: dict[str, Any] = {}
    ledger: dict[str, Any] = {"plan": None, "analyses": []}


def read(workdir: Path) -> Run:
    """Read a run's directory.

    Raises:
        UserError: it has no finished row, or a file is damaged.
    """
    saved, environment = json_files.read_object(workdir / "config.json"), json_files.read_object(workdir / "environment.json")
    generator = json_files.read_object(workdir / "generator.json")
    check_files(workdir, saved, environment)
    if why := json_kinds.wrong(
        generator, dict.fromkeys(generator, json_kinds.mapping_of(json_kinds.optional(json_kinds.is_number)))
    ):
        raise UserError(f"{workdir}: generator.json is damaged ({why}); delete that file and run the run's own command again")
    non_null = {name: value for name, value in saved.items() if value is not None}
    config = saved_config.fill_defaults({"method": ""} | non_null)  # without a config, the arms are those of the rows
    rows = result_rows.read(workdir / "rows.jsonl", environment.get("data", {}).get("test_counts"))
    if not rows:
        raise UserError(f"{workdir} holds no finished row (rows.jsonl is missing or empty): give the directory of a run")
    data = _data(environment.get("data", {}), rows)
    _check_classes(workdir, data, rows)
    return Run(
        name=str(saved.get("name") or workdir.name),
        config=config,
        environment=environment,
        data=data,
        rows=ordered([_with_steps(row, saved) for row in rows], config),
        history=curve_lines.read(workdir / "metrics.jsonl"),
        generator=generator,
        folder=workdir,
        ledger=analyses.read(workdir),
    )


def _with_steps(row: dict[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result_rows.with_length(row, config).items() if name != "derived"}


def ordered(rows: Sequence[dict[str, Any]], config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows by arm (the config's baselines, its method, then others in order of appearance) and seed."""
    rank: dict[str, int] = {spec: i for i, spec in enumerate(_specs(config))}
    arms: dict[str, int] = {}
    for row in rows:
        arms.setdefault(row["method"], len(arms))
    return sorted(rows, key=lambda row: (rank.get(stats.off_point(row), len(rank)), arms[row["method"]], row["seed"]))


def analysed(run: Run, compiled: Mapping[str, Any]) -> dict[str, Any]:
    """The content of results.json: aggregates by arm, comparisons with the baseline, and the conditions of both.

    Raises:
        UserError: the rows have no metric config.metric.
    """
    config = run.config
    fixed = criteria_of(config)
    metric, baseline, margin = fixed["metric"], fixed["baseline"], fixed["margin"]
    known = list(dict.fromkeys(name for row in run.rows for name in row if stats.is_metric(name)))
    if metric not in known:
        raise UserError(f"config.metric is {metric!r}: no row has this metric{nearest(metric, known)}")
    key = jax.random.key(config["seed"])
    earlier = analyses.history(run.ledger, config, run.rows, fixed, int(run.environment.get("looks") or 1))
    paired = _primary(stats.comparisons(run.rows, key, baseline, margin, earlier, config["unequal_steps"]), metric)
    return {
        "name": run.name,
        "data": run.data,
        "seeds": sorted({row["seed"] for row in run.rows}),
        "selection": run.environment.get("selection") or selection(config),
        "test_rows": "test set without train-test duplicates" if _with_duplicates(run.rows) else "whole test set",
        "metric": metric,
        "baseline": baseline,
        "margin": margin,
        "analyses": analyses.counted([*run.ledger["analyses"], analyses.analysis(paired, fixed)], earlier),
        "planned": earlier.plan._asdict(),
        "changed": earlier.changed,
        "missing": _missing(run),
        "methods": _methods(run),
        "paired": paired,
        "generator": run.generator,
        "generator_space": run.environment.get("generator_space"),
        "warnings": [line for line in run.history if line.get("stage") == "warning"],
        "sources": [source._asdict() for source in run.sources],
        **compiled,
    }


def _primary(paired: dict[str, dict[str, dict[str, Any]]], metric: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Keep verdicts for the chosen metric only; verdicts on further metrics would inflate the error rate."""
    for of_arm in paired.values():
        for name, pair in of_arm.items():
            if name != metric:
                pair |= {"verdict": None, "reason": "not the metric that decides"}
    return paired


def baseline_of(config: Mapping[str, Any]) -> str:
    """The spec of the baseline: the config's `baseline`, or else 'none', or else the first spec."""
    specs = _specs(config)
    return str(config.get("baseline") or (BASELINE if BASELINE in specs else next(iter(specs), BASELINE)))


def criteria_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a config's comparisons are decided by: 'metric', 'baseline' and 'margin', as analyses record them."""
    return {"metric": config["metric"], "baseline": baseline_of(config), "margin": float(config["margin"])}


def selection(config: Mapping[str, Any]) -> str:
    """Which checkpoint is evaluated, in words, by `classifier.select`, `select_by`, `patience` and `ema`."""
    options = config["classifier"]
    words = "last step"
    if options["select"] == "best":
        words = f"best epoch by {name_of(options['select_by'])} on the validation rows"
        words += f", stopped after {options['patience']} epochs without improvement" if options["patience"] else ""
    return words + (f", moving average of the weights ({options['ema']:g})" if options["ema"] else "")


def published(config: Mapping[str, Any]) -> list[Published]:
    """The entries of config.expected: {source: accuracy} or {source: {metric: value, ..., 'arm': spec}}.

    Raises:
        UserError: an entry of a different form.
    """
    entries = []
    for source, entry in (config.get("expected") or {}).items():
        figures = dict(entry) if isinstance(entry, Mapping) else {"accuracy": entry}
        spec = str(figures.pop("arm", None) or "")
        if not figures or any(isinstance(v, bool) or not isinstance(v, int | float) for v in figures.values()):
            raise UserError(
                f"config.expected[{source!r}] is {entry!r}: give an accuracy from 0 to 1, or numbers by metric with the method "
                "they are of, {'accuracy': 0.85, 'arm': 'none'}"
            )
        entries.append(Published(str(source), spec, {name: float(value) for name, value in figures.items()}))
    return entries


def same_spec(run: Run, theirs: Published) -> list[str]:
    """Our arms with the same method as published results, at every point of a grid; spaces are ignored."""
    if not theirs.spec:
        return []
    specs = {row["method"]: stats.off_point(row) for row in run.rows}
    return [arm for arm, spec in specs.items() if "".join(spec.split()) == "".join(theirs.spec.split())]


def shots(run: Run) -> dict[str, list[int]]:
    """The classes of a long-tailed training set by their rows: 'many' (above 100), 'medium', 'few' (below 20).

    {} if all classes are of one kind. As in Liu et al., "Large-Scale Long-Tailed Recognition in an Open World", CVPR 2019.
    """
    kinds: dict[str, list[int]] = {"many": [], "medium": [], "few": []}
    for label, count in enumerate(run.data["counts"]):
        kinds["many" if count > MANY else "few" if count < FEW else "medium"].append(label)
    nonempty = {kind: labels for kind, labels in kinds.items() if labels}
    return nonempty if len(nonempty) > 1 else {}


def ranked(run: Run) -> list[str]:
    """The arms from the best to the worst by the chosen metric; those without a number last, in the order of the run."""
    metric, arms = run.results["metric"], list(run.results["methods"])
    sign = 1 if metric in LOWER_IS_BETTER else -1
    numbers = {arm: mean_of(run, arm, metric) for arm in arms}
    return sorted(arms, key=lambda arm: (numbers[arm] is None, sign * (numbers[arm] or 0.0)))


def baselines(run: Run) -> list[str]:
    """The arms that serve as baselines: one, or one for each point of a grid."""
    baseline, arms = run.results["baseline"], run.results["methods"]
    names = {stats.at_point(baseline, row.get("point")) for row in run.rows if stats.opponent(row, baseline, arms) is None}
    return [arm for arm in arms if arm in names]


def best(run: Run, most: int) -> list[str]:
    """At most `most` arms in the order of the run: the first baseline and the best others."""
    chosen = [*baselines(run)[:1], *ranked(run)]
    names = list(dict.fromkeys(chosen))[:most]
    return [arm for arm in run.results["methods"] if arm in names]


def mean_of(run: Run, arm: str, metric: str) -> float | None:
    """The arm's mean over seeds, or None."""
    return (run.results["methods"][arm]["metrics"].get(metric) or {}).get("mean")


def values_of(run: Run, arm: str, metric: str) -> list[float]:
    """The arm's values by seed, where present; 'minority' is the mean recall of the minority classes."""
    if metric == "minority":
        return mean_recalls(run, arm, run.data["minority"])
    return [float(row[metric]) for row in run.rows if row["method"] == arm and row.get(metric) is not None]


def mean_recalls(run: Run, arm: str, labels: Sequence[int]) -> list[float]:
    """The mean recall of some classes, for each seed of the arm that has all of them."""
    keys = [recall_key(run, label) for label in labels]
    rows = [[row.get(key) for key in keys] for row in run.rows if row["method"] == arm]
    complete = [[float(value) for value in row if value is not None] for row in rows]
    return [sum(row) / len(row) for row in complete if row and len(row) == len(keys)]


def recall_key(run: Run, label: int) -> str:
    """The name of a class's recall in a row."""
    return class_key("recall", run.data["class_names"][label])


def area_key(run: Run, label: int) -> str:
    """The name of a class's average precision in a row."""
    return class_key("pr_auc", run.data["class_names"][label])


def _methods(run: Run) -> dict[str, Any]:
    """The aggregates of each arm, with optional parts: metrics with train-test duplicates, epochs, recall by frequency."""
    duplicates, kinds = _with_duplicates(run.rows), shots(run)
    tested = {kind: [k for k in labels if _tested(run, k)] for kind, labels in kinds.items()}
    arms = stats.results(run.rows)
    for arm, summary in arms.items():
        summary["metrics"] |= {name: stats.summary(name, values_of(run, arm, name)) for name in duplicates}
        if kinds:
            summary["shots"] = {kind: stats.summary("recall", mean_recalls(run, arm, ks)) for kind, ks in tested.items()}
        lanes = [row for row in run.rows if row["method"] == arm]
        summary["collapsed"] = sum(confusion_matrix.collapsed(row.get("confusion")) is not None for row in lanes)
        summary["steps"] = sorted({int(row["steps"]) for row in lanes if row.get("steps") is not None})
        summary["length"] = sorted({str(row["length"]) for row in lanes if row.get("length") is not None})
        for name in ("epoch_seconds", "epoch_selected"):
            if values := values_of(run, arm, name):
                summary[name] = sum(values) / len(values)
    return arms


def _with_duplicates(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of metrics that include train-test duplicates, if the rows have any."""
    return list(dict.fromkeys(name for row in rows for name in row if name.endswith(WITH_DUPLICATES) and row[name] is not None))


def _tested(run: Run, label: int) -> bool:
    """Whether the class has a test row: some seed has its recall."""
    return any(row.get(recall_key(run, label)) is not None for row in run.rows)


def check_files(workdir: Path, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
    """Raise UserError if a field that the report reads from config.json or environment.json has the wrong type."""
    data = environment.get("data", {})
    files = {"config.json": (config, _CONFIG), "environment.json": (environment, _ENVIRONMENT)}
    if isinstance(data, Mapping):
        files["environment.json, data"] = (data, _DATA)
    wrong = [
        f"{file} is damaged ({name!r} is {content[name]!r:.100})"
        for file, (content, kinds) in files.items()
        for name in _wrong(content, kinds)
    ]
    if wrong:
        raise UserError(f"{workdir}: {wrong[0]}; delete that file and run the run's own command again")


def _check_classes(workdir: Path, data: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Raise UserError if the files disagree on the number of classes."""
    names = len(data["class_names"])
    lengths = {"counts": len(data["counts"]), **{name: len(row[name]) for row in rows for name in PER_CLASS if row.get(name)}}
    if other := next((name for name, length in lengths.items() if length and length != names), None):
        raise UserError(
            f"{workdir}: environment.json names {names} classes, and {other!r} has {lengths[other]}; delete environment.json "
            "and run the run's own command again"
        )


def _wrong(content: Mapping[str, Any], kinds: Mapping[str, Any]) -> list[str]:
    """The fields that are present and fail their type check."""
    return [name for name, fits in kinds.items() if name in content and not fits(content[name])]


def _is(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: value is None or (isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)))


def _list_of(kind: Any, least: int = 0) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        all_of_kind = isinstance(value, list) and all(type(item) is kind for item in value)
        return all_of_kind and (kind is not int or min(value, default=least) >= least)

    return lambda value: value is None or fits(value)


_CONFIG: dict[str, Callable[[Any], bool]] = {
    "baselines": json_kinds.list_of(json_kinds.is_text),
    "name": _is(str), "method": _is(str), "baseline": _is(str), "metric": _is(str),
    "seeds": lambda value: value is None or isinstance(value, str) or (type(value) is int and value <= MOST_SEEDS),
    "seed": _is(int), "margin": _is(int, float), "stop": _is(str), "expected": _is(dict),
    "classifier": _is(dict), "gan": _is(dict), "quality": _is(dict), "data": _is(dict), "cut": _is(dict),
}  # fmt: skip
_ENVIRONMENT: dict[str, Callable[[Any], bool]] = {
    "data": lambda value: isinstance(value, dict), "looks": lambda value: value is None or (type(value) is int and value >= 1),
    "command": _is(str), "selection": _is(str), "generator_space": _is(str), "device_kind": _is(str), "versions": _is(dict),
}  # fmt: skip
_DATA: dict[str, Callable[[Any], bool]] = {
    "name": _is(str), "source": _is(str), "digest": _is(str), "note": _is(str), "class_names": _list_of(str),
    "counts": _list_of(int), "minority": _list_of(int), "test_counts": _list_of(int), "left_out": _list_of(str),
    "scale": json_kinds.optional(lambda value: _is_scale(value)),
}  # fmt: skip


def _is_scale(value: Any) -> bool:
    numbers = json_kinds.list_of(json_kinds.is_number)
    kinds = {"how": json_kinds.is_text, "offset": numbers, "factor": numbers}
    return json_kinds.record(kinds, kinds)(value) and len(value["offset"]) == len(value["factor"])


def _data(saved: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    counts = saved.get("counts") or rows[0].get("counts_before") or []
    names = [name.removeprefix("recall_") for name in rows[0] if name.startswith("recall_")]
    return {
        "name": saved.get("name"),
        "source": saved.get("source") or rows[0].get("source"),
        "digest": saved.get("digest") or rows[0].get("digest"),
        "class_names": [str(name) for name in saved.get("class_names") or names or range(len(counts))],
        "note": saved.get("note"),
        "scale": _scale(saved.get("scale")),
        "counts": list(counts),
        "minority": sorted(minority(counts)),
    }


def _scale(scale: Mapping[str, Any] | None) -> str | None:
    """How values were scaled, in words, with the constants of the first few channels or columns."""
    if not scale or scale["how"] == "as in the file":
        return None
    pairs = [f"(x - {o:.6g}) / {f:.6g}" for o, f in zip(scale["offset"], scale["factor"], strict=True)]
    return f"{scale['how']}: {', '.join(pairs[:FEW_SCALES])}{', ...' if len(pairs) > FEW_SCALES else ''}"


def _specs(config: Mapping[str, Any]) -> list[str]:
    return [spec for spec in dict.fromkeys([*config.get("baselines", ()), config.get("method")]) if spec]


def _missing(run: Run) -> list[str]:
    """The parts of a config without rows yet: methods, or 'METHOD, 3 of 5 seeds' if no stop rule may end them earlier."""
    if run.sources:
        return []
    seeds: dict[str, set[int]] = {}
    for row in run.rows:
        seeds.setdefault(stats.off_point(row), set()).add(row["seed"])
    planned = set(analyses.seeds_of(run.config))
    target = 1 if run.config.get("stop") or not planned else len(planned)
    finished = {spec: len(seeds.get(spec, set()) & (planned or seeds.get(spec, set()))) for spec in _specs(run.config)}
    return [f"{spec}, {n} of {target} seeds" if n else spec for spec, n in finished.items() if n < target]
