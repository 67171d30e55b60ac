"""Arrays of an .npz file, bounded: shapes are read first, added up and compared with the free memory."""

import math
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from imbal_jax.errors import UserError
from imbal_jax.runtime import memory

SUFFIX = ".npy"
HEADER = 10_000  # bytes; numpy's own limit for files that are not trusted
WORKING = 3  # bytes needed for each byte of the arrays: the arrays, joined, and the rows made from them


@contextmanager
def opened(path: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    """The archive, and its members by the arrays' names.

    Raises:
        UserError: no .npz, or any other error inside the context, where the archive is read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist() if not member.is_dir()}
            if others := sorted(name for name in members if not name.endswith(SUFFIX)):
                raise UserError(f"{path} has a member {others[0]!r}, which is not an array (.npy): save it with numpy.savez")
            yield archive, {name.removesuffix(SUFFIX): member for name, member in members.items()}
    except UserError:
        raise
    # What zipfile, zlib and numpy, which reads headers as Python text, make of damaged bytes: their errors share no base class.
    except Exception as error:
        with path.open("rb") as file:
            if file.read(6) == b"\x93NUMPY":
                raise UserError(f"{path} is a single array, not an .npz file: save x and y with numpy.savez") from error
        why = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(f"cannot read {path}: {why[:200]}; save it again with numpy.savez, without objects") from error


def read(
    path: Path,
    archive: zipfile.ZipFile,
    members: dict[str, zipfile.ZipInfo],
    names: Collection[str],
    working: int = WORKING,
) -> dict[str, np.ndarray]:
    """The arrays of those names, by name; no more is read of a member than its header declares.

    Args:
        path: of the archive, for messages.
        archive, members: as `opened` gives them.
        names: of the arrays.
        working: bytes that must be free for each byte of the arrays.

    Raises:
        UserError: they need more than the free memory, or a member is longer or shorter than its header says.
        Exception: whatever damaged bytes lead to; `opened` reports it.
    """
    declared = {name: _bytes(path, archive, members[name], name) for name in names}
    free = memory.host()
    if free is not None and working * sum(declared.values()) > free:
        sizes = ", ".join(f"{name} {size / 2**30:.4g} GiB" for name, size in declared.items())
        raise UserError(f"{path} does not fit in the memory: {sizes}, free {free / 2**30:.4g} GiB; save fewer or smaller rows")
    arrays = {}
    for name in names:
        with archive.open(members[name]) as file:
            arrays[name] = np.lib.format.read_array(file, allow_pickle=False, max_header_size=HEADER)
            if file.read(1):  # also lets zipfile compare the checksum
                raise UserError(f"{path}: {name} is longer than its header says; save it again with numpy.savez")
    return arrays


def _bytes(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> int:
    """Bytes of an array by its header, which must match the member's size."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0), (3, 0)):
            raise ValueError(f"{name} has the unknown .npy version {version}")
        # Version 3 differs from 2 in its encoding only (names of fields, which do not occur here).
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(file, max_header_size=HEADER)
        start = file.tell()
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects; numbers or words are needed")
    size = math.prod(shape) * dtype.itemsize
    if any(length < 0 for length in shape) or size != member.file_size - start:
        axes = str(shape) if len(str(shape)) < 80 else f"of {len(shape)} axes"
        raise UserError(
            f"{path}: {name} declares the shape {axes} of {dtype}, {size:,} bytes, and has {member.file_size - start:,}; "
            "save it again with numpy.savez"
        )
    return size
