"""What the names of folders and files mean: splits (training_set, seg_test), parts (fold_0), owners (patient_7), masks."""

import functools
import re
from collections.abc import Collection, Iterable

TRAIN, TEST, VALIDATION = "train", "test", "val"
KINDS = {
    TRAIN: ("train", "training", "trn", "trainval"),
    TEST: ("test", "testing", "tst", "eval", "evaluation", "holdout"),
    VALIDATION: ("val", "valid", "validation", "dev"),
}
_KIND_OF = {word: kind for kind, words in KINDS.items() for word in words}
# Words that may accompany that of the split and say nothing about the content.
_FILLERS = {
    "set",
    "sets",
    "data",
    "dataset",
    "datasets",
    "folder",
    "folders",
    "image",
    "images",
    "img",
    "imgs",
    "picture",
    "pictures",
    "photo",
    "photos",
    "file",
    "files",
    "split",
    "splits",
    "seg",
    "sample",
    "samples",
    "input",
    "inputs",
    "jpg",
    "jpeg",
    "png",
    "the",
    "of",
}
_GLUED = re.compile(rf"^({'|'.join(_KIND_OF)})({'|'.join(sorted(_FILLERS, key=len, reverse=True))})$")
_PART = re.compile(r"(?:^|[\W_])(?:fold|cv|part|batch|set|subset|chunk|shard|split|archive|volume)s?[\W_]*\d+$", re.I)
_OWNER = re.compile(r"(?:^|[\W_])(?:patient|patients|subject|subj|sub|case|person|participant|slide|donor)[\W_]*\d+$", re.I)
_MASKS = {
    "mask",
    "masks",
    "segmentation",
    "segmentations",
    "groundtruth",
    "groundtruths",
    "gt",
    "annotation",
    "annotations",
    "label",
    "labels",
}
_IMAGES = {
    "image",
    "images",
    "img",
    "imgs",
    "picture",
    "pictures",
    "photo",
    "photos",
    "jpegimages",
    "original",
    "originals",
    "input",
    "inputs",
    "data",
    "raw",
}
_MASK_OF = re.compile(
    r"^(?P<stem>.+?)[ _.-]+(?:masks?|segmentations?|segmented|seg|gt|ground[\W_]?truth|superpixels)(?:[\W_]?\d+)?$", re.I
)
_MASK_BEFORE = re.compile(r"^(?:masks?|segmentation|seg|gt)[ _.-]+(?P<stem>.+)$", re.I)


def words(name: str) -> list[str]:
    """The words and numbers in a name, lower case: 'TrainingSet-01' gives training, set, 01."""
    return re.findall(r"[^\W\d_]+|\d+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())


def split_of(name: str) -> tuple[str, tuple[str, ...]]:
    """('train', 'test', 'val' or '', the other words that carry a meaning): 'seg_train' gives ('train', ()).

    Both train and val in one name count as train. Any other two splits in one name are none.
    """
    kinds, rest = set(), []
    for word in words(name):
        glued = _GLUED.match(word)
        word = glued.group(1) if glued else word
        if word in _KIND_OF:
            kinds.add(_KIND_OF[word])
        elif word not in _FILLERS and not word.isdigit():
            rest.append(word)
    if kinds == {TRAIN, VALIDATION}:
        kinds = {TRAIN}
    return (kinds.pop() if len(kinds) == 1 else ""), tuple(rest)


def splits(names: Iterable[str]) -> dict[str, str]:
    """The split of each of the folders that lie beside each other and name one; empty unless one of them is 'train'.

    Further words, such as those of ISIC_Training and ISIC_Test, must be shared by folders of different splits: 'bullet
    train' beside 'test tube' names no split.
    """
    told = {name: split_of(name) for name in names}
    kinds_with: dict[tuple[str, ...], set[str]] = {}
    for kind, rest in told.values():
        kinds_with.setdefault(rest, set()).add(kind)
    found = {name: kind for name, (kind, rest) in told.items() if kind and (not rest or len(kinds_with[rest] - {""}) > 1)}
    return found if TRAIN in found.values() else {}


def plain_split(name: str) -> str:
    """The split that a name means without further words, or ''."""
    kind, rest = split_of(name)
    return "" if rest else kind


def is_filler(name: str) -> bool:
    """Whether the name, such as 'images', says neither class nor split."""
    return bool(words(name)) and all(word in _FILLERS for word in words(name))


def are_parts(names: Collection[str]) -> bool:
    """Whether the folders are numbered pieces of one set (fold_0, HAM10000_images_part_1)."""
    return bool(names) and all(_PART.search(name) for name in names)


def are_owners(names: Collection[str]) -> bool:
    """Whether the folders are what a row belongs to (patient_1, subject-02)."""
    return bool(names) and all(_OWNER.search(name) for name in names)


def masks(files: Iterable[str]) -> set[str]:
    """Those of the files (paths with slashes) that are the segmentation masks of others.

    A file is one where it lies in a folder such as masks/ that has a folder such as images/ beside it, or the images
    themselves; or where its name is that of another file and '_mask', '_segmentation' or the like, and the other one is in
    the same folder, or is found with that folder's name changed while the folder's name means masks.
    """
    files = list(files)
    folders: dict[str, set[str]] = {"": set()}
    stems: dict[str, set[str]] = {}
    for file in files:
        *above, name = file.split("/")
        for depth, folder in enumerate(above):
            folders.setdefault("/".join(above[:depth]), set()).add(folder)
        stems.setdefault(name.rpartition(".")[0].lower(), set()).add("/".join(above))
    beside_images = {
        f"{place}/{folder}".strip("/")
        for place, inside in folders.items()
        if any(set(words(folder)) <= _IMAGES for folder in inside)
        for folder in inside
        if tells_masks(folder) and set(words(folder)) <= _MASKS | _IMAGES | {"ground", "truth", "truths"}
    }
    return {file for file in files if _is_mask(file, beside_images, stems)}


def _is_mask(file: str, beside_images: set[str], stems: dict[str, set[str]]) -> bool:
    *above, name = file.split("/")
    if any("/".join(above[: depth + 1]) in beside_images for depth in range(len(above))):
        return True
    stem = name.rpartition(".")[0].lower()
    places: set[str] = set()
    for pattern in (_MASK_OF, _MASK_BEFORE):
        if named := pattern.match(stem):
            places |= stems.get(named.group("stem"), set())
    if "/".join(above) in places:
        return True
    for depth, folder in enumerate(above):
        if tells_masks(folder):
            start, end = above[:depth], above[depth + 1 :]
            if set(words(folder)) <= _MASKS and "/".join(start + end) in places | stems.get(stem, set()):
                return True  # COVID/masks/1.png, and COVID/1.png
            others = (place.split("/") for place in places)
            if any(len(o) == len(above) and o[:depth] == start and o[depth + 1 :] == end for o in others):
                return True
    return False


@functools.lru_cache
def tells_masks(folder: str) -> bool:
    """Whether a folder's name says that segmentation masks are in it."""
    own = words(folder)
    return bool(set(own) & _MASKS) or "groundtruth" in "".join(own)
