"""Data sets of one's own: folders, zips and arrays become rows; what cannot be used is told."""

import contextlib
import io
import struct
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from data_files import encoded, fails, noise, write

from configs import folder as folder_config
from imbal_jax import data, experiment
from imbal_jax.artifacts import json_files
from imbal_jax.data import class_folders, folder, npz
from imbal_jax.errors import UserError
from imbal_jax.evaluate import stats
from imbal_jax.export import samples
from imbal_jax.models import ecg_gan, s0_cgan
from imbal_jax.stages import gan_training
from imbal_jax.stages.training_set import prepare


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No data or cache of the machine's own."""
    monkeypatch.delenv("IMBAL_DATA_DIR", raising=False)
    monkeypatch.setenv("IMBAL_CACHE_DIR", str(tmp_path / "cache"))


def load(path, source="auto", directory=None, per_class=None, **options):
    return data.load("folder", directory=directory, source=source, per_class=per_class, options={"path": str(path), **options})


def pictures(above="", many=10, classes=("cat", "dog"), side=8, first=0):
    """{name: PNG}: different grey images of each class."""
    names = [f"{above}{label}/{number:02d}.png" for label in classes for number in range(many)]
    return {name: encoded(noise(first + seed, side, side)) for seed, name in enumerate(names)}


def splits(many=6):
    return pictures("train/", many) | pictures("test/", 3, first=100)


# --- Layouts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["pets", "pets.zip"])
@pytest.mark.parametrize("above", ["", "around/", "a/b/"])
def test_class_folders(tmp_path, place, above):
    found = load(write(tmp_path / place, pictures(above)))
    assert (found.name, found.source, found.fraction) == ("pets", place.replace("pets", "folder").split(".")[-1], 1.0)
    assert found.class_names == ("cat", "dog") and found.train.x.shape == (16, 8, 8, 1) and found.test.x.shape == (4, 8, 8, 1)
    assert found.train.x.dtype == np.uint8 and found.train.y.dtype == np.int32 and found.train.ids.dtype == np.int64
    assert np.bincount(found.train.y).tolist() == [8, 8] and np.bincount(found.test.y).tolist() == [2, 2]
    assert sorted([*found.train.ids, *found.test.ids]) == list(range(20))
    for row, image in zip(found.test.ids, found.test.x, strict=True):
        assert (image[..., 0] == noise(row, 8, 8)).all()
    assert "4 of 20 rows were drawn" in found.note and not len(found.duplicates) and not found.left_out


@pytest.mark.parametrize("place", ["pets", "pets.zip"])
def test_train_and_test_folders(tmp_path, place):
    found = load(write(tmp_path / place, splits()))
    assert len(found.train.y) == 12 and len(found.test.y) == 6 and found.note == ""
    assert (found.train.x[0, ..., 0] == noise(0, 8, 8)).all() and (found.test.x[3, ..., 0] == noise(103, 8, 8)).all()
    assert (found.train.groups == found.train.ids).all() and (found.test.groups == found.test.ids).all()


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val"])
def test_validation_images_are_joined_to_the_training_set(tmp_path, name):
    found = load(write(tmp_path / "pets", splits() | pictures(f"{name}/", 2, first=50)))
    assert len(found.train.y) == 16 and len(found.test.y) == 6 and "4 images of the validation folder" in found.note


def test_train_and_validation_without_test(tmp_path):
    found = load(write(tmp_path / "pets", pictures("Train/", 8) | pictures("val/", 2, first=50)))
    assert len(found.train.y) == 16 and len(found.test.y) == 4
    assert "4 images of the validation folder" in found.note and "4 of 20 rows" in found.note


def test_images_may_lie_deeper_and_classes_be_numbers(tmp_path):
    deep = {name.replace("/", "/more/and more/"): content for name, content in pictures(classes=("10", "9", "1")).items()}
    assert load(write(tmp_path / "d", deep)).class_names == ("1", "9", "10")


def test_digest_is_that_of_the_content(tmp_path):
    one = load(write(tmp_path / "one", pictures())).digest
    assert load(write(tmp_path / "two.zip", pictures())).digest == one
    assert load(write(tmp_path / "three", pictures(first=1))).digest != one


def test_per_class_and_the_seed_of_the_split(tmp_path):
    path = write(tmp_path / "d", pictures())
    part = load(path, per_class=3)
    assert len(part.train.y) == 6 and part.fraction == 6 / 16 and len(part.test.y) == 4
    assert load(path, test_share=0.5).test.y.tolist() == [0] * 5 + [1] * 5
    assert load(path).digest == load(path).digest != load(path, split_seed=1).digest


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, ["holds no images", ".png"]),
        ({"cat/1.txt": b"x"}, ["holds no images"]),
        ({"1.png": b"x", "2.png": b"x"}, ["2 images, but no class folders", "PATH/<class>/"]),
        (pictures(classes=("cat",)), ["a single class, 'cat'"]),
        (pictures() | {"cow/notes.txt": b"x"}, ["class folder 'cow' (train) holds no images"]),
        (pictures() | {"cow/1.png": encoded(noise(0, 8, 8))}, ["class 'cow' has 1 usable images"]),
        (pictures() | {"cow/1.png": encoded(noise(0, 8, 8)), "cow/2.png": b""}, ["class 'cow' has 1 usable images"]),
        (splits() | pictures("train/", 2, ("cow",), first=60), ["class 'cow' has no test rows"]),
        (splits() | pictures("test/", 2, ("cow",), first=60), ["class 'cow' has no training rows"]),
        (pictures("test/") | pictures("val/"), ["test and val, but no folder train"]),
        (dict.fromkeys(pictures(), b"x"), ["not one of 20 images can be used", "cat/00.png: is not a readable image"]),
    ],
)
def test_layouts_that_cannot_be_read_are_explained(tmp_path, files, words):
    (tmp_path / "d").mkdir()
    with fails(write(tmp_path / "d", files), *words):
        load(tmp_path / "d")


def test_empty_class_folders_are_named(tmp_path):
    write(tmp_path / "d", splits())
    (tmp_path / "d" / "test" / "cow").mkdir()
    with fails("class folder 'cow' (test) holds no images"):
        load(tmp_path / "d")


# --- Images -----------------------------------------------------------------------------------------------------------


def test_what_cannot_be_used_is_left_out_and_listed(tmp_path):
    jpeg = encoded(noise(0, 64, 64), "JPEG")
    bad = {
        "cat/cut.jpg": jpeg[: len(jpeg) // 2],
        "cat/empty.png": b"",
        "dog/large.png": encoded(noise(0, 30, 30)),
        "dog/words.png": b"words",
        "dog/list.csv": b"x",
        "top.png": encoded(noise(1, 8, 8)),
        "readme.txt": b"x",
        "cat/.hidden.png": b"",
        "__MACOSX/cat/._00.png": b"x",
    }
    for place in ("d", "d.zip"):
        found = load(write(tmp_path / place, pictures() | bad), most_pixels=800, size=8)
        assert len(found.train.y) + len(found.test.y) == 20 and "6 files were left out" in found.note
        told = {line.split(": ")[0]: line for line in found.left_out}
        assert sorted(told) == ["cat/cut.jpg", "cat/empty.png", "dog/large.png", "dog/list.csv", "dog/words.png", "top.png"]
        assert "30x30 pixels, more than 800" in told["dog/large.png"] and "in no class folder" in told["top.png"]


def test_sizes_and_channels(tmp_path):
    sized = {f"{label}/{side}.png": encoded(noise(side, side, side + 9)) for label in "ab" for side in (10, 11, 12, 20, 21)}
    path = write(tmp_path / "d", {name: content for name, content in sized.items() if name[0] == "a" or "1" in name})
    assert load(path).train.x.shape[1:] == (12, 12, 1)
    assert load(path, size=5).train.x.shape[1:] == (5, 5, 1)
    assert load(path, channels=3).train.x.shape[1:] == (12, 12, 3)
    write(path, {"a/colour.png": encoded(noise(0, 9, 9, 3))})
    assert load(path).train.x.shape[-1] == 3 and load(path, channels=1).train.x.shape[-1] == 1
    large = write(tmp_path / "large", {f"{label}/{n}.png": encoded(noise(n, 300, 200)) for label in "ab" for n in range(2)})
    assert load(large).train.x.shape[1:] == (128, 128, 1)


def test_large_sets_are_cached(tmp_path, monkeypatch):
    path = write(tmp_path / "d", pictures() | {"cat/x.png": b""})
    first = load(path)
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr(folder, "CACHE_FROM", 20)
    assert load(path).digest == first.digest and len(list((tmp_path / "cache").iterdir())) == 1
    with monkeypatch.context() as patch:
        patch.setattr(class_folders.images, "in_parallel", lambda *_: pytest.fail("decoded again"))
        assert load(path).left_out == first.left_out
    assert load(path, channels=3).train.x.shape[-1] == 3
    write(path, {"cat/00.png": encoded(noise(500, 8, 8))})
    assert load(path).digest != first.digest and len(list((tmp_path / "cache").iterdir())) == 3


# --- Groups and copies ------------------------------------------------------------------------------------------------


def table(names, size=2):
    return "".join(["file,group\n", *(f"{name},p{number // size}\n" for number, name in enumerate(names))]).encode()


@pytest.mark.parametrize("place", ["d", "d.zip"])
def test_groups_beside_the_images(tmp_path, place):
    files = pictures()
    found = load(write(tmp_path / place, files | {"groups.csv": table(files)}), test_share=0.4)
    rows = np.concatenate([found.train.ids, found.test.ids])
    assert (np.concatenate([found.train.groups, found.test.groups]) == rows // 2 * 2).all()
    assert not np.intersect1d(found.train.groups, found.test.groups).size and "by whole groups" in found.note
    assert np.bincount(found.test.y).tolist() == [4, 4] and not found.left_out


def test_groups_from_elsewhere(tmp_path):
    """With the mark that spreadsheets put at the start, and further columns."""
    files = pictures()
    content = b"\xef\xbb\xbf" + table(files, 5).replace(b"\n", b",1\n").replace(b"group,1", b"group,age")
    write(tmp_path, {"table.csv": content})
    found = load(write(tmp_path / "d", files), groups=str(tmp_path / "table.csv"), test_share=0.5)
    assert len(np.unique(found.train.groups)) == len(np.unique(found.test.groups)) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (table(list(pictures())[:-2]), ["no group for 2 of 20 images", "dog/08.png", "add them"]),
        (b"name,group\ncat/00.png,1\n", ["has the columns name, group", "file and group"]),
        (b"", ["is empty", "file and group"]),
        (b"\xff\xfe\x00", ["cannot read the groups"]),
        (table(pictures(), 10), ["class 'cat' has no test rows", "cannot be divided", "in one group"]),
    ],
)
def test_group_files_that_do_not_do(tmp_path, content, words):
    write(tmp_path / "d", pictures() | {"groups.csv": content})
    with fails(tmp_path / "d", *words):
        load(tmp_path / "d")


def test_a_group_file_that_is_not_there(tmp_path):
    with fails("cannot read the groups in", "none.csv"):
        load(write(tmp_path / "d", pictures()), groups=str(tmp_path / "none.csv"))


def test_groups_on_both_sides_are_refused(tmp_path):
    files = splits()
    lines = table([*files], 1) + b""
    mixed = lines.replace(b"test/dog/02.png,p17", b"test/dog/02.png,p3")
    assert len(load(write(tmp_path / "good", files | {"groups.csv": lines})).test.y) == 6
    with fails("1 groups (the first: p3) have rows in the training set and in the test set"):
        load(write(tmp_path / "d", files | {"groups.csv": mixed}))


def test_copies_stay_together_or_are_flagged(tmp_path):
    files = pictures()
    files["cat/01.png"] = files["cat/00.png"]
    files["dog/00.png"] = files["cat/00.png"]
    for seed in range(4):
        found = load(write(tmp_path / "d", files), split_seed=seed, test_share=0.4)
        assert not len(found.duplicates)
        groups = np.concatenate([found.train.groups, found.test.groups])
        assert np.sort(groups).tolist() == [0, 0, 0, *range(2, 10), *range(11, 20)]
    files = splits()
    files["test/dog/01.png"] = files["test/dog/02.png"] = files["train/cat/00.png"]
    found = load(write(tmp_path / "both", files))
    assert found.duplicates.tolist() == [False, False, False, False, True, True]
    assert "2 of 6 test images are also among the training images" in found.note
    assert found.test.groups[4] == found.test.groups[5] and not np.intersect1d(found.train.groups, found.test.groups).size


# --- Arrays -----------------------------------------------------------------------------------------------------------


def store(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("x", "shape"),
    [
        (noise(0, 20, 6, 5), (6, 5, 1)),
        (noise(0, 20, 6, 5, 3), (6, 5, 3)),
        (noise(0, 20, 6, 6) / 255, (6, 6, 1)),
        (noise(0, 20, 30, 2) / 255, (30, 2)),
        (noise(0, 20, 7).astype(np.int64), (7,)),
        (noise(0, 20, 7) > 127, (7,)),
    ],
)
def test_arrays(tmp_path, x, shape):
    found = load(store(tmp_path / "a.npz", x=x, y=np.tile([3, 12], 10)))
    assert (found.name, found.source, found.class_names) == ("a", "npz", ("3", "12"))
    assert found.train.x.shape == (16, *shape) and len(found.test.y) == 4
    assert found.train.x.dtype == (np.uint8 if x.dtype == np.uint8 else np.float32)
    rows = np.concatenate([found.train.ids, found.test.ids])
    back = np.concatenate([found.train.x, found.test.x])
    if found.scale is not None:
        back = back * np.array(found.scale.factor) + np.array(found.scale.offset)
    np.testing.assert_allclose(back.reshape(20, -1), x[rows].reshape(20, -1), rtol=1e-5, atol=1e-5)


def test_arrays_with_words_groups_and_a_test_set(tmp_path):
    x, y = noise(0, 12, 4, 4), np.tile(["sick", "well"], 6)
    found = load(store(tmp_path / "a.npz", x=x, y=y, group=np.repeat(["p", "q", "r"], 4)), test_share=0.3)
    assert found.class_names == ("sick", "well") and len(found.test.y) == 4 and np.unique(found.test.groups).size == 1
    both = {"x": x / 255.0, "y": y, "x_test": noise(1, 4, 4, 4) / 300, "y_test": y[:4]}
    found = load(store(tmp_path / "b.npz", **both, group=np.arange(12), group_test=np.arange(12, 16)))
    assert len(found.train.y) == 12 and found.test.y.tolist() == [0, 1, 0, 1] and found.note == ""
    np.testing.assert_allclose(found.train.x[..., 0], x / 255, rtol=1e-6)
    assert found.test.groups.tolist() == [12, 13, 14, 15]
    with fails("4 groups (the first: 0) have rows in the training set"):
        load(store(tmp_path / "c.npz", **both, group=np.arange(12), group_test=np.arange(4)))


@pytest.mark.parametrize("shape", [(3,), (6, 2)])
def test_equal_vectors_and_signals_are_told_and_may_be_grouped(tmp_path, shape):
    """Half of the rows are each there twice, the others once; counted by comparing every test row with every training row."""
    x = noise(0, 30, *shape) / 255
    x[20:30] = x[:10]
    path = store(tmp_path / "a.npz", x=x, y=np.tile([0, 1], 15))
    found = load(path, test_share=0.5)
    same = (found.test.x[:, None] == found.train.x[None]).reshape(len(found.test.y), len(found.train.y), -1).all(-1).any(1)
    assert same.any() and (found.duplicates == same).all() and (found.train.groups == found.train.ids).all()
    assert f"{same.sum()} of {len(same)} test rows are also among the training rows" in found.note
    assert "config.data.group_copies=True" in found.note
    apart = load(path, test_share=0.5, group_copies=True)
    assert not len(apart.duplicates) and not np.intersect1d(apart.train.groups, apart.test.groups).size
    assert not (apart.test.x[:, None] == apart.train.x[None]).reshape(len(apart.test.y), len(apart.train.y), -1).all(-1).any()
    assert "among the training rows" not in apart.note


def test_a_test_set_of_training_rows_is_refused(tmp_path):
    with fails("each of the 4 rows drawn for the test set is also a training row", "group_copies"):
        load(store(tmp_path / "a.npz", x=np.ones((20, 3), np.uint8), y=np.tile([0, 1], 10)))
    given = {"x": noise(0, 8, 3), "y": np.tile([0, 1], 4)}
    with fails("each of the 8 test rows is also a training row"):
        load(store(tmp_path / "b.npz", **given, x_test=given["x"], y_test=given["y"]))
    files = pictures("train/", 4)
    copies = {name.replace("train", "test"): content for name, content in files.items()}
    with fails("each of the 8 test rows is also a training row", "replace it"):
        load(write(tmp_path / "d", files | copies))
    for number in range(4):
        copies[f"test/dog/{number:02d}.png"] = encoded(noise(100 + number, 8, 8))
    with fails("each test row of class 'cat' is also a training row"):
        load(write(tmp_path / "e", files | copies))


X, Y = noise(0, 8, 4, 4), np.tile([0, 1], 4)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": X}, ["no entry 'y'"]),
        ({"x": X, "y": Y, "x_test": X}, ["no entry 'y_test'"]),
        ({"x": X, "y": Y, "y_tests": Y}, ["'y_tests'", "did you mean 'y_test'"]),
        ({"x": X, "y": Y[:7]}, ["y has the shape (7,)", "8 rows"]),
        ({"x": X, "y": np.stack([Y, Y], 1)}, ["y has the shape (8, 2)", "not one-hot"]),
        ({"x": X, "y": Y / 2}, ["y holds 0.5"]),
        ({"x": X, "y": np.where(Y, np.nan, 1.0)}, ["y holds 4 values that are NaN"]),
        ({"x": X, "y": np.array([b"\xff", b"a"])[Y]}, ["not UTF-8"]),
        ({"x": X, "y": Y, "labels": Y}, ["'y' and 'labels'", "mean the same"]),
        ({"x_train": X, "y_tests": Y}, ["'y_tests'"]),
        ({"a": X, "b": Y}, ["no entry 'x'", "a, b"]),
        ({"x": X, "y": Y, "x_test": X / 255, "y_test": Y}, ["x is uint8 and x_test float64"]),
        ({"x": noise(0, 8, 3, 9, 3), "y": Y}, ["channels-first"]),
        ({"x": noise(0, 8, 7, 9, 9), "y": Y}, ["channels-first", "moveaxis"]),
        ({"x": np.ones((8, 12, 200)), "y": Y}, ["channels-first", "swapaxes", "config.data.kind=signals"]),
        ({"x": np.ones((8, 0)), "y": Y}, ["(8, 0)"]),
        ({"x": Y, "y": Y}, ["x has the shape (8,)"]),
        ({"x": X.astype(str), "y": Y}, ["must hold numbers"]),
        ({"x": np.where(X > 100, np.nan, 0.5), "y": Y}, [f"x holds {(X > 100).sum()} values that are NaN or infinite"]),
        ({"x": np.where(X > 100, np.inf, 0.5), "y": Y}, [f"x holds {(X > 100).sum()} values that are NaN or infinite"]),
        ({"x": X * 1j, "y": Y}, ["must hold numbers"]),
        ({"x": X, "y": Y, "x_test": X[:, :3], "y_test": Y}, ["differ in shape"]),
        ({"x": X, "y": Y, "x_test": X, "y_test": Y.astype(str)}, ["both hold whole numbers, or both words"]),
        ({"x": X, "y": Y, "x_test": X, "y_test": Y, "group": Y}, ["group and group_test go together"]),
        ({"x": X, "y": Y * 0}, ["has 1 classes"]),
        ({"x": X, "y": np.arange(8)}, ["class '0' has 1 usable"]),
        ({"x": np.array([{}] * 8), "y": Y}, ["cannot read", "without objects"]),
    ],
)
def test_arrays_that_do_not_do(tmp_path, arrays, words):
    with fails(tmp_path / "a.npz", *words):
        load(store(tmp_path / "a.npz", **arrays))


def test_damaged_arrays(tmp_path):
    path = store(tmp_path / "a.npz", x=X, y=Y)
    content = path.read_bytes()
    for damaged in (content[:200], b"", b"words", content.replace(X.tobytes()[:8], b"????????")):
        path.write_bytes(damaged)
        with fails(path, "cannot read"):
            load(path)
    with path.open("wb") as file:
        np.save(file, X)
    with fails(path, "not an .npz file"):
        load(path)


def test_forms_of_labels(tmp_path):
    plain = load(store(tmp_path / "a.npz", x=X, y=Y))
    forms = [Y.astype(t) for t in (float, bool, np.uint64, ">i2", ">f4")]
    for form in [*forms, Y[:, None], Y[:, None] * 1.0, np.eye(2)[Y], np.eye(2, dtype=bool)[Y]]:
        found = load(store(tmp_path / "a.npz", x=X, y=form))
        assert found.class_names == ("0", "1") and found.digest == plain.digest
    assert load(store(tmp_path / "a.npz", x=X, y=np.array([b"N", b"V"])[Y])).class_names == ("N", "V")
    words = load(store(tmp_path / "a.npz", x=X, y=np.array(["10", "9"])[Y], group=np.arange(8.0)))
    assert words.class_names == ("10", "9") and words.train.y.tolist() == plain.train.y.tolist()


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test"),
        ("train_images", "train_labels", "val_images", "val_labels", "test_images", "test_labels"),
        ("X", "labels", "X_valid", "Y_valid", "X_test", "targets_test"),
    ],
)
def test_names_of_entries(tmp_path, names):
    arrays = [X, Y, noise(1, 4, 4, 4), Y[:4], noise(2, 4, 4, 4), Y[:4]]
    found = load(store(tmp_path / "a.npz", **dict(zip(names, arrays, strict=True)), more=np.ones(3)))
    assert (found.train.x[..., 0] == np.concatenate([X, arrays[2]])).all() and (found.test.x[..., 0] == arrays[4]).all()
    assert f"4 rows of {names[2]} are joined to the training set" in found.note


def test_channels_first(tmp_path):
    images = noise(0, 8, 5, 6, 3)
    plain = load(store(tmp_path / "a.npz", x=images, y=Y))
    found = load(store(tmp_path / "a.npz", x=images.transpose(0, 3, 1, 2), y=Y))
    assert found.digest == plain.digest and "channels-first" in found.note and "channels-first" not in plain.note
    for shape, expected in {(3, 3, 1): (3, 3, 1), (1, 3, 3): (3, 3, 1), (4, 9, 9): (9, 9, 4), (9, 9, 2): (9, 9, 2)}.items():
        assert load(store(tmp_path / "a.npz", x=noise(0, 8, *shape), y=Y)).train.x.shape[1:] == expected
    signals = np.random.default_rng(0).normal(size=(8, 50, 1))
    plain = load(store(tmp_path / "a.npz", x=signals, y=Y))
    assert load(store(tmp_path / "a.npz", x=np.swapaxes(signals, 1, 2), y=Y)).digest == plain.digest
    assert load(store(tmp_path / "a.npz", x=signals[..., 0], y=Y), kind="signals").digest == plain.digest
    assert load(store(tmp_path / "a.npz", x=signals[..., 0], y=Y)).train.x.shape[1:] == (50,)
    assert load(store(tmp_path / "a.npz", x=images, y=Y), kind="vectors").train.x.shape[1:] == (90,)


def test_fortran_order_and_foreign_bytes_make_no_difference(tmp_path):
    x = np.random.default_rng(0).normal(size=(8, 9, 2))
    plain = load(store(tmp_path / "a.npz", x=x, y=Y))
    for same in (np.asfortranarray(x), x.astype(">f8")):
        assert load(store(tmp_path / "a.npz", x=same, y=Y)).digest == plain.digest


def test_archives_that_lie_or_do_not_fit(tmp_path, monkeypatch):
    from imbal_jax.runtime import memory

    def members(**content):
        with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in {"x": X, "y": Y, **content}.items():
                data = io.BytesIO()
                np.save(data, array) if isinstance(array, np.ndarray) else data.write(array)
                archive.writestr(name if "." in name else f"{name}.npy", data.getvalue())
        return tmp_path / "a.npz"

    def header(shape):
        text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text

    with fails("a.npz", "declares the shape (8, 1000000000000)", "8,000,000,000,000 bytes"):
        load(members(x=header((8, 10**12))))
    with fails("a.npz", "declares the shape"):
        load(members(x=header((10**30, 10**30))))
    with fails("a.npz"):
        load(members(x=header((-8, 4))))
    with fails("declares the shape (8, 4, 4)", "and has 129"):
        load(members(x=header((8, 4, 4)) + bytes(129)))
    with fails("a.npz", "'notes.txt', which is not an array"):
        load(members(**{"notes.txt": b"text"}))
    path = members()
    content = path.read_bytes()
    for flag, method in ((1, 8), (0, 77)):  # encrypted, of an unknown compression
        changed = bytearray(content)
        for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            start = -1
            while (start := content.find(mark, start + 1)) >= 0:
                struct.pack_into("<HH", changed, start + place, flag, method)
        path.write_bytes(changed)
        with fails("cannot read", "a.npz"):
            load(path)
    path.write_bytes(content)
    monkeypatch.setattr(memory, "host", lambda: 200)
    with fails("does not fit in the memory", "x ", "GiB"):
        load(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damage_anywhere_is_one_line(tmp_path, save):
    rng, path = np.random.default_rng(0), tmp_path / "a.npz"
    save(path, x=X, y=Y)
    content = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(300):
        damaged = content.copy()
        damaged[rng.integers(0, len(content), 3)] ^= np.uint8(1) << rng.integers(0, 8, 3, np.uint8)
        path.write_bytes(damaged.tobytes())
        with contextlib.suppress(UserError):
            npz.read(path)


def test_images_that_are_black_or_constant_are_told(tmp_path):
    dark = {f"{label}/{n}.png": encoded(noise(n, 8, 8) // 16) for label in "ab" for n in range(4)}
    dark["a/0.png"] = encoded(np.full((8, 8), 7, np.uint8))
    note = load(write(tmp_path / "dark", dark)).note
    assert "8 of 8 images are nearly black" in note and "a/0.png" in note and "config.data.range=0,15" in note
    assert "1 of 8 images are of one colour (the first: a/0.png)" in note
    found = load(tmp_path / "dark", range="0,15")
    assert found.train.x.max() == 255 and "black" not in found.note
    deep = {f"{label}/{n}.png": encoded(noise(n, 8, 8).astype(np.uint16) * 2) for label in "ab" for n in range(4)}
    found = load(write(tmp_path / "deep", deep))
    assert found.train.x.max() > 250 and len(np.unique(found.train.x)) > 100
    assert load(tmp_path / "deep", range="0,1020").train.x.max() in (127, 128)
    assert load(tmp_path / "deep", range="none").train.x.max() == 2


# --- Options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": -1}, ["config.data.size must be", "(got -1)"]),
        ({"size": 8.0}, ["config.data.size must be", "(got 8.0)"]),
        ({"channels": 2}, ["config.data.channels must be", "(got 2)", "0, 1, 3"]),
        ({"test_share": 1.0}, ["config.data.test_share must be", "(got 1.0)", "below 1"]),
        ({"test_share": "a"}, ["config.data.test_share must be", "(got 'a')"]),
        ({"split_seed": -1}, ["config.data.split_seed must be", "(got -1)"]),
        ({"most_pixels": 0}, ["config.data.most_pixels must be", "(got 0)"]),
        ({"groups": 3}, ["config.data.groups must be", "(got 3)"]),
        ({"path": ""}, ["config.data.path must name a folder"]),
        ({"range": "a,b"}, ["config.data.range must be '' (limits", "LOW,HIGH", "(got 'a,b')"]),
        ({"range": "5,5"}, ["(got '5,5')"]),
        ({"range": "0,nan"}, ["(got '0,nan')"]),
        ({"kind": "image"}, ["config.data.kind must be", "(got 'image')", "images"]),
        ({"sizes": 3}, ["no field config.data.sizes", "did you mean 'size'"]),
    ],
)
def test_wrong_options(tmp_path, options, words):
    with fails(*words):
        data.load("folder", options={"path": str(tmp_path)} | options)


def test_options_that_an_array_does_not_take(tmp_path):
    with fails("config.data.size is for image files", "a.npz"):
        load(store(tmp_path / "a.npz", x=X, y=Y), size=8)


def test_places(tmp_path, monkeypatch):
    write(tmp_path / "root" / "pets", pictures())
    monkeypatch.chdir(tmp_path)
    assert load("root/pets").name == "pets"
    assert load("pets", directory=str(tmp_path / "root")).digest == load("root/pets").digest
    with fails("there is no pets or", tmp_path / "pets"):
        load("pets", directory=str(tmp_path))
    (tmp_path / "file.txt").touch()
    with fails("file.txt is neither a folder nor"):
        load("file.txt")
    with fails("root/pets is a folder, not a zip"):
        load("root/pets", source="zip")
    with fails("unknown source 'zp'", "did you mean 'zip'"):
        load("root/pets", source="zp")


# --- A GAN ------------------------------------------------------------------------------------------------------------


def with_gan(tmp_path, shape, dtype=np.uint8, **fields):
    """The config for 24 and 8 rows of two classes in an .npz, with a GAN."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [24, 8])
    x = rng.integers(0, 200, (32, *shape)) + 50 * y.reshape(-1, *[1] * len(shape))
    np.savez(tmp_path / "mine.npz", x=x.astype(dtype), y=y)
    config = folder_config.get_config(f"gan={tmp_path / 'mine.npz'}")
    config.conv, config.lanes = "gemm", "loop"
    config.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    return config


@pytest.mark.parametrize(("shape", "dtype", "module"), [((10, 9, 3), np.uint8, s0_cgan), ((50, 2), np.float32, ecg_gan)])
def test_the_gan_suits_the_rows(tmp_path, shape, dtype, module):
    config = with_gan(tmp_path, shape, dtype)
    chunk = prepare(config, tmp_path / "run", seeds=(0,))
    arms = experiment.checked_arms(chunk)  # the shapes of all networks
    assert [arm.spec for arm in arms] == ["none", "over", "smote", "logit_adjust", "gan_synth"]
    nets = gan_training.nets_of(config, chunk.task, "gemm")
    assert isinstance(nets.generator, module.Generator) and isinstance(nets.discriminator, module.Discriminator)
    z, label = jnp.zeros((2, 64)), jnp.zeros((2, 2))
    variables = jax.eval_shape(nets.generator.init, jax.random.key(0), z, label)
    assert jax.eval_shape(nets.generator.apply, variables, z, label).shape == (2, *shape)


def test_vectors_have_no_gan_yet(tmp_path):
    chunk = prepare(with_gan(tmp_path, (7,), np.float32), tmp_path / "run", seeds=(0,))
    with pytest.raises(UserError, match=r"no GAN for vectors \[D\] .*shape \(7,\)\): leave gan_synth out") as error:
        experiment.checked_arms(chunk)
    assert "\n" not in str(error.value)


def test_the_variant_with_a_gan_is_the_other_with_one_arm_more():
    plain, more = folder_config.get_config("there"), folder_config.get_config("gan=there")
    assert more.data == plain.data and more.classifier == plain.classifier and more.data.path == "there"
    assert (*plain.baselines, plain.method, "gan_synth") == (*more.baselines, more.method)
    for config in (plain, more):
        assert config.seeds == stats.seeds_needed(len(config.baselines))
    with pytest.raises(ValueError, match="needs the path of the data"):
        folder_config.get_config("gan=")


@pytest.mark.slow
def test_a_gan_on_small_images(tmp_path):
    fields = {"seeds": 1, "baselines": ("none",), "classifier__model": "s0_cnn", "classifier__epochs": 1, "gan__epochs": 2}
    config = with_gan(tmp_path, (10, 9, 3), **fields, gan__grid_every=1, quality__samples=0, gan__g_width=0.1, gan__d_width=0.1)
    experiment.run(config, tmp_path / "run")
    rows = json_files.read(tmp_path / "run" / "rows.jsonl")
    assert [row["method"] for row in rows] == ["none", "gan_synth"]
    assert rows[1]["counts_after"][0] == rows[1]["counts_after"][1] and rows[1]["gan_steps"] > 0 and not rows[1]["failed"]
    kept = samples.draw(samples.Wanted(folder=tmp_path / "run", out=tmp_path / "drawn", each=2, format="npz"))
    assert np.load(next(kept.glob("*.npz") if kept.is_dir() else iter([kept])))["x"].shape[1:] == (10, 9, 3)
