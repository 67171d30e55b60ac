"""Classes from a CSV file next to the images: metadata.csv, labels.csv, or a named one."""

import csv
from collections.abc import Mapping, Sequence

from imbal_jax.data import class_folders, files, folder_names, tables
from imbal_jax.data.class_folders import Images, Labelled, Place
from imbal_jax.data.files import Entry, Tree
from imbal_jax.data.folder_names import TEST, TRAIN
from imbal_jax.data.images import Unusable
from imbal_jax.data.tables import Table
from imbal_jax.errors import UserError

OWN = ("labels.csv", "metadata.csv")
LABEL_COLUMNS = ("label", "labels", "class", "classname", "category", "target")
OWNERS = ("patient", "patientid", "subject", "subjectid", "lesionid", "caseid", "participantid")  # that a note lists
WANTED = "it must be a CSV file with the columns file and label"


def label(tree: Tree, named: str, grouped: bool = False) -> tuple[Labelled | None, tuple[str, ...]]:
    """Classes, splits and groups of the images from a table.

    The table names the images in one column, as `tables.match` finds them, and the class in another: COLUMN, or label (class,
    category, target). Where it has a column split (train, test, val), that is the split, else folders name it
    (train/1.png). Where it has a column group, images of one group belong together. Images without a label are left out.

    Args:
        tree: with the images.
        named: FILE or FILE:COLUMN; empty for the tree's own labels.csv or metadata.csv. Several of that name, such as
            train/metadata.csv and test/metadata.csv, are read as one.
        grouped: whether groups are read from elsewhere; if not, the notes name a column that may hold them.

    Returns:
        (None where there is no table, or none that names classes; notes on what was seen and not read).

    Raises:
        UserError: a named table is missing or not such a CSV, names no image or one several times, an unknown split.
    """
    images_found = class_folders.find(tree)
    if named:
        file, column = tables.divided(named)
        return _labelled(tree, images_found, [tables.read(tree, file, "labels", WANTED)], column, grouped), ()
    notes: list[str] = []
    for file_name in OWN:
        at = [entry for entry in tree.entries if entry.name.rpartition("/")[2].lower() == file_name]
        known = [table for entry in at if (table := _own(tree, entry))]
        with_labels = [
            table
            for table in known
            if tables.column_of(table, LABEL_COLUMNS) and tables.file_column(table, images_found.entries)
        ]
        if with_labels:
            return _labelled(tree, images_found, with_labels, "", grouped), tuple(notes)
        notes += [_unread(table) for table in known[:1]]
    return None, tuple(notes)


def _own(tree: Tree, entry: Entry) -> Table | None:
    folder = entry.name[: entry.name.rfind("/") + 1]
    try:
        return tables.parse(f"{tree.path}/{entry.name}", folder, tree.read(entry))
    except (Unusable, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read the labels in {tree.path}/{entry.name}: {error}; correct or remove it") from error


def _unread(table: Table) -> str:
    name = table.place.rpartition("/")[2]
    return (
        f"{name} has the columns {', '.join(table.columns)} and names no class of an image, so it is not read; if one of them"
        f" is the class, set config.data.labels={table.folder}{name}:COLUMN."
    )


def _labelled(tree: Tree, images_found: Images, given: Sequence[Table], column: str, grouped: bool) -> Labelled:
    top_splits = folder_names.splits({_first(entry, images_found.top) for entry in images_found.entries} - {""})
    places: dict[str, Place] = {}
    lost: list[str] = []
    notes = list(class_folders.mask_notes(images_found))
    by_name = {entry.name: entry for entry in images_found.entries}
    for table in given:
        label_column = tables.asked_column(table, column, "labels") if column else tables.column_of(table, LABEL_COLUMNS)
        file = tables.file_column(table, images_found.entries)
        if not label_column or not file:
            lack = "no column that names images of the data set" if label_column else "no column label"
            what = f"{table.place} has the columns {', '.join(table.columns)}, and {lack}"
            raise UserError(f"{what}: set config.data.labels=FILE:COLUMN, and name each image by its path")
        rows, unknown = tables.match(table, file, images_found.entries)
        lost += unknown
        split, group = tables.column_of(table, ["split"]), tables.column_of(table, ["group"])
        for name, row in rows.items():
            if row.get(label_column):
                side = _split(table, row, split) if split else top_splits.get(_first(by_name[name], images_found.top), TRAIN)
                places[name] = Place(by_name[name], side, row[label_column], _group(table, row, group, name))
        notes += _column_notes(table, label_column, file, bool(group) or grouped)
    if len({bool(place.group) for place in places.values()}) > 1:
        raise UserError(f"{given[0].place}: only some of the tables have a column group; give it to all or to none")
    if not places:
        raise UserError(f"{given[0].place} has a label for none of {len(images_found.entries)} images; name each by its path")
    if lost:
        notes.append(f"{len(lost)} rows of the labels (the first: {lost[0]!r}) name no image.")
    left_out = [f"{files.printable(entry.name)}: is a segmentation mask" for entry in images_found.masks]
    left_out += [f"{files.printable(name)}: has no label in the table" for name in by_name if name not in places]
    return class_folders.gather(tree, list(places.values()), tuple(left_out), tuple(notes))


def _first(entry: Entry, top: str) -> str:
    """The folder at the top that the file is in, or ''."""
    return entry.name[len(top) :].partition("/")[0] if "/" in entry.name[len(top) :] and entry.name.startswith(top) else ""


def _split(table: Table, row: Mapping[str, str], column: str) -> str:
    kind = folder_names.plain_split(text := row.get(column, ""))
    if not kind:
        raise UserError(f"{table.place}: the split is {text!r} in a row; it must be train, {TEST} or val")
    return kind


def _group(table: Table, row: Mapping[str, str], column: str, name: str) -> str:
    if column and not row.get(column):
        raise UserError(f"{table.place} has no group for {name}: add it, or remove the column")
    return row[column] if column else ""


def _column_notes(table: Table, label: str, file: str, grouped: bool) -> list[str]:
    name = table.place.rpartition("/")[2]
    notes = [f"The classes are from {table.folder}{name}, column {label}; its column {file} names the images."]
    if not grouped and (owner := tables.column_of(table, OWNERS)):
        what = f"Its column {owner} may tell which images belong together, and is not used"
        notes.append(f"{what}: set config.data.groups={table.folder}{name}:{owner} to keep them on one side of the split.")
    return notes
