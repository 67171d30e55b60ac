"""Labelled images that TensorFlow Datasets prepared as array_record: without TensorFlow and in the published order.

The records are read directly: decoding 70,000 of them through `tfds.data_source` takes ten times as long.
"""

import contextlib
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imbal_jax.data import cache
from imbal_jax.errors import UserError

SPLITS = ("train", "test")


def find(folders: Sequence[Path], name: str) -> list[list[Path]] | None:
    """The shards of train and of test in the first folder that holds any array_record file of data set `name`, or None.

    Raises:
        UserError: a split or a shard is missing.
    """
    for folder in folders:
        shards = [sorted(folder.glob(f"{name}-{split}.array_record-*-of-*")) for split in SPLITS]
        if not any(shards):
            continue
        for split, paths in zip(SPLITS, shards, strict=True):
            promised = int(paths[0].name.rsplit("-", 1)[1]) if paths else 1
            if len(paths) != promised:
                raise UserError(
                    f"{folder} holds {len(paths)} of {promised} {name}-{split}.array_record files; prepare the data set again"
                )
        return shards
    return None


def read(shards: Sequence[Sequence[Path]]) -> list[np.ndarray]:
    """Images and labels of train, then of test: uint8 [N, H, W], uint8 [N], uint8 [M, H, W], uint8 [M].

    The arrays are cached with their digest, so that the same files are decoded once.

    Args:
        shards: the files of each split, as `find` gives them.

    Raises:
        UserError: a file is unreadable or damaged, or its records are not labelled images.
    """

    def make() -> dict[str, np.ndarray]:
        arrays = [array for split, paths in zip(SPLITS, shards, strict=True) for array in _read_split(split, paths)]
        return {f"arr_{number}": array for number, array in enumerate(arrays)}

    made = cache.kept(("array_record", _file_digest(shards)), make)
    return [made[f"arr_{number}"] for number in range(2 * len(SPLITS))]


def _read_split(split: str, paths: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    pairs = [pair for path in paths for pair in _read_file(path)]
    if not pairs:  # as a file that was cut off at the end of a block shows itself
        raise UserError(f"{paths[0]} is damaged (no records); prepare the data set again or remove the file")
    try:
        x = np.stack([image for image, _ in pairs])
    except ValueError as error:
        raise UserError(f"{paths[0]} holds images of several sizes; prepare the data set again") from error
    published = np.argsort(_published_order(split, len(x)))
    return x[published], np.array([label for _, label in pairs], np.uint8)[published]


def _published_order(split: str, n: int) -> np.ndarray:
    """Where each stored record stood in the published files, int [n].

    TFDS sorts the records by the MD5 of the split's name followed by the record's key, and the key of a data set in
    MNIST's format is its row number. So the shuffle is known and can be undone.
    """
    hashes = [hashlib.md5(f"{split}{row}".encode(), usedforsecurity=False).digest() for row in range(n)]
    return np.array(sorted(range(n), key=hashes.__getitem__))


def _read_file(path: Path) -> list[tuple[np.ndarray, int]]:
    try:
        from array_record.python import array_record_module
    except ImportError as error:
        raise UserError(f"cannot read {path}: {error}; run: pip install array-record") from error
    reader = None
    try:
        reader = array_record_module.ArrayRecordReader(str(path))
        return [_decode(record) for record in reader.read_all()]
    # Pillow reports a broken PNG as SyntaxError or OSError; a wrong structure shows as one of the others.
    except (RuntimeError, ValueError, KeyError, IndexError, OSError, SyntaxError) as error:
        raise UserError(f"{path} is damaged ({error}); prepare the data set again or remove the file") from error
    finally:
        # A reader that found its file damaged raises again when it is closed.
        with contextlib.suppress(RuntimeError):
            if reader is not None:
                reader.close()


def _decode(record: bytes) -> tuple[np.ndarray, int]:
    """Image uint8 [H, W] and label of one serialised tf.train.Example with the features 'image' (PNG) and 'label'."""
    from PIL import Image

    features = {}
    for entry in _fields(_fields(record)[0]):  # Example.features, then one map entry per feature
        name, feature = _fields(entry)
        features[name] = _fields(_fields(feature)[0])[0]  # the list of the feature's kind, its first value
    with Image.open(io.BytesIO(features[b"image"])) as image:
        return np.asarray(image), features[b"label"][0]


def _fields(message: bytes) -> list[bytes]:
    """The fields of a protocol buffer message, each given by a one-byte tag, its length and as many bytes."""
    fields, at = [], 0
    while at < len(message):
        if message[at] & 0x87 != 2:
            raise ValueError("a record is no labelled image")
        size, shift, byte = 0, 0, 0x80
        while byte & 0x80:  # the length, seven bits a byte, the lowest first
            at += 1
            byte = message[at]
            size |= (byte & 0x7F) << shift
            shift += 7
        at += 1 + size
        fields.append(message[at - size : at])
    if at > len(message):
        raise ValueError("a record ends too early")
    return fields


def _file_digest(shards: Sequence[Sequence[Path]]) -> str:
    total = hashlib.sha256()
    for path in (path for paths in shards for path in paths):
        try:
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error
    return total.hexdigest()
