"""The environment of a run (versions, devices, commit), its compilation times, and the cache of compiled programs."""

import contextlib
import functools
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
from absl import logging

from imbal_jax.runtime import cpu_devices, program_cache

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "ml-collections", "tensorflow-datasets")
# Parts of the names of jax.monitoring's events; only parts, because the full names differ between versions of jax.
_DURATIONS = {"backend_compile": "compile_seconds", "jaxpr_trace": "trace_seconds", "jaxpr_to_mlir": "trace_seconds"}
_CACHE_SETTINGS = {
    "jax_compilation_cache_dir": None,
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}
_COUNTS = {"cache_hits": "cache_hits", "cache_misses": "cache_misses"}


def describe() -> dict[str, Any]:
    """The machine, the versions and the code of a run, as JSON values; None for what cannot be found out.

    Keys: python, platform, cpu, cores (usable by this process), memory_gb, versions (by package), backend, device_kind,
    devices, local_devices, processes, xla_flags, commit and dirty (None outside of a git checkout), command (the user's
    home written as ~).
    """
    devices = jax.devices()
    commit, dirty = _commit(Path(__file__).resolve().parent.parent)
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpuinfo("model name") or platform.processor() or platform.machine() or None,
        "cores": cpu_devices.usable_cores(),
        "memory_gb": _memory_gb(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "backend": jax.default_backend(),
        "device_kind": devices[0].device_kind,
        "devices": len(devices),
        "local_devices": jax.local_device_count(),
        "processes": jax.process_count(),
        "xla_flags": os.environ.get("XLA_FLAGS"),
        "commit": commit,
        "dirty": dirty,
        "command": _shortened(shlex.join([Path(sys.executable).name, *sys.argv])),
    }


def start_compile_clock() -> Callable[[], dict[str, float]]:
    """Counts compilation from now on; the returned function gives the counts so far.

    Counts: compile_seconds (XLA, reading from the compilation cache included), trace_seconds (Python to jaxpr to MLIR),
    cache_hits and cache_misses (of the persistent cache). They stay 0 if jax reports no such events.
    """
    totals: dict[str, float] = {"compile_seconds": 0.0, "trace_seconds": 0.0, "cache_hits": 0, "cache_misses": 0}
    lock = threading.Lock()

    def add(names: dict[str, str], event: str, amount: float) -> None:
        for part, total in names.items():
            if part in event:
                with lock:
                    totals[total] += amount

    def on_duration(event: str, duration_secs: float, **_: Any) -> None:
        add(_DURATIONS, event, duration_secs)

    def on_event(event: str, **_: Any) -> None:
        add(_COUNTS, event, 1)

    try:
        jax.monitoring.register_event_duration_secs_listener(on_duration)
        jax.monitoring.register_event_listener(on_event)
    except AttributeError as problem:
        logging.warning("compilation is not timed: %s", problem)
    return lambda: dict(totals)


def enable_compilation_cache(folder: Path | None = None) -> Path | None:
    """Keeps every compiled program on disk for the next run; should be called before anything is compiled.

    Programs for a CPU use the instructions of the CPU they were compiled on, which is not part of jax's key. So each kind of
    machine has its own folder, and a home directory shared between machines is safe. Entries are checked before they are run
    (see `program_cache`).

    Args:
      folder: by default $IMBAL_CACHE_DIR, or ~/.cache/imbal_jax. Programs are written to xla/MACHINE in it.

    Returns:
      The folder used; None where it can be neither written to nor read, which is logged and otherwise ignored.
    """
    base = Path(folder or os.environ.get("IMBAL_CACHE_DIR") or Path("~/.cache/imbal_jax")).expanduser()
    path = base.absolute() / "xla" / _machine()
    if not _usable(path):
        return None
    before = {name: getattr(jax.config, name, None) for name in _CACHE_SETTINGS}
    for name, value in {**_CACHE_SETTINGS, "jax_compilation_cache_dir": str(path)}.items():
        jax.config.update(name, value)
    if not program_cache.install(path):
        logging.warning("compiled programs are not cached: with this version of jax, entries of %s cannot be checked", path)
        for name, value in before.items():
            jax.config.update(name, value)
        return None
    return path


@contextlib.contextmanager
def compilation_cache() -> Iterator[None]:
    """Caches what is compiled inside the `with` block on disk, as `enable_compilation_cache` does for a whole process.

    For library functions that run in other programs: afterwards jax's settings are restored. A cache that the program has
    chosen itself is kept.
    """
    before = {name: getattr(jax.config, name, None) for name in _CACHE_SETTINGS}
    if kept_programs() or enable_compilation_cache() is None:
        yield
        return
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        program_cache.uninstall()


def _usable(path: Path) -> bool:
    """Whether the folder, made where it is missing, is writable, or at least readable; otherwise logs the reason."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        _remove_stale_probes(path)
        probe = path / f".probe-{os.getpid()}"
        try:
            probe.write_bytes(b"x")
        finally:
            probe.unlink(missing_ok=True)
    except OSError as problem:
        readable = path.is_dir() and os.access(path, os.R_OK | os.X_OK)
        more = "; the programs in it are used" if readable else ""
        logging.warning("compiled programs are not cached: cannot write to %s (%s)%s", path, problem.strerror, more)
        return readable
    return True


def _remove_stale_probes(path: Path) -> None:
    """Removes probe files of killed processes: those older than a minute."""
    for name in os.listdir(path):
        if name.startswith(".probe-"):
            with contextlib.suppress(OSError):
                if time.time() - (path / name).stat().st_mtime > 60:
                    (path / name).unlink()


def kept_programs() -> Path | None:
    """The cache folder that `enable_compilation_cache` chose for this kind of machine; None without a cache."""
    path = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    return Path(path) if path else None


def _machine() -> str:
    """Short name of the kind of machine; machines with the same name can run each other's compiled programs."""
    kind = "".join([platform.machine(), _cpuinfo("model name") or "", _cpuinfo("flags") or _cpuinfo("Features") or ""])
    return f"{platform.machine() or 'cpu'}-{zlib.crc32(kind.encode()):08x}"


@functools.cache
def _cpuinfo(field: str) -> str | None:
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return None
    lines = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == field), None)


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit(root: Path) -> tuple[str | None, bool | None]:
    """Commit of the checkout at `root` and whether tracked files differ from it; (None, None) outside of a checkout."""
    if not (root / ".git").exists():
        return None, None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return commit, bool(_git(root, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    # Without optional locks: a query must not block another git process.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True, env=environment)
    return done.stdout.strip()


def _shortened(text: str) -> str:
    home = str(Path.home())
    return text.replace(f"{home}/", "~/") if home != "/" else text
