"""FER2013 from a zip, a folder and a CSV file: the same rows, decoded once, with copies of training images told."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from data_files import encoded, fails, noise, write

from imbal_jax import data
from imbal_jax.data import fer2013

REAL = os.environ.get("IMBAL_DATA_DIR")
needs_fer = pytest.mark.skipif(
    not (Path(REAL or "nowhere") / "fer2013.zip").is_file(), reason="IMBAL_DATA_DIR names no directory with fer2013.zip"
)
CLASSES = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
EMOTIONS = {"angry": 0, "disgust": 1, "fear": 2, "happy": 3, "sad": 4, "surprise": 5, "neutral": 6}


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No data or cache of the machine's own."""
    monkeypatch.delenv("IMBAL_DATA_DIR", raising=False)
    monkeypatch.setenv("IMBAL_CACHE_DIR", str(tmp_path / "cache"))


def faces():
    """{name: image}: of each class four to train and two of each half to test; three of the test images are copies."""
    pictures, number = {}, 0
    for split, prefix, many in (("train", "Training", 4), ("test", "PublicTest", 2), ("test", "PrivateTest", 2)):
        for label in CLASSES:
            for copy in range(many):
                number += 1
                pictures[f"{split}/{label}/{prefix}_{100 + copy}.jpg"] = noise(number, 48, 48)
    pictures["train/happy/Training_100.jpg"] = pictures["train/happy/Training_101.jpg"]  # one group
    pictures["test/fear/PublicTest_100.jpg"] = pictures["train/happy/Training_101.jpg"]
    pictures["test/sad/PrivateTest_100.jpg"] = pictures["train/sad/Training_103.jpg"]
    pictures["test/sad/PrivateTest_101.jpg"] = pictures["train/sad/Training_103.jpg"]
    return pictures


def files():
    return {name: encoded(image) for name, image in faces().items()}  # lossless, under the names that JPEGs have


def csv():
    lines = ["emotion,pixels,Usage"]
    for name, image in faces().items():
        _, label, file = name.split("/")
        lines.append(f"{EMOTIONS[label]},{' '.join(map(str, image.ravel()))},{file.split('_')[0]}")
    return "\n".join(lines).encode()


def load(directory, source="auto", per_class=None, **options):
    return data.load("fer2013", directory=str(directory), source=source, per_class=per_class, options=options)


@pytest.mark.parametrize("place", ["fer2013.zip", "raw/fer2013.zip", "fer2013", "raw/fer2013"])
def test_zip_and_folder(tmp_path, place):
    (tmp_path / "raw").mkdir()
    write(tmp_path / place, files())
    found = load(tmp_path)
    assert (found.name, found.source) == ("fer2013", "zip" if place.endswith("zip") else "folder")
    assert found.class_names == tuple(CLASSES) and found.fraction == 28 / 28709
    assert found.train.x.shape == (28, 48, 48, 1) and found.train.x.dtype == np.uint8 and found.train.y.dtype == np.int32
    assert found.train.y.tolist() == sorted([*range(7)] * 4)
    assert (found.train.x[5, ..., 0] == faces()["train/disgust/Training_101.jpg"]).all()
    assert "28 of 28,709 training and 28 of 7,178 test images" in found.note and not found.left_out
    ids = np.concatenate([found.train.ids, found.test.ids])
    assert np.unique(ids).size == len(ids) and found.train.groups.dtype == np.int64


def test_all_sources_give_the_same_rows(tmp_path):
    write(tmp_path / "fer2013.zip", files())
    write(tmp_path / "fer2013", files())
    (tmp_path / "fer2013.csv").write_bytes(csv())
    by_source = {source: load(tmp_path, source) for source in ("zip", "folder", "csv")}
    assert load(tmp_path).source == "zip" and len({found.digest for found in by_source.values()}) == 1
    for found in by_source.values():
        assert all((a == b).all() for a, b in zip(found.test, by_source["zip"].test, strict=True))


def test_copies_of_training_images_are_left_out_of_the_test_set(tmp_path):
    write(tmp_path / "fer2013.zip", files())
    dropped, flagged = load(tmp_path), load(tmp_path, duplicates="flag")
    assert len(dropped.test.y) == 25 and not len(dropped.duplicates)
    assert "3 test images (1 different ones public, 1 different ones private)" in dropped.note
    assert "left out of the test set" in dropped.note and "flagged" in flagged.note
    assert len(flagged.test.y) == 28 and flagged.duplicates.sum() == 3
    assert (flagged.test.x[~flagged.duplicates] == dropped.test.x).all() and dropped.digest != flagged.digest
    assert {CLASSES[label] for label in flagged.test.y[flagged.duplicates]} == {"fear", "sad"}
    for found in (dropped, flagged):
        assert not np.intersect1d(found.train.groups, found.test.groups).size
    happy = flagged.train.groups[flagged.train.y == 3]
    assert happy[0] == happy[1] and np.unique(happy).size == 3
    sad = flagged.test.groups[flagged.duplicates & (flagged.test.y == 5)]
    assert sad[0] == sad[1]
    assert (flagged.train.groups != flagged.train.ids).sum() == 1


def test_halves_of_the_test_set(tmp_path):
    write(tmp_path / "fer2013.zip", files())
    everything = load(tmp_path, duplicates="flag")
    halves = [load(tmp_path, test=half, duplicates="flag") for half in ("public", "private")]
    assert [len(half.test.y) for half in halves] == [14, 14] and [half.duplicates.sum() for half in halves] == [1, 2]
    both = np.concatenate([half.test.ids for half in halves])
    assert (both == everything.test.ids).all() and all((half.train.x == everything.train.x).all() for half in halves)
    assert (everything.test.x[:14] == halves[0].test.x).all()


def test_halves_that_cannot_be_told(tmp_path):
    write(tmp_path / "fer2013", {name.replace("PublicTest", "im"): content for name, content in files().items()})
    assert len(load(tmp_path).test.y) == 25
    with fails("config.data.test is 'public'", "not named PublicTest_"):
        load(tmp_path, test="public")


def test_per_class_keeps_the_first(tmp_path):
    write(tmp_path / "fer2013.zip", files())
    part = load(tmp_path, per_class=2)
    assert np.bincount(part.train.y).tolist() == [2] * 7 and part.fraction == 14 / 28709 and len(part.test.y) == 25


@pytest.mark.parametrize("place", ["fer2013.zip", "fer2013", "fer2013.csv"])
def test_the_cache_is_used_checked_and_not_mistaken(tmp_path, place, monkeypatch):
    def store(pictures):
        (tmp_path / place).write_bytes(csv()) if place.endswith("csv") else write(tmp_path / place, pictures)

    store(files())
    whole = load(tmp_path)
    (cached,) = (tmp_path / "cache").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(fer2013, "_face", lambda _: pytest.fail("decoded again"))
        patch.setattr(fer2013, "_parse", lambda _: pytest.fail("parsed again"))
        assert load(tmp_path).digest == whole.digest
    content = cached.read_bytes()
    for damage in (b"", content[:1000], content[:3000] + b"????" + content[3004:]):
        cached.write_bytes(damage)
        assert load(tmp_path).digest == whole.digest
        assert len(cached.read_bytes()) == len(content)
    if not place.endswith("csv"):
        store(files() | {"train/sad/Training_100.jpg": encoded(noise(999, 48, 48))})
        assert load(tmp_path).digest != whole.digest
    (tmp_path / "file").touch()
    monkeypatch.setenv("IMBAL_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert len(load(tmp_path).train.y) == 28


def test_images_that_cannot_be_used_are_listed(tmp_path):
    bad = {
        "train/sad/Training_100.jpg": b"",
        "train/sad/Training_101.jpg": encoded(noise(0, 48, 48), "JPEG")[:700],
        "test/sad/PublicTest_100.jpg": encoded(noise(0, 96, 48)),
    }
    write(tmp_path / "fer2013", files() | bad | {"train/sad/notes.txt": b"x"})
    found = load(tmp_path)
    assert len(found.train.y) == 26 and len(found.left_out) == 4
    told = "\n".join(found.left_out)
    assert "train/sad/Training_100.jpg: is empty" in told and "Training_101.jpg: is truncated" in told
    assert "PublicTest_100.jpg: has 48x96 pixels, not 48x48" in told and "notes.txt: is no image by its name" in told
    assert load(tmp_path).left_out == found.left_out  # from the cache too


def test_damaged_csv(tmp_path):
    lines = csv().decode().split("\n")
    lines[1], lines[6], lines[7] = "0,1 2 3,Training", lines[6].replace("Training", "Train"), "9" + lines[7][1:]
    (tmp_path / "fer2013.csv").write_text("\n".join([*lines, "0"]))
    found = load(tmp_path)
    assert len(found.train.y) == 25 and [line.split(":")[0] for line in found.left_out] == [
        f"fer2013.csv, line {line}" for line in (2, 7, 8, 58)
    ]
    (tmp_path / "fer2013.csv").write_text("a,b\n1,2\n")
    with fails(tmp_path / "fer2013.csv", "emotion, pixels, Usage"):
        load(tmp_path)
    (tmp_path / "fer2013.csv").write_bytes(b"emotion,pixels,Usage\n\xff\xfe\n")
    with fails(tmp_path / "fer2013.csv", "cannot read"):
        load(tmp_path)


def test_what_is_not_fer2013(tmp_path):
    with fails("no FER2013 available", "put fer2013.zip into DIR"):
        data.load("fer2013")
    with fails("no FER2013 in", tmp_path / "fer2013.zip", tmp_path / "raw" / "fer2013", tmp_path / "fer2013.csv"):
        load(tmp_path)
    some = {name: content for name, content in files().items() if "/sad/" not in name}
    write(tmp_path / "fer2013.zip", some)
    with fails("fer2013.zip is not FER2013", "its classes are angry, disgust, fear, happy, neutral, surprise, not"):
        load(tmp_path)
    write(tmp_path / "fer2013.zip", some | {"train/sad/Training_1.jpg": encoded(noise(0, 48, 48))})
    with fails("no test images of class 'sad'"):
        load(tmp_path)
    write(tmp_path / "fer2013.zip", {name[6:]: content for name, content in files().items() if name.startswith("train")})
    with fails("is not FER2013", "no folders train and test"):
        load(tmp_path)


def test_wrong_options(tmp_path):
    with fails("config.data.test must be one of", "(got 'privat')", "did you mean 'private'", "all, public, private"):
        load(tmp_path, test="privat")
    with fails("config.data.duplicates must be one of", "(got 'keep')", "drop, flag"):
        load(tmp_path, duplicates="keep")
    with fails("unknown source 'tar'", "zip, folder, csv"):
        load(tmp_path, "tar")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@needs_fer
def test_real_fer2013(cache, monkeypatch):
    monkeypatch.setenv("IMBAL_CACHE_DIR", str(cache))
    found = load(REAL, "zip")
    assert np.bincount(found.train.y).tolist() == [3995, 436, 4097, 7215, 4965, 4830, 3171] and found.fraction == 1.0
    assert len(found.test.y) == 7178 - 568 and "270 different ones public, 278 different ones private" in found.note
    assert "28,709" not in found.note and not found.left_out
    flagged = load(REAL, "zip", duplicates="flag")
    assert np.bincount(flagged.test.y).tolist() == [958, 111, 1024, 1774, 1233, 1247, 831] and flagged.duplicates.sum() == 568
    assert [len(load(REAL, "zip", test=half, duplicates="flag").test.y) for half in ("public", "private")] == [3589, 3589]
    train = {image.tobytes() for image in found.train.x}
    assert not train & {image.tobytes() for image in found.test.x}
    assert np.unique(found.train.groups).size == len(train)


@pytest.mark.parametrize(
    "place", ["fer2013.csv", "icml_face_data.csv", "fer2013/icml_face_data.csv", f"{fer2013.COMPETITION}/fer2013/fer2013.csv"]
)
@pytest.mark.parametrize("mark", ["utf-8", "utf-8-sig", "utf-16"])
def test_names_heads_and_marks_of_the_csv(tmp_path, place, mark):
    """Kaggle's later file has blanks in its first line; spreadsheets and PowerShell put marks at the start."""
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "fer2013.csv").write_bytes(csv())
    text = (
        csv().decode().replace("emotion,pixels,Usage", "emotion, Usage, pixels" if "icml" in place else "Emotion,pixels,usage ")
    )
    if "icml" in place:
        head, *lines = text.split("\n")
        cells = [line.split(",") for line in lines]
        text = "\n".join([head, *(f"{emotion},{usage},{pixels}" for emotion, pixels, usage in cells)])
    write(tmp_path / "d", {place: text.encode(mark)})
    found = load(tmp_path / "d")
    assert found.digest == load(tmp_path / "plain").digest and found.source == "csv" and not found.left_out


def test_a_zip_of_the_csv_is_to_be_unpacked(tmp_path):
    with fails("fer2013.zip holds fer2013.csv and no images: unpack fer2013.csv"):
        load(write(tmp_path / "fer2013.zip", {"fer2013.csv": csv()}).parent)


def test_other_images_of_the_same_number_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(fer2013, "TRAIN_ROWS", 28)
    monkeypatch.setattr(fer2013, "TEST_ROWS", 28)
    write(tmp_path / "a", {"fer2013.csv": csv()})
    write(tmp_path / "b" / "fer2013", files())
    for place in ("a", "b"):
        assert load(tmp_path / place).note.startswith("These are not the published images of FER2013")
    monkeypatch.setattr(fer2013, "CSV_MD5", (hashlib.md5(csv()).hexdigest(),))
    write(tmp_path / "c", {"fer2013.csv": csv()})
    assert load(tmp_path / "c").note.startswith("3 test images")
