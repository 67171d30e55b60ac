"""jax's cache of compiled programs on disk, with a digest in each entry: a damaged program is compiled again, never run.

jax checks its entries only if they are compressed with zlib. With zstandard, or Python's own zstd, one flipped bit gives a
program that crashes or computes other numbers. Here an entry begins with the BLAKE2 digest of its key and content, which is
checked before jax gets the content; an entry that does not match, or has no digest, is deleted.

The digest detects damage. It is not a signature: whoever can write to the folder can make this process run any code
(SECURITY.md).
"""

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any

from absl import logging

MARK = b"imbal_jax program 1\n"  # the first bytes of an entry, before the digest
SIZE = 32  # bytes of the digest


class CheckedCache:
    """The interface of jax's caches (`get`, `put`, `_path`) around one of them.

    An unreadable entry counts as missing; after the first failed write no other is tried. Each problem is logged once.

    Args:
        base: jax's own cache, which keeps the files KEY-cache in its folder.
        folder: that folder.
        writable: whether entries are written.
    """

    def __init__(self, base: Any, folder: Path, writable: bool = True) -> None:
        self._base, self._folder, self._writable = base, folder, writable
        self._path = getattr(base, "_path", folder)  # jax logs it
        self._told: set[str] = set()

    def get(self, key: str) -> bytes | None:
        """The content of an entry, or None where it is missing or damaged."""
        try:
            entry = self._base.get(key)
        except OSError as problem:
            self._tell("compiled programs cannot be read from %s (%s)", problem.strerror or problem)
            return None
        if entry is None:
            return None
        content = open_entry(key, entry)
        if content is None:
            self._tell("a compiled program in %s is damaged (%s): it is compiled again", key[:60])
            self._delete(key)
        return content

    def put(self, key: str, value: bytes) -> None:
        """Write an entry; an existing entry of the same key is kept."""
        if not self._writable:
            return
        try:
            self._base.put(key, seal_entry(key, value))
        except OSError as problem:
            self._writable = False
            self._delete(key)  # the part that was written
            self._tell("compiled programs are no longer cached in %s (%s)", problem.strerror or problem)

    def clear(self) -> None:
        """Do nothing: the entries are on disk."""

    def _delete(self, key: str) -> None:
        for suffix in ("-cache", "-atime"):
            with contextlib.suppress(OSError):
                (self._folder / f"{key}{suffix}").unlink()

    def _tell(self, text: str, why: Any) -> None:
        if text not in self._told:
            self._told.add(text)
            logging.warning(text, self._folder, why)


def seal_entry(key: str, content: bytes) -> bytes:
    """An entry: the mark, the digest of key and content, the content."""
    return MARK + _digest(key, content) + content


def open_entry(key: str, entry: bytes) -> bytes | None:
    """The content of an entry; None unless `seal_entry` made it for this key."""
    begin = len(MARK) + SIZE
    content = entry[begin:]
    intact = len(entry) >= begin and entry.startswith(MARK) and entry[len(MARK) : begin] == _digest(key, content)
    return content if intact else None


def install(folder: Path) -> bool:
    """Add the check to jax's cache in `folder`, which jax's configuration names; must be called before the first compilation.

    Returns:
        whether that was possible; if not, in a version of jax with a different cache, the cache should not be used.
    """
    try:
        from jax._src import compilation_cache

        compilation_cache.reset_cache()  # jax chooses its cache once; this makes it choose again
        file_cache = compilation_cache.get_file_cache(str(folder))
        base = file_cache[0] if file_cache is not None else None
        if base is None or not callable(base.get) or not callable(base.put):
            return False
        with compilation_cache._cache_initialized_mutex:
            compilation_cache._cache = CheckedCache(base, folder, os.access(folder, os.W_OK))  # type: ignore[assignment]
            compilation_cache._cache_initialized = True
    except (ImportError, AttributeError, TypeError, OSError) as problem:
        logging.info("jax's compilation cache cannot be checked: %s", problem)
        return False
    return True


def uninstall() -> None:
    """Undo `install`: jax chooses its cache again at the next compilation."""
    with contextlib.suppress(ImportError, AttributeError):
        from jax._src import compilation_cache

        compilation_cache.reset_cache()


def _digest(key: str, content: bytes) -> bytes:
    return hashlib.blake2b(key.encode() + b"\0" + content, digest_size=SIZE).digest()
