"""FER2013: 28,709 + 7,178 faces with one of seven expressions, 48x48 grey.

Goodfellow et al. 2013, "Challenges in Representation Learning: A report on three machine learning contests".
https://www.kaggle.com/datasets/msambare/fer2013 has it in class folders.
Many images occur more than once, some in the training set and in the test set.
"""

import codecs
import csv
import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from imbal_jax.data import cache, class_folders, files, images, sources
from imbal_jax.data.dataset import Absent, Dataset, Rows, digest, group_ids, take
from imbal_jax.data.images import Unusable
from imbal_jax.errors import UserError
from imbal_jax.fields import Field

IN = "FER2013 in "  # of the absent source, for messages
TABLES = ("fer2013.csv", "icml_face_data.csv")
COMPETITION = "challenges-in-representation-learning-facial-expression-recognition-challenge"
COLUMNS = ("emotion", "pixels", "Usage")
CLASSES = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
CSV_CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # the numbers of column 'emotion'
TRAIN, PUBLIC, PRIVATE, TEST = range(4)  # TEST: which half of the test set is not known
USAGES = {"Training": TRAIN, "PublicTest": PUBLIC, "PrivateTest": PRIVATE}
TESTS = {"all": (PUBLIC, PRIVATE, TEST), "public": (PUBLIC,), "private": (PRIVATE,)}
DUPLICATES = ("drop", "flag")
FIELDS = (
    Field("data.test", "all", "Test set: one half of the published one, or both.", choices=tuple(TESTS)),
    Field("data.duplicates", "drop", "Test rows that are training images: left out, or kept and marked.", choices=DUPLICATES),
)
TRAIN_ROWS, TEST_ROWS = 28_709, 7_178
# Of what is published: SHA-256 of the decoded images, classes and parts of the folders; MD5 of the two CSV files.
FOLDERS_SHA256 = "df899e57dd201a12890ae6394b96edca0989ced21f45d47eedf621df360198b5"
CSV_MD5 = ("f8428a1edbd21e88f42c73edd2a14f95", "b114b9e04e6949e5fe8b6a98b3892b1d")
SIZE = 48


class Faces(NamedTuple):
    """All images of a source.

    Attributes:
        x: uint8 [N, 48, 48, 1].
        y: int32 [N].
        part: TRAIN, PUBLIC, PRIVATE or TEST, int8 [N], ascending.
        left_out: "path: why" of what could not be used.
        published: whether they are the published images.
    """

    x: np.ndarray
    y: np.ndarray
    part: np.ndarray
    left_out: tuple[str, ...]
    published: bool


def load(directory: str | None, source: str, per_class: int | None, *, test: str, duplicates: str) -> Dataset:
    """FER2013 from the first source that has it; x is uint8 [N, 48, 48, 1].

    The classes, in this order: angry, disgust, fear, happy, neutral, sad, surprise, which is that of the folders; the
    numbers in the CSV file have another one. Sources, in the order in which 'auto' tries them:

    - 'zip': DIR/fer2013.zip, DIR/raw/fer2013.zip or DIR/raw/fer2013/fer2013.zip with train/<class>/*.jpg and
      test/<class>/PublicTest_*.jpg and PrivateTest_*.jpg.
    - 'folder': the same unpacked, in DIR/fer2013 or DIR/raw/fer2013.
    - 'csv': fer2013.csv or icml_face_data.csv (emotion, pixels, Usage; Kaggle has it under both names) in DIR, DIR/fer2013,
      DIR/raw, DIR/raw/fer2013 or the folder with the competition's name. Its pixels are those before JPEG, so its digest is
      another one.

    Rows come by class and file name, or in the order of the CSV file; test rows after training rows, the public before the
    private test set. Images are decoded once and kept in the cache folder. Rows of one split with the same image are one
    group.

    Args:
        directory: DIR; None means the environment variable IMBAL_DATA_DIR.
        source: 'auto' or one of the names above.
        per_class: keep the first so many training rows of each class; `fraction` shrinks accordingly.
        test: 'public' or 'private', the halves that the competition had, or 'all'.
        duplicates: how test rows whose image is also a training image are treated: 'drop' removes them, 'flag' keeps them
            and sets `duplicates`.

    Raises:
        UserError: unknown source or option, no such directory, source absent or damaged, other classes.
    """
    forms = {"zip": _zip, "folder": _folder, "csv": _csv}
    readers = {name: functools.partial(_read, name, form, test, duplicates) for name, form in forms.items()}
    return sources.read("FER2013", readers, directory, source, per_class)


def _read(source: str, form: Callable[[Path], Faces], test: str, duplicates: str, root: Path | None) -> Dataset:
    if root is None:
        raise Absent(f"no {source} of FER2013: put fer2013.zip into DIR and name DIR with data.dir or IMBAL_DATA_DIR")
    return _dataset(source, form(root), test, duplicates)


def _zip(root: Path) -> Faces:
    places = [root / "fer2013.zip", root / "raw" / "fer2013.zip", root / "raw" / "fer2013" / "fer2013.zip"]
    return _from_folders(sources.existing(places, Path.is_file, IN))


def _folder(root: Path) -> Faces:
    places = [root / "fer2013", root / "raw" / "fer2013"]
    return _from_folders(sources.existing(places, lambda place: (place / "train").is_dir(), IN))


def _csv(root: Path) -> Faces:
    folders = [root, root / "fer2013", root / "raw", root / "raw" / "fer2013", root / COMPETITION]
    folders += [folder / "fer2013" for folder in folders[1:]]  # as fer2013.tar.gz unpacks
    return _from_csv(sources.existing([folder / name for folder in folders for name in TABLES], Path.is_file, IN))


def _from_folders(path: Path) -> Faces:
    with files.opened(path) as tree:
        inside = next((entry.name for entry in tree.entries if entry.name.rpartition("/")[2].lower() in TABLES), "")
        if inside and not any(entry.name.lower().endswith(images.SUFFIXES) for entry in tree.entries):
            raise UserError(f"{path} holds {inside} and no images: unpack {inside}, and name its folder with data.dir")
        labelled = class_folders.label(tree)
        names = tuple(name.lower() for name in labelled.class_names)
        if names != CLASSES:
            raise UserError(f"{path} is not FER2013: its classes are {', '.join(names)}, not {', '.join(CLASSES)}")
        if labelled.test is None:
            raise UserError(f"{path} is not FER2013: it has no folders train and test")
        decoded = class_folders.decode(tree, labelled.entries, ("fer2013",), lambda: _face, cache_from=0)
    part = np.array([_part(e.name, test) for e, test in zip(labelled.entries, labelled.test, strict=True)], np.int8)
    y, part = labelled.y[decoded.kept], part[decoded.kept]
    order = np.argsort(part, kind="stable")
    x, y, part = decoded.x[order], y[order], part[order]
    total = hashlib.sha256()
    for array in (x, y.astype("<i4"), part):
        total.update(np.ascontiguousarray(array).data)
    return Faces(x, y, part, labelled.left_out + decoded.left_out, total.hexdigest() == FOLDERS_SHA256)


def _part(name: str, test: bool) -> int:
    return USAGES.get(name.rsplit("/", 1)[-1].split("_")[0], TEST) if test else TRAIN


def _face(content: bytes) -> np.ndarray:
    image = images.decode(content, channels=1)
    if image.shape != (SIZE, SIZE, 1):
        raise Unusable(f"has {image.shape[1]}x{image.shape[0]} pixels, not {SIZE}x{SIZE}")
    return image


def _from_csv(path: Path) -> Faces:
    known = path.stat()
    kept = cache.kept(("fer2013.csv", 2, str(path.resolve()), known.st_size, known.st_mtime_ns), lambda: _parse(path))
    return Faces(kept["x"], kept["y"], kept["part"], tuple(kept["left_out"].tolist()), bool(kept["published"][0]))


def _parse(path: Path) -> Mapping[str, np.ndarray]:
    rows, left_out = [], []
    try:
        with path.open(newline="", encoding=_encoding(path)) as file:
            table = csv.DictReader(file, skipinitialspace=True)
            known = {name.lower(): name for name in COLUMNS}
            table.fieldnames = [known.get(name.strip().lower(), name) for name in table.fieldnames or ()]
            if not set(COLUMNS) <= set(table.fieldnames):
                have = ", ".join(table.fieldnames)[:200]
                what = f"{path} is not FER2013: its first line must name the columns {', '.join(COLUMNS)}"
                raise UserError(f"{what}, and has {have}; replace the file")
            for row in table:
                try:
                    rows.append(_parse_row(row))
                except (ValueError, TypeError, AttributeError, KeyError, IndexError):
                    left_out.append(f"{path.name}, line {table.line_num}: is no row of emotion, pixels, Usage")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {error}; replace the file") from error
    if not rows:
        raise UserError(f"{path} is not FER2013: not one row can be used")
    rows.sort(key=lambda row: row[0])  # stable
    x = np.frombuffer(b"".join(pixels for _, _, pixels in rows), np.uint8).reshape(-1, SIZE, SIZE, 1)
    part, y = np.array([part for part, _, _ in rows], np.int8), np.array([y for _, y, _ in rows], np.int32)
    texts = np.array(left_out, np.str_) if left_out else np.zeros(0, "U1")
    with path.open("rb") as file:
        published = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() in CSV_MD5
    return {"x": x, "y": y, "part": part, "left_out": texts, "published": np.array([published])}


def _encoding(path: Path) -> str:
    """By the mark at the file's start, which spreadsheets and PowerShell write."""
    with path.open("rb") as file:
        return "utf-16" if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def _parse_row(row: Mapping[str, str]) -> tuple[int, int, bytes]:
    pixels = bytes(map(int, row["pixels"].split()))
    emotion = int(row["emotion"])
    if len(pixels) != SIZE * SIZE or emotion < 0:
        raise ValueError
    return USAGES[row["Usage"].strip()], CLASSES.index(CSV_CLASSES[emotion]), pixels


def _dataset(source: str, faces: Faces, test: str, duplicates: str) -> Dataset:
    if test != "all" and (faces.part == TEST).any():
        what = f"config.data.test is {test!r}, but the test images are not named PublicTest_ and PrivateTest_"
        raise UserError(f"{what}; only 'all' is possible with them")
    ids = np.arange(len(faces.y), dtype=np.int64)
    first = images.alike(faces.x)
    sides = [faces.part == TRAIN, np.isin(faces.part, TESTS[test])]
    # A test row that shares its image with a training row has a group within the test set: `duplicates` marks it.
    rows = [Rows(faces.x[side], faces.y[side], ids[side], group_ids(first[side], ids[side])) for side in sides]
    repeated = np.isin(first[sides[1]], first[sides[0]])
    note = _counts_note(faces) + _duplicates_note(faces.part[sides[1]], first[sides[1]], repeated, duplicates)
    if duplicates == "drop":
        rows[1] = take(rows[1], ~repeated)
    _check_classes(source, rows)
    known = repeated if duplicates == "flag" and repeated.any() else np.zeros(0, bool)
    fraction = len(rows[0].y) / TRAIN_ROWS
    return Dataset("fer2013", source, digest(*rows), CLASSES, rows[0], rows[1], fraction, note, known, faces.left_out)


def _check_classes(source: str, rows: Sequence[Rows]) -> None:
    for side, name in zip(rows, ("training", "test"), strict=True):
        counts = np.bincount(side.y, minlength=len(CLASSES))
        if not counts.all():
            lacking = CLASSES[int(np.argmin(counts))]
            raise UserError(f"FER2013 ({source}) has no {name} images of class {lacking!r} that can be used; replace it")


def _counts_note(faces: Faces) -> str:
    train, test = int((faces.part == TRAIN).sum()), int((faces.part != TRAIN).sum())
    if (train, test) == (TRAIN_ROWS, TEST_ROWS):
        other = "These are not the published images of FER2013, or they were stored anew or decoded differently. "
        return "" if faces.published else other
    return f"Not the published FER2013: {train:,} of {TRAIN_ROWS:,} training and {test:,} of {TEST_ROWS:,} test images. "


def _duplicates_note(part: np.ndarray, first: np.ndarray, repeated: np.ndarray, duplicates: str) -> str:
    """How the test rows whose image is also a training image were treated."""
    if not repeated.any():
        return "No test image is a training image too."
    halves = {"public": PUBLIC, "private": PRIVATE, "": TEST}
    different = {name: len(np.unique(first[repeated & (part == half)])) for name, half in halves.items()}
    of = ", ".join(f"{many} different ones {name}".rstrip() for name, many in different.items() if many)
    fate = "are left out of the test set" if duplicates == "drop" else "stay in the test set, flagged"
    return f"{repeated.sum()} test images ({of}) are training images too; they {fate}."
