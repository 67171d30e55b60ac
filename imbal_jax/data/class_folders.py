"""Images in class folders, under a folder or in a zip: which class and split each belongs to, and their pixels."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from imbal_jax.data import cache, files, folder_names, images
from imbal_jax.data.files import Entry, Tree
from imbal_jax.data.folder_names import TEST, TRAIN, VALIDATION
from imbal_jax.data.images import Unusable
from imbal_jax.errors import UserError

SHOWN = 3  # names in a message
TABLES = (".csv", ".tsv")


class Labelled(NamedTuple):
    """Images and where they belong.

    Attributes:
        entries: the images, those of train and validation first, by name.
        class_names: [K]; numbers in their order, everything else by the alphabet.
        y: int32 [N].
        test: bool [N], or None where no folder names a test set.
        left_out: "path: why" of the files that belong nowhere.
        joined: how many images come from a validation folder.
        groups: the group of each image as a word, str [N], where the layout has groups; else None.
        notes: how an unusual layout was read.
    """

    entries: tuple[Entry, ...]
    class_names: tuple[str, ...]
    y: np.ndarray
    test: np.ndarray | None
    left_out: tuple[str, ...]
    joined: int
    groups: np.ndarray | None = None
    notes: tuple[str, ...] = ()


class Place(NamedTuple):
    """One image: its file, its split ('train', 'test' or 'val'), its class, and its group or ''."""

    entry: Entry
    split: str
    label: str
    group: str = ""


class Images(NamedTuple):
    """The image files of a tree.

    Attributes:
        entries: those that are no masks.
        top: the folder, with a slash at its end, in which all of them lie: 'data/', where each is data/<class>/<file>.
        masks: segmentation masks of others.
    """

    entries: tuple[Entry, ...]
    top: str
    masks: tuple[Entry, ...]


class _Layout(NamedTuple):
    """What the folders below the top mean.

    Attributes:
        splits: split by the name of a folder; empty where there are none.
        inside: whether they lie in the class folders (cat/train/1.png) and not around them.
        wrapper: a folder, such as 'images', that is the only one in each split and around the class folders; or ''.
        level: which folder, without those of splits, names the class; from 1 on.
        grouped: whether the folders above it name groups.
        notes: see `Labelled`.
    """

    splits: Mapping[str, str]
    inside: bool
    wrapper: str
    level: int
    grouped: bool
    notes: tuple[str, ...]


def find(tree: Tree) -> Images:
    """The images of the tree, by their names.

    Raises:
        UserError: there are none.
    """
    named = [entry for entry in tree.entries if entry.name.lower().endswith(images.SUFFIXES)]
    if not named:
        raise UserError(f"{tree.path} holds no images ({', '.join(images.SUFFIXES)}): put them into PATH/<class>/")
    masks = folder_names.masks(entry.name for entry in named)
    kept = tuple(entry for entry in named if entry.name not in masks)
    return Images(kept, _wrapper([entry.name for entry in kept]), tuple(e for e in named if e.name in masks))


def mask_notes(found: Images) -> tuple[str, ...]:
    """A sentence on the masks, if there are any."""
    first = files.printable(found.masks[0].name) if found.masks else ""
    return (f"{len(found.masks)} segmentation masks (such as {first}) are not used.",) if first else ()


def label(tree: Tree, level: int = 0, read: Collection[str] = ()) -> Labelled:
    """Read classes and splits off the paths: <class>/..., or train/<class>/... beside test/ and val/; a folder may be around.

    Splits are recognised by the words in their names (`folder_names.splits`), above the class folders or in each of them.
    Images may lie any number of folders below their class. Names other than those of image files (.jpg, .png, ...) are left
    out, as are segmentation masks (`folder_names.masks`) and images in no class folder. Validation images count as training
    images. Where each folder has the same folders in it, their names decide: numbered parts (fold_0/<class>) are put
    together, numbered patients (patient_1/<class>) are groups; any other layout is an error unless `level` is
    given.

    Args:
        tree: with the images.
        level: which folder names the class, not counting those of splits: 1 for the first, 2 for the folder in that (the
            one above it names the group) and so on; 0: found by the folders' names.
        read: tables of the tree that are read elsewhere; the notes tell of others beside the class folders.

    Raises:
        UserError: no images, no class folders, a single class, a class folder without images, no training images, folders of
            which it is not clear whether they are classes.
    """
    images_found = find(tree)
    inside = [entry for entry in images_found.entries if entry.name.startswith(images_found.top)]
    relative = {entry: entry.name[len(images_found.top) :].split("/")[:-1] for entry in inside}
    layout = _layout(tree, images_found, list(relative.values()), level)
    left_out = [f"{files.printable(entry.name)}: is a segmentation mask" for entry in images_found.masks]
    others = {entry.name for entry in tree.entries} - {entry.name for entry in (*images_found.entries, *images_found.masks)}
    others = {files.printable(name) for name in others if "/" in name[len(images_found.top) :]}
    left_out += [f"{name}: is no image by its name" for name in sorted(others)]
    places = []
    for entry in images_found.entries:
        split, folders = _placed(relative.get(entry, []), layout)
        if split and len(folders) >= layout.level:
            group = "/".join(folders[: layout.level - 1]) if layout.grouped else ""
            places.append(Place(entry, split, folders[layout.level - 1], group))
        else:
            left_out.append(f"{files.printable(entry.name)}: lies in no class folder")
    if not places:
        raise UserError(
            f"{_no_classes(tree, images_found)}: put the images of each class into a folder of its own, PATH/<class>/"
        )
    empty = sorted(
        _class_folders(tree, images_found, layout) - {(placed_image.split, placed_image.label) for placed_image in places}
    )
    if empty:
        split, name = empty[0]
        raise UserError(f"{tree.path}: the class folder {files.printable(name)!r} ({split}) holds no images: fill or remove it")
    seen = (*layout.notes, *_unused_tests(images_found, layout, places), *_unread_tables(tree, images_found.top, read))
    return gather(tree, places, tuple(left_out), (*mask_notes(images_found), *seen))


def _unread_tables(tree: Tree, top: str, read: Collection[str]) -> tuple[str, ...]:
    """A sentence on CSV files beside the class folders, or around them."""
    known = {name.lower() for name in read}
    beside = [e.name for e in tree.entries if e.name.lower().endswith(TABLES) and e.name.count("/") <= top.count("/")]
    unread = [files.printable(name) for name in beside if name.lower() not in known]
    if not unread:
        return ()
    advice = f"if it holds the classes of the images, set config.data.labels={unread[0]}:COLUMN"
    return (f"The classes are the folders; {', '.join(unread[:SHOWN])} beside them is not read: {advice}.",)


def _unused_tests(found: Images, layout: _Layout, places: Sequence[Place]) -> tuple[str, ...]:
    """A sentence on folders of test images that are in no class folders, and so are not used."""
    tests = {name for name, split in layout.splits.items() if split == TEST}
    if layout.inside or not tests or any(place.split == TEST for place in places):
        return ()
    held = {entry.name[len(found.top) :].partition("/")[0] for entry in found.entries}
    shown = _some(tests & held)
    return (f"The images in {shown} are in no class folders and are not used.",) if shown else ()


def _wrapper(names: Sequence[str]) -> str:
    """See `Images.top`; files beside a single folder of folders do not count."""
    top = ""
    while True:
        rest = [name[len(top) :].split("/") for name in names if name.startswith(top)]
        folders = {parts[0] for parts in rest if len(parts) > 1}
        if len(folders) != 1 or not any(len(parts) > 2 for parts in rest):
            return top
        top += folders.pop() + "/"


def _no_classes(tree: Tree, found: Images) -> str:
    return f"{tree.path} holds {len(found.entries)} images, but no class folders{table_hint(tree)}"


def table_hint(tree: Tree) -> str:
    """What to write where a CSV file of the tree may hold the classes; '' where there is none."""
    csv = sorted((e.name.count("/"), e.name) for e in tree.entries if e.name.lower().endswith(TABLES))
    if not csv:
        lines = any(entry.name.rpartition("/")[2].lower() == "metadata.jsonl" for entry in tree.entries)
        return "; metadata.jsonl is not read: save it as metadata.csv with the columns file_name and label" if lines else ""
    name = files.printable(csv[0][1])
    return f"; if {name} holds the classes, set config.data.labels={name}:COLUMN with the column's name"


def _layout(tree: Tree, found: Images, paths: Sequence[Sequence[str]], level: int) -> _Layout:
    first = {path[0] for path in paths if path}
    splits = folder_names.splits(first)
    kinds = {folder_names.plain_split(name) for name in first}
    if kinds and kinds <= {TEST, VALIDATION}:
        what = f"{tree.path} has {' and '.join(sorted(map(files.printable, first)))}"
        raise UserError(f"{what}, but no folder train: add it beside them")
    # A class named 'train' among cars and buses holds its images itself.
    if splits and not any(len(path) > 1 for path in paths if path and splits.get(path[0]) == TRAIN):
        if set(splits) == first:
            raise UserError(f"{_no_classes(tree, found)} in {', '.join(sorted(splits))}: put PATH/train/<class>/ there")
        splits = {}
    rests = {folder_names.split_of(name)[1] for name in splits} - {()}
    if len(rests) > 1:
        what = f"{tree.path} has folders that name both a class and a split ({_some(splits)})"
        raise UserError(f"{what}: rename them to train/<class> and test/<class>")
    inside = False
    if not splits and (inner := _splits_in_classes(paths)):
        splits, inside = inner, True
        if folder_names.are_parts(first):
            what = f"{tree.path}: each of the folders {_some(first)} has a split of its own"
            raise UserError(f"{what}: set config.data.path to one of them")
    plain = _Layout(splits, inside, "", 1, False, ())
    if splits and not inside:
        plain = plain._replace(wrapper=_wrapper_in_splits([_placed(path, plain) for path in paths]))
    if level:
        return plain._replace(level=level, grouped=level > 1)
    return _guessed(tree, [folders for path in paths if (placed := _placed(path, plain))[0] and (folders := placed[1])], plain)


def _splits_in_classes(paths: Sequence[Sequence[str]]) -> dict[str, str]:
    """The splits in each class folder, cat/train beside cat/test; empty unless each class has a training folder."""
    inside: dict[str, set[str]] = {}
    for path in paths:
        if path:
            inside.setdefault(path[0], set()).add(path[1] if len(path) > 1 else "")
    all_splits: dict[str, str] = {}
    for names in inside.values():
        splits = folder_names.splits(names)
        if not splits or set(splits) != names:
            return {}
        all_splits |= splits
    return all_splits


def _wrapper_in_splits(placed: Sequence[tuple[str, Sequence[str]]]) -> str:
    folders = [folders for split, folders in placed if split and folders]
    names = {path[0] for path in folders}
    alone = len(names) == 1 and all(len(path) > 1 for path in folders)
    return names.pop() if alone and folder_names.is_filler(folders[0][0]) else ""


def _placed(path: Sequence[str], layout: _Layout) -> tuple[str, list[str]]:
    """The split of the images in a folder, and its path without the folders of splits and wrappers; '' if in no split."""
    path = list(path)
    if not layout.splits:
        return TRAIN, path
    at = 1 if layout.inside else 0
    if len(path) <= at or path[at] not in layout.splits:
        return "", path
    name = path.pop(at)
    split = layout.splits[name]
    # training_set/training_set/cats, train/images/cats
    while not layout.inside and len(path) > 1 and (folder_names.plain_split(path[0]) == split or path[0] == name):
        path.pop(0)
    return split, path[1:] if layout.wrapper and path[:1] == [layout.wrapper] else path


def _guessed(tree: Tree, paths: Sequence[Sequence[str]], layout: _Layout) -> _Layout:
    """The layout with the level found by the names of the folders."""
    inside: dict[str, set[str]] = {}
    for path in paths:
        inside.setdefault(path[0], set()).add(path[1] if len(path) > 1 else "")
    _check_names(tree, inside, layout)
    inner_names = set().union(*inside.values())
    counts = [sum(name in names for names in inside.values()) for name in inner_names]
    same = all(names == inner_names for names in inside.values()) or (
        len(inside) > 2 * len(inner_names) and 4 * min(counts) > len(inside)
    )
    if len(inside) < 2 or "" in inner_names:
        if len(inside) > 1 and folder_names.are_parts(inside):
            what = f"{tree.path}: the folders {_some(inside)} are parts of one set by their names, not classes"
            raise UserError(f"{what}{table_hint(tree)}; if they are the classes, set config.data.class_level=1")
        return layout
    if len(inner_names) == 1 or not same or folder_names.are_parts(inner_names) or folder_names.are_owners(inner_names):
        return layout
    if folder_names.are_parts(inside):
        note = f"The folders {_some(inside)} are taken for parts of one set, and {_some(inner_names)} in them for the classes."
        return layout._replace(level=2, notes=(note,))
    if folder_names.are_owners(inside):
        note = f"The folders {_some(inside)} are taken for groups, and {_some(inner_names)} in them for the classes."
        return layout._replace(level=2, grouped=True, notes=(note,))
    what = f"{tree.path}: the folders {_some(inside)} have the same folders in them ({_some(inner_names)})"
    advice = f"set config.data.class_level=1 if {_some(inside)} are the classes, 2 if {_some(inner_names)} are"
    raise UserError(f"{what}, so it is not clear which are the classes: {advice}{table_hint(tree)}")


def _check_names(tree: Tree, inside: Mapping[str, set[str]], layout: _Layout) -> None:
    """Raise UserError where the folders that would be the classes have names that no class has."""
    otherwise = "if they are the classes, set config.data.class_level=1"
    around = [name for name, names in inside.items() if folder_names.is_filler(name) and len(names - {""}) > 1]
    if len(inside) > 1 and around:
        names = _some(inside[around[0]] - {""})
        what = f"{tree.path}: the folder {files.printable(around[0])} seems to hold the class folders ({names})"
        others = _some(set(inside) - {around[0]})
        raise UserError(f"{what}, and has {others} beside it: set config.data.path to it; {otherwise}")
    kinds = {folder_names.split_of(name)[0] for name in inside}
    if not layout.splits and len(kinds) > 1 and "" not in kinds:
        what = f"{tree.path}: the folders {_some(inside)} name parts of a split, but not alike"
        raise UserError(f"{what}: rename them to train and test; {otherwise}")


def _some(names: Iterable[str]) -> str:
    shown = sorted(map(files.printable, names))
    return ", ".join(shown[:SHOWN]) + (", ..." if len(shown) > SHOWN else "")


def _class_folders(tree: Tree, found: Images, layout: _Layout) -> set[tuple[str, str]]:
    """Split and class of every class folder, empty ones too, but not those of masks."""
    names = set()
    for folder in tree.folders:
        if found.masks and folder_names.tells_masks(folder.rpartition("/")[2]):
            continue
        split, path = _placed(folder[len(found.top) :].split("/"), layout) if folder.startswith(found.top) else ("", [])
        around = split and path and (path[-1] == layout.wrapper or folder_names.plain_split(path[-1]) == split)
        if split and len(path) == layout.level and not (around and layout.splits):
            names.add((split, path[-1]))
    return names


def gather(tree: Tree, places: Sequence[Place], left_out: tuple[str, ...], notes: tuple[str, ...]) -> Labelled:
    """The images in their order, with numbers for the classes.

    Raises:
        UserError: a single class, or two whose names differ only in capital letters and surrounding spaces.
    """
    names = sorted({place.label for place in places}, key=_rank)
    if len(names) == 1:
        what = f"{tree.path} has a single class, {files.printable(names[0])!r}"
        raise UserError(f"{what}: there must be at least two class folders{table_hint(tree)}")
    known: dict[str, str] = {}
    for name in names:
        if (other := known.setdefault(name.strip().casefold(), name)) != name:
            raise UserError(f"{tree.path} has the classes {other!r} and {name!r}: give both the same name, or different ones")
    places = sorted(places, key=lambda place: (place.split == TEST, place.entry.name))
    number = {name: index for index, name in enumerate(names)}
    y = np.array([number[place.label] for place in places], np.int32)
    test = np.array([place.split == TEST for place in places])
    joined = sum(place.split == VALIDATION for place in places)
    groups = np.array([place.group for place in places]) if places[0].group else None
    shown = tuple(map(files.printable, names))
    return Labelled(
        tuple(place.entry for place in places), shown, y, test if test.any() else None, left_out, joined, groups, notes
    )


def _rank(name: str) -> tuple[int, int, str, str]:
    """Whole numbers by their value, however many digits they have, then everything else by the alphabet."""
    number = name.isascii() and name.isdigit()
    digits = name.lstrip("0") if number else ""
    return (not number, len(digits), digits, name)


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
    """Decode the entries in parallel; large sets are kept in the cache folder.

    Args:
        tree: with the images.
        entries: what to decode.
        form: all that the decoder's results depend on, for the cache.
        decoder: called if the cache has no entry; returns the function bytes -> uint8 [H, W, C]; every image of the same H
            and W. Where one has 3 channels, the others get 3 too.
        cache_from: that many images or more are cached, under the names, sizes and times of all of them.
        label: the beginning of the progress line; empty for no line.

    Raises:
        UserError: not one image can be used, or one could not be read this time: only damage is remembered.
    """

    def make() -> dict[str, np.ndarray]:
        decode_one = decoder()

        def decode_entry(entry: Entry) -> np.ndarray:
            content = tree.read(entry)
            try:
                return decode_one(content)
            except MemoryError as error:
                raise files.unread(f"{tree.path}/{entry.name}", error) from error

        results = images.in_parallel(decode_entry, entries, label)
        good = [number for number, result in enumerate(results) if isinstance(result, np.ndarray)]
        names = [files.printable(entry.name) for entry in entries]
        bad = [f"{name}: {r}" for name, r in zip(names, results, strict=True) if isinstance(r, Unusable)]
        if not good:
            raise UserError(f"{tree.path}: not one of {len(entries)} images can be used; the first: {bad[0]}")
        return {"x": _stacked([results[number] for number in good]), "kept": np.array(good, np.int64), "left_out": _texts(bad)}

    # Version 1 also kept which files could not be read at that time.
    key = ("class folders", 3, str(tree.path.resolve()), *form, *entries)
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
