"""point.json, beside a chunk's checkpoints: whose they are, and the values of the grid's fields that they were trained with."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from imbal_jax.artifacts import json_files
from imbal_jax.artifacts.json_kinds import either, is_count, is_number, is_text, list_of, mapping_of, wrong
from imbal_jax.errors import UserError

FILE = "point.json"
KINDS = {"seeds": list_of(is_count), "point": mapping_of(either(is_text, is_number))}


class TrainedPoint(NamedTuple):
    """What a folder of checkpoints belongs to.

    Attributes:
        seeds: one per lane, in the order of the checkpoints' leading axis.
        point: field of the config -> value, such as {'gan.loss': 'hinge'}; {} without a grid over fields.
    """

    seeds: list[int]
    point: dict[str, float | str]


def write(folder: Path, seeds: Sequence[int], point: Mapping[str, float | str]) -> None:
    """Write point.json into the folder, which is made where it is missing; a file with the same content stays untouched.

    Raises:
        UserError: the file cannot be written.
    """
    content = {"seeds": list(seeds), "point": dict(point)}
    if not (folder / FILE).exists() or json_files.read_json(folder / FILE) != content:
        json_files.write_json(folder / FILE, content)


def read(folder: Path) -> TrainedPoint:
    """The content of a folder's point.json.

    Raises:
        UserError: the file is missing, as in folders of an earlier version, or damaged.
    """
    path = folder / FILE
    if not path.is_file():
        raise UserError(
            f"{folder} has no {FILE} (an earlier version wrote none): add the file with the seeds and the grid's values "
            'of these checkpoints, such as {"seeds": [0, 1], "point": {"gan.latent": 64}}, or "point": {} without a grid'
        )
    content = json_files.read_object(path)
    if why := wrong(content, KINDS, tuple(KINDS)):
        raise UserError(f"{path} is damaged ({why}); continue the run to have it written again")
    return TrainedPoint(content["seeds"], content["point"])
