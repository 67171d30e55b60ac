"""A data set's sources: where to look for them, which one is read."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from imbal_jax.data.dataset import Absent, Dataset, first_rows
from imbal_jax.errors import UserError, nearest

Reader = Callable[[Path | None], Dataset]


def read(title: str, readers: Mapping[str, Reader], directory: str | None, source: str, per_class: int | None) -> Dataset:
    """The data set from the requested source, or from the first that has it.

    Args:
        title: the data set's name as it is written.
        readers: by name, in the order in which 'auto' tries them. Each gets the directory of `root`, and raises `Absent`
            where its source is not there.
        directory: where to look; None means the environment variable IMBAL_DATA_DIR, else no directory.
        source: 'auto' or one of the names.
        per_class: keep the first so many training rows of each class; None keeps all.

    Raises:
        UserError: unknown source, per_class below 1, no such directory, no source available, or what a reader raises.
    """
    check_source(readers, source)
    if per_class is not None and (isinstance(per_class, bool) or not isinstance(per_class, int) or per_class < 1):
        raise UserError(f"data.per_class must be a whole number of at least 1, or None for all rows (got {per_class!r})")
    place = root(directory)
    return first_rows(_first(title, readers, place) if source == "auto" else readers[source](place), per_class)


def check_source(known: Sequence[str] | Mapping[str, Reader], source: str) -> None:
    """Raise UserError unless `source` is 'auto' or one of the known names."""
    if source not in ("auto", *known):
        every = ", ".join(("auto", *known))
        raise UserError(f"unknown source {source!r} (data.source){nearest(source, known)}; known: {every}")


def root(directory: str | None) -> Path | None:
    """The directory that is named, else that of the environment variable IMBAL_DATA_DIR, else None.

    Raises:
        UserError: it does not exist or is no directory.
    """
    named = directory or os.environ.get("IMBAL_DATA_DIR")
    if not named:
        return None
    place = Path(named).expanduser()
    if not place.is_dir():
        origin = "data.dir" if directory else "IMBAL_DATA_DIR"
        raise UserError(f"the data directory {place} ({origin}) does not exist or is no directory")
    return place


def _first(title: str, readers: Mapping[str, Reader], place: Path | None) -> Dataset:
    reasons = []
    for read in readers.values():
        try:
            return read(place)
        except Absent as absent:
            reasons.append(str(absent))
    raise UserError(f"no {title} available: " + "; ".join(reasons))


def writable(folder: Path) -> bool:
    """Whether files can be written into the folder, which is made if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def existing(places: Sequence[Path], there: Callable[[Path], bool], what: str = "") -> Path:
    """The first of the places that is there; raises Absent("no <what><place> or <place>") where none is."""
    for place in places:
        if there(place):
            return place
    raise Absent(f"no {what}{either(places)}")


def either(paths: Sequence[Path]) -> str:
    """'a or b or c'."""
    return " or ".join(str(path) for path in paths)
