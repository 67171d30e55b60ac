"""CSV files that describe the images: found, read, and matched to the files."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from imbal_jax.data.files import Entry, Tree
from imbal_jax.data.images import SUFFIXES, Unusable
from imbal_jax.errors import UserError, nearest

ENDINGS = (".csv", ".tsv", ".txt")
# Names of the column that holds the file, the likelier first, without spaces, '_' and '-'.
FILE_COLUMNS = (
    "file",
    "filename",
    "filepath",
    "path",
    "image",
    "imagename",
    "imagefile",
    "imagepath",
    "imageid",
    "imgname",
    "imgid",
    "img",
    "name",
    "id",
    "idcode",
    "isicid",
)


class Table(NamedTuple):
    """The rows of a CSV file.

    Attributes:
        place: its path, for messages.
        folder: of the tree in which it is, with a slash at its end; '' at the top, or where it is elsewhere.
        columns: the names in its first line.
        rows: each row's text by column.
    """

    place: str
    folder: str
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, str], ...]


def divided(named: str) -> tuple[str, str]:
    """'FILE' or 'FILE:COLUMN' as (FILE, COLUMN or '')."""
    if named.lower().endswith(ENDINGS) or ":" not in named:
        return named, ""
    file, _, column = named.rpartition(":")
    return file, column


def read(tree: Tree, file: str, what: str, wanted: str) -> Table:
    """The table of that name in the tree, or else of that path.

    Args:
        tree: with the images.
        file: a path below the tree, or any other path.
        what: its content, such as 'groups', for messages.
        wanted: what it must be like, for messages.

    Raises:
        UserError: it is missing, cannot be read, or is not a CSV.
    """
    own = next((entry for entry in tree.entries if entry.name == file), None)
    place = tree.path / file if own else Path(file).expanduser()
    try:
        content = tree.read(own) if own else place.read_bytes()
        return parse(str(place), file.rpartition("/")[0] + "/" if own and "/" in file else "", content)
    except (OSError, Unusable, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read the {what} in {place}: {error}; {wanted}") from error


def parse(place: str, folder: str, content: bytes) -> Table:
    """The table in the bytes, UTF-8 or UTF-16 with its mark; divided by commas, semicolons or tabs, as its first line is.

    Raises:
        UnicodeDecodeError, csv.Error: it is not such a text.
    """
    text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") and len(content) > 3 else "utf-8-sig")
    first = next(iter(text.splitlines()), "")
    mark = max(",;\t", key=first.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=mark, skipinitialspace=True, strict=True)
    columns = tuple(name.strip() for name in next(lines, []))
    rows = tuple(dict(zip(columns, (cell.strip() for cell in line), strict=False)) for line in lines if any(line))
    return Table(place, folder, columns, rows)


def column_of(table: Table, names: Iterable[str]) -> str:
    """The table's column with the first of the names that it has, whatever the case, spaces, '_' and '-'; or ''."""
    known = {_plain(column): column for column in reversed(table.columns)}
    return next((known[name] for name in names if name in known), "")


def _plain(column: str) -> str:
    return "".join(letter for letter in column.casefold() if letter not in " _-")


def asked_column(table: Table, column: str, option: str) -> str:
    """The column as the table spells it.

    Raises:
        UserError: it has none of that name.
    """
    if column in table.columns:
        return column
    if found := column_of(table, [_plain(column)]):
        return found
    have = f"{table.place} has no column {column!r}{nearest(column, table.columns)}"
    raise UserError(f"{have}; it has {', '.join(table.columns)}: set config.data.{option}=FILE:COLUMN to one of these")


def match(table: Table, column: str, entries: Sequence[Entry]) -> tuple[dict[str, Mapping[str, str]], list[str]]:
    """The row of each image that has one, by the image's name, and the texts in the column that name no image.

    A text names an image by its path below the table's folder or the tree's top, or by its last part alone where only one
    image has that; with its ending or without.

    Raises:
        UserError: a text names several images, or two rows that differ name one.
    """
    full: dict[str, list[str]] = {}
    last: dict[str, list[str]] = {}
    for entry in entries:
        for key in {entry.name, _stem(entry.name)}:
            full.setdefault(key, []).append(entry.name)
            last.setdefault(key.rpartition("/")[2], []).append(entry.name)
    found: dict[str, Mapping[str, str]] = {}
    lost = []
    for row in table.rows:
        text = row.get(column, "").replace("\\", "/").removeprefix("./").lstrip("/")
        names = full.get(table.folder + text) or full.get(text) or last.get(text.rpartition("/")[2], [])
        if not text or not names:
            lost.append(text)
            continue
        if len(names) > 1:
            what = f"{table.place}: {text!r} in the column {column} names {len(names)} images ({names[0]}, {names[1]}, ...)"
            raise UserError(f"{what}; write the path of each below the data set's folder")
        if found.setdefault(names[0], row) != row:
            raise UserError(f"{table.place} has two rows for {names[0]} that differ; remove one of them")
    return found, lost


def _stem(name: str) -> str:
    return name[: name.rindex(".")] if name.lower().endswith(SUFFIXES) else name


def file_column(table: Table, entries: Sequence[Entry]) -> str:
    """The column in which most texts are names of images; of several the one of the more usual name; '' where none is."""
    usual = [column for name in FILE_COLUMNS if (column := column_of(table, [name]))]
    names = {entry.name.rpartition("/")[2] for entry in entries}
    names |= {_stem(name) for name in names}
    many = {
        column: sum(row.get(column, "").replace("\\", "/").rpartition("/")[2] in names for row in table.rows)
        for column in dict.fromkeys([*usual, *table.columns])
    }
    best = max(many, key=lambda column: many[column], default="")
    return best if many.get(best) else ""
