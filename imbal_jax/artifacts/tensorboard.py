"""Curves as TensorBoard event files: scalars by epoch, a folder for each run that TensorBoard shows.

A second copy for looking at: what cannot be written is said once, and the training goes on. The records are framed here and
appended at once, so there is no writer to keep open, and no thread.
"""

import contextlib
import os
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from absl import logging

Point = tuple[int, Mapping[str, float]]  # a step, and the scalars by name


def append(folder: Path, points: Iterable[Point]) -> None:
    """Add points to the run in `folder`, which is made where it is missing.

    Args:
        folder: of the run; its name, from TensorBoard's logdir on, is the run's name.
        points: (step, {name: value}); values are kept as float32.
    """
    with _harmless(folder):
        scalars = [_scalars(step, values) for step, values in points if values]
        if not scalars:
            return
        folder.mkdir(parents=True, exist_ok=True)
        path = max(folder.glob("*tfevents*"), default=None)
        if path is None:
            path = folder / f"events.out.tfevents.{time.time_ns()}"
            scalars = [*_beginning(), *scalars]
        with open(path, "ab") as file:
            start = file.tell()
            try:
                file.write(b"".join(scalars))
                file.flush()
            except OSError:
                with contextlib.suppress(OSError):
                    os.truncate(path, start)  # half a record would hide what comes after it
                raise


def replace(folder: Path, points: Iterable[Point] = ()) -> None:
    """Write the run in `folder` anew, with these points alone; without any it is gone.

    The file gets another name, which a TensorBoard that is looking on takes for a restart: it drops what it had read.
    """
    with _harmless(folder):
        for path in folder.glob("*tfevents*"):
            path.unlink()
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    append(folder, points)


@contextlib.contextmanager
def _harmless(folder: Path) -> Iterator[None]:
    try:
        yield
    except ImportError:
        logging.log_first_n(logging.WARNING, "no TensorBoard events: install the package tensorboardX", 1)
    except Exception as problem:  # whatever is wrong with the disk or the package: a second copy must not end a training
        text = "TensorBoard events are missing: cannot write %s (%s); metrics.jsonl has all curves"
        logging.log_first_n(logging.WARNING, text, 1, folder, problem)


def _beginning() -> list[bytes]:
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    version = Event(wall_time=time.time(), file_version="brain.Event:2")
    begun = Event(wall_time=time.time(), step=0, session_log=SessionLog(status=SessionLog.START))
    return [_record(event.SerializeToString()) for event in (version, begun)]


def _scalars(step: int, values: Mapping[str, float]) -> bytes:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    summary = Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])
    return _record(Event(wall_time=time.time(), step=step, summary=summary).SerializeToString())


def _record(data: bytes) -> bytes:
    """The bytes as one TFRecord: their length, its checksum, themselves, their checksum; little-endian."""
    from tensorboardX.record_writer import masked_crc32c

    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))
