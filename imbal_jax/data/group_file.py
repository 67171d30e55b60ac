"""The CSV file that says which images belong together."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imbal_jax.data.files import Tree
from imbal_jax.data.images import Unusable
from imbal_jax.errors import UserError

OWN = "groups.csv"


def read(tree: Tree, named: str, names: Sequence[str]) -> np.ndarray | None:
    """The group of each image as a word, [N], from a CSV file with the columns file and group.

    Args:
        tree: what the images lie in. Its own file groups.csv at the top is read where no other is named.
        named: the path of another file, or empty.
        names: of the images, as the tree has them.

    Returns:
        None where no file is named and the tree has none.

    Raises:
        UserError: the file is not there, not readable or no such CSV, or lacks images.
    """
    own = next((entry for entry in tree.entries if entry.name == OWN), None)
    place = Path(named).expanduser() if named else tree.path / OWN
    try:
        if named:
            content = place.read_bytes()
        elif own:
            content = tree.read(own)
        else:
            return None
        groups = _parse(place, content.decode("utf-8-sig"))
    except (OSError, Unusable, UnicodeDecodeError, csv.Error) as error:
        wanted = "it must be a CSV file with the columns file and group"
        raise UserError(f"cannot read the groups in {place}: {error}; {wanted}") from error
    missing = [name for name in names if not groups.get(name)]
    if missing:
        lack = f"{place} has no group for {len(missing)} of {len(names)} images (the first: {missing[0]})"
        raise UserError(f"{lack}: add them; file is the path below the data set's folder")
    return np.array([groups[name] for name in names])


def _parse(place: Path, text: str) -> dict[str, str]:
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    if not {"file", "group"} <= set(rows.fieldnames or ()):
        raise UserError(f"{place} has the columns {', '.join(rows.fieldnames or ())}: it needs file and group")
    return {row["file"]: row["group"] for row in rows}
