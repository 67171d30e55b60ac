"""Fashion-MNIST: the sources of MNIST's format under another name, and the real files."""

import gzip
import hashlib
import os
import socket
import struct
from pathlib import Path

import numpy as np
import pytest
from data_files import fails, noise

from imbal_jax import data
from imbal_jax.data import fashion_mnist, idx
from imbal_jax.data.published_idx import Content

REAL = os.environ.get("IMBAL_DATA_DIR")
PLACES = [Path(REAL or "nowhere") / place for place in ("raw/fashion_mnist", "fashion_mnist")]
needs_fashion = pytest.mark.skipif(
    not any(place.is_dir() for place in PLACES), reason="IMBAL_DATA_DIR names no directory with raw/fashion_mnist"
)
NAMES = "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot"


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No data, home or cache of the machine's own, and no network."""
    monkeypatch.delenv("IMBAL_DATA_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IMBAL_CACHE_DIR", str(tmp_path / "cache"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    monkeypatch.setattr(fashion_mnist, "FULL", fashion_mnist.FULL._replace(url=url))


@pytest.fixture
def small(monkeypatch):
    """Four arrays that count as the published ones for the test."""
    arrays = [
        noise(0, 60, 28, 28),
        np.arange(60, dtype=np.uint8) % 10,
        noise(1, 30, 28, 28),
        np.arange(30, dtype=np.uint8) % 10,
    ]
    content = Content((6,) * 10, (3,) * 10, tuple(hashlib.sha256(array.tobytes()).hexdigest() for array in arrays))
    monkeypatch.setattr(fashion_mnist, "FULL", fashion_mnist.FULL._replace(content=content))
    return arrays


def write_idx(folder, arrays):
    folder.mkdir(parents=True)
    for name, array in zip(idx.FILES, arrays, strict=True):
        content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))


@pytest.mark.parametrize("place", ["raw/fashion_mnist", "fashion_mnist", "."])
def test_raw(tmp_path, small, place):
    write_idx(tmp_path / "d" / place, small)
    found = data.load("fashion_mnist", directory=str(tmp_path / "d"), per_class=2)
    assert (found.name, found.source, found.fraction, found.note) == ("fashion_mnist", "raw", 20 / 60, "")
    assert ", ".join(found.class_names) == NAMES
    assert (found.train.x[..., 0] == small[0][:20]).all() and (found.test.y == small[3]).all()


def test_other_content_is_told(tmp_path, small):
    small[2] = small[2][::-1]
    write_idx(tmp_path / "d", small)
    with fails(tmp_path / "d" / f"{idx.FILES[2]}.gz", "is not Fashion-MNIST or is damaged", "SHA-256"):
        data.load("fashion_mnist", directory=str(tmp_path / "d"))


def test_without_data_the_error_says_what_to_put_where(tmp_path):
    with fails("no Fashion-MNIST available", "TFDS", *idx.FILES, "DIR/raw/fashion_mnist", "IMBAL_DATA_DIR", "no network"):
        data.load("fashion_mnist")
    with fails("no raw Fashion-MNIST files", tmp_path / "raw" / "fashion_mnist"):
        data.load("fashion_mnist", directory=str(tmp_path), source="raw")


def test_checksums_are_registered():
    from tensorflow_datasets.core.download import checksums

    known = checksums.get_all_url_infos()
    assert all(f"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/{name}.gz" in known for name in idx.FILES)


@needs_fashion
def test_real_fashion_mnist():
    found = data.load("fashion_mnist", directory=REAL, source="raw")
    assert found.train.x.shape == (60000, 28, 28, 1) and found.test.x.shape == (10000, 28, 28, 1)
    assert np.bincount(found.train.y).tolist() == [6000] * 10 and np.bincount(found.test.y).tolist() == [1000] * 10
    assert found.class_names[found.train.y[0]] == "Ankle boot" and found.fraction == 1.0 and not found.note
