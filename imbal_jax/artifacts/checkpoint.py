"""Checkpoints with Orbax: atomic, the newest few kept, damaged ones skipped, mismatches reported leaf by leaf.

A checkpoint is the folder FOLDER/STEP. Orbax holds the leaves as a flat dictionary of host arrays keyed by their paths
("generator/Dense_0/kernel"), so that neither the classes of a state nor the devices it lay on are part of the format.
Beside it record.json holds the caller's `meta`, shape and dtype of every leaf, and the CRC-32 of every file: Orbax does
not detect altered array bytes, reports other damage by tracebacks from its threads, and names no leaf in a mismatch.

A run of several processes, which share no files, writes its arrays with numpy instead (arrays.npz, checked in the same
way), because Orbax makes all processes save one path together. So does a run whose folder has a name that Orbax cannot read
('[', ']', '*', '?', a backslash, names that are not UTF-8). Every run can read both kinds.

Writing is synchronous: 30 MB take about a tenth of a second, which is negligible for a save every 20 s. A folder gets its
final name by a rename once it is complete, so earlier steps stay readable if the process is killed at any moment.
"""

import contextlib
import errno
import json
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from imbal_jax.errors import UserError

PyTree = Any
_STEP = re.compile(
    r"(\d+)(\.old)?"
)  # '.old': the earlier version of a step that is being rewritten; it counts until the new one is complete
_RECORD, _ARRAYS, _LOCAL = "record.json", "orbax", "arrays.npz"  # the content of a checkpoint's folder
_NOTHING = "(nothing)"  # written for a state without arrays, which Orbax rejects
_SPECIAL = re.compile(r"[\[\]*?\\{}\udc80-\udcff]")  # in a path, Orbax or TensorStore treat them as a pattern, or fail
_SCRATCH = (".saving", ".deleting")  # folders that a killed process may leave behind


class Saved(NamedTuple):
    """A checkpoint read back: the step, the state in the requested structure, and the caller's metadata."""

    step: int
    state: PyTree
    meta: dict


class _Damaged(Exception):
    """Why a checkpoint cannot be read."""


def save(folder: Path, step: int, state: PyTree, meta: dict, keep: int = 2) -> None:
    """Writes FOLDER/STEP and keeps the `keep` newest steps; later steps (of an abandoned run) are deleted.

    Args:
      folder: made where it is missing. Only one process may write into it at a time.
      step: at least 0.
      state: pytree of jax or numpy arrays and typed keys. It may be donated after the call.
      meta: JSON values.
      keep: at least 1.

    Raises:
      UserError: no space left, or the folder cannot be written to; earlier steps are not changed.
      TypeError: `meta` has values without a JSON form.
    """
    if step < 0 or keep < 1:
        raise ValueError(f"step must be at least 0 and keep at least 1 (got {step} and {keep})")
    folder = Path(folder).absolute()
    arrays, leaves = _described(state)
    json.dumps(meta)  # raises before anything is written
    with _explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _tidy(folder)
        _check_space(folder, sum(array.nbytes for array in arrays.values()))
        scratch = folder / f".saving-{step}"
        scratch.mkdir()
        _write_arrays(scratch, arrays)
        _write_record(scratch, {"step": step, "meta": meta, "leaves": leaves, "files": _file_crcs(scratch)})
        _put_in_place(scratch, folder / str(step))
        _prune(folder, step, keep)


def restore(folder: Path, like: PyTree) -> Saved | None:
    """The newest readable checkpoint in the structure of `like`; None without any checkpoint.

    Args:
      folder: as given to `save`.
      like: pytree with the shapes and dtypes saved. Leaves that are jax arrays, typed keys or ShapeDtypeStructs come
        back as single-device, uncommitted jax arrays; numpy arrays as numpy arrays.

    Raises:
      UserError: all checkpoints are damaged; or the newest readable one is of another network or configuration.
    """
    return _restore(Path(folder).absolute(), like, ())


def restore_part(folder: Path, like: PyTree, path: tuple[str, ...]) -> Saved | None:
    """As `restore`, but only the part of the saved state at `path` is read from disk.

    Args:
      folder: as given to `save`.
      like: the structure of the part, as for `restore`.
      path: keys or field names from the root of the state, e.g. ('generator', 'params').

    Raises:
      UserError: as `restore`; or the checkpoint has no such part.
    """
    return _restore(Path(folder).absolute(), like, tuple(path))


def restore_step(folder: Path, like: PyTree, step: int) -> Saved:
    """As `restore`, for one of `steps(folder)`; if it is damaged, no other step is read instead.

    Raises:
      UserError: the checkpoint is damaged, or of another network or configuration.
    """
    path = _folders(Path(folder).absolute())[step]
    try:
        return _opened(path, like, ())
    except _Damaged as problem:
        others = ", ".join(str(other) for other in steps(folder) if other != step)
        advice = f"choose another one ({others})" if others else "there is no other one"
        raise UserError(f"{path}: the checkpoint is damaged: {problem}; {advice}") from problem


def steps(folder: Path) -> list[int]:
    """The steps with a complete checkpoint in `folder`, ascending; [] where there is no such folder."""
    return sorted(_folders(Path(folder)))


# ---- leaves


def _named(tree: PyTree, prefix: tuple[str, ...] = ()) -> dict[str, Any]:
    """Leaves by path: {"generator/Dense_0/kernel": leaf}."""
    pairs = jax.tree_util.tree_flatten_with_path(tree)[0]
    keyed = [("/".join([*prefix, *([rest] if (rest := _path_name(path)) else [])]), leaf) for path, leaf in pairs]
    named = dict(keyed)
    if len(named) != len(keyed):
        raise ValueError("two leaves of the state have the same path; is there a '/' in a key?")
    return named


def _path_name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _host(leaf: Any) -> np.ndarray:
    """The leaf as a numpy array; a typed key as its uint32 words."""
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _described(state: PyTree) -> tuple[dict[str, np.ndarray], dict[str, dict]]:
    """Host arrays to write, and shape and dtype of every leaf; empty arrays, which Orbax rejects, are only described."""
    named = _named(state)
    leaves = {name: {"shape": list(leaf.shape), "dtype": str(leaf.dtype)} for name, leaf in named.items()}
    arrays = {name: _host(leaf) for name, leaf in named.items() if leaf.size}
    return arrays or {_NOTHING: np.zeros(1, np.uint8)}, leaves


def _rebuilt(array: np.ndarray, like: Any) -> Any:
    """The saved array as a leaf of the same kind as `like`."""
    if _is_key(like):
        return jax.random.wrap_key_data(jnp.asarray(array), impl=_key_implementation(like.dtype))
    return array if isinstance(like, np.ndarray | np.generic) else jnp.asarray(array)


def _key_implementation(dtype: Any) -> Any:
    """The generator of a key dtype: 'fry' of key<fry>. jax's public API gives it only for an array, so one is traced."""
    implementations: list[Any] = []
    jax.eval_shape(lambda key: implementations.append(jax.random.key_impl(key)), jax.ShapeDtypeStruct((), dtype))
    return implementations[0]


# ---- reading


def _restore(folder: Path, like: PyTree, prefix: tuple[str, ...]) -> Saved | None:
    folders = _folders(folder)
    for step in sorted(folders, reverse=True):
        try:
            return _opened(folders[step], like, prefix)
        except _Damaged as problem:
            logging.warning("checkpoint %s is damaged and is skipped: %s", folders[step], problem)
    if folders:
        raise UserError(f"{folder}: all checkpoints in it are damaged: delete this folder to begin again")
    return None


def _opened(path: Path, like: PyTree, prefix: tuple[str, ...]) -> Saved:
    record = _read_record(path)
    _check_match(path, record["leaves"], like, prefix)
    return Saved(record["step"], _read(path, record["leaves"], like, prefix), record["meta"])


def _read(path: Path, leaves: dict[str, dict], like: PyTree, prefix: tuple[str, ...]) -> PyTree:
    """The requested leaves, in the structure of `like`, which was checked to match."""
    wanted = _named(like, prefix)
    words = {name: _words(leaf) for name, leaf in wanted.items()}
    written = [name for name, leaf in leaves.items() if 0 not in leaf["shape"]]
    with _reading(path):
        arrays = _read_arrays(path, written, words) if set(written) & set(wanted) else {}
    empty = {name: np.zeros(words[name].shape, words[name].dtype) for name in wanted.keys() - set(written)}
    rebuilt = [_rebuilt((arrays | empty)[name], leaf) for name, leaf in wanted.items()]
    return jax.tree.unflatten(jax.tree.structure(like), rebuilt)


def _read_arrays(path: Path, written: list[str], words: dict[str, jax.ShapeDtypeStruct]) -> dict[str, Any]:
    """The arrays named in `words`; no others are read from disk."""
    if (path / _LOCAL).exists():
        with np.load(path / _LOCAL, allow_pickle=False) as file:
            return {name: file[name].view(words[name].dtype).reshape(words[name].shape) for name in written if name in words}
    from orbax.checkpoint import v1 as ocp

    abstract = {name: _abstract(words[name]) if name in words else ocp.PLACEHOLDER for name in written}
    with _plain_context(), _plain_path(path) as plain:
        return ocp.load(plain / _ARRAYS, abstract)


@contextlib.contextmanager
def _plain_path(path: Path) -> Iterator[Path]:
    """A path of the folder without special characters, for checkpoints that were moved below a path that has them."""
    if not _SPECIAL.search(str(path)):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "checkpoint"
        link.symlink_to(path, target_is_directory=True)
        yield link


def _words(leaf: Any) -> jax.ShapeDtypeStruct:
    """Shape and dtype of the leaf as written."""
    like = jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    return jax.eval_shape(jax.random.key_data, like) if _is_key(leaf) else like


def _abstract(words: jax.ShapeDtypeStruct) -> np.ndarray:
    """A template that makes Orbax return a host array (a ShapeDtypeStruct gives a device array); it takes no memory."""
    return np.broadcast_to(np.zeros((), words.dtype), words.shape)


def _check_match(path: Path, leaves: dict[str, dict], like: PyTree, prefix: tuple[str, ...], shown: int = 5) -> None:
    """Raises UserError with the first few leaves that differ in presence, shape or dtype."""
    under = "/".join(prefix)
    saved = {name: leaf for name, leaf in leaves.items() if not under or name == under or name.startswith(f"{under}/")}
    wanted = _named(like, prefix)
    if wanted and not saved:
        parts = ", ".join(sorted({name.split("/")[0] for name in leaves}))
        raise UserError(f"{path}: the checkpoint has no part '{under}': its parts are {parts or 'none'}")
    differing = []
    for name in sorted(saved.keys() | wanted.keys()):
        if (saved_signature := _signature(saved.get(name))) != (wanted_signature := _signature(wanted.get(name))):
            differing.append(f"{name}: {saved_signature[0]} in the checkpoint, {wanted_signature[0]} expected")
            if saved_signature[0] == wanted_signature[0]:
                differing[-1] = (
                    f"{name}: {saved_signature[0]} {saved_signature[1]} in the checkpoint, {wanted_signature[1]} expected"
                )
    if differing:
        more = f"; and {len(differing) - shown} more" if len(differing) > shown else ""
        raise UserError(
            f"{path}: a checkpoint of another network or configuration ({'; '.join(differing[:shown])}{more}): use the "
            "configuration that it was made with, or another workdir"
        )


def _signature(leaf: Any) -> tuple[str, str]:
    """Shape and dtype of a leaf or of its description, as text; ('nothing', '') for None."""
    if leaf is None:
        return "nothing", ""
    shape, dtype = (leaf["shape"], leaf["dtype"]) if isinstance(leaf, dict) else (leaf.shape, str(leaf.dtype))
    return str(tuple(shape)), dtype


# ---- writing


def _write_arrays(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    if jax.process_count() > 1 or _SPECIAL.search(str(folder)):
        # As bytes: npz has no bfloat16. record.json holds dtypes and shapes.
        flat = {name: np.ascontiguousarray(array).reshape(-1).view(np.uint8) for name, array in arrays.items()}
        with open(folder / _LOCAL, "wb") as file:
            np.savez(file, **flat)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        return
    from orbax.checkpoint import v1 as ocp

    with _plain_context():
        ocp.save(folder / _ARRAYS, arrays)


# ---- the record


def _write_record(path: Path, record: dict) -> None:
    body = json.dumps(record)
    with open(path / _RECORD, "w") as file:
        file.write(f"{zlib.crc32(body.encode()):08x} {body}\n")
        file.flush()
        os.fsync(file.fileno())


def _read_record(path: Path) -> dict:
    """The record, after it and all files have been checked; raises _Damaged if one was changed."""
    with _reading(path):
        crc, _, body = (path / _RECORD).read_text().rstrip("\n").partition(" ")
        if crc != f"{zlib.crc32(body.encode()):08x}":
            raise _Damaged(f"{_RECORD} is altered")
        record = json.loads(body)
        crcs = _file_crcs(path)
    for name, crc in record["files"].items():
        if crcs.get(name) != crc:
            raise _Damaged(f"{name} is {'altered' if name in crcs else 'missing'}")
    return record


def _file_crcs(path: Path) -> dict[str, int]:
    """CRC-32 of the array files, by their paths within the checkpoint."""
    files = sorted(file for file in ((path / _LOCAL), *(path / _ARRAYS).rglob("*")) if file.is_file())
    return {file.relative_to(path).as_posix(): zlib.crc32(file.read_bytes()) for file in files}


# ---- folders


def _folders(folder: Path) -> dict[int, Path]:
    """Complete checkpoints by step."""
    if not folder.is_dir():
        return {}
    with _explained(folder, "read"):
        matches = [match for name in sorted(os.listdir(folder)) if (match := _STEP.fullmatch(name))]
    # '5' sorts before '5.old': in reverse order the plain name comes last and wins.
    return {int(match[1]): folder / match[0] for match in reversed(matches)}


def _put_in_place(scratch: Path, target: Path) -> None:
    """Renames the complete folder to its final name; an earlier version of the step stays readable until then."""
    old = target.with_name(f"{target.name}.old")
    if target.exists():
        _remove(old)
        target.rename(old)
    scratch.rename(target)
    _remove(old)


def _prune(folder: Path, step: int, keep: int) -> None:
    kept_steps = [number for number in steps(folder) if number <= step][-keep:]
    for number, path in _folders(folder).items():
        if number not in kept_steps:
            _remove(path)


def _remove(path: Path) -> None:
    """Removes a checkpoint; it is renamed first, so that a half-removed folder never counts as a checkpoint."""
    if path.exists():
        renamed = path.with_name(f".deleting-{path.name}")
        shutil.rmtree(renamed, ignore_errors=True)
        path.rename(renamed)
        shutil.rmtree(renamed)


def _tidy(folder: Path) -> None:
    """Removes folders that a killed process left half written or half removed."""
    for path in folder.iterdir():
        if path.name.startswith(_SCRATCH):
            shutil.rmtree(path)
        elif path.name.endswith(".old") and path.with_suffix("").exists():
            _remove(path)


@contextlib.contextmanager
def _plain_context() -> Iterator[None]:
    """Orbax without compression, which hardly shrinks trained weights and takes longer than the rest of a save."""
    from orbax.checkpoint import v1 as ocp

    process = jax.process_index()
    single_process = ocp.options.MultiprocessingOptions(
        primary_host=process, active_processes={process}, barrier_sync_key_prefix=f"{process}"
    )
    context = ocp.Context(multiprocessing_options=single_process) if jax.process_count() > 1 else ocp.Context()
    with contextlib.suppress(AttributeError):  # skipped where another version of Orbax names the option differently
        context.array.saving.use_compression = False
    with context:
        yield


# ---- errors


def _check_space(folder: Path, size: int) -> None:
    """Raises ENOSPC before Orbax would, with long tracebacks from its threads."""
    if shutil.disk_usage(folder).free < size + 2**20:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextlib.contextmanager
def _explained(folder: Path, doing: str = "write") -> Iterator[None]:
    """Turns errors of the file system, also as Orbax reports them, into UserError."""
    try:
        yield
    except Exception as problem:
        number = problem.errno if isinstance(problem, OSError) else None
        if number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(problem):
            raise UserError(
                f"{folder}: no space left for a checkpoint ({_free(folder)}): free some space and run the same command again"
            ) from problem
        if isinstance(problem, OSError) or "PERMISSION_DENIED" in str(problem):
            why = getattr(problem, "strerror", None) or "permission denied"
            raise UserError(
                f"{folder}: cannot {doing} checkpoints ({why}): change the permissions or choose another workdir"
            ) from problem
        raise


def _free(folder: Path) -> str:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return f"{shutil.disk_usage(existing).free / 1e6:.1f} MB free"


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns errors while reading into _Damaged, or into UserError where permissions are missing."""
    try:
        yield
    except (MemoryError, _Damaged):
        raise
    except Exception as problem:
        if isinstance(problem, PermissionError) or "PERMISSION_DENIED" in str(problem):
            raise UserError(f"{path}: no permission to read the checkpoint: change its permissions") from problem
        raise _Damaged(f"{type(problem).__name__}: {' '.join(str(problem).split())[:200]}") from problem
