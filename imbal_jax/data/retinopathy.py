"""Diabetic retinopathy: 35,126 photographs of the fundus, both eyes of 17,563 patients, in five grades of severity.

EyePACS, in Kaggle's competition of 2015: https://www.kaggle.com/c/diabetic-retinopathy-detection
The grades 0 to 4 are No DR, Mild, Moderate, Severe and Proliferative DR: the international scale of Wilkinson et al. 2003,
"Proposed international clinical diabetic retinopathy and diabetic macular edema disease severity scales".
"""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from imbal_jax.data import files, images, retinopathy_files, sources, split
from imbal_jax.data.dataset import Absent, Dataset, Rows, digest, group_ids
from imbal_jax.data.retinopathy_files import APTOS, CLASSES, PUBLISHED, TABLE, Photographs
from imbal_jax.errors import UserError
from imbal_jax.fields import Field

APTOS_NAMES = ("aptos2019-blindness-detection", "aptos2019")
ZIPS = ("retinopathy.zip", "raw/retinopathy.zip", *(f"{name}.zip" for name in APTOS_NAMES))
KAGGLE = ("diabetic-retinopathy-detection", "diabetic_retinopathy_detection")
FOLDERS = ("retinopathy", "raw/retinopathy", *KAGGLE, *APTOS_NAMES)
FIELDS = (
    Field("data.size", 128, "Height and width of the images in pixels.", 16, 1024),
    Field("data.crop", True, "Cut off the black border."),
    Field("data.test", 0.2, "Share of the images in the test set, drawn by patient and grade.", above=0, below=1),
    Field("data.split_seed", 0, "Seed of that draw.", 0, 2**32 - 1),
)


class Asked(NamedTuple):
    """The options of `load`."""

    size: int
    crop: bool
    test: float
    split_seed: int


def load(
    directory: str | None,
    source: str,
    per_class: int | None,
    *,
    size: int,
    crop: bool,
    test: float,
    split_seed: int,
) -> Dataset:
    """The labelled photographs; x is uint8 [N, size, size, 3]. Sources, in the order in which 'auto' tries them:

    - 'zip': DIR/retinopathy.zip or DIR/raw/retinopathy.zip, with trainLabels.csv (columns image, level) and the images in
      any folder, <patient>_left.jpeg and <patient>_right.jpeg; .jpg and .png do as well.
    - 'folder': the same unpacked, in DIR/retinopathy, DIR/raw/retinopathy, DIR/diabetic-retinopathy-detection (Kaggle's name)
      or DIR/diabetic_retinopathy_detection; or in DIR itself, such as the manual directory of TensorFlow Datasets with
      trainLabels.csv beside train/ or sample/.

    APTOS 2019, the other public set with these grades, is read as well: train.csv (id_code, diagnosis) beside train_images/,
    in one of these folders or in DIR/aptos2019-blindness-detection (Kaggle's name), or that with .zip. Its names contain no
    patients, so each image is taken for one.

    The dark border is cut off, as far as at most 2% of a row's or column's pixels are brighter than 10 of 255. What is left
    is made square by black bars, not by cutting: so the disc keeps its shape, also where the camera cut it, and nothing at
    its rim is lost. Images are prepared once and kept in the cache folder.

    Kaggle's own test set has no labels in the table and is not used. The test set is drawn from the labelled images by
    patient, so that both eyes of one are on one side, and every grade on its share (`split.by_group`). The groups are the
    patients. Rows come in the order of the table. Test images that are equal to a training image are kept, and
    `Dataset.duplicates` marks them.

    Args:
        directory: DIR; None means the environment variable IMBAL_DATA_DIR.
        source: 'auto' or one of the names above.
        per_class: keep the first so many training rows of each grade; `fraction` shrinks accordingly.
        size: height and width of the images, 16 to 1024.
        crop: cut off the dark border.
        test: share of the images for the test set.
        split_seed: of that draw.

    Raises:
        UserError: unknown source or option, no such directory, source absent, what `retinopathy_files.read` raises, a grade
            without training rows, no test rows.
    """
    asked = Asked(size, crop, test, split_seed)
    readers = {kind: functools.partial(_load, asked, kind) for kind in ("zip", "folder")}
    return sources.read("retinopathy data", readers, directory, source, per_class)


def _load(asked: Asked, kind: str, root: Path | None) -> Dataset:
    if root is None:
        where = f"put {TABLE} and the folder of images into DIR/retinopathy and name DIR with data.dir or IMBAL_DATA_DIR"
        raise Absent(f"no {kind} of retinopathy data: {where}")
    path = _zip(root) if kind == "zip" else _folder(root)
    with files.opened(path) as tree:
        found = retinopathy_files.read(tree, asked.size, asked.crop)
    return _dataset(path, kind, found, asked)


def _zip(root: Path) -> Path:
    return sources.existing([root / name for name in ZIPS], Path.is_file)


def _folder(root: Path) -> Path:
    places = [*(root / name for name in FOLDERS), root / TABLE]
    if (root / APTOS).is_file():
        places.append(root / "train_images")
    found = sources.existing(places, lambda place: place.is_file() if place.name == TABLE else place.is_dir())
    return root if found.name in (TABLE, "train_images") else found


def _dataset(path: Path, kind: str, photographs: Photographs, options: Asked) -> Dataset:
    groups = group_ids(photographs.patients, photographs.ids)
    held = split.by_group(photographs.y, groups, options.test, options.split_seed)
    _check_sides(path, photographs.y, held)
    train, test = (
        Rows(photographs.x[side], photographs.y[side], photographs.ids[side], groups[side]) for side in (~held, held)
    )
    first = images.alike(photographs.x)
    duplicates = np.isin(first[held], first[~held])
    note = " ".join([_note(photographs, test, duplicates), *split.said(photographs.y, held, options.test, CLASSES, "Grade")])
    fraction = min(1.0, len(held) / PUBLISHED[photographs.table])
    data = Dataset("retinopathy", kind, digest(train, test), CLASSES, train, test, fraction, note)
    return data._replace(
        duplicates=duplicates if duplicates.any() else data.duplicates, left_out=photographs.left_out, measures="grades"
    )


def _check_sides(path: Path, y: np.ndarray, held: np.ndarray) -> None:
    every, train = (np.bincount(labels, minlength=len(CLASSES)) for labels in (y, y[~held]))
    if not train.all():
        grade = int(np.argmin(train))
        what = f"{path}: grade {CLASSES[grade]} has no training rows, and {every[grade]} usable images in all"
        raise UserError(f"{what}; add images of it, of other patients, or lower config.data.test")
    if not held.any():
        raise UserError(f"{path}: no patient could be drawn for the test set; add patients, or raise config.data.test")


def _note(photographs: Photographs, test: Rows, duplicates: np.ndarray) -> str:
    notes = []
    if photographs.table == APTOS:
        notes.append("The images are those of APTOS 2019, not of EyePACS.")
    if len(photographs.y) != PUBLISHED[photographs.table]:
        notes.append(f"Not the published data: {len(photographs.y):,} of {PUBLISHED[photographs.table]:,} images.")
    patients, of = len(np.unique(test.groups)), len(np.unique(photographs.patients))
    notes.append(f"The test set was drawn by patient: {len(test.y):,} images of {patients:,} of {of:,} patients.")
    notes += [f"Grade {name} has no test rows." for grade, name in enumerate(CLASSES) if not (test.y == grade).any()]
    if duplicates.any():
        notes.append(f"{duplicates.sum()} test images are also among the training images, as other patients.")
    if photographs.alone:
        notes.append(f"{photographs.alone:,} images are not named <patient>_left or _right; each is taken for a patient.")
    if photographs.left_out:
        notes.append(f"{len(photographs.left_out):,} rows of {photographs.table} were left out.")
    if photographs.unlabelled:
        notes.append(f"{photographs.unlabelled:,} image files are not in {photographs.table} and were not used.")
    return " ".join(notes)
