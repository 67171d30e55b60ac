"""A data set of your own: a folder or a zip of class folders with images, or an .npz of arrays.

Nothing has to be registered: name the path with config.data.path.
"""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from imbal_jax.data import class_folders, files, group_file, images, label_table, npz, sources, split, tables, values
from imbal_jax.data.dataset import Absent, Dataset, Rows, digest, group_ids
from imbal_jax.data.files import Tree
from imbal_jax.errors import UserError
from imbal_jax.fields import Field

LARGEST = 128  # side of the images where none is asked for
CACHE_FROM = 2_000  # images
FIELDS = (
    Field("data.path", "", "The folder or zip of class folders, or the .npz of arrays."),
    Field("data.size", 0, "Height and width of the images in pixels; 0: the median of the images, at most 128.", 0, 100_000),
    Field("data.channels", 0, "1: grey, 3: colour; 0: colour if any image has it.", choices=(0, 1, 3)),
    Field("data.labels", "", "CSV of file,label, as FILE or FILE:COLUMN; '': labels.csv, metadata.csv or the folders."),
    Field("data.class_level", 0, "Which folder names the class, from 1 on, without splits; 0: found by their names.", 0, 1000),
    Field("data.groups", "", "CSV of file,group (such as a patient): no group is on both sides of a split."),
    Field("data.group_copies", False, "Keep equal vectors or signals on one side of a split, as equal images always are."),
    Field("data.test_share", 0.2, "Share of the groups in the test set, where the data has none.", above=0, below=1),
    Field("data.folds", 0, "K of K-fold cross-validation: fold `fold` is the test set; 0: `test_share`.", 0, 10_000),
    Field("data.fold", 0, "Which fold, from 0 to K - 1.", 0, 10_000),
    Field("data.split_seed", 0, "Seed of the split.", 0, 2**32 - 1),
    Field("data.most_pixels", images.MOST_PIXELS, "Larger images are left out.", 1, 10**10),
    Field(
        "data.range",
        "",
        "How values are scaled. '': bytes of images as they are, other images, each channel of signals and each column of "
        "vectors by robust limits of the training rows. 'LOW,HIGH': these become black and white, or -1 and 1, in all "
        "channels alike ('0,4095' for 12 bits). 'none': as in the file.",
    ),
    Field("data.kind", "", "Of the arrays in an .npz; '': by their shape.", choices=npz.KINDS),
)


class Asked(NamedTuple):
    """The options of `load`."""

    path: str
    size: int
    channels: int
    groups: str
    test_share: float
    split_seed: int
    most_pixels: int
    labels: str
    class_level: int
    group_copies: bool
    folds: int
    fold: int
    range: str
    kind: str


class Found(NamedTuple):
    """Examples as they were read, before they are split.

    Attributes:
        x: [N, ...example]; of image files uint8, of an .npz the numbers in the file.
        y: int32 [N].
        ids: int64 [N].
        groups: int64 [N], the smallest id of each group, or None where the source names no groups.
        test: bool [N], or None where the source has no test set.
        class_names: [K].
        left_out: "path: why" of files that could not be used.
        joined: rows that come from a validation folder.
        notes: how the layout was read, and what a reader of the results must know about the values.
    """

    x: np.ndarray
    y: np.ndarray
    ids: np.ndarray
    groups: np.ndarray | None
    test: np.ndarray | None
    class_names: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    joined: int = 0
    notes: tuple[str, ...] = ()


def load(
    directory: str | None,
    source: str,
    per_class: int | None,
    *,
    path: str,
    size: int,
    channels: int,
    groups: str,
    test_share: float,
    split_seed: int,
    most_pixels: int,
    labels: str,
    class_level: int,
    group_copies: bool,
    folds: int,
    fold: int,
    range: str,
    kind: str,
) -> Dataset:
    """The data at `path`; x is uint8 [N, size, size, channels] for image files; for arrays see `values.stored`.

    Sources, found by what lies at the path:

    - 'folder': PATH/<class>/<image files, any depth>, or PATH/train/<class>/ and PATH/test/<class>/. Images in PATH/val,
      valid or validation are joined to the training set. `class_folders.label` describes which names of splits, parts, groups
      and masks are recognised. Or images anywhere, and a table of their classes (see `labels`).
    - 'zip': the same in a zip, which is not unpacked.
    - 'npz': arrays, as `npz.read` describes them; size, channels and groups do not apply.

    Image files are scaled and cropped as `images.decode` describes. Where images of 16 bits use less than half of their
    range, as those of 12-bit cameras do, the limits of the training images become black and white. Damaged, empty and
    oversized files are skipped and listed in `left_out`. A CSV file with the columns file and group says which images
    belong together (a patient's, say); file is the path below PATH, with slashes. Without a test set a share of the rows is
    drawn for it, by whole groups, the same for every experiment with the same `split_seed`. Without such a file, images
    that are equal in every pixel are a group. Vectors and signals that are equal are not, since different cases may agree in
    all that was measured; set `group_copies` where they are copies. Test rows that are equal to a training row are kept,
    with `duplicates` set.

    Args:
        directory: where a relative path is looked for after the current directory; None means IMBAL_DATA_DIR.
        source: 'auto' or one of the names above.
        per_class: keep the first so many training rows of each class.
        path: of the folder, zip or .npz.
        size: height and width of the images; 0 for the median of their shorter sides, at most 128.
        channels: 1 for grey, 3 for colour; 0 for 3 where any image has colour, else 1.
        groups: the CSV file; empty for PATH/groups.csv if it is there.
        test_share: of the rows for the test set, where the source has none.
        split_seed: of that draw.
        most_pixels: images of more are left out.
        labels: a CSV file that names the class of each image: FILE, or FILE:COLUMN where the column is not called label; as
            `label_table.label` describes it. Empty for PATH/labels.csv or PATH/metadata.csv if they name classes, else for
            the folders.
        class_level: which folder names the class, not counting those of splits, from 1 on; 0: found by their names.
        group_copies: equal vectors and signals are a group, too.
        folds: K from 2 on: instead of a share, the groups are divided into K folds, and that of number `fold` is the test
            set. Every row is in one of them; with the same `split_seed` they are the same for every experiment.
        fold: from 0 to K - 1.
        range: the values that become black and white, or -1 and 1: see `values.stored`; of image files see `images.decode`.
        kind: of the arrays in an .npz: 'images', 'signals' or 'vectors'; '' decides by their shape, see `npz.read`.

    Raises:
        UserError: options out of their range, nothing at the path, a layout without classes, a class with fewer than two
            usable images or none on one side of the split, groups that lie on both sides or lack images, a test set of which
            every row is a training row.
    """
    asked = Asked(
        path, size, channels, groups, test_share, split_seed, most_pixels, labels, class_level, group_copies, folds, fold,
        range, kind,
    )  # fmt: skip
    _check_options(asked)
    readers = {kind: functools.partial(_load, asked, kind) for kind in ("folder", "zip", "npz")}
    return sources.read(f"data set {path}", readers, directory, source, per_class)


def _check_options(asked: Asked) -> None:
    if not asked.path:
        raise UserError("config.data.path must name a folder, a zip or an .npz file (got '')")
    if asked.folds == 1 or asked.fold > max(0, asked.folds - 1):
        allowed = "folds must be 0 or a number from 2 on, and fold one from 0 to folds - 1"
        raise UserError(f"config.data.folds is {asked.folds} and config.data.fold is {asked.fold}: {allowed}")
    values.limits_of(asked.range)


def _load(asked: Asked, kind: str, root: Path | None) -> Dataset:
    path = _place(asked.path, root)
    if kind != (actual := _kind(path)):
        raise Absent(f"{path} is a {actual}, not a {kind}")
    found = _from_npz(path, asked) if kind == "npz" else _from_images(path, asked)
    _check_classes(path, found)
    return _dataset(path, kind, found, asked)


def _place(path: str, root: Path | None) -> Path:
    here = Path(path).expanduser()
    tried = [here] + ([root / here] if root and not here.is_absolute() else [])
    for place in tried:
        if place.exists():
            return place
    raise UserError(f"there is no {sources.either(tried)}: set config.data.path to a folder, a zip or an .npz file")


def _kind(path: Path) -> str:
    if path.is_dir():
        return "folder"
    suffix = path.suffix.lower()
    if suffix not in (".zip", ".npz"):
        raise UserError(f"{path} is neither a folder nor a .zip or .npz file: set config.data.path to one of these")
    return suffix[1:]


def _from_npz(path: Path, asked: Asked) -> Found:
    for field in ("size", "channels", "groups", "labels", "class_level"):
        if getattr(asked, field):
            raise UserError(f"config.data.{field} is for image files; {path} is taken as it is: change the arrays themselves")
    arrays = npz.read(path, asked.kind)
    ids = np.arange(len(arrays.y), dtype=np.int64)
    groups = None if arrays.groups is None else _numbered(path, arrays.groups, ids, arrays.test)
    return Found(arrays.x, arrays.y, ids, groups, arrays.test, arrays.class_names, notes=arrays.notes)


def _from_images(path: Path, options: Asked) -> Found:
    with files.opened(path) as tree:
        grouped = bool(options.groups) or any(entry.name == group_file.OWN for entry in tree.entries)
        labelled, notes = label_table.label(tree, options.labels, grouped)
        read = (group_file.OWN, *label_table.OWN, tables.divided(options.groups)[0])
        labelled = labelled or class_folders.label(tree, options.class_level, read)
        cache_key = ("folder 2", options.size, options.channels, options.most_pixels, options.range)
        decoder = functools.partial(_decoder, tree, labelled.entries, labelled.test, options)
        decoded = class_folders.decode(tree, labelled.entries, cache_key, decoder, CACHE_FROM)
        names = [labelled.entries[number].name for number in decoded.kept]
        words = group_file.read(tree, options.groups, names)
    ids = decoded.kept
    if words is None and labelled.groups is not None:
        words = labelled.groups[ids]
    test = None if labelled.test is None else labelled.test[ids]
    groups = None if words is None else _numbered(path, words, ids, test)
    left_out = labelled.left_out + decoded.left_out
    notes = (*labelled.notes, *notes, *_dim(decoded.x, names))
    return Found(decoded.x, labelled.y[ids], ids, groups, test, labelled.class_names, left_out, labelled.joined, notes)


def _decoder(
    tree: Tree, entries: Sequence[files.Entry], test: np.ndarray | None, options: Asked
) -> Callable[[bytes], np.ndarray]:
    """What decodes the images, of a size and a range that depend on all of them, or on the training images."""

    def survey(entry: files.Entry) -> images.Survey | None:
        if options.size and entry.name.lower().endswith((".jpg", ".jpeg")):  # no information about the file is needed
            return None
        return images.survey(tree.read(entry), options.most_pixels)

    surveys = images.in_parallel(survey, entries)
    known = [survey.side for survey in surveys if isinstance(survey, images.Survey)]
    size = options.size or (min(LARGEST, round(float(np.median(known)))) if known else LARGEST)
    training = [s for i, s in enumerate(surveys) if isinstance(s, images.Survey) and (test is None or not test[i])]
    return functools.partial(
        images.decode,
        size=(size, size),
        channels=options.channels,
        most_pixels=options.most_pixels,
        limits=values.limits_of(options.range),
        deep=None if options.range else images.depth(training),
    )


def _dim(x: np.ndarray, names: Sequence[str]) -> tuple[str, ...]:
    """Warnings of images that are constant, or nearly black where most are."""
    flat = x.reshape(len(x), -1)
    top, bottom = flat.max(1), flat.min(1)
    constant, dark = np.flatnonzero(top == bottom), np.flatnonzero(top < values.DARK)
    warnings = []
    if constant.size:
        warnings.append(f"{constant.size} of {len(x)} images are of one colour (the first: {names[constant[0]]}).")
    if dark.size > len(x) / 2 and (brightest := int(top.max())):
        warnings.append(
            f"{dark.size} of {len(x)} images are nearly black, their brightest value below {values.DARK} of 255 (the first: "
            f"{names[dark[0]]}); --config.data.range=0,{brightest}, in the values of the files, stretches them."
        )
    return tuple(warnings)


def _numbered(path: Path, values: np.ndarray, ids: np.ndarray, test: np.ndarray | None) -> np.ndarray:
    """For each row the smallest id among the rows with its value, int64 [N]; `ids` ascend."""
    if test is not None and len(shared := np.intersect1d(values[test], values[~test])):
        what = f"{len(shared)} groups (the first: {shared[0]}) have rows in the training set and in the test set"
        raise UserError(f"{path}: {what}; move each to one side, or give one set and let it be divided")
    return group_ids(values, ids)


def _check_classes(path: Path, examples: Found) -> None:
    counts = np.bincount(examples.y, minlength=len(examples.class_names))
    if len(counts) < 2:
        raise UserError(f"{path} has {len(counts)} classes: there must be at least two")
    for name, count in zip(examples.class_names, counts, strict=True):
        if count < 2:
            raise UserError(f"{path}: class {name!r} has {count} usable images or rows: it must have at least two")


def _dataset(path: Path, kind: str, examples: Found, options: Asked) -> Dataset:
    first = images.alike(examples.x)
    copies = examples.x.ndim == 4 or options.group_copies  # equal images are copies; equal vectors may be different cases
    alone = examples.ids[first] if copies else examples.ids
    test = _test_rows(path, examples, examples.groups if examples.groups is not None else alone, options)
    _check_sides(path, examples, test)
    held = values.stored(path, examples.x, ~test, options.range) if kind == "npz" else values.Stored(examples.x, None)
    parts = []
    for side in (~test, test):
        ids = examples.ids[side]
        # With such a split, copies on both sides, which `duplicates` marks, are not a group.
        side_groups = group_ids(first[side], ids) if copies else ids
        parts.append(
            Rows(held.x[side], examples.y[side], ids, side_groups if examples.groups is None else examples.groups[side])
        )
    duplicates = np.isin(first[test], first[~test])
    if duplicates.all() and not copies and examples.test is None:
        what = f"{path}: each of the {len(duplicates)} rows drawn for the test set is also a training row"
        raise UserError(f"{what}: set config.data.group_copies=True if equal rows are copies, or give a test set")
    left = examples.y[test][~duplicates]
    if len(left) and len(lacking := np.setdiff1d(examples.y, left)):
        what = f"{path}: each test row of class {examples.class_names[lacking[0]]!r} is also a training row"
        raise UserError(f"{what}, so the test set measures nothing for that class: replace these rows")
    note = _note(examples._replace(notes=examples.notes + held.notes), test, int(duplicates.sum()), options)
    if examples.test is None:
        note = " ".join([note, *split.said(examples.y, test, options.test_share, examples.class_names, "Class")])
    marked = duplicates if duplicates.any() else np.zeros(0, bool)
    name = files.printable(path.resolve().name if kind == "folder" else path.stem)
    side_groups = (name, kind, digest(*parts), examples.class_names, parts[0], parts[1], 1.0, note, marked, examples.left_out)
    return Dataset(*side_groups, scale=held.scale)


def _test_rows(path: Path, examples: Found, groups: np.ndarray, options: Asked) -> np.ndarray:
    """Which rows are the test set, bool [N]."""
    if examples.test is None:
        if options.folds:
            return split.fold_by_group(examples.y, groups, options.folds, options.fold, options.split_seed)
        return split.by_group(examples.y, groups, options.test_share, options.split_seed)
    if options.folds:
        raise UserError(f"{path} has a test set, so config.data.folds={options.folds} does not apply: set it to 0")
    return examples.test


def _check_sides(path: Path, examples: Found, test: np.ndarray) -> None:
    for side, name in ((~test, "training"), (test, "test")):
        counts = np.bincount(examples.y[side], minlength=len(examples.class_names))
        if not counts.all():
            lacking = examples.class_names[int(np.argmin(counts))]
            alone = "its rows cannot be divided: they are in one group, copies of one image, or tied to groups of other classes"
            why = alone if examples.test is None else "add some, or leave the class out"
            raise UserError(f"{path}: class {lacking!r} has no {name} rows; {why}")


def _note(examples: Found, test: np.ndarray, duplicates: int, options: Asked) -> str:
    parts = list(examples.notes)
    if examples.joined:
        parts.append(f"{examples.joined} images of the validation folder are joined to the training set.")
    if examples.test is None:
        how = ", by whole groups" if examples.groups is not None else ""
        drawn = f"fold {options.fold} of {options.folds}, {test.sum()} of {len(test)} rows, is it" if options.folds else ""
        parts.append(f"No test set came with the data: {drawn or f'{test.sum()} of {len(test)} rows were drawn for it'}{how}.")
    if duplicates:
        what = "images are also among the training images" if examples.x.ndim == 4 else "rows are also among the training rows"
        parts.append(f"{duplicates} of {test.sum()} test {what}.")
        if examples.x.ndim != 4 and examples.test is None:
            parts.append("If equal rows are copies of one case, set config.data.group_copies=True.")
    if examples.left_out:
        parts.append(f"{len(examples.left_out)} files were left out.")
    parts += examples.notes
    return " ".join(parts)
