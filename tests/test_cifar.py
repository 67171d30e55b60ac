"""CIFAR in small files of the published binary form: unpacked, in the archive, from a server; and what damage says."""

import functools
import hashlib
import http.server
import socket
import tarfile
import threading

import numpy as np
import pytest
from data_files import fails, noise, write

from imbal_jax import data
from imbal_jax.data import cifar, download

FOLDERS = {10: "cifar-10-batches-bin", 100: "cifar-100-binary"}


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No data or cache of the machine's own, and no network."""
    monkeypatch.delenv("IMBAL_DATA_DIR", raising=False)
    monkeypatch.setenv("IMBAL_CACHE_DIR", str(tmp_path / "cache"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(cifar, "URL", f"http://127.0.0.1:{free.getsockname()[1]}/")


def records(seed, y, classes):
    """Images [N, 32, 32, 3], and the bytes of a file of them: the labels, then red, green and blue, row by row."""
    x = noise(seed, len(y), 32, 32, 3)
    coarse = [] if classes == 10 else [np.asarray(y, np.uint8)[:, None] // 5]
    planes = x.transpose(0, 3, 1, 2).reshape(len(y), -1)
    return x, np.concatenate([*coarse, np.asarray(y, np.uint8)[:, None], planes], axis=1).tobytes()


def batches(classes):
    """The files of a small data set, and its images and labels, train and test."""
    names = (
        [[f"data_batch_{n}.bin" for n in range(1, 6)], ["test_batch.bin"]] if classes == 10 else [["train.bin"], ["test.bin"]]
    )
    files, arrays = {}, []
    for split, many in enumerate((3, 1)):
        y = np.random.default_rng(split).permutation(np.tile(np.arange(classes), many))
        x, content = records(split, y, classes)
        cuts = np.array_split(np.frombuffer(content, np.uint8).reshape(len(y), -1), len(names[split]))
        files |= {name: part.tobytes() for name, part in zip(names[split], cuts, strict=True)}
        arrays += [x, y]
    return files, arrays


def pack(path, files, folder, mode="w:gz"):
    write(path.parent / folder, files)
    with tarfile.open(path, mode) as archive:
        archive.add(path.parent / folder, folder)
    for name in files:
        (path.parent / folder / name).unlink()
    return path


def load(verify=False, classes=10, **where):
    """Small files are none that were published."""
    return data.load("cifar", **where, options={"classes": classes, "verify": verify})


@pytest.mark.parametrize(
    ("classes", "place"),
    [(10, "cifar10"), (10, "raw/cifar10/cifar-10-batches-bin"), (10, "cifar-10-batches-bin"), (100, "cifar100"), (100, ".")],
)
def test_binary(tmp_path, classes, place):
    files, (train_x, train_y, test_x, test_y) = batches(classes)
    write(tmp_path / "d" / place, files)
    found = load(directory=str(tmp_path / "d"), classes=classes)
    assert (found.name, found.source, found.fraction) == (f"cifar{classes}", "binary", 3 * classes / 50_000)
    assert len(found.class_names) == classes and f"{3 * classes} of 50,000 training" in found.note
    assert (found.train.x == train_x).all() and (found.train.y == train_y).all() and found.train.y.dtype == np.int32
    assert (found.test.x == test_x).all() and (found.test.y == test_y).all()
    ids = np.concatenate([found.train.ids, found.test.ids])
    assert (ids == np.arange(4 * classes)).all() and (found.test.groups == found.test.ids).all()
    first = load(directory=str(tmp_path / "d"), per_class=1, classes=classes)
    assert len(first.train.y) == classes and first.fraction == classes / 50_000 and len(first.test.y) == classes


@pytest.mark.parametrize("classes", [10, 100])
def test_files_that_were_not_published_are_refused(tmp_path, classes, monkeypatch):
    files, _ = batches(classes)
    write(tmp_path, files)
    note = load(directory=str(tmp_path), classes=classes).note
    assert f"not compared with the published CIFAR-{classes} (config.data.verify=False)" in note
    with fails(tmp_path, f"not of the published CIFAR-{classes}", "SHA-1", "replace it", "config.data.verify=False"):
        load(directory=str(tmp_path), classes=classes, verify=True)
    known = cifar.KNOWN[classes]
    names = [name for split in known.files for name in split]
    right = known._replace(sha1=tuple(hashlib.sha1(files[name]).hexdigest() for name in names))
    monkeypatch.setitem(cifar.KNOWN, classes, right)
    assert "compared" not in load(directory=str(tmp_path), classes=classes, verify=True).note
    with fails("config.data.verify must be True or False (got 1)"):
        load(directory=str(tmp_path), classes=classes, verify=1)


def test_names_are_in_the_published_order():
    names = {classes: known.class_names for classes, known in cifar.KNOWN.items()}
    assert (names[10][0], names[10][6], names[10][9]) == ("airplane", "frog", "truck")
    assert (names[100][0], names[100][39], names[100][99]) == ("apple", "keyboard", "worm")


@pytest.mark.parametrize("classes", [10, 100])
def test_archive_gives_the_same_rows(tmp_path, classes):
    files, _ = batches(classes)
    path = pack(tmp_path / cifar.KNOWN[classes].archive, files, FOLDERS[classes])
    write(tmp_path / "d", files)
    found = load(directory=str(tmp_path), classes=classes)
    assert found.source == "archive"
    assert found.digest == load(directory=str(tmp_path / "d"), classes=classes).digest
    path.write_bytes(path.read_bytes()[:5000])
    with fails(path, "cannot read", "replace"):
        load(directory=str(tmp_path), classes=classes)


def test_a_file_too_large_for_the_data_set_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "MOST_RECORDS", 5)
    pack(tmp_path / "cifar-10-binary.tar.gz", {"data_batch_1.bin": bytes(6 * 3073)}, FOLDERS[10])
    with fails("data_batch_1.bin has 18,438 bytes, more than all of CIFAR-10"):
        load(directory=str(tmp_path))


def test_an_archive_of_the_python_version_is_not_opened(tmp_path):
    pack(tmp_path / "cifar-10-binary.tar.gz", {"data_batch_1": b"\x80\x04.", "test_batch": b"\x80\x04."}, "cifar-10-batches-py")
    with fails("cifar-10-binary.tar.gz lacks data_batch_1.bin", "binary version"):
        load(directory=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("data_batch_3.bin", lambda content: content[:-1], ["data_batch_3.bin is not of CIFAR-10 or is damaged", "3,073"]),
        ("test_batch.bin", lambda content: b"", ["test_batch.bin", "0 bytes"]),
        ("data_batch_1.bin", lambda content: b"\x0b" + content[1:], ["has a label 11"]),
        ("test_batch.bin", lambda content: content[:3073], ["no test images of class"]),
    ],
)
def test_damaged_files_are_named(tmp_path, name, change, words):
    files, _ = batches(10)
    write(tmp_path, files | {name: change(files[name])})
    with fails(tmp_path, *words):
        load(directory=str(tmp_path))


def test_a_missing_file_is_named(tmp_path):
    files, _ = batches(10)
    del files["data_batch_4.bin"]
    write(tmp_path, files)
    with fails(tmp_path, "only a part of CIFAR-10", "add data_batch_4.bin"):
        load(directory=str(tmp_path))


def test_absent_and_wrong_options(tmp_path):
    with fails("no CIFAR-10 available", "put cifar-10-binary.tar.gz into DIR", "IMBAL_DATA_DIR", "no network"):
        load()
    with fails("no CIFAR-100 files", tmp_path / "raw" / "cifar100"):
        load(directory=str(tmp_path), source="binary", classes=100)
    for classes in (20, "10", True, 10.5):
        with fails("config.data.classes", repr(classes)):
            load(classes=classes)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_download_is_kept(tmp_path, monkeypatch):
    from tensorflow_datasets.core.download import checksums

    known = checksums.get_all_url_infos()
    assert all(f"https://www.cs.toronto.edu/~kriz/{one.archive}" in known for one in cifar.KNOWN.values())
    (tmp_path / "www").mkdir()
    path = pack(tmp_path / "www" / "cifar-10-binary.tar.gz", batches(10)[0], FOLDERS[10])
    content = path.read_bytes()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=path.parent)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        info = checksums.UrlInfo(size=len(content), checksum=hashlib.sha256(content).hexdigest(), filename=path.name)
        with monkeypatch.context() as patch:
            patch.setattr(cifar, "URL", url)
            patch.setattr(download, "fetch", functools.partial(download.fetch, url_infos={f"{url}{path.name}": info}))
            first = load()
        server.shutdown()
        thread.join()
    assert first.source == "download" and load().digest == first.digest
