"""Records of a run as JSON: lines that are appended as they come, and whole files that are replaced at once.

Strict JSON: NaN and the infinities become null. What a killed process leaves half written (the last line) is dropped
when the file is read and cut off before the next line is appended.

Each line ends in the field "crc", the CRC-32 of the canonical JSON of its other fields (sorted keys, no spaces), so that a
changed digit is noticed. It protects from damage and slips, not from intent: whoever changes a line can compute it anew.
Lines of files written before there was such a field are read as they are, as long as no line above them has one.
"""

import contextlib
import errno
import json
import math
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from absl import logging

from imbal_jax.errors import UserError

DIGEST = "crc"  # the field of a line that holds the digest of the others
DEEPEST = 64  # levels of a JSON file; nothing that is written here comes near
_SCRATCH = re.compile(r"\.[^/]+\.(\d+)\.tmp")  # the temporary files of `_replace`, with the process that writes them
_ALTERED = "was changed after it was written (its digest does not match)"


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder for this process; a process that ends, however it ends, lets go.

    Raises:
      UserError: another process holds it.
    """
    import fcntl

    with open(Path(folder) / ".lock", "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another process is at work in {folder}: wait for it, or choose another --workdir") from error
        _remove_stale(Path(folder))
        yield


def _remove_stale(folder: Path) -> None:
    """Removes the temporary files that a killed process left: those that `write_json` and `whole` make.

    In the folder itself and in plots/; not those of processes that are alive, as one that writes a report only, and holds no
    lock, may be.
    """
    for place in (folder, folder / "plots"):
        with contextlib.suppress(OSError):
            for name in os.listdir(place):
                match = _SCRATCH.fullmatch(name)
                if name.endswith(".part") or (match and not _alive(int(match[1]))):
                    with contextlib.suppress(OSError):
                        (place / name).unlink()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # of another user
        return True
    return process != os.getpid()


def append(path: Path, rows: list[dict]) -> None:
    """Appends one line per row, on the disk when it returns; the folder is made where it is missing.

    Args:
      path: the .jsonl file.
      rows: dicts of JSON values, numpy and jax scalars and arrays (as nested lists); NaN and infinities become null.

    Raises:
      UserError: no space left, or the file cannot be written.
      TypeError: a value that has no JSON form.
    """
    path, data = Path(path), _lines(rows)
    if not data:
        return
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab+") as file:
            start = _mend_tail(file, path)
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                with contextlib.suppress(OSError):
                    os.truncate(path, start)  # all of the rows or none
                raise


def read(path: Path) -> list[dict]:
    """The rows of a .jsonl file; [] when there is none. A damaged last line is dropped with a logged warning.

    Raises:
      UserError: a damaged line before the last one, or any line that does not match its digest (file and line number are
        named), or no permission.
    """
    return read_with_digests(path)[0]


def read_with_digests(path: Path) -> tuple[list[dict], int]:
    """As `read`, and how many of the rows carry no digest, so that damage in them goes unnoticed."""
    path = Path(path)
    if not path.exists():
        return [], 0
    with _explained(path, "read"):
        lines = path.read_bytes().split(b"\n")
    if lines[-1] == b"":  # after the newline that ends the last line
        lines.pop()
    parsed = [_parsed(line) for line in lines]
    if parsed and parsed[-1] is None:
        logging.warning("%s: the last line (%d) is damaged and dropped", path, len(parsed))
        parsed.pop()
    undigested, digests = 0, False
    for number, line in enumerate(parsed, 1):
        if line is None:
            raise UserError(f"{path}: line {number} is damaged; remove that line, or the file to begin again")
        if line.digest == "wrong" or (digests and line.digest == "none"):
            raise UserError(f"{path}: line {number} {_ALTERED}; remove that line to have it computed again")
        digests = digests or line.digest == "right"
        undigested += line.digest == "none"
    return [line.row for line in parsed if line is not None], undigested


def newest_first(path: Path) -> Iterator[dict]:
    """The rows of a .jsonl file from the last to the first, as `read` has them; read no further than rows are asked for.

    Raises:
      UserError: as `read`, of a damaged line once it is reached.
    """
    path = Path(path)
    if not path.exists():
        return
    with _explained(path, "read"), open(path, "rb") as file:
        for number, (_, line) in enumerate(_lines_backwards(file)):
            parsed = _parsed(line)
            if parsed is not None and parsed.digest != "wrong":
                yield parsed.row
            elif number or parsed is not None:
                read(path)  # which says where it is
            else:
                logging.warning("%s: the last line is damaged and dropped", path)


def keep(path: Path, predicate: Callable[[dict], bool]) -> int:
    """Rewrites the file with only the rows that satisfy the predicate, at once or not at all; returns how many went.

    Raises:
      UserError: as `read` and `append`.
    """
    rows = read(path)
    kept = [row for row in rows if predicate(row)]
    if len(kept) < len(rows):
        _replace(Path(path), _lines(kept))
    return len(rows) - len(kept)


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file at once or not at all (a temporary file, then a rename); values as for `append`.

    Raises:
      UserError: no space left, or the file cannot be written; what was there before stays.
      TypeError: a value that has no JSON form.
    """
    _replace(Path(path), _text(_plain(content), indent=1) + b"\n")


@contextlib.contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """A file to write into, which has its name only when it is complete: for what can be made again, such as pictures.

    Raises:
      OSError: no space left, or the file cannot be written; it names the file.
    """
    partial = path.with_name(f"{path.name}.part")
    try:
        with open(partial, "wb") as file:
            yield file
        partial.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a write that fails does not say where
        raise
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
      UserError: missing, damaged or unreadable.
    """
    path = Path(path)
    with _explained(path, "read"):
        data = path.read_bytes()
    try:
        return _loads(data)
    except ValueError as problem:
        raise UserError(f"{path} is damaged ({problem}); delete it and run the same command again") from problem


def read_object(path: Path) -> dict[str, Any]:
    """As `read_json`, of a file that holds an object; {} where there is no such file.

    Raises:
      UserError: damaged or unreadable, or it holds something else.
    """
    path = Path(path)
    if not path.exists():
        return {}
    content = read_json(path)
    if not isinstance(content, dict):
        what = "null" if content is None else type(content).__name__
        raise UserError(f"{path} is damaged (it holds {what}, not an object); delete it and run the same command again")
    return content


def _plain(value: Any) -> Any:
    """The value in the types of JSON."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.dtype.kind not in "biufSU":  # bfloat16 and its like have no Python counterpart of their own
            array = array.astype(np.float64)
        return _plain(array.tolist())
    raise TypeError(f"{type(value).__name__} {value!r} has no JSON form")


def _lines(rows: Iterable[dict]) -> bytes:
    return b"".join(_text({**(plain := _plain(row)), DIGEST: _digest(plain)}) + b"\n" for row in rows)


def _text(content: Any, indent: int | None = None) -> bytes:
    """The value, which is plain, as JSON in UTF-8; names that UTF-8 cannot hold are escaped."""
    text = json.dumps(content, indent=indent, allow_nan=False, ensure_ascii=False)
    try:
        return text.encode()
    except UnicodeEncodeError:  # parts of a file's name that was not UTF-8
        return json.dumps(content, indent=indent, allow_nan=False).encode()


def _digest(row: dict) -> str:
    """The CRC-32 (hex) of the canonical JSON of a row."""
    return f"{zlib.crc32(json.dumps(row, sort_keys=True, separators=(',', ':'), allow_nan=False).encode()):08x}"


class _Line(NamedTuple):
    """A line read back: the row without its digest, and whether that is 'right', 'wrong' or 'none'."""

    row: dict
    digest: str


def _parsed(line: bytes) -> _Line | None:
    """None for a damaged line."""
    try:
        row = _loads(line)
    except ValueError:
        return None
    if not isinstance(row, dict):
        return None
    if DIGEST not in row:
        return _Line(row, "none")
    written = row.pop(DIGEST)
    return _Line(row, "right" if written == _digest(row) else "wrong")


def _loads(data: bytes) -> Any:
    """Strict JSON: no NaN, no infinity, whole numbers of 64 bits, at most so many levels; raises ValueError for all else."""
    try:
        content = json.loads(data, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_bounded)
    except RecursionError as problem:
        raise ValueError(f"more than {DEEPEST} levels") from problem
    levels = [content]
    for _ in range(DEEPEST):
        inner = [value for value in levels if isinstance(value, dict | list)]
        if not inner:
            return content
        levels = [part for value in inner for part in (value.values() if isinstance(value, dict) else value)]
    raise ValueError(f"more than {DEEPEST} levels")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is too large a number")
    return number


def _bounded(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= (number := int(text)) < 2**64:
        raise ValueError(f"{text[:40]} is too large a number")
    return number


def _mend_tail(file: Any, path: Path) -> int:
    """Cuts off a damaged last line, or ends a whole one that lacks its newline; returns the size of the file then."""
    size = file.seek(0, os.SEEK_END)
    start, tail = next(_lines_backwards(file), (size, b""))
    if not tail:
        return size
    if _parsed(tail) is None:
        logging.warning("%s: the last line is damaged and cut off (%d bytes)", path, len(tail))
        file.truncate(start)
    elif not tail.endswith(b"\n"):
        file.write(b"\n")
    return file.seek(0, os.SEEK_END)


def _lines_backwards(file: IO[bytes], block: int = 1 << 16) -> Iterator[tuple[int, bytes]]:
    """Start and bytes of each line from the last one, its newline included; the end of a long file costs no more for it."""
    end = start = file.seek(0, os.SEEK_END)
    rest = b""
    while start:
        size = min(block, start)
        start -= size
        file.seek(start)
        *ended, tail = (file.read(size) + rest).split(b"\n")
        lines = [line + b"\n" for line in ended] + [tail] * bool(tail)
        for line in reversed(lines[1:] if start else lines):  # the first may have begun before
            end -= len(line)
            yield end, line
        rest = lines[0]


def _replace(path: Path, data: bytes) -> None:
    """Puts the bytes in place of the file; a process killed on the way leaves the old file."""
    path = path.resolve()  # a link keeps pointing where it points
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(scratch, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(scratch, path)
        finally:
            with contextlib.suppress(OSError):
                scratch.unlink(missing_ok=True)


@contextlib.contextmanager
def _explained(path: Path, doing: str = "write") -> Iterator[None]:
    """Turns failures of the file system into UserError."""
    try:
        yield
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(f"{path}: no space left ({_free(path)}); make room and run the same command again") from problem
        advice = "mend its permissions or choose another workdir" if doing == "write" else "mend its path or its permissions"
        raise UserError(f"{path}: cannot {doing} it ({problem.strerror or problem}); {advice}") from problem


def _free(path: Path) -> str:
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    return f"{shutil.disk_usage(existing).free / 1e6:.1f} MB free"
