"""The files under a folder or in a zip, read alike."""

import contextlib
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from imbal_jax.data.images import Unusable
from imbal_jax.errors import UserError

MOST_BYTES = 2**28  # of one file; no image that is of use here comes near it


class Entry(NamedTuple):
    """One file: its path below the top with slashes, its size in bytes, and what changes with its content."""

    name: str
    size: int
    stamp: int


class Tree(NamedTuple):
    """What lies under a folder or in a zip, without hidden files.

    Attributes:
        path: of the folder or the zip.
        entries: the files, by name.
        folders: the folders below the top, with slashes.
        read: gives the bytes of an entry, from any thread; raises `Unusable` where that fails.
    """

    path: Path
    entries: tuple[Entry, ...]
    folders: frozenset[str]
    read: Callable[[Entry], bytes]


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Tree]:
    """The tree of a folder, or of a zip as long as the context lasts. Links to files and folders are followed in a folder.

    Raises:
        UserError: no such file, no zip, or one whose members have absolute paths, lead out of it by '..' or are links.
    """
    if path.is_dir():
        yield _folder(path)
        return
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise UserError(f"cannot read {path} as a zip: {error}; replace the file") from error
    with archive:
        yield _zip(path, archive)


def _folder(path: Path) -> Tree:
    entries, folders, seen = [], set(), {path.resolve()}
    for here, inside, names in os.walk(path, followlinks=True):
        below = Path(here).relative_to(path)
        inside[:] = [name for name in inside if not _hidden(name) and (Path(here) / name).resolve() not in seen]
        seen |= {(Path(here) / name).resolve() for name in inside}
        folders |= {(below / name).as_posix() for name in inside}
        for name in names:
            with contextlib.suppress(OSError):  # a link to nothing is no file
                if not _hidden(name):
                    known = (Path(here) / name).stat()
                    entries.append(Entry((below / name).as_posix(), known.st_size, known.st_mtime_ns))

    def read(entry: Entry) -> bytes:
        _check_size(entry)
        try:
            return (path / entry.name).read_bytes()
        except OSError as error:
            raise Unusable(f"cannot be read: {error.strerror}") from error

    return Tree(path, tuple(sorted(entries)), frozenset(folders), read)


def _zip(path: Path, archive: zipfile.ZipFile) -> Tree:
    members, folders = {}, set()
    for member in archive.infolist():
        _refuse(path, member)
        parts = [part for part in member.filename.split("/") if part not in ("", ".")]
        if any(_hidden(part) for part in parts):
            continue
        above = parts if member.is_dir() else parts[:-1]
        folders |= {"/".join(above[: depth + 1]) for depth in range(len(above))}
        if not member.is_dir():
            members["/".join(parts)] = member

    def read(entry: Entry) -> bytes:
        _check_size(entry)
        try:
            return archive.read(members[entry.name])
        # Encrypted members are a RuntimeError, unknown compressions a NotImplementedError.
        except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise Unusable(f"cannot be unpacked: {error}") from error

    entries = sorted(Entry(name, member.file_size, member.CRC) for name, member in members.items())
    return Tree(path, tuple(entries), frozenset(folders), read)


def _refuse(path: Path, member: zipfile.ZipInfo) -> None:
    # The name as the archive has it: `filename` ends at the first zero byte.
    name = member.orig_filename
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or parts[0][1:2] == ":" or ".." in parts or "\0" in name:
        raise UserError(f"{path} is refused: its member {name!r} leads out of the archive; make the zip anew")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise UserError(f"{path} is refused: its member {name!r} is a link; make the zip anew with the files themselves")


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def _check_size(entry: Entry) -> None:
    if not entry.size:
        raise Unusable("is empty")
    if entry.size > MOST_BYTES:
        raise Unusable(f"has {entry.size:,} bytes, more than {MOST_BYTES:,}")
