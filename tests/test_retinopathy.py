"""Fundus photographs: the table and its images become square arrays, split by patient; what cannot be used is told."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from data_files import encoded, fails, noise, write

from imbal_jax import data
from imbal_jax.data import images, retinopathy_files, split
from imbal_jax.stages import training_set

REAL = os.environ.get("IMBAL_DATA_DIR")
needs_retinopathy = pytest.mark.skipif(
    not (Path(REAL or "nowhere") / "retinopathy" / "trainLabels.csv").is_file(),
    reason="IMBAL_DATA_DIR names no directory with retinopathy/trainLabels.csv",
)
GRADES = [0] * 20 + [1, 1, 1, 0, 1, 1] + [2, 2, 2, 2] + [3, 3, 3, 2, 3] + [4, 4, 4, 4, 4]  # eye by eye, two of each patient


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No data or cache of the machine's own."""
    monkeypatch.delenv("IMBAL_DATA_DIR", raising=False)
    monkeypatch.setenv("IMBAL_CACHE_DIR", str(tmp_path / "cache"))


def disc(height, width, radius, level=200, row=None, column=None, seed=0):
    """A bright disc on black, uint8 [height, width, 3]; its middle in that of the image if not said otherwise."""
    down, right = np.mgrid[:height, :width]
    row, column = (height - 1) / 2 if row is None else row, (width - 1) / 2 if column is None else column
    inside = (down - row) ** 2 + (right - column) ** 2 <= radius**2
    return np.where(inside[..., None], level + noise(seed, height, width, 3) // 16, 0).astype(np.uint8)


def names():
    return [f"{10 + number // 2 * 3}_{('left', 'right')[number % 2]}" for number in range(len(GRADES))]


def table(grades=None, head="image,level"):
    rows = zip(names(), GRADES if grades is None else grades, strict=True)
    return "\n".join([head, *(f"{name},{grade}" for name, grade in rows), ""]).encode()


def photographs(above="train/", ending=".jpeg"):
    """{name: image}, lossless under the names that JPEGs have."""
    return {f"{above}{name}{ending}": encoded(disc(24, 30, 10, seed=seed)) for seed, name in enumerate(names())}


def everything(above="train/"):
    return {"trainLabels.csv": table()} | photographs(above)


def load(directory, source="auto", per_class=None, **options):
    options = {"size": 16} | options
    return data.load("retinopathy", directory=str(directory), source=source, per_class=per_class, options=options)


def one(array, tmp_path, **options):
    """What becomes of one image among the others, [size, size, 3]."""
    found = load(write(tmp_path, everything() | {"train/10_left.jpeg": encoded(array)}), **options)
    rows = found.train if 0 in found.train.ids else found.test
    return rows.x[rows.ids == 0][0]


def test_aptos(tmp_path):
    """The other public set: the same images under its names give the same rows."""
    tables = {"train.csv": table(head="id_code,diagnosis"), "test.csv": b"id_code\nx\n"}
    for new, place in (("a", "aptos2019-blindness-detection"), ("b", "retinopathy"), ("c", ".")):
        write(tmp_path / new / place, photographs("train_images/", ".png") | tables)
        found = load(tmp_path / new)
        assert len(found.train.y) + len(found.test.y) == 40 and found.fraction == 40 / 3662 and not found.left_out
        assert "APTOS 2019" in found.note and "40 of 3,662 images" in found.note
    write(tmp_path / "old" / "retinopathy", everything())
    old = load(tmp_path / "old")
    orders = [np.argsort([*each.train.ids, *each.test.ids]) for each in (found, old)]
    one, other = (np.concatenate([d.train.x, d.test.x])[at] for d, at in zip((found, old), orders, strict=True))
    assert (one == other).all() and found.test.groups.tolist() == old.test.groups.tolist()
    write(tmp_path / "none" / "retinopathy", photographs() | {"grades.csv": table()})
    with fails("has no trainLabels.csv (columns image, level) or train.csv (id_code, diagnosis), only grades.csv"):
        load(tmp_path / "none")


# --- Layouts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    ["retinopathy", "raw/retinopathy", "diabetic-retinopathy-detection", ".", "retinopathy.zip", "raw/retinopathy.zip"],
)
def test_layouts(tmp_path, place):
    (tmp_path / "raw").mkdir()
    write(tmp_path / place, everything())
    found = load(tmp_path)
    assert (found.name, found.source, found.measures) == ("retinopathy", "zip" if "zip" in place else "folder", "grades")
    assert found.class_names == ("0", "1", "2", "3", "4") and not found.left_out and not len(found.duplicates)
    assert found.train.x.dtype == np.uint8 and found.train.x.shape[1:] == found.test.x.shape[1:] == (16, 16, 3)
    assert found.train.y.dtype == np.int32 and found.train.ids.dtype == found.train.groups.dtype == np.int64
    ids = np.concatenate([found.train.ids, found.test.ids])
    assert sorted(ids) == list(range(40)) and (np.diff(found.train.ids) > 0).all()
    for rows in (found.train, found.test):
        assert rows.y.tolist() == [GRADES[number] for number in rows.ids] and (rows.groups == rows.ids // 2 * 2).all()
    assert found.fraction == 40 / 35126 and "Not the published data: 40 of 35,126 images." in found.note


@pytest.mark.parametrize("above", ["", "sample/", "deep/er/"])
@pytest.mark.parametrize("ending", [".jpeg", ".JPG", ".Png"])
def test_endings_and_folders(tmp_path, above, ending):
    write(tmp_path / "retinopathy", {"trainLabels.csv": table()} | photographs(above, ending))
    assert len(load(tmp_path).train.y) + len(load(tmp_path).test.y) == 40


def test_names_with_endings_a_mark_at_the_start_and_further_columns(tmp_path):
    lines = table().decode().split()
    rows = "".join(f"{number}, {line.replace(',', '.JPEG, ')}\r\n" for number, line in enumerate(lines[1:]))
    write(tmp_path / "retinopathy", everything())
    plain = load(tmp_path)
    write(tmp_path / "retinopathy", {"trainLabels.csv": b"\xef\xbb\xbf,image,level\r\n" + rows.encode()})
    assert load(tmp_path).digest == plain.digest


def test_the_folder_with_the_most_images_goes_first(tmp_path):
    """train/ before sample/; images without a label, those of test/, are counted."""
    write(tmp_path / "retinopathy", everything())
    plain = load(tmp_path)
    other = {f"sample/{name}.jpeg": encoded(disc(24, 30, 10, seed=99)) for name in names()[:10]}
    write(tmp_path / "retinopathy", other | {f"test/{number}_left.jpeg": b"" for number in range(3)})
    found = load(tmp_path)
    assert found.digest == plain.digest and "3 image files are not in trainLabels.csv" in found.note
    (tmp_path / "retinopathy" / "train" / "10_left.jpeg").unlink()
    mixed = load(tmp_path)
    assert mixed.digest != plain.digest and not mixed.left_out


def test_names_without_an_eye_are_patients(tmp_path):
    files = {name.replace("_left", "-l"): content for name, content in photographs().items()}
    write(tmp_path / "retinopathy", {"trainLabels.csv": table().replace(b"_left", b"-l")} | files)
    found = load(tmp_path)
    assert "20 images are not named <patient>_left or _right" in found.note
    assert (found.train.groups == found.train.ids).all()


# --- What cannot be used ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["retinopathy", "retinopathy.zip"])
def test_what_cannot_be_used_is_listed(tmp_path, place):
    black = np.zeros((24, 30, 3), np.uint8)
    specks = black.copy()
    specks[2, 3] = specks[20, 9] = 255
    jpeg = encoded(disc(64, 64, 30), "JPEG")
    files = everything() | {
        "train/10_left.jpeg": b"",
        "train/10_right.jpeg": jpeg[: len(jpeg) // 2],
        "train/13_left.jpeg": encoded(black),
        "train/13_right.jpeg": encoded(specks // 32, "JPEG"),
        "train/16_left.jpeg": b"words",
    }
    del files["train/19_left.jpeg"]
    write(tmp_path / place, files)
    for crop in (True, False):
        for _ in range(2):  # from the cache too
            found = load(tmp_path, crop=crop)
            told = dict(line.split(": ", 1) for line in found.left_out)
            assert list(told) == ["trainLabels.csv, line 8"] + [
                f"train/{name}.jpeg" for name in ("10_left", "10_right", "13_left", "13_right", "16_left")
            ]
            assert told["trainLabels.csv, line 8"] == "there is no image 19_left" and "6 rows of" in found.note
            assert told["train/10_left.jpeg"] == "is empty" and "truncated" in told["train/10_right.jpeg"]
            assert "is black" in told["train/13_left.jpeg"] and "is black" in told["train/13_right.jpeg"]
            ids = np.sort(np.concatenate([found.train.ids, found.test.ids]))
            assert ids.tolist() == [5, *range(7, 40)]
            groups = np.concatenate([found.train.groups, found.test.groups])
            assert sorted(groups)[:4] == [5, 7, 8, 8]


# --- Photographs to squares -------------------------------------------------------------------------------------------


def extent(image, level=100):
    """First and last bright row and column."""
    bright = image.max(axis=-1) > level
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    return [int(end) for ends in (rows, columns) for end in (ends[0], ends[-1])]


def test_the_border_is_cut_off(tmp_path):
    """Wherever the disc lies, and whatever specks and glow the border has."""
    image = disc(200, 300, 60, row=80, column=200)
    image += noise(1, *image.shape) // 32  # up to 7
    image[5, 5] = image[190, 20] = image[100, 290] = 255
    found = one(image, tmp_path / "retinopathy", size=64)
    assert extent(found) == [0, 63, 0, 63]
    assert found[:2, :2].max() < 30 and abs((found[..., 0] > 100).mean() - np.pi / 4) < 0.02


def test_the_border_may_stay(tmp_path):
    found = one(disc(100, 200, 50), tmp_path / "retinopathy", size=64, crop=False)
    np.testing.assert_allclose(extent(found), [16, 47, 16, 47], atol=1)  # half as wide as the whole: bars above and below


def test_a_disc_that_the_camera_cut_keeps_its_shape(tmp_path):
    found = one(disc(80, 120, 50), tmp_path / "retinopathy", size=100)
    np.testing.assert_allclose(extent(found), [10, 89, 0, 99], atol=1)
    widths = (found[[20, 50, 80], :, 0] > 100).sum(axis=1)
    np.testing.assert_allclose(widths, [80, 100, 80], atol=3)  # a circle's chords at 30 and 0 of 50


def test_grey_and_dark_images(tmp_path):
    found = one(disc(40, 60, 19)[..., 0], tmp_path / "retinopathy")
    assert found.shape == (16, 16, 3) and (found[..., :1] == found).all() and found[8, 8, 0] >= 200
    assert extent(one(disc(40, 60, 19, level=12), tmp_path / "retinopathy"), 10) == [0, 15, 0, 15]


def test_sizes(tmp_path):
    few = {f"train/{name}.jpeg": encoded(disc(24, 30, 10, seed=seed)) for seed, name in enumerate(names()[::4])}
    write(tmp_path / "retinopathy", few | {"trainLabels.csv": table()})
    for size in (16, 17, 1024):
        assert load(tmp_path, size=size, test=0.4).train.x.shape[1:] == (size, size, 3)


def test_large_jpegs_are_decoded_small_and_alike(monkeypatch):
    from PIL import Image

    smooth = disc(800, 1200, 390)
    smooth[..., 0] = np.minimum(smooth[..., 0], np.linspace(60, 240, 1200, dtype=np.uint8))
    content, seen = encoded(smooth, "JPEG", quality=95), []
    whole = retinopathy_files.fit(Image.open(io.BytesIO(content)), (32, 32), True)
    fit = retinopathy_files.fit
    monkeypatch.setattr(retinopathy_files, "fit", lambda image, *a, **k: seen.append(image.size) or fit(image, *a, **k))
    small = retinopathy_files._decode(content, 32, True)
    assert seen == [(150, 100)]
    assert np.abs(small.astype(int) - np.asarray(whole)).mean() < 2


# --- The cache --------------------------------------------------------------------------------------------------------


def test_images_are_prepared_once(tmp_path, monkeypatch, capsys):
    path = write(tmp_path / "retinopathy", everything())
    first = load(tmp_path)
    assert "retinopathy: 40/40 images" in capsys.readouterr().err and len(list((tmp_path / "cache").iterdir())) == 1
    with monkeypatch.context() as patch:
        patch.setattr(images, "in_parallel", lambda *_: pytest.fail("decoded again"))
        assert load(tmp_path).digest == first.digest and not capsys.readouterr().err
        assert load(tmp_path, split_seed=1).digest != first.digest and len(load(tmp_path, test=0.4).test.y) > 10
        grades = [*GRADES[:-1], 3]
        write(path, {"trainLabels.csv": table(grades)})
        changed = load(tmp_path)
        assert 3 in np.concatenate([changed.train.y[changed.train.ids == 39], changed.test.y[changed.test.ids == 39]])
    load(tmp_path, crop=False)
    load(tmp_path, size=17)
    write(path, {"train/10_left.jpeg": encoded(disc(24, 30, 10, seed=999))})
    assert load(tmp_path).digest != changed.digest and len(list((tmp_path / "cache").iterdir())) == 4


# --- The split --------------------------------------------------------------------------------------------------------


def check_split(found):
    assert not np.intersect1d(found.train.groups, found.test.groups).size
    assert not np.intersect1d(found.train.ids, found.test.ids).size
    assert np.bincount(found.train.y, minlength=5).all()


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_patients_are_on_one_side_and_grades_on_their_share(tmp_path, share):
    write(tmp_path / "retinopathy", everything())
    for seed in range(5):
        found = load(tmp_path, test=share, split_seed=seed)
        check_split(found)
        counts = np.bincount(found.test.y, minlength=5)
        assert (np.abs(counts - share * np.bincount(GRADES)) <= 2).all() and abs(len(found.test.y) - share * 40) <= 4
    again = load(tmp_path, test=share, split_seed=4)
    assert again.digest == found.digest and (again.test.ids == found.test.ids).all()
    assert f"{len(found.test.y)} images of {len(found.test.y) // 2} of 20 patients" in found.note


def test_validation_is_drawn_by_patient(tmp_path):
    """As `config.data.validation` does it: every grade of two patients is on both sides."""

    write(tmp_path / "retinopathy", everything())
    rows = load(tmp_path, split_seed=1).train
    found = training_set._set_aside(rows, 0.2, 0)
    patients = np.array([len(np.unique(rows.groups[rows.y == grade])) for grade in range(5)])
    assert (patients >= 2).all()
    for kept, held in zip(*found, strict=True):
        assert len(kept) + len(held) <= len(rows.y) and not np.intersect1d(rows.groups[kept], rows.groups[held]).size
        for side in (kept, held):
            assert np.bincount(rows.y[side], minlength=5).all()


def test_per_class_keeps_the_first(tmp_path):
    write(tmp_path / "retinopathy", everything())
    whole, part = load(tmp_path), load(tmp_path, per_class=2)
    assert np.bincount(part.train.y).max() == 2 and (part.test.ids == whole.test.ids).all() and part.measures == "grades"
    assert part.train.ids[part.train.y == 0].tolist() == whole.train.ids[whole.train.y == 0][:2].tolist()


def test_copies_under_two_patients_are_told(tmp_path):
    same = encoded(disc(24, 30, 10))
    write(tmp_path / "retinopathy", everything() | {f"train/{name}.jpeg": same for name in names()[:24:2]})
    found = load(tmp_path)
    assert found.duplicates.sum() == len(found.duplicates) - (~found.duplicates).sum() > 0 and len(found.duplicates) == len(
        found.test.y
    )
    assert f"{found.duplicates.sum()} test images are also among the training images" in found.note


def test_a_grade_of_one_patient_is_for_training(tmp_path):
    grades = [1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 3, 3, *[0] * 26, 4, 4]
    write(tmp_path / "retinopathy", everything() | {"trainLabels.csv": table(grades)})
    for seed in range(5):
        found = load(tmp_path, split_seed=seed)
        check_split(found)
        assert "Grade 4 has no test rows." in found.note
    assert (load(tmp_path, test=0.8).train.y == 4).sum() == 2  # however large the test set is to be
    write(tmp_path / "none" / "retinopathy", everything() | {"trainLabels.csv": table([*grades[:-2], 0, 0])})
    with fails("grade 4 has no training rows, and 0 usable images in all", "lower config.data.test"):
        load(tmp_path / "none")


# --- Errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["cannot read", "is empty"]),
        (b"\xff\xfe\x00", ["cannot read", "replace the file"]),
        (b'image,level\n"10_left,0\n', ["cannot read", "unexpected end"]),
        (b"image,level\n", ["has no rows"]),
        (b"id,grade\na,0\n", ["has the columns id, grade: it needs image and level or id_code and diagnosis"]),
        (table().replace(b"10_right,0", b"10_right,5"), ["line 3: level of 10_right is '5'", "from 0 to 4"]),
        (table().replace(b"10_right,0", b"10_right,-1"), ["line 3: level of 10_right is '-1'"]),
        (table().replace(b"10_right,0", b"10_right,mild"), ["line 3: level of 10_right is 'mild'"]),
        (table().replace(b"10_right,0", b"10_right,1.5"), ["line 3: level of 10_right is '1.5'"]),
        (table().replace(b"10_right,0", b"10_right"), ["line 3: level of 10_right is ''"]),
        (table().replace(b"10_right,0", b",0"), ["line 3: it has no image name"]),
        (table() + b"10_right,2\n", ["line 42: level of 10_right is 2, but 0 in line 3; remove one"]),
        (table().replace(b",4", b",3"), ["grade 4 has no training rows, and 0 usable images in all"]),
        (table().replace(b"_", b"-"), ["holds none of the 40 images", "such as 10-left.jpeg"]),
    ],
)
def test_tables_that_do_not_do(tmp_path, content, words):
    write(tmp_path / "retinopathy", photographs() | {"trainLabels.csv": content})
    with fails(tmp_path / "retinopathy", *words):
        load(tmp_path)


def test_rows_that_say_the_same_again(tmp_path):
    write(tmp_path / "retinopathy", everything())
    plain = load(tmp_path)
    write(tmp_path / "retinopathy", {"trainLabels.csv": table() + b"\n10_right,0\n10_right.jpeg,0\n"})
    assert load(tmp_path).digest == plain.digest


def test_nothing_there(tmp_path):
    with fails("no retinopathy data available", "put trainLabels.csv and the folder of images into DIR/retinopathy"):
        data.load("retinopathy")
    with fails(tmp_path / "retinopathy.zip", tmp_path / "retinopathy", tmp_path / "trainLabels.csv"):
        load(tmp_path)
    write(tmp_path / "retinopathy", photographs())
    with fails(tmp_path / "retinopathy", "has no trainLabels.csv (columns image, level)"):
        load(tmp_path)
    write(tmp_path / "retinopathy", {"trainLabels.csv": table()} | dict.fromkeys(photographs(), b""))
    with fails(tmp_path / "retinopathy", "not one of 40 images can be used; the first: train/10_left.jpeg: is empty"):
        load(tmp_path)


def test_too_few_patients(tmp_path):
    grades = {f"{grade}_left": grade for grade in range(5)}
    rows = "".join(f"{name},{grade}\n" for name, grade in grades.items())
    files = {f"{name}.jpeg": encoded(disc(24, 30, 10, seed=grade)) for name, grade in grades.items()}
    write(tmp_path / "retinopathy", files | {"trainLabels.csv": f"image,level\n{rows}".encode()})
    with fails("no patient could be drawn for the test set", "config.data.test"):
        load(tmp_path, test=0.05)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 15}, ["config.data.size must be at least 16 (got 15)"]),
        ({"size": 1025}, ["config.data.size must be at most 1024 (got 1025)"]),
        ({"size": 64.0}, ["config.data.size must be a whole number (got 64.0)"]),
        ({"crop": 1}, ["config.data.crop must be True or False (got 1)"]),
        ({"test": 0}, ["config.data.test must be above 0 (got 0)"]),
        ({"test": "all"}, ["config.data.test must be a number (got 'all')"]),
        ({"split_seed": -1}, ["config.data.split_seed must be at least 0 (got -1)"]),
        ({"sizes": 64}, ["no field config.data.sizes", "did you mean 'size'"]),
    ],
)
def test_wrong_options(tmp_path, options, words):
    with fails(*words):
        load(tmp_path, **options)


def test_wrong_sources(tmp_path):
    with fails("unknown source 'tfds'", "auto, zip, folder"):
        load(tmp_path, "tfds")
    with fails("config.data.name must be one of", "(got 'retinopathi')", "did you mean 'retinopathy'"):
        data.load("retinopathi")


# --- The real thing ---------------------------------------------------------------------------------------------------


@needs_retinopathy
def test_real_photographs():
    found = load(REAL, size=128)
    check_split(found)
    every = np.concatenate([found.train.y, found.test.y])
    if len(every) != 960:
        pytest.skip(f"the counts are those of the subset of 960 images, and here are {len(every)}")
    groups = [np.unique(rows.groups) for rows in (found.train, found.test)]
    assert np.bincount(every).tolist() == [711, 59, 142, 22, 26] and [len(of) for of in groups] == [383, 97]
    assert np.bincount(found.train.y).tolist() == [568, 47, 114, 17, 20]
    assert np.bincount(found.test.y).tolist() == [143, 12, 28, 5, 6]
    assert found.train.x.shape == (766, 128, 128, 3) and not found.left_out and not len(found.duplicates)
    assert found.source == "folder" and found.fraction == 960 / 35126 and found.measures == "grades"
    # The widest part of the disc touches the edges of nearly every square.
    touching = (found.train.x[:, 32:96, [0, -1]].max(axis=(1, 3)) > 10).all(axis=1)
    assert touching.mean() > 0.95
    held = split.by_group(found.train.y, found.train.groups, 0.1, 0)  # as config.data.validation does
    assert np.bincount(found.train.y[held]).tolist() == [56, 5, 12, 1, 2]
    assert not np.intersect1d(found.train.groups[held], found.train.groups[~held]).size
