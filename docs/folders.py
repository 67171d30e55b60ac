"""A folder of docs/results: its rows, where they were measured, and the prose about them.

config.json         the experiment, every field.
environment.json    a list with an entry for each machine that contributed rows.
rows.jsonl          a line for each seed and arm.
about.json          what a person has to say and rows cannot: see `About`.
"""

from pathlib import Path
from typing import Any, NamedTuple

from imbal_jax.artifacts import json_files
from imbal_jax.evaluate import result_rows

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results"
BASELINE = "none"
METRIC = "balanced_accuracy"


class About(NamedTuple):
    """The content of about.json; its prose has no measured number.

    Attributes:
        title: of the table.
        setting: what was trained on what.
        chosen: what the settings were chosen on (the source's own, validation rows, the test set).
        command: shell commands that measure it anew.
        faults: what is wrong with the measurement, a sentence each.
        compare: whether arms may be compared at all.
        columns: metrics of the table.
        differences: metrics whose paired differences are shown; () for the config's own.
        pairs: (arm, arm it is compared with); () for every arm against the baseline.
        suspended: arms that are not compared, and why.
        pictures: (file, caption).
        own_length: the arms differ in length on purpose, as in a source.
    """

    title: str
    setting: str
    chosen: str
    command: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    compare: bool = True
    columns: tuple[str, ...] = (METRIC,)
    differences: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    suspended: dict[str, str] = {}
    pictures: tuple[tuple[str, str], ...] = ()
    own_length: bool = False


class Folder(NamedTuple):
    """What a table is rendered from.

    Attributes:
        name: of the folder.
        config, environment, rows: as in its files; each row has `steps` and `length`, see `result_rows.with_length`.
        about: see `About`.
    """

    name: str
    config: dict[str, Any]
    environment: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    about: About


def names() -> list[str]:
    """The folders that hold rows."""
    return sorted(path.parent.name for path in RESULTS.glob("*/rows.jsonl"))


def read(name: str) -> Folder:
    """Read docs/results/NAME.

    Raises:
        UserError: a file is missing or damaged.
    """
    path = RESULTS / name
    config = json_files.read_json(path / "config.json")
    return Folder(
        name=name,
        config=config,
        environment=json_files.read_json(path / "environment.json"),
        rows=current([result_rows.with_length(row, config) for row in json_files.read(path / "rows.jsonl")]),
        about=about(path / "about.json", config),
    )


def about(path: Path, config: dict[str, Any]) -> About:
    """The content of about.json; of a folder that was collected and has none yet, its name."""
    if not path.exists():
        return About(str(config.get("name") or path.parent.name), "", "Not stated.", columns=(metric_of(config),))
    return About(**{field: _tuples(value) for field, value in json_files.read_json(path).items()})


def metric_of(config: dict[str, Any]) -> str:
    """The metric that an experiment is decided in."""
    return str(config.get("metric") or METRIC)


def baseline_of(folder: Folder) -> str:
    """The arm that the others are compared with."""
    methods = [row["method"] for row in folder.rows]
    return str(folder.config.get("baseline") or (BASELINE if BASELINE in methods else methods[0]))


def current(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows without those of an arm that was measured again: an arm has rows of one kind of length only."""
    again = {row["method"] for row in rows if not row["derived"]}
    return [row for row in rows if not (row["derived"] and row["method"] in again)]


def gan_steps(row: dict[str, Any], config: dict[str, Any]) -> int | None:
    """The steps of the longest trained generator of a row; None where the arm has no GAN.

    Rows did not have them before; they follow from the config as the GANs were trained then.
    """
    if "gan_synth" not in row["method"]:
        return None
    kept = [value for name, value in row.items() if name.startswith("gan_steps")]
    if kept:
        return max(kept)
    gan, counts = config["gan"], row["counts_before"]
    size = gan["per_class"] * len(counts) if gan["per_class"] else sum(counts)
    if gan["classes"]:  # as many steps for each class, and as many in all as each would take with epochs of its own
        own = [n for n in counts if n < max(counts) / 2]
        if gan["classes"] != "minority":
            own = [counts[int(label)] for label in gan["classes"].split(",")]
        size = sum(own) // len(own)
    return gan["epochs"] * max(1, size // (gan["batch"] * gan["d_steps"]))


def lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a .jsonl file of the repository."""
    return json_files.read(path)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
