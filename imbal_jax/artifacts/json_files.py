"""JSON files of a run: lines that are appended one by one, and whole files that are replaced atomically.

Strict JSON: NaN and the infinities become null. A last line that a killed process left half written is dropped when the file
is read, and cut off before the next line is appended.

Each line ends in the field "crc", the CRC-32 of the canonical JSON of its other fields (sorted keys, no spaces), so that a
changed digit is detected. It protects against damage and mistakes, not against intent: whoever changes a line can compute the
digest again. Lines without the field, of an earlier version, are read as long as no line above them has it.
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

DIGEST = "crc"  # the field of a line with the digest of its other fields
DEEPEST = 64  # nesting levels of a JSON file; files written here have far fewer
_SCRATCH = re.compile(r"\.[^/]+\.(\d+)\.tmp")  # temporary files of `_replace`, with the number of the process
_ALTERED = "was changed after it was written (its digest does not match)"


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock the folder for this process; the lock is released when the process ends, for whatever reason.

    Raises:
      UserError: another process has locked it.
    """
    import fcntl

    with open(Path(folder) / ".lock", "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another process is using {folder}: wait for it, or choose another --workdir") from error
        _remove_stale(Path(folder))
        yield


def _remove_stale(folder: Path) -> None:
    """Removes temporary files of `write_json` and `whole` that a killed process left.

    In the folder itself and in plots/. Files of running processes are kept: a process that only writes a report holds no lock.
    """
    for directory in (folder, folder / "plots"):
        with contextlib.suppress(OSError):
            for name in os.listdir(directory):
                match = _SCRATCH.fullmatch(name)
                if name.endswith(".part") or (match and not _alive(int(match[1]))):
                    with contextlib.suppress(OSError):
                        (directory / name).unlink()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # a process of another user
        return True
    return process != os.getpid()


def append(path: Path, rows: list[dict]) -> None:
    """Appends one line per row, flushed to disk; the folder is made where it is missing.

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
                    os.truncate(path, start)  # all rows or none
                raise


def read(path: Path) -> list[dict]:
    """The rows of a .jsonl file; [] without a file. A damaged last line is dropped with a logged warning.

    Raises:
      UserError: a damaged line before the last one, or any line that does not match its digest (file and line number are
        named), or no permission.
    """
    return read_with_digests(path)[0]


def read_with_digests(path: Path) -> tuple[list[dict], int]:
    """As `read`, and the number of rows without a digest, in which damage is not detected."""
    path = Path(path)
    if not path.exists():
        return [], 0
    with _explained(path, "read"):
        lines = path.read_bytes().split(b"\n")
    if lines[-1] == b"":  # after the newline that ends the last line
        lines.pop()
    parsed = [_parsed(line) for line in lines]
    if parsed and parsed[-1] is None:
        logging.warning("%s: the last line (%d) is damaged and is dropped", path, len(parsed))
        parsed.pop()
    undigested, digests = 0, False
    for number, line in enumerate(parsed, 1):
        if line is None:
            raise UserError(f"{path}: line {number} is damaged: remove that line, or the file to begin again")
        if line.digest == "wrong" or (digests and line.digest == "none"):
            raise UserError(f"{path}: line {number} {_ALTERED}: remove that line to have it computed again")
        digests = digests or line.digest == "right"
        undigested += line.digest == "none"
    return [line.row for line in parsed if line is not None], undigested


def newest_first(path: Path) -> Iterator[dict]:
    """The rows of a .jsonl file from the last to the first, as `read` gives them, read lazily.

    Raises:
      UserError: as `read`, for a damaged line once it is reached.
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
                read(path)  # raises, with the line's number
            else:
                logging.warning("%s: the last line is damaged and is dropped", path)


def filter_rows(path: Path, predicate: Callable[[dict], bool]) -> int:
    """Atomically removes the rows that do not satisfy the predicate; returns the number of removed rows.

    Raises:
      UserError: as `read` and `append`.
    """
    rows = read(path)
    remaining = [row for row in rows if predicate(row)]
    if len(remaining) < len(rows):
        _replace(Path(path), _lines(remaining))
    return len(rows) - len(remaining)


def write_json(path: Path, content: Any) -> None:
    """Atomically writes a JSON file (a temporary file, then a rename); values as for `append`.

    Raises:
      UserError: no space left, or the file cannot be written; an earlier file is kept.
      TypeError: a value that has no JSON form.
    """
    _replace(Path(path), _text(_plain(content), indent=1) + b"\n")


@contextlib.contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """A file to write into that gets its name once it is complete; for files that can be made again, such as pictures.

    Raises:
      OSError: no space left, or the file cannot be written; the error names the file.
    """
    partial = path.with_name(f"{path.name}.part")
    try:
        with open(partial, "wb") as file:
            yield file
        partial.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)  # the error of a failed write has no file name
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
        raise UserError(f"{path} is damaged ({problem}): delete it and run the same command again") from problem


def read_object(path: Path) -> dict[str, Any]:
    """As `read_json`, for a file that holds an object; {} without a file.

    Raises:
      UserError: damaged or unreadable, or not an object.
    """
    path = Path(path)
    if not path.exists():
        return {}
    content = read_json(path)
    if not isinstance(content, dict):
        what = "null" if content is None else type(content).__name__
        raise UserError(f"{path} is damaged (it holds {what}, not an object): delete it and run the same command again")
    return content


def _plain(value: Any) -> Any:
    """The value as JSON types."""
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
        if array.dtype.kind not in "biufSU":  # bfloat16 and similar types have no Python type
            array = array.astype(np.float64)
        return _plain(array.tolist())
    raise TypeError(f"{type(value).__name__} {value!r} has no JSON form")


def _lines(rows: Iterable[dict]) -> bytes:
    return b"".join(_text({**(plain := _plain(row)), DIGEST: _digest(plain)}) + b"\n" for row in rows)


def _text(content: Any, indent: int | None = None) -> bytes:
    """A value of JSON types as UTF-8; texts that UTF-8 cannot encode are escaped."""
    text = json.dumps(content, indent=indent, allow_nan=False, ensure_ascii=False)
    try:
        return text.encode()
    except UnicodeEncodeError:  # from a file name that is not UTF-8
        return json.dumps(content, indent=indent, allow_nan=False).encode()


def _digest(row: dict) -> str:
    """The CRC-32 (hex) of the canonical JSON of a row."""
    return f"{zlib.crc32(json.dumps(row, sort_keys=True, separators=(',', ':'), allow_nan=False).encode()):08x}"


class _Line(NamedTuple):
    """A line read back: the row without its digest, and whether the digest is 'right', 'wrong' or 'none'."""

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
    """Parses strict JSON: no NaN, no infinity, integers of 64 bits, at most `DEEPEST` levels; raises ValueError otherwise."""
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
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is too large a number")
    return number


def _bounded(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= (number := int(text)) < 2**64:
        raise ValueError(f"{text[:40]} is too large a number")
    return number


def _mend_tail(file: Any, path: Path) -> int:
    """Cuts off a damaged last line, or adds a missing newline to an intact one; returns the new size of the file."""
    size = file.seek(0, os.SEEK_END)
    start, tail = next(_lines_backwards(file), (size, b""))
    if not tail:
        return size
    if _parsed(tail) is None:
        logging.warning("%s: the last line is damaged and is cut off (%d bytes)", path, len(tail))
        file.truncate(start)
    elif not tail.endswith(b"\n"):
        file.write(b"\n")
    return file.seek(0, os.SEEK_END)


def _lines_backwards(file: IO[bytes], block: int = 1 << 16) -> Iterator[tuple[int, bytes]]:
    """Start and bytes of each line, from the last one, newline included; reads from the end, whatever the file's length."""
    end = start = file.seek(0, os.SEEK_END)
    rest = b""
    while start:
        size = min(block, start)
        start -= size
        file.seek(start)
        *ended, tail = (file.read(size) + rest).split(b"\n")
        lines = [line + b"\n" for line in ended] + [tail] * bool(tail)
        for line in reversed(lines[1:] if start else lines):  # the first one may be incomplete
            end -= len(line)
            yield end, line
        rest = lines[0]


def _replace(path: Path, data: bytes) -> None:
    """Atomically replaces the file's content; if the process is killed, the old file stays."""
    path = path.resolve()  # a symbolic link is kept
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
    """Turns errors of the file system into UserError."""
    try:
        yield
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"{path}: no space left ({_free(path)}): free some space and run the same command again"
            ) from problem
        advice = (
            "change its permissions or choose another workdir" if doing == "write" else "check its path and its permissions"
        )
        raise UserError(f"{path}: cannot {doing} the file ({problem.strerror or problem}): {advice}") from problem


def _free(path: Path) -> str:
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    return f"{shutil.disk_usage(existing).free / 1e6:.1f} MB free"
