"""The files under a folder or in a zip, read by the same functions."""

import contextlib
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from imbal_jax.data.images import Unusable
from imbal_jax.errors import UserError, one_line

MOST_BYTES = 2**28  # of one file; no image that is of use here comes near it
DEEPEST = 100  # depth of a zip's folders
LONGEST = 4096  # characters of its path, as on Linux
STEP = 2**16  # bytes that are unpacked at once
# Others are unpacked by Python as a whole, however much that is: 50 bytes of bzip2 may be 60 MB.
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
CLUTTER = ("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information")


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
        read: gives the bytes of an entry, from any thread. Raises `Unusable` where the content is damaged, which may be
            remembered, and `UserError` where it could not be read this time (permission, disk, network, memory).
    """

    path: Path
    entries: tuple[Entry, ...]
    folders: frozenset[str]
    read: Callable[[Entry], bytes]


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Tree]:
    """The tree of a folder, or of a zip as long as the context lasts. Links to files and folders are followed in a folder.

    Names in a zip with back-slashes, as .NET and PowerShell write them, are read as if these were slashes.

    Raises:
        UserError: no such file, a folder in it that cannot be listed, no zip, or one whose members have absolute paths, lead
            out of it by '..', are links, are encrypted, or are packed by another method than deflate.
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


def printable(name: str) -> str:
    """The name on one line: bytes that are not UTF-8 as \\xNN, line ends and other control characters likewise."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return one_line(text, LONGEST)


def _folder(path: Path) -> Tree:
    entries, folders, seen = [], set(), {path.resolve()}
    for here, inside, names in os.walk(path, followlinks=True, onerror=_unlisted):
        below = Path(here).relative_to(path)
        inside[:] = [name for name in inside if not _hidden(name) and (Path(here) / name).resolve() not in seen]
        seen |= {(Path(here) / name).resolve() for name in inside}
        folders |= {(below / name).as_posix() for name in inside}
        for name in names:
            if not _hidden(name) and (known := _stat(Path(here) / name)):
                entries.append(Entry((below / name).as_posix(), known.st_size, known.st_mtime_ns))

    def read(entry: Entry) -> bytes:
        _check_size(entry)
        try:
            return (path / entry.name).read_bytes()
        except (OSError, MemoryError) as error:
            raise unread(path / entry.name, error) from error

    return Tree(path, tuple(sorted(entries)), frozenset(folders), read)


def unread(place: Path | str, error: Exception) -> UserError:
    """The error of a file that could not be read this time; another time it may be."""
    why = "there is not enough memory" if isinstance(error, MemoryError) else getattr(error, "strerror", None) or error
    advice = "mend that, or remove the file, and run the same command again"
    return UserError(f"cannot read {printable(str(place))}: {why}; {advice}")


def _unlisted(error: OSError) -> None:
    raise unread(error.filename, error) from error


def _stat(file: Path) -> os.stat_result | None:
    """None for a broken link, which is not a file."""
    try:
        return file.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unread(file, error) from error


def _zip(path: Path, archive: zipfile.ZipFile) -> Tree:
    members, folders = {}, set()
    for member in archive.infolist():
        _refuse(path, member)
        if len(member.filename) > LONGEST and member.filename.count("/") <= DEEPEST:
            what = f"the name of its member {member.filename[:40]!r}... has {len(member.filename):,} characters"
            raise UserError(f"{path} cannot be used: {what}, more than {LONGEST:,}; create the zip again")
        name = member.filename if "/" in member.filename else member.filename.replace("\\", "/")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if not parts or any(_hidden(part) for part in parts):
            continue
        if len(parts) > DEEPEST:
            what = f"its member {name[:40]!r}... lies {len(parts) - 1:,} folders deep"
            raise UserError(f"{path} cannot be used: {what}, more than {DEEPEST}; create the zip again")
        is_folder = name.endswith("/")
        above = parts if is_folder else parts[:-1]
        folders |= {"/".join(above[: depth + 1]) for depth in range(len(above))}
        if not is_folder:
            members["/".join(parts)] = member

    def read(entry: Entry) -> bytes:
        _check_size(entry)
        try:
            return _unpacked(archive, members[entry.name])
        except (EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise Unusable(f"cannot be unpacked: {error}") from error
        except (OSError, MemoryError) as error:
            raise unread(path, error) from error

    entries = sorted(Entry(name, member.file_size, member.CRC) for name, member in members.items())
    return Tree(path, tuple(entries), frozenset(folders), read)


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """The bytes of a member: never more than it declares, in steps, so that a wrong declared size cannot fill the memory."""
    content = bytearray()
    with archive.open(member) as file:
        while len(content) < member.file_size and (piece := file.read(min(STEP, member.file_size - len(content)))):
            content += piece
    if len(content) < member.file_size:
        raise zipfile.BadZipFile(f"it has {len(content):,} bytes, not {member.file_size:,} as declared")
    return bytes(content)


def _refuse(path: Path, member: zipfile.ZipInfo) -> None:
    # The name as the archive has it: `filename` ends at the first zero byte.
    name = member.orig_filename
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or parts[0][1:2] == ":" or ".." in parts or "\0" in name:
        raise UserError(f"{path} cannot be used: its member {name!r} leads out of the archive; create the zip again")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise UserError(f"{path} cannot be used: its member {name!r} is a link; create the zip again with the files themselves")
    if member.flag_bits & 1:
        raise UserError(f"{path} cannot be used: its member {name!r} is encrypted; unpack it, and give the folder")
    if member.compress_type not in COMPRESSIONS:
        what = f"its member {name!r} is packed by method {member.compress_type}; only 0 (stored) and 8 (deflate) are read"
        raise UserError(f"{path} cannot be used: {what}; unpack it, and give the folder")


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in CLUTTER


def _check_size(entry: Entry) -> None:
    if not entry.size:
        raise Unusable("is empty")
    if entry.size > MOST_BYTES:
        raise Unusable(f"has {entry.size:,} bytes, more than {MOST_BYTES:,}")
