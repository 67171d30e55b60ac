"""MIT-BIH from WFDB records: which beats become which rows, both splits, and every kind of damage told."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from data_files import fails

from imbal_jax import data
from imbal_jax.data import download, heartbeats, mitbih, mitbih_sums, wfdb_files
from imbal_jax.stages.evaluation import groups_of_test

REAL = os.environ.get("IMBAL_DATA_DIR")
needs_mitdb = pytest.mark.skipif(
    not (Path(REAL or "nowhere") / "mitdb" / "100.hea").is_file(), reason="IMBAL_DATA_DIR names no directory with mitdb"
)
WINDOW = {"before": 3, "after": 4}
PLAIN = WINDOW | {"denoise": "none", "classes": "NV", "records": "100 101", "verify": False}  # made here, not published
TRAIN = [(2, "N"), (50, "+"), (100, "N"), (200, "V"), (300, "A"), (400, "L"), (596, "E"), (597, "N")]  # of record 101
TEST = [(20, "V"), (90, "N"), (150, "|"), (260, "j")]  # of record 100


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No data or cache of the machine's own, and no network."""
    monkeypatch.delenv("IMBAL_DATA_DIR", raising=False)
    monkeypatch.setenv("IMBAL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "online", lambda *_: False)


def signals(name, samples=600):
    """[samples, 2], in steps that the format can hold."""
    return np.random.default_rng(int(name)).integers(-400, 400, (samples, 2)) / 200


def write_record(folder, name, marks, leads=("MLII", "V1"), frequency=360, signal=None):
    folder.mkdir(parents=True, exist_ok=True)
    known = {"fmt": ["212"] * 2, "adc_gain": [200.0] * 2, "baseline": [0] * 2, "write_dir": str(folder)}
    signal = signals(name) if signal is None else signal
    with wfdb_files.library() as wfdb:
        wfdb.wrsamp(name, frequency, ["mV"] * 2, list(leads), p_signal=signal, **known)
        wfdb.wrann(name, "atr", np.array([at for at, _ in marks]), [kind for _, kind in marks], write_dir=str(folder))


def write_sums(folder):
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.name}" for path in sorted(folder.iterdir())]
    (folder / "SHA256SUMS.txt").write_text("\n".join([*lines, f"{'0' * 64} old/100.dat", ""]))


@pytest.fixture
def two(tmp_path):
    """A folder with a record of DS1 and one of DS2."""
    folder = tmp_path / "d" / "mitdb"
    write_record(folder, "101", TRAIN)
    write_record(folder, "100", TEST)
    write_sums(folder)
    return folder


def load(directory, source="auto", per_class=None, **options):
    return data.load("mitbih", directory=str(directory), source=source, per_class=per_class, options=PLAIN | options)


def window(name, at, lead=0):
    """int16 [7, 1]: what should become of a beat."""
    values = signals(name)[at - 3 : at + 4, lead]
    low, high = values.min(), values.max()
    return np.rint((2 * (values - low) / (high - low) - 1) * 32767).astype(np.int16)[:, None]


# --- rows -------------------------------------------------------------------------------------------------------------


def test_rows_by_hand(two):
    found = load(two.parent)
    assert (found.name, found.source, found.class_names) == ("mitbih", "folder", ("N", "V"))
    # The beats at 2 and 597 are too near to the ends, 300 is of class S.
    expected = [window("101", at) for at in (100, 200, 400, 596)]
    assert found.train.x.dtype == np.int16 and np.abs(found.train.x - np.array(expected)).max() <= 1
    assert found.train.y.tolist() == [0, 1, 0, 1] and found.train.y.dtype == np.int32
    assert found.test.y.tolist() == [1, 0, 0] and found.test.x.shape == (3, 7, 1)
    assert found.train.groups.tolist() == [101] * 4 and found.test.groups.tolist() == [100] * 3
    # Record 100 comes first and has three beats; the beat at 2 has number 3.
    assert found.test.ids.tolist() == [0, 1, 2] and found.train.ids.tolist() == [4, 5, 7, 8]
    assert found.train.ids.dtype == found.train.groups.dtype == np.int64
    assert found.fraction == 4 / (45_866 + 3_788)


@pytest.mark.parametrize("place", [*mitbih.PLACES, "."])
def test_places(tmp_path, two, place):
    digest = load(two.parent).digest
    shutil.copytree(two, tmp_path / "e" / place, dirs_exist_ok=True)
    assert load(tmp_path / "e").digest == digest


def test_directory_from_the_environment(two, monkeypatch):
    monkeypatch.setenv("IMBAL_DATA_DIR", str(two.parent))
    assert data.load("mitbih", options=PLAIN).source == "folder"


def test_v5_where_there_is_no_mlii(tmp_path):
    write_record(tmp_path, "100", TEST)
    write_record(tmp_path, "101", TRAIN, leads=("V2", "V5"))
    found = load(tmp_path)
    assert np.abs(found.train.x[0] - window("101", 100, lead=1)).max() <= 1


def test_mlii_need_not_be_the_first_lead(tmp_path):
    write_record(tmp_path, "100", TEST)
    write_record(tmp_path, "101", TRAIN, leads=("V5", "MLII"))
    assert np.abs(load(tmp_path).train.x[0] - window("101", 100, lead=1)).max() <= 1


def test_the_classes_are_kept_in_the_order_given(two):
    one, other = load(two.parent, classes="NSV"), load(two.parent, classes="VNS")
    assert one.train.y.tolist() == [0, 2, 1, 0, 2] and other.train.y.tolist() == [1, 0, 2, 1, 0]
    assert other.class_names == ("V", "N", "S") and (one.train.x == other.train.x).all()
    assert (one.train.ids == other.train.ids).all() and "Class S has no test beats." in one.note


def test_denoised_as_a_whole_before_it_is_cut(two):
    whole = heartbeats.denoise(signals("101")[:, 0])
    expected = heartbeats.to_int16(heartbeats.scale_beats(whole[None, 97:104]))
    assert np.abs(load(two.parent, denoise="wavelet").train.x[0, :, 0] - expected[0]).max() <= 1


def test_pywavelets_is_for_denoising_only(two, monkeypatch):
    monkeypatch.setitem(sys.modules, "pywt", None)
    assert load(two.parent).train.y.tolist() == [0, 1, 0, 1]
    with pytest.raises(ImportError):
        load(two.parent, denoise="wavelet")


def test_each_step_of_the_denoising_is_an_option(two):
    steps = {"wavelet": "sym4", "level": 3, "zeroed": 1, "threshold": "relative"}
    whole = heartbeats.denoise(signals("101")[:, 0], **steps)
    expected = heartbeats.to_int16(heartbeats.scale_beats(whole[None, 97:104]))
    found = load(two.parent, denoise="wavelet", **steps)
    assert np.abs(found.train.x[0, :, 0] - expected[0]).max() <= 1
    for changed in ({"wavelet": "db2"}, {"level": 2}, {"zeroed": 0}, {"threshold": "none"}):
        assert (load(two.parent, denoise="wavelet", **steps | changed).train.x != found.train.x).any()


def test_scaled_by_record(two):
    scaled = heartbeats.scale_record(signals("101")[:, 0])
    found = load(two.parent, scale="record")
    assert np.abs(found.train.x[0, :, 0] - heartbeats.to_int16(scaled[97:104])).max() <= 1


def test_rhythm_is_appended(two):
    plain, found = load(two.parent), load(two.parent, rr=True)
    assert found.train.x.shape == (4, 11, 1) and (found.train.x[:, :7] == plain.train.x).all()
    # Beats of every class count: the one at 400 follows the one at 300.
    features = heartbeats.rr_features(np.array([2, 100, 200, 300, 400, 596, 597]), 360)
    assert (found.train.x[:, 7:, 0] == heartbeats.to_int16(features[[1, 2, 4, 5]])).all()


def test_per_class(two):
    found = load(two.parent, per_class=1)
    assert found.train.y.tolist() == [0, 1] and len(found.test.y) == 3
    assert found.fraction == pytest.approx(2 / (45_866 + 3_788))


# --- splits -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def many(tmp_path):
    """A record each of DS1, DS2 and the paced ones: 40 N, 10 V, and 2 Q in the paced one."""
    folder = tmp_path / "many"
    for number, name in enumerate(("101", "100", "104")):
        kinds = ["N"] * 15 + ["V"] * 4 if number < 2 else ["N"] * 10 + ["V"] * 2 + ["/"] * 2
        write_record(folder, name, [(20 + 30 * at, kind) for at, kind in enumerate(kinds)])
    return folder


def test_inter_leaves_out_the_paced_records(many):
    found = load(many, records="100 101 104")
    assert set(found.train.groups) == {101} and set(found.test.groups) == {100} and not len(found.clusters)
    assert "The paced records 104 are in neither set." in found.note


def test_intra_is_stratified_fixed_by_its_seed_and_told(many):
    options = {"protocol": "intra", "records": "100 101 104", "classes": "NVQ"}
    found = load(many, **options)
    assert np.bincount(found.train.y).tolist() == [32, 8, 1] and np.bincount(found.test.y).tolist() == [8, 2, 1]
    every = np.concatenate([found.train.ids, found.test.ids])
    assert len(set(every)) == len(every) == 52 and (found.train.groups == found.train.ids).all()
    assert "Beats of one patient are in the training set and in the test set" in found.note
    names, place = groups_of_test(found)  # intervals are drawn over the records, though each beat is its own group
    assert names.tolist() == [100, 101, 104] and (names[place] == found.clusters).all() and len(place) == 11
    assert load(many, **options).digest == found.digest != load(many, **options, split_seed=1).digest
    fewer = load(many, **options | {"classes": "VN"})
    assert set(fewer.test.ids) == set(found.test.ids[found.test.y < 2])
    assert found.fraction == pytest.approx(41 / 0.8 / (90_631 + 7_236 + 8_043))


def test_notes_are_counted_from_the_data(two):
    note = load(two.parent).note
    assert "Only the records 100 101 of the 48" in note and "Class V has only 2 training beats." in note
    assert "2 of the 2 training beats of class V are from record 101." in note
    assert "2 beats are too near to the ends" in note and "checked" not in note and "paced" not in note


def test_notes_on_records_that_share_a_class(tmp_path):
    for name, kinds in (("101", "N" * 20 + "V" * 10), ("106", "N" * 20 + "V" * 11), ("201", "N"), ("202", "NV")):
        write_record(tmp_path, name, [(10 + 15 * at, kind) for at, kind in enumerate(kinds)])
    note = load(tmp_path, records="101,106,201,202").note
    assert "11 of the 21 training beats of class V are from record 106." in note and "class N" not in note
    assert "only" not in note.replace("Only the records", "") and "201 (training) and 202 (test) are of one patient" in note


def test_a_class_without_training_beats(two):
    with fails("no beats of class 'F'", two, "leave it out with config.data.classes"):
        load(two.parent, classes="NVF")


def test_no_test_beats(tmp_path):
    write_record(tmp_path, "101", TRAIN)
    write_record(tmp_path, "100", [(100, "F")])
    with fails("the test records", "no beats of the classes NV"):
        load(tmp_path)


# --- files ------------------------------------------------------------------------------------------------------------


def test_without_checksums_the_note_says_so(two):
    (two / "SHA256SUMS.txt").unlink()
    assert "6 files could not be checked: SHA256SUMS.txt is missing" in load(two.parent).note


@pytest.mark.parametrize("name", ["101.dat", "100.atr", "101.hea"])
def test_a_file_that_differs_from_its_checksum_is_named(two, name):
    content = (two / name).read_bytes()
    (two / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with fails(two / name, "is damaged", "SHA-256", "replace it"):
        load(two.parent)


def test_records_that_were_not_published_are_refused_whatever_lies_beside_them(two):
    """SHA256SUMS.txt lists these records and fits them: it comes from whoever made them."""
    assert "not compared with the published MIT-BIH (config.data.verify=False)" in load(two.parent).note
    for _ in range(2):  # the first is not remembered as checked
        with fails(two / "100.hea", "is damaged or another file", "60ebc904c7bf"):
            load(two.parent, verify=True)


def test_published_digests():
    """Of each file of each record; those of record 100 as PhysioNet's own list has them."""
    assert set(mitbih_sums.SHA256) == set(wfdb_files.files(mitbih.RECORDS))
    assert mitbih_sums.SHA256["100.dat"] == "b2ea3c250e56e48f4b7b90697832b8ecd1afa1e0bb31f2dcfea4ed6e1075a639"
    assert all(len(value) == 64 for value in mitbih_sums.SHA256.values())


@needs_mitdb
def test_published_digests_are_those_of_the_real_list():
    folder = Path(REAL) / "mitdb"
    assert wfdb_files.read_sums(folder).items() >= mitbih_sums.SHA256.items()
    wfdb_files.verify(folder, list(mitbih_sums.SHA256), mitbih_sums.SHA256)


def test_only_the_records_asked_for_are_checked(two):
    write_record(two, "103", TEST)
    (two / "103.dat").write_bytes(b"damaged")
    write_record(two, "other", TEST, signal=signals("1"))
    assert "checked" not in load(two.parent).note
    with fails("103"):
        load(two.parent, records="100 101 103")


@pytest.mark.parametrize("suffix", wfdb_files.SUFFIXES)
def test_a_missing_file_is_named(two, suffix):
    (two / f"101{suffix}").unlink()
    with fails(two, f"lacks 101{suffix}"):
        load(two.parent)


def test_missing_records_are_named_unless_a_subset_is_asked_for(two):
    with fails(two, "lacks 46 of 48 records: 102 103 104", "234", "config.data.records"):
        load(two.parent, records="")
    with fails("lacks 1 of 3 records: 234"):
        load(two.parent, records="100 101 234")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("101.dat", lambda content: content[: len(content) // 2]),
        ("101.dat", lambda content: b""),
        ("101.hea", lambda content: b"\x89PNG\r\n" + bytes(range(256))),
        ("101.hea", lambda content: b""),
        ("101.hea", lambda content: content.replace(b"101.dat", b"999.dat")),
        ("101.hea", lambda content: content.replace(b" 212 ", b" 999 ")),
        ("101.atr", lambda content: b""),
        ("101.atr", lambda content: content[: len(content) // 4 * 2]),
        ("101.atr", lambda content: content[:-3]),
    ],
    ids=["half", "no-samples", "no-header", "empty-header", "other-file", "other-format", "no-marks", "half-marks", "odd"],
)
def test_a_record_that_cannot_be_read_is_named(two, name, damage):
    (two / "SHA256SUMS.txt").unlink()
    (two / name).write_bytes(damage((two / name).read_bytes()))
    with fails(f"the record {two / '101'}", "replace"):
        load(two.parent)


def test_what_is_no_record_of_mit_bih(tmp_path):
    write_record(tmp_path, "100", TEST)
    write_record(tmp_path, "101", TRAIN, leads=("V1", "V2"))
    with fails(f"the record {tmp_path / '101'} has none of the leads MLII, V5", "V1"):
        load(tmp_path)
    write_record(tmp_path, "101", TRAIN, frequency=250)
    with fails(f"the record {tmp_path / '101'} has 250 samples per second, not 360"):
        load(tmp_path)
    signal = signals("101")
    signal[5:8, 0] = np.nan
    write_record(tmp_path, "101", TRAIN, signal=signal)
    with fails(f"the record {tmp_path / '101'} has 3 samples without a value in lead MLII"):
        load(tmp_path)


def test_prepared_once(two, monkeypatch):
    whole = load(two.parent)
    with monkeypatch.context() as patch:
        patch.setattr(wfdb_files, "read", lambda *_: pytest.fail("read again"))
        assert load(two.parent).digest == whole.digest
        load(two.parent, protocol="intra", classes="NVS")
    write_record(two, "101", [(at + 1, kind) for at, kind in TRAIN])
    write_sums(two)
    assert load(two.parent).digest != whole.digest


def test_wfdb_is_imported_when_it_is_needed():
    code = "import sys; from imbal_jax.data import mitbih; print({'wfdb', 'pywt', 'pandas'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


# --- sources and options ----------------------------------------------------------------------------------------------


def test_nothing_at_hand(tmp_path):
    with fails("no MIT-BIH available", "DIR/mitdb", "no network", "cannot be downloaded"):
        data.load("mitbih")
    with fails("no MIT-BIH records", tmp_path / "mitdb", tmp_path / "raw" / "mitdb"):
        load(tmp_path, "folder")
    with fails("unknown source 'zip'", "folder, download"):
        load(tmp_path, "zip")


@pytest.fixture
def physionet(two, monkeypatch):
    """PhysioNet answers, and has the two records as the whole database."""
    monkeypatch.setattr(download, "online", lambda *_: True)
    monkeypatch.setattr(mitbih, "RECORDS", ("100", "101"))

    def database(name, folder, records, annotators):
        assert name == "mitdb" and annotators == ["atr"]
        for record in records:
            for suffix in wfdb_files.SUFFIXES:
                shutil.copy(two / f"{record}{suffix}", folder)
        print("Finished downloading files")

    with wfdb_files.library() as wfdb:
        monkeypatch.setattr(wfdb, "dl_database", database)
        monkeypatch.setattr(wfdb, "dl_files", lambda name, folder, files: [shutil.copy(two / file, folder) for file in files])
        yield wfdb


def test_download_is_kept_and_then_needs_no_network(tmp_path, two, physionet, monkeypatch, capsys):
    first = data.load("mitbih", options=PLAIN)
    monkeypatch.setattr(download, "online", lambda *_: False)
    again = data.load("mitbih", options=PLAIN)
    assert first.source == again.source == "download" and first.digest == again.digest == load(two.parent).digest
    assert {path.name for path in (tmp_path / "cache" / "mitdb").iterdir()} == {path.name for path in two.iterdir()}
    assert not capsys.readouterr().out


def test_download_without_a_cache(tmp_path, physionet, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("IMBAL_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert data.load("mitbih", source="download", options=PLAIN).source == "download"


def test_download_that_fails_leaves_nothing(tmp_path, physionet, monkeypatch):
    def broken(*_, **__):
        raise OSError("connection lost\nand more")

    monkeypatch.setattr(physionet, "dl_files", broken)
    with fails("the download of mitdb from PhysioNet failed: connection lost;", "try again"):
        data.load("mitbih", options=PLAIN)
    assert not list((tmp_path / "cache").iterdir())


def test_two_processes_may_download_at_once(tmp_path, physionet):
    (tmp_path / "to" / "mitdb").mkdir(parents=True)
    (tmp_path / "to" / "mitdb" / "there").touch()
    wfdb_files.fetch("mitdb", ["100"], tmp_path / "to" / "mitdb")
    assert [path.name for path in (tmp_path / "to").rglob("*")] == ["mitdb", "there"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"protocol": "intre"}, ["config.data.protocol must be", "(got 'intre')", "did you mean", "inter, intra"]),
        ({"denoise": "fir"}, ["config.data.denoise must be", "(got 'fir')", "wavelet, none"]),
        ({"denoise": "wavelet", "wavelet": "db55"}, ["config.data.wavelet must be one of", "did you mean", "pywt.wavelist"]),
        ({"level": 0}, ["config.data.level must be", "(got 0)", "at least 1"]),
        ({"zeroed": -1}, ["config.data.zeroed must be", "(got -1)", "at least 0"]),
        ({"threshold": "hard"}, ["config.data.threshold must be", "(got 'hard')", "universal, relative, none"]),
        ({"scale": "set"}, ["config.data.scale must be", "(got 'set')", "beat, record"]),
        ({"rr": "yes"}, ["config.data.rr must be", "(got 'yes')", "True or False"]),
        ({"before": -1}, ["config.data.before must be", "(got -1)", "at least 0"]),
        ({"after": 0}, ["config.data.after must be", "(got 0)", "at least 1"]),
        ({"after": 1.5}, ["config.data.after must be", "(got 1.5)"]),
        ({"split_seed": True}, ["config.data.split_seed must be", "(got True)"]),
        ({"classes": "N"}, ["(got 'N')", "two or more of the letters NSVFQ"]),
        ({"classes": "NNV"}, ["(got 'NNV')", "each once"]),
        ({"classes": "NX"}, ["(got 'NX')"]),
        ({"classes": 5}, ["config.data.classes must be a text (got 5)"]),
        ({"records": "100 110"}, ["config.data.records names '110'", "did you mean"]),
        ({"records": 100}, ["config.data.records must be a text (got 100)"]),
        ({"records": "100"}, ["names no training record", "101 106", "'intra'"]),
        ({"records": "101 104"}, ["names no test record", "100 103"]),
        ({"validation": 1}, ["no field config.data.validation"]),
    ],
)
def test_wrong_options(two, options, words):
    with fails(*words):
        load(two.parent, **options)


def test_the_lists_of_records():
    assert len(mitbih.RECORDS) == len(set(mitbih.RECORDS)) == 48 and len(mitbih.DS1) == len(mitbih.DS2) == 22
    assert sum(mitbih.ALL_BEATS.values()) == 109_494 and sum(mitbih.DS1_BEATS.values()) == 51_021


# --- the real data set ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def real(**options):
    begin = time.perf_counter()
    found = data.load("mitbih", directory=REAL, options=options)
    return found, time.perf_counter() - begin


def counts(found):
    return [np.bincount(rows.y, minlength=5).tolist() for rows in (found.train, found.test)]


@needs_mitdb
def test_real_records_with_300_samples(cache, monkeypatch):
    monkeypatch.setenv("IMBAL_CACHE_DIR", str(cache))
    found, cold = real()
    again, warm = real()
    assert cold < 60 and warm < 10 and found.digest == again.digest and found.fraction == 1.0
    assert found.train.x.shape[1:] == (300, 1)
    assert counts(found) == [[45_845, 944, 3_788, 414, 8], [44_238, 1_837, 3_220, 388, 7]]
    assert set(map(str, found.train.groups)) == set(map(str, mitbih.DS1))
    assert set(map(str, found.test.groups)) == set(map(str, mitbih.DS2))
    # The first beat of record 208, an F, has no whole window.
    assert "372 of the 414 training beats of class F are from record 208." in found.note
    assert "Class Q has only 8 training beats." in found.note and "102 104 107 217 are in neither set" in found.note
    assert "checked" not in found.note
    low, high = found.train.x.min(axis=1), found.train.x.max(axis=1)
    assert (low == -32767).all() and (high == 32767).all()


@needs_mitdb
def test_real_records_with_360_samples(cache, monkeypatch):
    monkeypatch.setenv("IMBAL_CACHE_DIR", str(cache))
    found, cold = real(before=144, after=216, protocol="intra", denoise="none")
    assert cold < 60 and "58 beats are too near" in found.note and found.train.x.shape[1:] == (360, 1)
    assert np.sum(counts(found), axis=0).tolist() == [90_581, 2_780, 7_235, 802, 8_038]
    inter, _ = real(before=144, after=216, denoise="none")
    assert counts(inter) == [[45_839, 943, 3_788, 414, 8], [44_236, 1_837, 3_220, 388, 7]]


@needs_mitdb
def test_real_annotations():
    record = wfdb_files.read(Path(REAL) / "mitdb", "208", mitbih.LEADS, mitbih.FREQUENCY)
    assert (record.symbols == "F").sum() == 373 and record.lead == "MLII" and len(record.signal) == 650_000
    assert wfdb_files.read(Path(REAL) / "mitdb", "104", mitbih.LEADS, mitbih.FREQUENCY).lead == "V5"
