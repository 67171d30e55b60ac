"""CIFAR-10 and CIFAR-100: 50,000 + 10,000 small colour pictures (Krizhevsky 2009, "Learning Multiple Layers of Features").

https://www.cs.toronto.edu/~kriz/cifar.html has them; this reads the binary version. The version for Python is a pickle,
which can run anything when it is opened, and is not read.
"""

import functools
import hashlib
import io
import tarfile
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from imbal_jax.data import download, sources
from imbal_jax.data.dataset import Absent, Dataset, Rows, cache_folder, digest
from imbal_jax.errors import UserError
from imbal_jax.fields import Field

URL = "https://www.cs.toronto.edu/~kriz/"
PIXELS = 3 * 32 * 32
FULL = (50_000, 10_000)
MOST_RECORDS = sum(FULL)  # in one file of an archive
# The classes of CIFAR-100.
FINE = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish forest
fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain
mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit
raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower
sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman
worm
"""


class Published(NamedTuple):
    """One of the two data sets.

    Attributes:
        name: of its folder, such as 'cifar10'.
        title: as it is written.
        folder: the one in the archive.
        archive: its file name; the checksum is registered in TFDS.
        files: of the training set, then that of the test set.
        labels: bytes of labels before the pixels of a record; the last one counts.
        class_names: [K].
        sha1: of the files (hex), in the order of `files`, as MXNet publishes them (gluon.data.vision).
    """

    name: str
    title: str
    folder: str
    archive: str
    files: tuple[tuple[str, ...], tuple[str, ...]]
    labels: int
    class_names: tuple[str, ...]
    sha1: tuple[str, ...]


KNOWN = {
    10: Published(
        "cifar10",
        "CIFAR-10",
        "cifar-10-batches-bin",
        "cifar-10-binary.tar.gz",
        (tuple(f"data_batch_{number}.bin" for number in range(1, 6)), ("test_batch.bin",)),
        1,
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        (
            "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
            "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
            "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
            "aab85764eb3584312d3c7f65fd2fd016e36a258e",
            "26e2849e66a845b7f1e4614ae70f4889ae604628",
            "67eb016db431130d61cd03c7ad570b013799c88c",
        ),
    ),
    100: Published(
        "cifar100",
        "CIFAR-100",
        "cifar-100-binary",
        "cifar-100-binary.tar.gz",
        (("train.bin",), ("test.bin",)),
        2,
        tuple(FINE.split()),
        ("e207cd2e05b73b1393c74c7f5e7bea451d63e08e", "8fb6623e830365ff53cf14adec797474f5478006"),
    ),
}

FIELDS = (
    Field("data.classes", 10, "CIFAR-10 or CIFAR-100.", choices=tuple(KNOWN)),
    Field("data.verify", True, "Refuse files that are not those that were published."),
)


def load(directory: str | None, source: str, per_class: int | None, *, classes: int, verify: bool) -> Dataset:
    """CIFAR-10 or CIFAR-100 from the first source that has it; x is uint8 [N, 32, 32, 3].

    Sources, in the order in which 'auto' tries them:

    - 'binary': data_batch_1.bin to data_batch_5.bin and test_batch.bin (train.bin and test.bin of CIFAR-100), in DIR/cifar10,
      DIR/raw/cifar10 (cifar100), DIR, or in the folder cifar-10-batches-bin (cifar-100-binary) in one of these.
    - 'archive': cifar-10-binary.tar.gz (cifar-100-binary.tar.gz) in one of the same places, not unpacked.
    - 'download': the archive, fetched with TFDS's registered checksum and kept in the cache folder.

    Rows are in the order of the files; CIFAR-100's classes are the fine ones. Whatever the source, the content of each file
    is compared with the published one.

    Args:
        directory: DIR; None means the environment variable IMBAL_DATA_DIR, else no directory.
        source: 'auto' or one of the names above.
        per_class: keep the first so many training rows of each class; `fraction` shrinks accordingly.
        classes: 10 or 100.
        verify: whether the files must be the published ones. Without it, others of the same format are read, such as a
            part of the images; the note says so, and `fraction` is their share.

    Raises:
        UserError: unknown source, other classes, no such directory, source absent, files damaged or not CIFAR.
    """
    known = KNOWN[classes] if verify else KNOWN[classes]._replace(sha1=())
    all_sources = {"binary": _binary, "archive": _archive, "download": _download}
    readers = {name: functools.partial(read, known) for name, read in all_sources.items()}
    return sources.read(known.title, readers, directory, source, per_class)


def _places(known: Published, root: Path | None) -> list[Path]:
    if root is None:
        raise Absent(f"no {known.title} files: put {known.archive} into DIR and name DIR with data.dir or IMBAL_DATA_DIR")
    return [root / known.name, root / "raw" / known.name, root]


def _binary(known: Published, root: Path | None) -> Dataset:
    names = [name for split in known.files for name in split]
    folders = [folder for directory in _places(known, root) for folder in (directory, directory / known.folder)]
    for folder in folders:
        missing = [name for name in names if not (folder / name).is_file()]
        if len(missing) == len(names):
            continue
        if missing:
            raise UserError(f"{folder} holds only a part of {known.title}: add {', '.join(missing)}")
        try:
            content = {name: (folder / name).read_bytes() for name in names}
        except OSError as error:
            raise UserError(f"cannot read {known.title} in {folder}: {error}; replace the files") from error
        return _dataset(known, "binary", str(folder), content)
    raise Absent(f"no {known.title} files ({names[0]}, ...) in {sources.either(folders)}")


def _archive(known: Published, root: Path | None) -> Dataset:
    paths = [place / known.archive for place in _places(known, root)]
    for path in paths:
        if path.is_file():
            return _from_archive(known, "archive", path)
    raise Absent(f"no {known.title} archive: neither of {sources.either(paths)} is there")


def _download(known: Published, root: Path | None) -> Dataset:
    del root  # what was fetched belongs to the cache, not to the user's data
    cached = cache_folder() / "raw" / known.name
    if (cached / known.archive).is_file():
        return _from_archive(known, "download", cached / known.archive)
    url = f"{URL}{known.archive}"
    if not download.online(url):
        raise Absent(f"no network: {URL} does not answer, so {known.title} cannot be downloaded")
    with tempfile.TemporaryDirectory() as spare:
        folder = cached if sources.writable(cached.parent) else Path(spare) / known.name
        download.fetch([url], folder)
        return _from_archive(known, "download", folder / known.archive)


def _from_archive(known: Published, source: str, path: Path) -> Dataset:
    names = [name for split in known.files for name in split]
    content: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                name = member.name.rsplit("/", 1)[-1]
                if member.isfile() and name in names:
                    if member.size > MOST_RECORDS * (known.labels + PIXELS):
                        raise UserError(f"{path}: {name} has {member.size:,} bytes, more than all of {known.title}; replace it")
                    content[name] = (archive.extractfile(member) or io.BytesIO()).read()
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise UserError(f"cannot read {path}: {error or 'it ends too early'}; replace the file") from error
    missing = [name for name in names if name not in content]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}; {known.title} is read in its binary version: replace the file")
    return _dataset(known, source, str(path), content)


def _dataset(known: Published, source: str, origin: str, content: Mapping[str, bytes]) -> Dataset:
    train, test = (_rows(known, origin, names, content) for names in known.files)
    test = test._replace(ids=test.ids + len(train.y), groups=test.groups + len(train.y))
    for side, name in ((train, "training"), (test, "test")):
        counts = np.bincount(side.y, minlength=len(known.class_names))
        if not counts.all():
            lacking = known.class_names[int(np.argmin(counts))]
            raise UserError(f"{origin} is not {known.title} or is damaged: it has no {name} images of class {lacking!r}")
    have = (len(train.y), len(test.y))
    note = f"Not the whole of {known.title}: {have[0]:,} of {FULL[0]:,} training and {have[1]:,} of {FULL[1]:,} test images."
    note = note if have != FULL else ""
    if known.sha1:
        _verify(known, origin, content)
    else:
        note = f"The files were not compared with the published {known.title} (config.data.verify=False). {note}".rstrip()
    return Dataset(known.name, source, digest(train, test), known.class_names, train, test, have[0] / FULL[0], note)


def _verify(known: Published, origin: str, content: Mapping[str, bytes]) -> None:
    names = [name for split in known.files for name in split]
    for name, expected in zip(names, known.sha1, strict=True):
        if (actual := hashlib.sha1(content[name], usedforsecurity=False).hexdigest()) != expected:
            what = (
                f"{origin}: {name} is not of the published {known.title} or is damaged: its SHA-1 is {actual}, not {expected}"
            )
            raise UserError(f"{what}; replace it, or set config.data.verify=False to use it as it is")


def _rows(known: Published, origin: str, names: Sequence[str], content: Mapping[str, bytes]) -> Rows:
    size = known.labels + PIXELS
    for name in names:
        if not content[name] or len(content[name]) % size:
            size_text = f"{len(content[name]):,} bytes, which are no records of {size:,}"
            raise UserError(f"{origin}: {name} is not of {known.title} or is damaged: it has {size_text}; replace it")
    records = np.frombuffer(b"".join(content[name] for name in names), np.uint8).reshape(-1, size)
    y = records[:, known.labels - 1].astype(np.int32)
    if y.max() >= len(known.class_names):
        raise UserError(f"{origin}: {names[0]} is not of {known.title} or is damaged: it has a label {y.max()}; replace it")
    x = np.ascontiguousarray(records[:, known.labels :].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    ids = np.arange(len(y), dtype=np.int64)
    return Rows(x, y, ids, ids)
