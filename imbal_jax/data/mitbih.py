"""MIT-BIH Arrhythmia Database: 109,494 annotated heartbeats of 48 half-hour ECG records, 360 Hz, in five AAMI classes.

Moody and Mark 2001, "The impact of the MIT-BIH Arrhythmia Database". https://physionet.org/content/mitdb/1.0.0/
The split by patient: de Chazal et al. 2004, "Automatic classification of heartbeats using ECG morphology and heartbeat
interval features".
"""

import functools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imbal_jax.data import cache, download, heartbeats, mitbih_sums, sources, wfdb_files
from imbal_jax.data.dataset import Absent, Dataset, Rows, cache_folder, digest
from imbal_jax.data.heartbeats import CLASSES, Form, Shrinkage
from imbal_jax.errors import UserError, nearest
from imbal_jax.fields import Field

DS1 = (101, 106, 108, 109, 112, 114, 115, 116, 118, 119, 122, 124, 201, 203, 205, 207, 208, 209, 215, 220, 223, 230)
DS2 = (100, 103, 105, 111, 113, 117, 121, 123, 200, 202, 210, 212, 213, 214, 219, 221, 222, 228, 231, 232, 233, 234)
PACED = (102, 104, 107, 217)
RECORDS = tuple(str(number) for number in sorted(DS1 + DS2 + PACED))
DS1_BEATS = {"N": 45_866, "S": 944, "V": 3_788, "F": 415, "Q": 8}  # annotated, those at the records' ends too
ALL_BEATS = {"N": 90_631, "S": 2_781, "V": 7_236, "F": 803, "Q": 8_043}
LEADS = ("MLII", "V5")
FREQUENCY = 360
TEST_SHARE = 0.2  # of each class, without patients
FEW = 20  # training beats of a class
OWN_NAME = "mit-bih-arrhythmia-database-1.0.0"  # PhysioNet's, of its zip and of the folder in that
PLACES = ("mitdb", "raw/mitdb", OWN_NAME, f"raw/{OWN_NAME}", f"{OWN_NAME}/{OWN_NAME}", "physionet.org/files/mitdb/1.0.0")
PROBE = "https://physionet.org/files/mitdb/1.0.0/RECORDS"
FIELDS = (
    Field("data.protocol", "inter", "Training and test beats of different patients (DS1, DS2), or split by beat, which leaks.",
          choices=("inter", "intra")),
    Field("data.denoise", "wavelet", "Noise removal over the whole record.", choices=("wavelet", "none")),
    Field("data.wavelet", "db5", "Wavelet of the denoising, by its name in PyWavelets."),
    Field("data.level", 9, "Levels of the wavelet transform.", 1, 100),
    Field("data.zeroed", 2, "So many of the finest levels are set to zero.", 0, 100),
    Field("data.threshold", "universal", "Soft threshold of the other levels.", choices=heartbeats.THRESHOLDS),
    Field("data.scale", "beat", "Scaled to [-1, 1] by each beat's own range, or by its record's.", choices=("beat", "record")),
    Field("data.before", 99, "Samples (1/360 s) of the window before the R peak.", 0, 10_000),
    Field("data.after", 201, "Samples of the window from the R peak on.", 1, 10_000),
    Field("data.rr", False, "Append the four RR features to each beat."),
    Field("data.classes", CLASSES, "AAMI classes that are kept, in this order; at least two of N, S, V, F, Q."),
    Field("data.records", "", "Records to use, as '100 101 208'; '': all 48."),
    Field("data.split_seed", 0, "Seed of the split of protocol 'intra'.", 0, 2**32 - 1),
    Field("data.verify", True, "Refuse records that are not those of version 1.0.0 as published."),
)  # fmt: skip


class Beats(NamedTuple):
    """All beats of the records that were read, whatever their class.

    Attributes:
        x: int16 [N, T, 1].
        y: int8 [N], index into `CLASSES`.
        record: int16 [N].
        ids: int64 [N].
    """

    x: np.ndarray
    y: np.ndarray
    record: np.ndarray
    ids: np.ndarray


def load(
    directory: str | None,
    source: str,
    per_class: int | None,
    *,
    protocol: str,
    denoise: str,
    wavelet: str,
    level: int,
    zeroed: int,
    threshold: str,
    scale: str,
    before: int,
    after: int,
    rr: bool,
    classes: str,
    records: str,
    split_seed: int,
    verify: bool,
) -> Dataset:
    """MIT-BIH from the first source that has it; x is int16 [N, T, 1], round(value * 32767) of values in [-1, 1].

    The classes are N {N L R e j}, S {A a J S}, V {V E}, F {F} and Q {/ f Q}; other annotations are not beats. Lead MLII, or
    V5 where a record lacks it. Sources, in the order in which 'auto' tries them:

    - 'folder': the 48 records (.hea, .dat, .atr) in DIR/mitdb, DIR/raw/mitdb, DIR/mit-bih-arrhythmia-database-1.0.0 (as
      PhysioNet's zip unpacks), DIR/physionet.org/files/mitdb/1.0.0 (as wget leaves it) or DIR.
    - 'download': the same, fetched from PhysioNet (about 100 MB) and kept in the cache folder.

    Whatever the source, each file that is read is compared with version 1.0.0 as published (`mitbih_sums`).

    Rows come by record, then time; `ids` number all annotated beats of the records read, those that are not used too.
    Prepared beats are kept in the cache folder.

    Args:
        directory: DIR; None means the environment variable IMBAL_DATA_DIR.
        source: 'auto' or one of the names above.
        per_class: keep the first so many training rows of each class (so those of the first records); `fraction` shrinks.
        protocol: 'inter': training rows from de Chazal's DS1, test rows from DS2, the paced records in neither; groups are
            the records. 'intra': a fifth of each class's beats, at random, is the test set; patients are on both sides,
            groups are the beats and `clusters` the records.
        denoise: 'wavelet' (see `heartbeats.denoise`; the record as a whole, before it is cut) or 'none'.
        wavelet, level, zeroed, threshold: the steps of `heartbeats.denoise`; with 'none' they have no effect.
        scale: each 'beat' by its own lowest and highest value, or the 'record' by its 0.1th and 99.9th percentile.
        before, after: samples (1/360 s) of the window before the R peak, and from it on; T is their sum. Beats whose window
            leaves the record are skipped.
        rr: append the four numbers of `heartbeats.rr_features` at the end of the time axis, so T + 4.
        classes: the AAMI classes that are kept, in this order; at least two.
        records: which ones to use, such as '100 101 208'; '' means all 48.
        split_seed: of the draw of protocol 'intra'.
        verify: whether the files must be those that were published. Without it, other records of the same form are read, and
            compared with SHA256SUMS.txt where it lies beside them and lists them; the note says so.

    Raises:
        UserError: unknown source or option, no such directory, source absent, incomplete or damaged, or a class without a
            training beat.
    """
    _check_classes(classes)
    chosen = _chosen(records, protocol)
    shrinkage = Shrinkage(wavelet, level, zeroed, threshold) if denoise == "wavelet" else None
    form = Form(shrinkage, scale, before, after, rr)
    make = functools.partial(
        _dataset, form=form, records=chosen, protocol=protocol, classes=classes, seed=split_seed, verify=verify
    )
    readers = {"folder": functools.partial(_folder, make), "download": functools.partial(_download, make)}
    return sources.read("MIT-BIH", readers, directory, source, per_class)


def _check_wavelet(wavelet: Any) -> None:
    """Checked only where records are denoised: PyWavelets is not needed otherwise."""
    if wavelet not in (known := heartbeats.wavelets()):
        hint = nearest(wavelet, known)
        raise UserError(f"config.data.wavelet must be one of pywt.wavelist(kind='discrete') (got {wavelet!r}){hint}")


def _check_classes(classes: Any) -> None:
    letters = set(classes)
    if len(letters) < 2 or len(letters) < len(classes) or letters - set(CLASSES):
        raise UserError(f"config.data.classes must be two or more of the letters {CLASSES}, each once (got {classes!r})")


def _chosen(records: Any, protocol: str) -> tuple[str, ...]:
    named = records.replace(",", " ").split()
    for name in named:
        if name not in RECORDS:
            raise UserError(f"config.data.records names {name!r}{nearest(name, RECORDS)}; MIT-BIH has {' '.join(RECORDS)}")
    chosen = tuple(sorted(set(named))) or RECORDS
    for side, members in (("training", DS1), ("test", DS2)):
        if protocol == "inter" and not set(map(int, chosen)) & set(members):
            some = f"name some of {' '.join(map(str, members))}, or set config.data.protocol to 'intra'"
            raise UserError(f"config.data.records names no {side} record; {some}")
    return chosen


def _folder(make: Callable[[str, Path], Dataset], root: Path | None) -> Dataset:
    if root is None:
        where = "put them (100.hea, 100.dat, 100.atr, ...) into DIR/mitdb and name DIR with data.dir or IMBAL_DATA_DIR"
        raise Absent(f"no MIT-BIH records: {where}")
    places = [*(root / name for name in PLACES), root]
    for place in places:
        if wfdb_files.holds_any(place, RECORDS):
            return make("folder", place)
    archive = next((root / f"{name}.zip" for name in PLACES if (root / f"{name}.zip").is_file()), None)
    unpack = f"; unpack {archive} there" if archive else ""
    raise Absent(f"no MIT-BIH records (100.hea, 100.dat, 100.atr, ...) in {sources.either(places)}{unpack}")


def _download(make: Callable[[str, Path], Dataset], root: Path | None) -> Dataset:
    del root  # what was fetched belongs to the cache, not to the user's data
    kept = cache_folder() / "mitdb"
    if wfdb_files.holds_any(kept, RECORDS):
        return make("download", kept)
    if not download.online(PROBE):
        raise Absent("no network: https://physionet.org does not answer, so MIT-BIH cannot be downloaded")
    with tempfile.TemporaryDirectory() as spare:
        folder = kept if sources.writable(kept.parent) else Path(spare) / "mitdb"
        wfdb_files.fetch("mitdb", RECORDS, folder)
        return make("download", folder)


def prepare(folder: Path, records: Sequence[str], form: Form, sums: Mapping[str, str]) -> tuple[Beats, int]:
    """All beats of the records, and how many beats are annotated there; from the cache where they were prepared before.

    Args:
        folder: with the records.
        records: which ones.
        form: how they become beats.
        sums: the SHA-256 that files must have, by name; those that it lacks are not checked.

    Raises:
        UserError: unknown wavelet, or files are missing, differ from their checksums, or cannot be read.
    """
    wfdb_files.check_complete(folder, records)
    names = wfdb_files.files(records)
    known = [(name, sums.get(name), (folder / name).stat()) for name in names]
    stamps = [(name, digest, stat.st_size, stat.st_mtime_ns) for name, digest, stat in known]

    def make() -> Mapping[str, np.ndarray]:
        if form.shrinkage:
            _check_wavelet(form.shrinkage.wavelet)
        otherwise = ", or set config.data.verify=False to use it as it is" if sums is mitbih_sums.SHA256 else ""
        wfdb_files.verify(folder, names, sums, f"replace it{otherwise}")
        return _read_all(folder, records, form)

    arrays = cache.kept(("mitbih", 2, str(folder.resolve()), *stamps, *form), make)
    return Beats(arrays["x"], arrays["y"], arrays["record"], arrays["ids"]), int(arrays["annotated"][0])


def _read_all(folder: Path, records: Sequence[str], form: Form) -> dict[str, np.ndarray]:
    parts, annotated = [], 0
    for name in records:
        record = wfdb_files.read(folder, name, LEADS, FREQUENCY)
        x, y, kept = heartbeats.beats(record.signal, record.peaks, record.symbols, FREQUENCY, form)
        parts.append(Beats(x, y, np.full(len(y), int(name), np.int16), annotated + np.flatnonzero(kept)))
        annotated += len(kept)
    columns = Beats(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    return {**columns._asdict(), "annotated": np.array([annotated])}


def _dataset(
    source: str, folder: Path, *, form: Form, records: Sequence[str], protocol: str, classes: str, seed: int, verify: bool
) -> Dataset:
    sums = mitbih_sums.SHA256 if verify else wfdb_files.read_sums(folder)
    beats, annotated = prepare(folder, records, form, sums)
    new_number = np.array([classes.find(letter) for letter in CLASSES], np.int32)
    y = new_number[beats.y]
    test = np.isin(beats.record, DS2) if protocol == "inter" else _drawn(beats.y, seed)
    train = np.isin(beats.record, DS1) if protocol == "inter" else ~test
    train, test = train & (y >= 0), test & (y >= 0)
    _check_present(folder, classes, y[train], y[test])
    groups = beats.record.astype(np.int64) if protocol == "inter" else beats.ids
    sides = [Rows(beats.x[side], y[side], beats.ids[side], groups[side]) for side in (train, test)]
    fraction = 1.0 if len(records) == len(RECORDS) else min(1.0, train.sum() / _published(protocol, classes))
    notes = _origin_notes(records, protocol, annotated - len(beats.y), sums, verify)
    notes += _class_notes(classes, y[train], beats.record[train], y[test])
    dataset = Dataset("mitbih", source, digest(*sides), tuple(classes), sides[0], sides[1], float(fraction), " ".join(notes))
    clusters = dataset.clusters if protocol == "inter" else beats.record[test].astype(np.int64)
    return dataset._replace(measures="aami", clusters=clusters)


def _drawn(y: np.ndarray, seed: int) -> np.ndarray:
    """A fifth of the rows of each AAMI class, at random, bool [N]: at least one where the class has two."""
    random = np.random.default_rng(seed)
    held = np.zeros(len(y), bool)
    for label in range(len(CLASSES)):
        rows = random.permutation(np.flatnonzero(y == label))
        held[rows[: max(round(TEST_SHARE * len(rows)), int(len(rows) > 1))]] = True
    return held


def _published(protocol: str, classes: str) -> float:
    """How many training beats the whole data set has."""
    if protocol == "inter":
        return sum(DS1_BEATS[letter] for letter in classes)
    return (1 - TEST_SHARE) * sum(ALL_BEATS[letter] for letter in classes)


def _check_present(folder: Path, classes: str, train: np.ndarray, test: np.ndarray) -> None:
    for letter, many in zip(classes, np.bincount(train, minlength=len(classes)), strict=True):
        if not many:
            where = f"the training records in {folder} have no beats of class {letter!r}"
            raise UserError(f"{where}; leave it out with config.data.classes (now {classes!r})")
    if not len(test):
        raise UserError(f"the test records in {folder} have no beats of the classes {classes}; choose other records")


def _origin_notes(records: Sequence[str], protocol: str, lost: int, sums: Mapping[str, str], verify: bool) -> list[str]:
    """What is to be known of the files and of the split."""
    notes = []
    if len(records) < len(RECORDS):
        notes.append(f"Only the records {' '.join(records)} of the {len(RECORDS)} of MIT-BIH.")
    if not verify:
        notes.append("The records were not compared with the published MIT-BIH (config.data.verify=False).")
    unchecked = [name for name in wfdb_files.files(records) if name not in sums]
    if unchecked:
        notes.append(f"{len(unchecked)} files could not be checked: {wfdb_files.SUMS} is missing or does not list them.")
    if protocol == "intra":
        notes.append("Beats of one patient are in the training set and in the test set, so the figures are too good.")
    elif paced := " ".join(str(number) for number in PACED if str(number) in records):
        notes.append(f"The paced records {paced} are in neither set.")
    if protocol == "inter" and {"201", "202"} <= set(records):
        notes.append("Records 201 (training) and 202 (test) are of one patient; the published split has it so.")
    if lost:
        notes.append(f"{lost:,} beats are too near to the ends of their records for a window and are left out.")
    return notes


def _class_notes(classes: str, y: np.ndarray, record: np.ndarray, test_y: np.ndarray) -> list[str]:
    """What is to be known of the classes; y and record [N] of the training rows."""
    notes = []
    for label, letter in enumerate(classes):
        class_rows = int((y == label).sum())
        names, counts = np.unique(record[y == label], return_counts=True)
        if 2 * counts.max() > class_rows:
            most = f"{counts.max():,} of the {class_rows:,} training beats of class {letter}"
            notes.append(f"{most} are from record {names[counts.argmax()]}.")
        if class_rows < FEW:
            notes.append(f"Class {letter} has only {class_rows} training beats.")
        if not (test_y == label).any():
            notes.append(f"Class {letter} has no test beats.")
    return notes
