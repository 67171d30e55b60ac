"""Results that are collected over machines: a workdir is made from a folder of docs/results, and its rows are added to it.

A folder holds config.json, environment.json (a list: one entry for each machine that contributed, with the rows that it
contributed), rows.jsonl, metrics.jsonl (thinned out above a megabyte), and the pictures and quality of a generator.
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
from imbal_jax.report.run import check_files, criteria_of

MARK = "continues.json"  # in a workdir: names the folder that it continues
COPIED = ("rows.jsonl", "metrics.jsonl", "generator.json", analyses.FILE)
MOST_BYTES = 1_000_000  # of metrics.jsonl in a folder
PICTURES = {"plots/samples.png": "samples.png", "plots/film_strip.png": "film_strip.png"}
# Fields of a workdir's environment.json that describe the machine and the software of its rows.
SURROUNDINGS = ("python", "platform", "cpu", "cores", "memory_gb", "versions", "backend", "device_kind", "devices") + (
    "processes",
    "xla_flags",
    "commit",
    "dirty",
    "command",
    "form",
)
# Fields of a row that differ between two measurements of one seed and arm.
COST = ("lanes", "device", "shared_stages")
Row = Mapping[str, Any]


def begin(folder: Path, workdir: Path) -> None:
    """Make a workdir that continues a folder of docs/results; in one that does already, add the missing rows.

    Raises:
        UserError: no rows in the folder, a workdir of another run, or differing rows of the same seed and arm.
    """
    rows = result_rows.read(folder / "rows.jsonl")
    if not rows:
        raise UserError(f"--continue={folder} has no rows (rows.jsonl): give a folder of docs/results")
    mark = workdir / MARK
    if not mark.exists() and (workdir / "rows.jsonl").exists():
        raise UserError(f"--workdir={workdir} holds another run: give another folder to continue {folder}")
    if mark.exists() and (other := _continued(mark)["name"]) != folder.name:
        raise UserError(f"--workdir={workdir} continues {other}, not {folder.name}: give another folder")
    workdir.mkdir(parents=True, exist_ok=True)
    with json_files.lock_folder(workdir):
        json_files.write_json(mark, {"name": folder.name, "folder": str(folder)})
        for name in COPIED:
            if (folder / name).exists() and not (workdir / name).exists():
                shutil.copyfile(folder / name, workdir / name)
        json_files.append(workdir / "rows.jsonl", new_rows(workdir / "rows.jsonl", rows, str(folder)))
        if not (workdir / analyses.FILE).exists():
            record_analysis(workdir, _config(folder), rows)


def _config(folder: Path) -> dict[str, Any]:
    """The folder's config.json, which must name a method and seeds."""
    path = folder / "config.json"
    config = {"baselines": [], "expected": {}, **json_files.read_object(path)}
    check_files(folder, config, {})
    if missing := [name for name in ("method", "seeds") if not config.get(name)]:
        raise UserError(f"{path} is missing, or has no {missing[0]!r}: restore the file that the run wrote")
    return config


def _environment(workdir: Path) -> dict[str, Any]:
    environment = json_files.read_object(workdir / "environment.json")
    check_files(workdir, {}, environment)
    return environment


def _continued(mark: Path) -> dict[str, str]:
    content = json_files.read_object(mark)
    if why := wrong(content, {"name": is_text, "folder": is_text}, ("name", "folder")):
        raise UserError(f"{mark} is damaged ({why}): give --into, or another --workdir")
    return content


def _entries(path: Path) -> list[dict[str, Any]]:
    """The entries of a folder's environment.json: each machine, and the rows that were measured on it."""
    entries = json_files.read_json(path) if path.exists() else []
    if not list_of(record({"rows": mapping_of(list_of(is_count))}, ("rows",)))(entries):
        raise UserError(f"{path} is damaged (it is not a list of machines and their rows): restore the file")
    return entries


def record_analysis(workdir: Path, config: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Record that these rows have been analysed: the table of a folder without recorded analyses counts as an analysis."""
    config = saved_config.fill_defaults(config)
    criteria = criteria_of(config)
    ledger = analyses.read(workdir)
    history, key = analyses.history(ledger, config, rows, criteria), jax.random.key(config["seed"])
    comparisons = stats.comparisons(rows, key, criteria["baseline"], criteria["margin"], history, metrics=(criteria["metric"],))
    analyses.record(workdir, ledger, history.plan, analyses.analysis(comparisons, criteria))


def collect(workdir: Path, into: Path | None = None, replace: bool = False) -> Path:
    """Add a workdir's rows, curves and environment to a folder, which is made where it is missing; returns the folder.

    Rows that the folder already has stay the same byte for byte. A second call with the same arguments changes nothing.

    Args:
        workdir: of a run.
        into: the folder; by default the one that the workdir continues.
        replace: the workdir's arms replace the folder's arms of the same names, which were measured wrongly, and its config
            replaces the folder's; arms with equal rows are not touched.

    Raises:
        UserError: no rows, no folder to write to, another experiment, other data, or differing rows of a seed and arm.
    """
    rows, mark = result_rows.read(workdir / "rows.jsonl"), workdir / MARK
    if not rows:
        raise UserError(f"--collect={workdir} has no finished row (rows.jsonl): give the workdir of a run")
    if into is None and not mark.exists():
        raise UserError(f"--collect={workdir} continues no folder of docs/results: give the folder as --into=docs/results/NAME")
    folder = into or Path(_continued(mark)["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    with json_files.lock_folder(folder):
        config = saved_config.fill_defaults(_config(workdir))
        if replace:
            remove_arms(folder, config, rows)
        config = merged_config(folder, config)
        fresh = new_rows(folder / "rows.jsonl", rows, str(workdir))
        json_files.append(folder / "rows.jsonl", fresh)
        json_files.write_json(folder / "config.json", config)
        add_surroundings(folder, _environment(workdir))
        add_curves(folder / "metrics.jsonl", curve_lines.read(workdir / "metrics.jsonl"))
        _copy_pictures(workdir, folder)
    (folder / ".lock").unlink(missing_ok=True)
    return folder


def remove_arms(folder: Path, config: dict[str, Any], rows: Iterable[Row]) -> None:
    """Remove a folder's rows and curves of the arms whose rows differ from these, and replace its config except its arms.

    An arm with equal rows of the same seeds is not touched.
    """
    path, environment_path = folder / "rows.jsonl", folder / "environment.json"
    if not path.exists():
        return
    old_rows = {(row["method"], row["seed"]): row for row in result_rows.read(path)}
    arms = {row["method"] for row in rows if differing_fields(old_rows.get((row["method"], row["seed"]), row), row)}
    lines = path.read_bytes().splitlines(keepends=True)
    with json_files.whole(path) as file:
        file.write(b"".join(line for line in lines if json.loads(line)["method"] not in arms))
    json_files.filter_rows(folder / "metrics.jsonl", lambda line: line.get("method") not in arms)
    entries = _entries(environment_path)
    for entry in entries:
        entry["rows"] = {arm: old_rows for arm, old_rows in entry["rows"].items() if arm not in arms}
    json_files.write_json(environment_path, [entry for entry in entries if entry["rows"]])
    folder_config = _config(folder)
    kept_fields = {name: folder_config[name] for name in ("baselines", "method", "seeds", "expected")}
    json_files.write_json(folder / "config.json", {**config, **kept_fields})


def new_rows(path: Path, rows: Iterable[Row], source: str) -> list[dict[str, Any]]:
    """The rows that a file lacks.

    Raises:
        UserError: the file has another row of the same seed and arm; or its rows were measured on other data.
    """
    rows_there = {(row["method"], row["seed"]): row for row in result_rows.read(path)}
    fresh = []
    for row in rows:
        _refuse_other_data(row, rows_there.values(), source, path)
        row_there = rows_there.get((row["method"], row["seed"]))
        if row_there is None:
            fresh.append(dict(row))
        elif names := differing_fields(row_there, row):
            raise UserError(
                f"{path} and {source} have different rows of seed {row['seed']} of {row['method']!r} ({', '.join(names[:3])}): "
                "remove one of the two rows"
            )
    return fresh


def differing_fields(row: Row, other: Row) -> list[str]:
    """The fields in which two rows of the same seed and arm differ, except those about cost."""
    names = [name for name in row.keys() | other.keys() if "seconds" not in name and name not in COST]
    return sorted(name for name in names if row.get(name) != other.get(name))


def _refuse_other_data(row: Row, others: Iterable[Row], source: str, path: Path) -> None:
    other = next(iter(others), row)  # the rows of the file agree with each other
    if (digest := row.get("digest")) != (digest_there := other.get("digest")):
        raise UserError(
            f"{source} was measured on other data than {path} (digest {digest}, not {digest_there}): use the same data"
        )


def merged_config(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """The folder's config, with the arms and the seeds of a workdir's config added.

    Raises:
        UserError: the two configs describe different experiments.
    """
    path = folder / "config.json"
    if not path.exists():
        return config
    saved = saved_config.fill_defaults(_config(folder))  # an earlier version wrote fewer fields
    if different_fields := experiment.differences(config, saved):
        raise UserError(f"--into={folder} holds a different experiment ({'; '.join(different_fields)}): use another folder")
    arms = dict.fromkeys([*saved["baselines"], *config["baselines"], config["method"]])
    arms.pop(saved["method"], None)
    ranges = [seed_range.of(each.get("seeds")) for each in (saved, config)]
    all_seeds = range(min(part.start for part in ranges), max(part.stop for part in ranges))
    return {**config, **saved, "seeds": seed_range.written(all_seeds), "baselines": list(arms)}


def add_surroundings(folder: Path, environment: Mapping[str, Any]) -> None:
    """Append an entry to environment.json for the rows that no entry names yet."""
    path = folder / "environment.json"
    entries = _entries(path)
    named = {(method, seed) for entry in entries for method, these in entry["rows"].items() for seed in these}
    arms: dict[str, list[int]] = {}
    for row in result_rows.read(folder / "rows.jsonl"):
        if (row["method"], row["seed"]) not in named:
            arms.setdefault(row["method"], []).append(row["seed"])
    if not arms:
        return
    machine = {name: environment.get(name) for name in SURROUNDINGS}
    machine["command"] = _without_paths(machine["command"])
    data = {name: environment.get("data", {}).get(name) for name in ("name", "source", "digest", "class_names")}
    json_files.write_json(path, [*entries, {**machine, "date": time.strftime("%Y-%m-%d"), "data": data, "rows": arms}])


def _without_paths(command: str | None) -> str | None:
    """A command without the paths of one machine."""
    return command and re.sub(r" --(workdir|config\.data\.dir|continue|compilation_cache)[= ]\S+", "", command)


def add_curves(path: Path, lines: Sequence[Row]) -> None:
    """Append the curves of trainings that are missing in a metrics.jsonl; above a megabyte, thin the file out."""
    known_trainings = {_training(line) for line in curve_lines.read(path)}
    json_files.append(path, [dict(line) for line in lines if _training(line) not in known_trainings])
    if path.exists() and path.stat().st_size > MOST_BYTES:
        thin = thin_out(json_files.read(path), MOST_BYTES)
        remaining = iter(thin)
        following = [next(remaining, None)]

        def keeps(line: Row) -> bool:
            if line != following[0]:
                return False
            following[0] = next(remaining, None)
            return True

        json_files.filter_rows(path, keeps)


def thin_out(lines: Sequence[Row], most: int) -> list[Row]:
    """The lines of every second epoch, or every fourth, ..., until they fit into `most` bytes.

    Warnings and the first and last epoch of each training are always kept.
    """
    ends: dict[tuple, tuple[int, int]] = {}
    for line in lines:
        low, high = ends.get(_training(line), (line["epoch"], line["epoch"]))
        ends[_training(line)] = min(low, line["epoch"]), max(high, line["epoch"])
    step, kept_lines = 1, list(lines)
    while sum(len(json.dumps(line)) + 1 for line in kept_lines) > most and step <= max(high for _, high in ends.values()):
        step *= 2
        kept_lines = [
            line
            for line in kept_lines
            if line["stage"] == "warning" or line["epoch"] % step == 0 or line["epoch"] in ends[_training(line)]
        ]
    return kept_lines


def _training(line: Row) -> tuple:
    return line["stage"], line.get("of"), line.get("method"), line["seed"]


def _copy_pictures(workdir: Path, folder: Path) -> None:
    """Copy the record of the analyses, and, where missing, the pictures and quality of a generator."""
    for name, target in {"generator.json": "generator.json", analyses.FILE: analyses.FILE, **PICTURES}.items():
        if (workdir / name).exists() and (name == analyses.FILE or not (folder / target).exists()):
            shutil.copyfile(workdir / name, folder / target)
