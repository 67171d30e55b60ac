"""config.json back to the config of an experiment, fields that an earlier version did not have filled in."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imbal_jax.errors import UserError

FILE = "config.json"
# What an experiment meant that was kept before there was such a field, where the config files say something else today.
BEFORE = {"classifier.epochs_of": "own"}


def read(folder: Path, schema: Mapping[str, Any]) -> Any:
    """The ConfigDict of a folder that holds config.json: a workdir, or a folder of docs/results.

    Args:
        folder: the folder.
        schema: a config with every field; it gives those that the file lacks.

    Raises:
        UserError: there is no such file, or it is damaged.
    """
    from ml_collections import ConfigDict

    path = Path(folder) / FILE
    if not path.is_file():
        raise UserError(f"{folder} holds no {FILE}: give a folder of docs/results, or a run's workdir")
    try:
        kept = json.loads(path.read_bytes())
        if not isinstance(kept, dict):
            raise ValueError("no object")
    except ValueError as problem:
        raise UserError(f"{path} is damaged ({problem})") from problem
    return ConfigDict(_tuples(filled(kept, schema)))


def filled(kept: Mapping[str, Any], schema: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The fields that were kept, and those of `schema` that are lacking."""
    found = dict(kept)
    for name, value in schema.items():
        if name not in found:
            found[name] = BEFORE.get(prefix + name, value)
        elif isinstance(value, Mapping) and isinstance(found[name], Mapping) and name != "expected":
            found[name] = filled(found[name], value, f"{prefix}{name}.")
    return found


def _tuples(value: Any) -> Any:
    """JSON has lists where configs have tuples."""
    if isinstance(value, Mapping):
        return {name: _tuples(item) for name, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value
