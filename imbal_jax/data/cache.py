"""Arrays that are expensive to compute, kept in the cache folder with their digest."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from imbal_jax.data.dataset import cache_folder
from imbal_jax.errors import UserError


def kept(key: Iterable[object], make: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays that `make` gives, by name; from the cache where they were made before under the same key.

    A cached file that does not match its digest is made again. A cache folder that cannot be written is not an error.

    Args:
        key: all that the arrays depend on: paths, sizes, times, options. Anything whose repr identifies it.
        make: called if the cache has no entry.
    """
    total = hashlib.sha256(b"1")  # increase the number when the cached format changes
    for part in key:
        total.update(f"{part!r}\n".encode(errors="surrogateescape"))
    path = cache_folder() / f"{total.hexdigest()[:32]}.npz"
    found = _recall(path)
    if found is None:
        found = dict(make())
        _remember(path, found)
    return found


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    total = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        total.update(f"{name}{array.dtype.str}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    return total.hexdigest()


def _recall(path: Path) -> dict[str, np.ndarray] | None:
    from imbal_jax.data import archive  # which imports jax; not every data set has something in the cache

    if not path.is_file():
        return None
    try:
        with archive.opened(path) as (file, members):
            arrays = archive.read(path, file, members, list(members), working=1)
            return arrays if str(arrays.pop("digest")) == _digest(arrays) else None
    except (OSError, UserError):  # damaged, or gone meanwhile
        return None


def _remember(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the arrays and their digest as a whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            fresh = Path(folder) / path.name
            stored: dict[str, Any] = {**arrays, "digest": np.array(_digest(arrays))}
            np.savez(fresh, **stored)
            os.replace(fresh, path)
    except OSError:
        pass
