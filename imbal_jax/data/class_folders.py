"""Images in class folders, under a folder or in a zip: which class and split each belongs to, and their pixels."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from imbal_jax.data import cache, images
from imbal_jax.data.files import Entry, Tree
from imbal_jax.data.images import Unusable
from imbal_jax.errors import UserError

SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"} | dict.fromkeys(
    ("val", "valid", "validation"), "val"
)


class Labelled(NamedTuple):
    """Images and where they belong.

    Attributes:
        entries: the images, those of train and validation first, by name.
        class_names: [K]; numbers in their order, everything else by the alphabet.
        y: int32 [N].
        test: bool [N], or None where the folders name no test set.
        left_out: "path: why" of the files that belong nowhere.
        joined: how many images come from a validation folder.
    """

    entries: tuple[Entry, ...]
    class_names: tuple[str, ...]
    y: np.ndarray
    test: np.ndarray | None
    left_out: tuple[str, ...]
    joined: int


class _Place(NamedTuple):
    entry: Entry
    split: str
    label: str


def label(tree: Tree) -> Labelled:
    """Read classes and splits off the paths: <class>/..., or train/<class>/... beside test/ and val/; one folder may be around.

    Images may lie any number of folders below their class. Names other than those of image files (.jpg, .png, ...) are left
    out, as are images in no class folder. Validation images count as training images.

    Raises:
        UserError: no images, no class folders, a single class, a class folder without images, no training images.
    """
    named = [entry for entry in tree.entries if entry.name.lower().endswith(images.SUFFIXES)]
    if not named:
        raise UserError(f"{tree.path} holds no images ({', '.join(images.SUFFIXES)}): put them into PATH/<class>/")
    top = _wrapper([entry.name for entry in named])
    split_at = _has_splits(tree, named, top)
    others = set(tree.entries) - set(named)
    left_out = [f"{entry.name}: is no image by its name" for entry in sorted(others) if "/" in entry.name[len(top) :]]
    places = []
    for entry in named:
        *above, _ = entry.name[len(top) :].split("/")
        split = SPLITS.get(above[0].lower(), "") if split_at and above else "train"
        if entry.name.startswith(top) and split and len(above) > split_at:
            places.append(_Place(entry, split, above[split_at]))
        else:
            left_out.append(f"{entry.name}: lies in no class folder")
    if not places:
        what = f"{tree.path} holds {len(named)} images, but no class folders"
        raise UserError(f"{what}: put the images of each class into a folder of its own, PATH/<class>/")
    return _labelled(tree, places, _class_folders(tree, top, split_at), tuple(left_out))


def _wrapper(names: Sequence[str]) -> str:
    """The folder, with a slash at its end, that all classes lie in: 'data/' where every name is data/<class>/<file>."""
    top = ""
    while True:
        rest = [name[len(top) :].split("/") for name in names]
        if len({parts[0] for parts in rest}) > 1 or min(map(len, rest)) < 3:
            return top
        top += rest[0][0] + "/"


def _has_splits(tree: Tree, named: Sequence[Entry], top: str) -> bool:
    above = {entry.name[len(top) :].split("/")[0].lower() for entry in named if "/" in entry.name[len(top) :]}
    kinds = {SPLITS.get(name, "") for name in above}
    if kinds and kinds <= {"test", "val"}:
        raise UserError(f"{tree.path} has {' and '.join(sorted(above))}, but no folder train: add it beside them")
    return "train" in kinds


def _class_folders(tree: Tree, top: str, split_at: bool) -> set[tuple[str, str]]:
    """Split and class of every class folder, empty ones too."""
    found = set()
    for folder in tree.folders:
        parts = folder[len(top) :].split("/") if folder.startswith(top) else []
        if len(parts) == 1 + split_at and (split := SPLITS.get(parts[0].lower(), "") if split_at else "train"):
            found.add((split, parts[-1]))
    return found


def _labelled(tree: Tree, places: Sequence[_Place], folders: set[tuple[str, str]], left_out: tuple[str, ...]) -> Labelled:
    empty = sorted(folders - {(place.split, place.label) for place in places})
    if empty:
        split, name = empty[0]
        raise UserError(f"{tree.path}: the class folder {name!r} ({split}) holds no images: fill it or remove it")
    names = sorted({place.label for place in places}, key=lambda name: (0, int(name), name) if _number(name) else (1, 0, name))
    if len(names) == 1:
        raise UserError(f"{tree.path} has a single class, {names[0]!r}: there must be two class folders at least")
    places = sorted(places, key=lambda place: (place.split == "test", place.entry.name))
    number = {name: index for index, name in enumerate(names)}
    y = np.array([number[place.label] for place in places], np.int32)
    test = np.array([place.split == "test" for place in places])
    joined = sum(place.split == "val" for place in places)
    entries = tuple(place.entry for place in places)
    return Labelled(entries, tuple(names), y, test if test.any() else None, left_out, joined)


def _number(name: str) -> bool:
    return name.isascii() and name.isdigit()


class Decoded(NamedTuple):
    """The pixels of those images that can be used.

    Attributes:
        x: uint8 [N, H, W, C].
        kept: which of the entries they are, int64 [N].
        left_out: "path: why" of the others.
    """

    x: np.ndarray
    kept: np.ndarray
    left_out: tuple[str, ...]


def decode(
    tree: Tree,
    entries: Sequence[Entry],
    form: Sequence[object],
    decoder: Callable[[], Callable[[bytes], np.ndarray]],
    cache_from: int,
    label: str = "",
) -> Decoded:
    """Decode the entries in parallel; from so many images on they are kept in the cache folder.

    Args:
        tree: where they lie.
        entries: what to decode.
        form: all that the decoder's results depend on, for the cache.
        decoder: asked, where there is nothing in the cache, for what makes bytes uint8 [H, W, C]; every image of the same H
            and W. Where one has 3 channels, the others get 3 too.
        cache_from: that many images or more are cached, under the names, sizes and times of all of them.
        label: what the line begins with that tells the progress; empty for no such line.

    Raises:
        UserError: not one image can be used.
    """

    def make() -> dict[str, np.ndarray]:
        decode_one = decoder()
        results = images.in_parallel(lambda entry: decode_one(tree.read(entry)), entries, label)
        good = [number for number, result in enumerate(results) if isinstance(result, np.ndarray)]
        bad = [f"{entry.name}: {r}" for entry, r in zip(entries, results, strict=True) if isinstance(r, Unusable)]
        if not good:
            raise UserError(f"{tree.path}: not one of {len(entries)} images can be used; the first: {bad[0]}")
        return {"x": _stacked([results[number] for number in good]), "kept": np.array(good, np.int64), "left_out": _texts(bad)}

    key = ("class folders", str(tree.path.resolve()), *form, *entries)
    made = cache.kept(key, make) if len(entries) >= cache_from else make()
    return Decoded(made["x"], made["kept"], tuple(made["left_out"].tolist()))


def _stacked(arrays: Sequence) -> np.ndarray:
    channels = max(array.shape[-1] for array in arrays)
    x = np.empty((len(arrays), *arrays[0].shape[:2], channels), np.uint8)
    for row, array in zip(x, arrays, strict=True):
        row[...] = array  # a single channel is repeated
    return x


def _texts(lines: Sequence[str]) -> np.ndarray:
    return np.array(lines, np.str_) if lines else np.zeros(0, "U1")
