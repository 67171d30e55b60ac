"""The CSV file that says which images belong together."""

from collections.abc import Sequence

import numpy as np

from imbal_jax.data import tables
from imbal_jax.data.files import Tree
from imbal_jax.errors import UserError

OWN = "groups.csv"
WANTED = "it must be a CSV file with the columns file and group"


def read(tree: Tree, named: str, names: Sequence[str]) -> np.ndarray | None:
    """The group of each image as a word, [N], from a CSV file with the columns file and group.

    Args:
        tree: with the images. Its own file groups.csv at the top is read where no other is named.
        named: another file, FILE or FILE:COLUMN, as `tables.read` and `tables.match` find file and images; or empty.
        names: of the images, as the tree has them.

    Returns:
        None where no file is named and the tree has none.

    Raises:
        UserError: the file is missing, unreadable or not such a CSV, or lacks images.
    """
    if not named and all(entry.name != OWN for entry in tree.entries):
        return None
    file, column = tables.divided(named or OWN)
    table = tables.read(tree, file, "groups", WANTED)
    wanted = set(names)
    images = [entry for entry in tree.entries if entry.name in wanted]
    place = tables.file_column(table, images) if column else tables.column_of(table, ["file", "filename"])
    column = tables.asked_column(table, column, "groups") if column else tables.column_of(table, ["group"])
    if not place or not column:
        raise UserError(f"{table.place} has the columns {', '.join(table.columns)}: it needs file and group")
    return of(table.place, tables.match(table, place, images)[0], column, names)


def of(place: str, rows: dict, column: str, names: Sequence[str]) -> np.ndarray:
    """The text of the column for each image, [N].

    Raises:
        UserError: an image has none.
    """
    groups = {name: row.get(column, "") for name, row in rows.items()}
    missing = [name for name in names if not groups.get(name)]
    if missing:
        lack = f"{place} has no group for {len(missing)} of {len(names)} images (the first: {missing[0]})"
        raise UserError(f"{lack}: add them; file is the path below the data set's folder")
    return np.array([groups[name] for name in names])
