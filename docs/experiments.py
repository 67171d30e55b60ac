"""README's list of configs: what each is, what was published, and what the committed rows say."""

from typing import Any

from docs import folders, tables
from imbal_jax.artifacts import json_files

FILE = folders.ROOT / "docs" / "experiments.json"


def table() -> str:
    """A line for each entry of docs/experiments.json: config, what, published and, of one folder, the named arms."""
    lines = ["| config | what | published | measured here |", "|---|---|---|---|"]
    return "\n".join([*lines, *(_line(entry) for entry in json_files.read_json(FILE))])


def _line(entry: dict[str, Any]) -> str:
    return f"| {entry['config']} | {entry['what']} | {entry.get('published', '-')} | {_measured(entry)} |"


def _measured(entry: dict[str, Any]) -> str:
    if "folder" not in entry:
        return entry.get("measured", "-")
    folder = folders.read(entry["folder"])
    link = f"[table](docs/results/{folder.name}/table.md)"
    if not entry.get("arms"):
        return f"a re-run is due: {link}" if folder.about.faults else link
    metric = entry.get("metric") or folders.metric_of(folder.config)
    shown = (f"{name} {tables.mean_of(folder, arm, metric)}" for name, arm in entry["arms"].items())
    seeds = len({row["seed"] for row in folder.rows})
    return f"{', '.join(shown)}; {seeds} seed{'s' if seeds > 1 else ''}: {link}"
