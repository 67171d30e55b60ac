"""Results that add up over machines: a folder of docs/results becomes a workdir, and a workdir's rows go back into a folder.

A folder holds config.json, environment.json (a list: one entry for each machine that contributed, with the rows that it
contributed), rows.jsonl, metrics.jsonl (thinned out above a megabyte) and what shows a generator.
"""

import json
import re
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from imbal_jax import experiment, saved_config, seed_range
from imbal_jax.artifacts import curve_lines, json_files
from imbal_jax.artifacts.json_kinds import is_count, is_text, list_of, mapping_of, record, wrong
from imbal_jax.errors import UserError
from imbal_jax.evaluate import result_rows, stats
from imbal_jax.report import analyses
from imbal_jax.report.run import baseline_of, check_files

MARK = "continues.json"  # in a workdir: the folder that it continues
COPIED = ("rows.jsonl", "metrics.jsonl", "generator.json", analyses.FILE)
MOST_BYTES = 1_000_000  # of metrics.jsonl in a folder
PICTURES = {"plots/samples.png": "samples.png", "plots/film_strip.png": "film_strip.png"}
# Of a workdir's environment.json, what says where its rows were measured.
SURROUNDINGS = ("python", "platform", "cpu", "cores", "memory_gb", "versions", "backend", "device_kind", "devices") + (
    "processes",
    "xla_flags",
    "commit",
    "dirty",
    "command",
    "form",
)
# Fields of a row that differ between two measurements of the same.
COST = ("lanes", "device", "shared_stages")
Row = Mapping[str, Any]


def begin(folder: Path, workdir: Path) -> None:
    """Make a workdir that goes on where a folder's rows end; one that does so already gets the rows that it lacks.

    Raises:
        UserError: no rows in the folder, a workdir of another run, or rows that contradict each other.
    """
    rows = result_rows.read(folder / "rows.jsonl")
    if not rows:
        raise UserError(f"{folder} holds no rows (rows.jsonl): give a folder of docs/results")
    mark = workdir / MARK
    if not mark.exists() and (workdir / "rows.jsonl").exists():
        raise UserError(f"{workdir} holds a run of its own: give another --workdir to continue {folder}")
    if mark.exists() and (other := _continued(mark)["name"]) != folder.name:
        raise UserError(f"{workdir} continues {other}, not {folder.name}: give another --workdir")
    workdir.mkdir(parents=True, exist_ok=True)
    with json_files.alone(workdir):
        json_files.write_json(mark, {"name": folder.name, "folder": str(folder)})
        for name in COPIED:
            if (folder / name).exists() and not (workdir / name).exists():
                shutil.copyfile(folder / name, workdir / name)
        json_files.append(workdir / "rows.jsonl", new_rows(workdir / "rows.jsonl", rows, str(folder)))
        if not (workdir / analyses.FILE).exists():
            record_analysis(workdir, _config(folder), rows)


def _config(folder: Path) -> dict[str, Any]:
    """config.json, with the arms and the seeds that an experiment has."""
    path = folder / "config.json"
    config = {"baselines": [], "expected": {}, **json_files.read_object(path)}
    check_files(folder, config, {})
    if missing := [name for name in ("method", "seeds") if not config.get(name)]:
        raise UserError(f"{path} is missing, or has no {missing[0]!r}: bring back the file as the run wrote it")
    return config


def _environment(workdir: Path) -> dict[str, Any]:
    environment = json_files.read_object(workdir / "environment.json")
    check_files(workdir, {}, environment)
    return environment


def _continued(mark: Path) -> dict[str, str]:
    found = json_files.read_object(mark)
    if why := wrong(found, {"name": is_text, "folder": is_text}, ("name", "folder")):
        raise UserError(f"{mark} is damaged ({why}); give --into, or another --workdir")
    return found


def _entries(path: Path) -> list[dict[str, Any]]:
    """environment.json of a folder: where which rows were measured."""
    entries = json_files.read_json(path) if path.exists() else []
    if not list_of(record({"rows": mapping_of(list_of(is_count))}, ("rows",)))(entries):
        raise UserError(f"{path} is damaged (no list of machines and their rows): bring back the file as it was")
    return entries


def record_analysis(workdir: Path, config: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Keep that these rows have been analysed: of a folder of before analyses were recorded, its table is one."""
    config = saved_config.filled(config)
    metric, baseline, margin = config["metric"], baseline_of(config), float(config["margin"])
    fixed = {"metric": metric, "baseline": baseline, "margin": margin}
    ledger = analyses.read(workdir)
    history, key = analyses.history(ledger, config, rows, fixed), jax.random.key(config["seed"])
    found = stats.comparisons(rows, key, baseline, margin, history, metrics=(metric,))
    analyses.record(workdir, ledger, history.plan, analyses.analysis(found, fixed))


def collect(workdir: Path, into: Path | None = None, replace: bool = False) -> Path:
    """Add a workdir's rows, curves and surroundings to a folder, which is made where it is missing; returns the folder.

    Rows that the folder has already stay as they are, byte for byte. The same call a second time changes nothing.

    Args:
        workdir: of a run.
        into: the folder; by default the one that the workdir continues.
        replace: the workdir's arms take the place of the folder's of the same names, which were measured wrongly, and its
            config that of the folder; arms with the same rows are left alone.

    Raises:
        UserError: no rows, no folder to write to, another experiment, other data, or a row that both have differently.
    """
    rows, mark = result_rows.read(workdir / "rows.jsonl"), workdir / MARK
    if not rows:
        raise UserError(f"{workdir} holds no finished row (rows.jsonl): give the workdir of a run")
    if into is None and not mark.exists():
        raise UserError(f"{workdir} continues no folder of docs/results: say where its rows go with --into=docs/results/NAME")
    folder = into or Path(_continued(mark)["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    with json_files.alone(folder):
        config = saved_config.filled(_config(workdir))
        if replace:
            retire(folder, config, rows)
        config = merged_config(folder, config)
        fresh = new_rows(folder / "rows.jsonl", rows, str(workdir))
        json_files.append(folder / "rows.jsonl", fresh)
        json_files.write_json(folder / "config.json", config)
        add_surroundings(folder, _environment(workdir))
        add_curves(folder / "metrics.jsonl", curve_lines.read(workdir / "metrics.jsonl"))
        _copy_pictures(workdir, folder)
    (folder / ".lock").unlink(missing_ok=True)
    return folder


def retire(folder: Path, config: dict[str, Any], rows: Iterable[Row]) -> None:
    """Remove a folder's rows and curves of arms that were measured differently; its config becomes the one given, but for arms.

    An arm of which the same seed has the same row is left alone.
    """
    path, place = folder / "rows.jsonl", folder / "environment.json"
    if not path.exists():
        return
    there = {(row["method"], row["seed"]): row for row in result_rows.read(path)}
    arms = {row["method"] for row in rows if different(there.get((row["method"], row["seed"]), row), row)}
    lines = path.read_bytes().splitlines(keepends=True)
    with json_files.whole(path) as file:
        file.write(b"".join(line for line in lines if json.loads(line)["method"] not in arms))
    json_files.keep(folder / "metrics.jsonl", lambda line: line.get("method") not in arms)
    entries = _entries(place)
    for entry in entries:
        entry["rows"] = {arm: there for arm, there in entry["rows"].items() if arm not in arms}
    json_files.write_json(place, [entry for entry in entries if entry["rows"]])
    kept = _config(folder)
    own = {name: kept[name] for name in ("baselines", "method", "seeds", "expected")}
    json_files.write_json(folder / "config.json", {**config, **own})


def new_rows(path: Path, rows: Iterable[Row], source: str) -> list[dict[str, Any]]:
    """The rows that a file lacks.

    Raises:
        UserError: of a seed of an arm both have a row, and the rows differ; or they were measured on other data.
    """
    there = {(row["method"], row["seed"]): row for row in result_rows.read(path)}
    fresh = []
    for row in rows:
        _refuse_other_data(row, there.values(), source, path)
        kept = there.get((row["method"], row["seed"]))
        if kept is None:
            fresh.append(dict(row))
        elif names := different(kept, row):
            raise UserError(
                f"{path} and {source} both have seed {row['seed']} of {row['method']!r}, and differ in {', '.join(names[:3])}: "
                "remove one of the two rows"
            )
    return fresh


def different(one: Row, other: Row) -> list[str]:
    """The fields in which two rows of the same seed and arm differ, what they cost left aside."""
    names = [name for name in one.keys() | other.keys() if "seconds" not in name and name not in COST]
    return sorted(name for name in names if one.get(name) != other.get(name))


def _refuse_other_data(row: Row, others: Iterable[Row], source: str, path: Path) -> None:
    other = next(iter(others), row)  # those that are there agree with each other
    if (mine := row.get("digest")) != (theirs := other.get("digest")):
        raise UserError(f"{source} was measured on other data than {path}: digest {mine}, not {theirs}")


def merged_config(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """The folder's config with the arms and the seeds that a workdir's adds.

    Raises:
        UserError: the two describe different experiments.
    """
    path = folder / "config.json"
    if not path.exists():
        return config
    kept = saved_config.filled(_config(folder))  # an earlier version kept less
    if wrong := experiment.differences(config, kept):
        raise UserError(f"{folder} holds a different experiment: {'; '.join(wrong)}. Use another --into")
    arms = dict.fromkeys([*kept["baselines"], *config["baselines"], config["method"]])
    arms.pop(kept["method"], None)
    asked = [seed_range.of(each.get("seeds")) for each in (kept, config)]
    every = range(min(part.start for part in asked), max(part.stop for part in asked))
    return {**config, **kept, "seeds": seed_range.written(every), "baselines": list(arms)}


def add_surroundings(folder: Path, environment: Mapping[str, Any]) -> None:
    """Append to environment.json where the rows were measured that no entry names yet."""
    path = folder / "environment.json"
    entries = _entries(path)
    named = {(method, seed) for entry in entries for method, these in entry["rows"].items() for seed in these}
    arms: dict[str, list[int]] = {}
    for row in result_rows.read(folder / "rows.jsonl"):
        if (row["method"], row["seed"]) not in named:
            arms.setdefault(row["method"], []).append(row["seed"])
    if not arms:
        return
    here = {name: environment.get(name) for name in SURROUNDINGS}
    here["command"] = _without_paths(here["command"])
    data = {name: environment.get("data", {}).get(name) for name in ("name", "source", "digest", "class_names")}
    json_files.write_json(path, [*entries, {**here, "date": time.strftime("%Y-%m-%d"), "data": data, "rows": arms}])


def _without_paths(command: str | None) -> str | None:
    """A command without the places of one machine."""
    return command and re.sub(r" --(workdir|config\.data\.dir|continue|compilation_cache)[= ]\S+", "", command)


def add_curves(path: Path, lines: Sequence[Row]) -> None:
    """Append the curves of trainings that a metrics.jsonl lacks, and thin it out where it grows above a megabyte."""
    there = {_training(line) for line in curve_lines.read(path)}
    json_files.append(path, [dict(line) for line in lines if _training(line) not in there])
    if path.exists() and path.stat().st_size > MOST_BYTES:
        kept = thinned(json_files.read(path), MOST_BYTES)
        wanted = iter(kept)
        following = [next(wanted, None)]

        def keeps(line: Row) -> bool:
            if line != following[0]:
                return False
            following[0] = next(wanted, None)
            return True

        json_files.keep(path, keeps)


def thinned(lines: Sequence[Row], most: int) -> list[Row]:
    """The lines of every second epoch, or every fourth, ..., until they fit into `most` bytes.

    Warnings and the first and last epoch of each training always stay.
    """
    ends: dict[tuple, tuple[int, int]] = {}
    for line in lines:
        low, high = ends.get(_training(line), (line["epoch"], line["epoch"]))
        ends[_training(line)] = min(low, line["epoch"]), max(high, line["epoch"])
    every, found = 1, list(lines)
    while sum(len(json.dumps(line)) + 1 for line in found) > most and every <= max(high for _, high in ends.values()):
        every *= 2
        found = [
            line
            for line in found
            if line["stage"] == "warning" or line["epoch"] % every == 0 or line["epoch"] in ends[_training(line)]
        ]
    return found


def _training(line: Row) -> tuple:
    return line["stage"], line.get("of"), line.get("method"), line["seed"]


def _copy_pictures(workdir: Path, folder: Path) -> None:
    """What shows a generator, once; and which analyses were made, which grows."""
    for name, kept in {"generator.json": "generator.json", analyses.FILE: analyses.FILE, **PICTURES}.items():
        if (workdir / name).exists() and (name == analyses.FILE or not (folder / kept).exists()):
            shutil.copyfile(workdir / name, folder / kept)
