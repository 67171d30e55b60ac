"""Records of a run as JSON: lines that are appended as they come, and whole files that are replaced at once.

Strict JSON: NaN and the infinities become null. What a killed process leaves half written (the last line) is dropped
when the file is read and cut off before the next line is appended.
"""

import contextlib
import errno
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from absl import logging

from imbal_jax.errors import UserError


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
        yield


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
      UserError: a damaged line before the last one (file and line number are named), or no permission.
    """
    path = Path(path)
    if not path.exists():
        return []
    with _explained(path, "read"):
        lines = path.read_bytes().split(b"\n")
    if lines[-1] == b"":  # after the newline that ends the last line
        lines.pop()
    rows = [_parsed(line) for line in lines]
    if rows and rows[-1] is None:
        logging.warning("%s: the last line (%d) is damaged and dropped", path, len(rows))
        rows.pop()
    if None in rows:
        raise UserError(f"{path}: line {rows.index(None) + 1} is damaged; remove that line, or the file to begin again")
    return [row for row in rows if row is not None]


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
            row = _parsed(line)
            if row is not None:
                yield row
            elif number:
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
    _replace(Path(path), (json.dumps(_plain(content), indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode())


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
        return json.loads(data)
    except ValueError as problem:
        raise UserError(f"{path} is damaged ({problem}); delete it and run the same command again") from problem


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
    return "".join(json.dumps(_plain(row), allow_nan=False, ensure_ascii=False) + "\n" for row in rows).encode()


def _parsed(line: bytes) -> dict | None:
    """The row; None for a damaged line."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


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
