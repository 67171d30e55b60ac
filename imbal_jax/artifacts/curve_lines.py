"""The lines of metrics.jsonl, read back and checked: each has a stage, a seed, an epoch, and numbers or a message."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imbal_jax.artifacts import json_files
from imbal_jax.artifacts.json_kinds import is_count, is_number, is_text, optional, wrong
from imbal_jax.errors import UserError

KINDS = {
    "stage": is_text, "seed": is_count, "epoch": is_count, "method": optional(is_text), "of": optional(is_text),
    "message": is_text, "loss_name": optional(is_text), "restarted": is_text, "stopped": is_text, "good_epoch": is_count,
}  # fmt: skip
NEEDED = ("stage", "seed", "epoch")


def read(path: Path) -> list[dict[str, Any]]:
    """All lines; [] without a file.

    Raises:
        UserError: a damaged line, or a line that no training has written.
    """
    return [_checked(path, line) for line in json_files.read(path)]


def newest_first(path: Path) -> Iterator[dict[str, Any]]:
    """The lines from the last to the first, read lazily.

    Raises:
        UserError: as `read`, of a line once it is reached.
    """
    return (_checked(path, line) for line in json_files.newest_first(path))


def _checked(path: Path, line: dict[str, Any]) -> dict[str, Any]:
    why = wrong(line, KINDS, NEEDED)
    if why is None and line["stage"] in ("gan", "classifier"):
        other_types = [
            name for name, value in line.items() if name not in KINDS and isinstance(value, list | dict | bool | str)
        ]
        why = wrong(line, dict.fromkeys(other_types, optional(is_number)))
    if why is None and line["stage"] == "warning" and "message" not in line:
        why = "'message' is missing"
    if why:
        raise UserError(f"{path} has a line that no training has written ({why}): remove that line")
    return line
