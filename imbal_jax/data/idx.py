"""The idx format of MNIST and of the data sets that follow it (LeCun, Cortes and Burges, "The MNIST database")."""

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imbal_jax.errors import UserError

# Images and labels of train, then of test: the order in which four arrays are handed on everywhere here.
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
MOST_BYTES = 2**28  # unpacked; the largest of these files has 47 million


def find(folders: Sequence[Path]) -> list[Path] | None:
    """The paths of the four files in the first folder that holds any of them, gzipped or not; None if there is none.

    Raises:
        UserError: the folder lacks one of the four.
    """
    for folder in folders:
        found = [_find_one(folder, name) for name in FILES]
        if all(found):
            return [path for path in found if path]
        if any(found):
            missing = ", ".join(name for name, path in zip(FILES, found, strict=True) if not path)
            raise UserError(f"{folder} holds only a part of the raw data: add {missing} (.gz or not)")
    return None


def _find_one(folder: Path, name: str) -> Path | None:
    # Some archives write 'images.idx3' where the published name has 'images-idx3'.
    spellings = (name, f"{name}.gz", name.replace("-idx", ".idx"), name.replace("-idx", ".idx") + ".gz")
    return next((folder / spelling for spelling in spellings if (folder / spelling).is_file()), None)


def read(path: Path) -> np.ndarray:
    """The array of unsigned bytes in one idx file, gzipped or not: uint8, of the shape that its header states.

    Raises:
        UserError: unreadable, damaged, not idx, or of another length than the header says.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"cannot read {path}: {error or 'it ends too early'}; replace the file") from error
    if len(data) > MOST_BYTES:
        raise UserError(f"{path} has more than {MOST_BYTES:,} bytes, more than any file of these data sets; replace it")
    if len(data) < 4 or data[:3] != b"\x00\x00\x08":
        raise UserError(f"{path} is not an idx file of unsigned bytes (it begins with {data[:4].hex()!r}); replace it")
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise UserError(f"{path} is damaged: it ends within its header; replace it")
    shape = struct.unpack(f">{data[3]}I", data[4:start])
    if len(data) - start != math.prod(shape):
        raise UserError(
            f"{path} is damaged: {len(data) - start} bytes of data where its header promises "
            f"{'x'.join(map(str, shape))} = {math.prod(shape)}; replace it"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
