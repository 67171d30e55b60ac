"""Data sets that are published as four idx files, as MNIST is: their sources, and the check of what was read.

Whatever the source, the rows come in the order of the published files: TFDS shuffles when it prepares a data set, and
that shuffle is undone on reading. So "the first 100" of a class are the same images everywhere, and the results carry
the same digest.
"""

import functools
import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from imbal_jax.data import arrayrecord, download, idx, sources
from imbal_jax.data.dataset import Absent, Dataset, Rows, cache_folder, digest
from imbal_jax.errors import UserError


class Content(NamedTuple):
    """What is known of the true content: rows per class of each split, SHA-256 of the bytes of the four arrays."""

    train_counts: tuple[int, ...]
    test_counts: tuple[int, ...]
    sha256: tuple[str, ...]


class Published(NamedTuple):
    """A data set of 28x28 grey images in four idx files.

    Attributes:
        name: as TFDS and the folders have it, such as 'fashion_mnist'.
        title: as it is written, such as 'Fashion-MNIST'.
        version: the one that TFDS prepares.
        url: where the files are, with a slash at its end; their checksums are registered in TFDS.
        class_names: one name per class, [K].
        content: of the whole data set.
    """

    name: str
    title: str
    version: str
    url: str
    class_names: tuple[str, ...]
    content: Content


def readers(known: Published) -> dict[str, sources.Reader]:
    """The sources of a data set by name, in the order in which they are tried.

    - 'tfds': prepared by TensorFlow Datasets as array_record, in DIR/tfds/NAME/VERSION, DIR/NAME/VERSION or, without a
      directory, ~/tensorflow_datasets/NAME/VERSION.
    - 'raw': the four idx files, gzipped or not, in DIR/raw/NAME, DIR/NAME or DIR.
    - 'download': the same four files, fetched with TFDS's registered checksums and kept in the cache folder.

    All give the same rows in the same order, and `ids` are row numbers there, those of the test set after those of the
    training set. Counts and SHA-256 are checked on every load.
    """
    return {name: functools.partial(read, known) for name, read in (("tfds", _tfds), ("raw", _raw), ("download", _download))}


def _tfds(known: Published, root: Path | None) -> Dataset:
    place = Path(known.name) / known.version
    home = Path(os.path.expanduser("~/tensorflow_datasets"))
    folders = [root / "tfds" / place, root / place] if root else [home / place]
    shards = arrayrecord.find(folders, known.name)
    if shards is None:
        where = sources.either(folders)
        raise Absent(f"no {known.title} prepared by TFDS ({known.name}-train.array_record-*) in {where}")
    arrays = arrayrecord.read(shards)
    return dataset(known, "tfds", arrays, [str(paths[0]) for paths in shards for _ in range(2)])


def _raw(known: Published, root: Path | None) -> Dataset:
    files = f"{', '.join(idx.FILES)}, .gz or not"
    if root is None:
        where = f"put them ({files}) into DIR/raw/{known.name} and name DIR with data.dir or IMBAL_DATA_DIR"
        raise Absent(f"no raw {known.title} files: {where}")
    folders = [root / "raw" / known.name, root / known.name, root]
    paths = idx.find(folders)
    if paths is None:
        raise Absent(f"no raw {known.title} files ({files}) in {sources.either(folders)}")
    return _from_idx(known, "raw", paths)


def _download(known: Published, root: Path | None) -> Dataset:
    del root  # what was fetched belongs to the cache, not to the user's data
    cached = cache_folder() / "raw" / known.name
    paths = idx.find([cached])
    if paths is not None:
        return _from_idx(known, "download", paths)
    urls = [f"{known.url}{name}.gz" for name in idx.FILES]
    if not download.online(urls[-1]):
        raise Absent(f"no network: {known.url} does not answer, so {known.title} cannot be downloaded")
    with tempfile.TemporaryDirectory() as spare:
        folder = cached if sources.writable(cached.parent) else Path(spare) / known.name
        download.fetch(urls, folder)
        return _from_idx(known, "download", [folder / f"{name}.gz" for name in idx.FILES])


def _from_idx(known: Published, source: str, paths: Sequence[Path]) -> Dataset:
    return dataset(known, source, [idx.read(path) for path in paths], [str(path) for path in paths])


def dataset(
    known: Published,
    source: str,
    arrays: Sequence[np.ndarray],
    places: Sequence[str],
    part: Content | None = None,
    note: str = "",
) -> Dataset:
    """The data set of four arrays, once they are found to be what they should be.

    Args:
        known: the data set.
        source: the name of the source.
        arrays: images and labels of train, then of test: uint8 [N, 28, 28], uint8 [N], and the same for M.
        places: where each was read, for messages.
        part: the true content, where it is not the whole data set.
        note: as in `Dataset`.

    Raises:
        UserError: they hold something else.
    """
    _verify(known.title, arrays, part or known.content, places)
    train_x, train_y, test_x, test_y = arrays
    train = _rows(train_x, train_y, 0)
    test = _rows(test_x, test_y, len(train_y))
    fraction = len(train_y) / sum(known.content.train_counts)
    return Dataset(known.name, source, digest(train, test), known.class_names, train, test, fraction, note)


def _rows(x: np.ndarray, y: np.ndarray, first_id: int) -> Rows:
    ids = np.arange(first_id, first_id + len(y), dtype=np.int64)
    return Rows(np.ascontiguousarray(x[..., None]), y.astype(np.int32), ids, ids)


def _verify(title: str, arrays: Sequence[np.ndarray], true: Content, places: Sequence[str]) -> None:
    wrong = f"is not {title} or is damaged"
    for split, counts in enumerate((true.train_counts, true.test_counts)):
        x, y = arrays[2 * split : 2 * split + 2]
        if y.ndim != 1 or not np.array_equal(class_counts := np.bincount(y, minlength=len(counts)), counts):
            seen = f"labels of shape {y.shape}" if y.ndim != 1 else f"{class_counts.tolist()} rows of its classes"
            raise UserError(f"{places[2 * split + 1]} {wrong}: {seen}, not {list(counts)}")
        if x.shape != (len(y), 28, 28):
            raise UserError(f"{places[2 * split]} {wrong}: shape {x.shape}, not {(len(y), 28, 28)}")
    for array, expected, place in zip(arrays, true.sha256, places, strict=True):
        if (actual := hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()) != expected:
            raise UserError(f"{place} {wrong}: SHA-256 of its data is {actual}, not {expected}")
