"""Curves as TensorBoard event files: scalars by epoch, a folder for each run that TensorBoard shows.

A second copy of the curves: a failed write is logged once, and the training continues. Records are built here and appended at
once, without an open writer or a thread.
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
                    os.truncate(path, start)  # half a record would hide the records after it
                raise


def replace(folder: Path, points: Iterable[Point] = ()) -> None:
    """Replace the run in `folder` by one with only these points; without points it is deleted.

    The file gets a new name, which an open TensorBoard treats as a restart: it drops the points that it has read.
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
    except Exception as problem:  # no error of this second copy may end a training
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
