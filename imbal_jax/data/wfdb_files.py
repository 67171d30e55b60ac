"""Records in the WFDB format (.hea, .dat, .atr), as PhysioNet publishes them: found, checked, fetched, read.

Goldberger et al. 2000, "PhysioBank, PhysioToolkit, and PhysioNet". The `wfdb` package reads the format.
"""

import contextlib
import hashlib
import io
import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imbal_jax.errors import UserError

SUFFIXES = (".hea", ".dat", ".atr")
SUMS = "SHA256SUMS.txt"


class Record(NamedTuple):
    """One lead of a record and its annotations.

    Attributes:
        signal: float64 [S], in the unit of the header (mV).
        lead: which one it is, such as 'MLII'.
        peaks: int64 [A], the sample number of each annotation, ascending.
        symbols: str [A], what is annotated, such as 'N'.
    """

    signal: np.ndarray
    lead: str
    peaks: np.ndarray
    symbols: np.ndarray


@contextlib.contextmanager
def library() -> Iterator[Any]:
    """The wfdb package, imported when it is needed, with its notices about pandas kept quiet while the context lasts."""
    with warnings.catch_warnings():
        # wfdb 4.3 uses arguments that pandas 3.1 deprecates; that cannot be corrected here.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        import wfdb

        yield wfdb


def files(records: Sequence[str]) -> list[str]:
    """The names of all files of the records."""
    return [record + suffix for record in records for suffix in SUFFIXES]


def holds_any(folder: Path, records: Sequence[str]) -> bool:
    """Whether the folder has a file of any of the records."""
    return any((folder / name).is_file() for name in files(records))


def check_complete(folder: Path, records: Sequence[str]) -> None:
    """Raise UserError naming the records, or else the single files, that the folder lacks."""
    absent = [record for record in records if not holds_any(folder, [record])]
    if absent:
        what = "copy them there, or name those to use in config.data.records"
        raise UserError(f"{folder} lacks {len(absent)} of {len(records)} records: {' '.join(absent)}; {what}")
    missing = [name for name in files(records) if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{folder} lacks {', '.join(missing)}; copy what is missing there")


def read_sums(folder: Path) -> dict[str, str]:
    """SHA-256 (hex) by file name, from the folder's SHA256SUMS.txt; empty if there is none."""
    try:
        text = (folder / SUMS).read_text(errors="replace")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"cannot read {folder / SUMS}: {error.strerror}; replace or remove it") from error
    return {name: digest.lower() for digest, name in re.findall(r"^([0-9a-fA-F]{64})[ \t]+\*?(\S+)[ \t\r]*$", text, re.M)}


def verify(folder: Path, names: Sequence[str], sums: Mapping[str, str], advice: str = "replace it") -> None:
    """Raise UserError at the first file that differs from its checksum; those that `sums` lacks are not checked."""
    for name in names:
        if name not in sums:
            continue
        try:
            with (folder / name).open("rb") as file:
                actual = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise UserError(f"cannot read {folder / name}: {error.strerror}; replace the file") from error
        if actual != sums[name]:
            what = f"{folder / name} is damaged or another file: its SHA-256 is {actual}, not {sums[name]}"
            raise UserError(f"{what}; {advice}")


def read(folder: Path, name: str, leads: Sequence[str], frequency: float) -> Record:
    """One record.

    Args:
        folder: with its files.
        name: such as '100'.
        leads: the first of these that the record has is read.
        frequency: samples per second that it must have.

    Raises:
        UserError: it cannot be read, was cut off, has none of the leads, another frequency, or samples without a value.
    """
    record_path = folder / name
    # wfdb raises whatever its parsing of a damaged file ends in.
    try:
        with library() as wfdb:
            header = wfdb.rdheader(str(record_path))
            lead = next((lead for lead in leads if lead in (header.sig_name or ())), None)
            samples = wfdb.rdrecord(str(record_path), channel_names=[lead]) if lead else None
            marks = wfdb.rdann(str(record_path), "atr")
            whole = record_path.with_suffix(".atr").read_bytes().endswith(b"\0\0")
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(f"cannot read the record {record_path}: {reason.rstrip('.:')}; replace its files") from error
    if samples is None:
        raise UserError(
            f"the record {record_path} has none of the leads {', '.join(leads)}, only {header.sig_name}; replace it"
        )
    if header.fs != frequency:
        raise UserError(f"the record {record_path} has {header.fs} samples per second, not {frequency}; replace its files")
    if not whole:  # wfdb reads a truncated file as if it were complete
        raise UserError(f"the record {record_path} has an .atr file without its end mark: it is truncated; replace its files")
    signal = np.asarray(samples.p_signal[:, 0], np.float64)
    if not np.isfinite(signal).all():
        lost = int((~np.isfinite(signal)).sum())
        raise UserError(f"the record {record_path} has {lost:,} samples without a value in lead {lead}; replace its files")
    return Record(signal, str(lead), np.asarray(marks.sample, np.int64), np.array(marks.symbol, np.str_))


def fetch(database: str, records: Sequence[str], folder: Path) -> None:
    """Download records, annotations and checksums of a PhysioNet database into the new `folder`, all of them or none.

    Args:
        database: such as 'mitdb'.
        records: their names.
        folder: where to; its parent exists, and it does not yet (one that another process filled meanwhile is left).

    Raises:
        UserError: the download failed.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as staging:
        fresh = Path(staging) / "complete"
        fresh.mkdir()
        try:
            with library() as wfdb, contextlib.redirect_stdout(io.StringIO()):  # it prints a line for each record
                wfdb.dl_database(database, str(fresh), records=list(records), annotators=["atr"])
                wfdb.dl_files(database, str(fresh), [SUMS])
        # wfdb passes on errors of several libraries that share no base class.
        except Exception as error:
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            why = f"{reason.rstrip('.:')}; try again or choose another data.source"
            raise UserError(f"the download of {database} from PhysioNet failed: {why}") from error
        try:
            os.replace(fresh, folder)
        except OSError:
            if not folder.is_dir():
                raise
