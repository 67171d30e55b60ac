"""The files of the retinopathy data: a table of grades and a folder of fundus photographs, made square arrays."""

import csv
import functools
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from imbal_jax.data import class_folders, images
from imbal_jax.data.files import Entry, Tree
from imbal_jax.data.images import Unusable
from imbal_jax.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

CLASSES = ("0", "1", "2", "3", "4")
TABLE = "trainLabels.csv"
APTOS = "train.csv"  # of the set of 2019
COLUMNS = (("image", "level"), ("id_code", "diagnosis"))  # of the one and of the other
PUBLISHED = {TABLE: 35_126, APTOS: 3_662}  # labelled images
ENDINGS = (".jpeg", ".jpg", ".png")
DARK = 10  # of 255; the rings that JPEG leaves around the disc are below
NOISE = 0.02  # of a row or column of pixels: hot pixels and specks of dust are fewer


class Photographs(NamedTuple):
    """All images that can be used.

    Attributes:
        x: uint8 [N, size, size, 3].
        y: int32 [N], the grades.
        ids: int64 [N], the row's number in the table, ascending; repeated equal rows do not count.
        patients: str [N].
        left_out: "path: why" of what cannot be used.
        unlabelled: how many image files are not in the table.
        alone: how many images have names without patient and eye; each is treated as a patient.
        table: the name of the table: `TABLE` or `APTOS`.
    """

    x: np.ndarray
    y: np.ndarray
    ids: np.ndarray
    patients: np.ndarray
    left_out: tuple[str, ...]
    unlabelled: int
    alone: int
    table: str


class _Eye(NamedTuple):
    """A row of the table: the image's name without its ending, its grade, and the line."""

    name: str
    grade: int
    line: int


def read(tree: Tree, size: int, crop: bool) -> Photographs:
    """The images that the table of grades names, from any folder of the tree, by `fit`; from the cache where they are there.

    The table is trainLabels.csv with the columns image and level, or train.csv of APTOS 2019 with id_code and diagnosis.

    Where several folders have an image, that with the most labelled images gives it: train/, and not sample/.

    Args:
        tree: with the table and the images.
        size: height and width of the images.
        crop: cut off the dark border.

    Raises:
        UserError: no table, a damaged one, one without these columns or without rows; a level that is none of
            0 to 4, two levels for one image; no image that can be used.
    """
    eyes, table_name = _table(tree)
    entries, unlabelled = _entries(tree, {eye.name for eye in eyes})
    if not entries:
        what = f"{tree.path} holds none of the {len(eyes):,} images that {table_name} names"
        raise UserError(f"{what}: put them, such as {eyes[0].name}{ENDINGS[0]}, into a folder beside it")
    existing = np.array([number for number, eye in enumerate(eyes) if eye.name in entries], np.int64)
    missing = [f"{table_name}, line {eye.line}: there is no image {eye.name}" for eye in eyes if eye.name not in entries]
    decoded = class_folders.decode(
        tree,
        [entries[eyes[number].name] for number in existing],
        ("retinopathy", 1, size, crop),
        lambda: functools.partial(_decode, size=size, crop=crop),
        cache_from=0,
        label="retinopathy",
    )
    ids = existing[decoded.kept]
    y = np.array([eyes[number].grade for number in ids], np.int32)
    patients = [_patient(eyes[number].name) for number in ids]
    alone = sum(patient == eyes[number].name for patient, number in zip(patients, ids, strict=True))
    return Photographs(decoded.x, y, ids, np.array(patients), (*missing, *decoded.left_out), unlabelled, alone, table_name)


def _patient(name: str) -> str:
    patient, _, eye = name.rpartition("_")
    return patient if eye in ("left", "right") else name


def _table(tree: Tree) -> tuple[list[_Eye], str]:
    """The rows of the table, and its name."""
    for table_name in (TABLE, APTOS):
        at = [entry for entry in tree.entries if entry.name.rsplit("/", 1)[-1].lower() == table_name.lower()]
        if at:
            break
    else:
        others = sorted(entry.name for entry in tree.entries if entry.name.lower().endswith(".csv"))
        have = f", only {', '.join(others[:3])}" if others else ""
        known = f"{TABLE} (columns {', '.join(COLUMNS[0])}) or {APTOS} ({', '.join(COLUMNS[1])})"
        raise UserError(f"{tree.path} has no {known}{have}: put it there, unpacked")
    entry = min(at, key=lambda entry: (entry.name.count("/"), entry.name))
    table_path = f"{tree.path}/{entry.name}"
    try:
        return _parse(table_path, tree.read(entry).decode("utf-8-sig")), table_name
    except (Unusable, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {table_path}: {error}; replace the file") from error


def _parse(table_path: str, text: str) -> list[_Eye]:
    eyes: dict[str, _Eye] = {}
    table = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    names = [name.strip().lower() for name in table.fieldnames or ()]
    columns = next((pair for pair in COLUMNS if set(pair) <= set(names)), None)
    if not columns:
        wanted = " or ".join(" and ".join(pair) for pair in COLUMNS)
        raise UserError(f"{table_path} has the columns {', '.join(table.fieldnames or ())}: it needs {wanted}")
    table.fieldnames = [COLUMNS[0][columns.index(name)] if name in columns else name for name in names]
    for row in table:
        eye = _eye(row, table.line_num, f"{table_path}, line {table.line_num}")
        known = eyes.setdefault(eye.name, eye)
        if known.grade != eye.grade:
            other = f"but {known.grade} in line {known.line}"
            raise UserError(f"{table_path}, line {eye.line}: level of {eye.name} is {eye.grade}, {other}; remove one of them")
    if not eyes:
        raise UserError(f"{table_path} has no rows: replace the file")
    return list(eyes.values())


def _eye(row: Mapping[str, str | None], line: int, where: str) -> _Eye:
    name, level = ((row[column] or "").strip() for column in ("image", "level"))
    if not name:
        raise UserError(f"{where}: it has no image name; correct or remove the line")
    if level not in CLASSES:
        raise UserError(f"{where}: level of {name} is {level!r}; it must be a whole number from 0 to 4")
    return _Eye(_stem(name), CLASSES.index(level), line)


def _stem(file: str) -> str:
    """The name without the ending of an image file, if it has one."""
    ending = next((ending for ending in ENDINGS if file.lower().endswith(ending)), "")
    return file[: len(file) - len(ending)]


def _entries(tree: Tree, names: set[str]) -> tuple[dict[str, Entry], int]:
    """The file of each name that has one, and how many image files have none of the names."""
    folders: dict[str, dict[str, Entry]] = {}
    unlabelled = 0
    for entry in tree.entries:
        folder, _, file = entry.name.rpartition("/")
        name = _stem(file)
        if name != file and name in names:
            folders.setdefault(folder, {}).setdefault(name, entry)
        unlabelled += name != file and name not in names
    found: dict[str, Entry] = {}
    for folder in sorted(folders, key=lambda folder: (-len(folders[folder]), folder)):
        found = folders[folder] | found
    return found, unlabelled


def _decode(content: bytes, size: int, crop: bool) -> np.ndarray:
    return images.decode(content, (size, size), channels=3, fit=functools.partial(fit, crop=crop))


def fit(image: "Image.Image", size: tuple[int, int], crop: bool) -> "Image.Image":
    """The RGB image scaled, antialiased and with its aspect kept, to fit into the size (W, H), in the middle of black.

    Args:
        image: of any size.
        size: (W, H).
        crop: cut off rows and columns at the rim in which hardly any pixel is bright.

    Raises:
        Unusable: no row or no column has more bright pixels than noise has.
    """
    from PIL import Image, ImageOps

    bright = np.asarray(image).max(axis=-1) > DARK
    rows, columns = (np.flatnonzero(bright.mean(axis=axis) > NOISE) for axis in (1, 0))
    if not len(rows) or not len(columns):
        raise Unusable(f"is black: hardly any pixel is brighter than {DARK} of 255")
    if crop:
        image = image.crop((int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))
    return ImageOps.pad(image, size, Image.Resampling.BILINEAR)
