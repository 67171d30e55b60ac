"""Reads config.json back as an experiment's config; fields that an earlier version did not have get their defaults."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imbal_jax.config import MAPPINGS, defaults
from imbal_jax.errors import UserError

FILE = "config.json"
# Values for experiments saved before the field existed, where the default is different today.
BEFORE = {"classifier.epochs_of": "own"}


def read(folder: Path) -> Any:
    """The ConfigDict of a folder that holds config.json, with all fields: a workdir, or a folder of docs/results.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = Path(folder) / FILE
    if not is_file(path):
        raise UserError(f"{str(folder):.200} has no {FILE}: give a folder of docs/results, or a run's workdir")
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("not an object")
    except ValueError as problem:
        raise UserError(f"{path} is damaged ({problem})") from problem
    return restore_config(content)


def is_file(path: Path) -> bool:
    """Whether there is such a file; False for a name that no file can have, such as one that is too long."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def restore_config(content: Mapping[str, Any]) -> Any:
    """The ConfigDict that config.json describes, with all fields."""
    from ml_collections import ConfigDict

    return ConfigDict(_with_tuples(fill_defaults(content)))


def fill_defaults(content: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of config.json, with defaults for missing fields, all in JSON's types: lists, no tuples."""
    group = content.get("data")
    name = group.get("name") if isinstance(group, Mapping) else None
    try:
        schema = defaults(str(name))
    except UserError:  # a data set that no longer exists
        schema = defaults("")
    return _filled(content, json.loads(json.dumps(schema)))


def _filled(content: Mapping[str, Any], schema: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    fields = dict(content)
    for name, value in schema.items():
        if name not in fields:
            fields[name] = BEFORE.get(prefix + name, value)
        elif isinstance(value, Mapping) and isinstance(fields[name], Mapping) and prefix + name not in MAPPINGS:
            fields[name] = _filled(fields[name], value, f"{prefix}{name}.")
    return fields


def _with_tuples(value: Any) -> Any:
    """The value with tuples in place of lists, which JSON has instead."""
    if isinstance(value, Mapping):
        return {name: _with_tuples(item) for name, item in value.items()}
    return tuple(_with_tuples(item) for item in value) if isinstance(value, list | tuple) else value
