"""Layouts of image folders as people have them: what counts as class, split, group and mask, and what is asked for."""

import errno
import os
import struct
import sys
import tracemalloc
import zipfile
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from data_files import encoded, fails, noise, write

from configs import folder as folder_config
from imbal_jax import data, start_message
from imbal_jax.data import files, folder, folder_names, images, split


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No data or cache of the machine's own."""
    monkeypatch.delenv("IMBAL_DATA_DIR", raising=False)
    monkeypatch.setenv("IMBAL_CACHE_DIR", str(tmp_path / "cache"))


def load(path, **options):
    return data.load("folder", options={"path": str(path), **options})


def pictures(*places, many=4):
    """{name: PNG} of different images in each of the folders; equal calls give equal images."""
    names = [f"{place}/{number}.png" for place in places for number in range(many)]
    return {name: encoded(noise([*name.encode()], 8, 8)) for name in names}


def classes(found):
    """(names, rows of each class in train, in test)."""
    many = len(found.class_names)
    return found.class_names, *(np.bincount(rows.y, minlength=many).tolist() for rows in (found.train, found.test))


# --- Splits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set", "test_set"),
        ("training_set/training_set", "test_set/test_set"),
        ("train_set", "test_set"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("Training", "Testing"),
        ("TRAIN", "TEST"),
        ("Train Set", "Test Set"),
        ("train-images", "test-images"),
        ("TrainingSet", "TestSet"),
        ("trainset", "testset"),
        ("ISIC_2019_Training_Input", "ISIC_2019_Test_Input"),
        ("train2017", "test2017"),
        ("train/images", "test/images"),
        ("archive/data/train", "archive/data/test"),
        ("train_data/train", "eval_data/test"),
    ],
)
@pytest.mark.parametrize("place", ["d", "d.zip"])
def test_split_folders_are_known_by_their_words(tmp_path, train, test, place):
    found = pictures(f"{train}/cats", f"{train}/dogs") | pictures(f"{test}/cats", f"{test}/dogs", many=3)
    clutter = {"__MACOSX/train/._1.png": b"x", f"{train}/.DS_Store": b"x", f"{train}/cats/Thumbs.db": b"x"}
    assert classes(load(write(tmp_path / place, found | clutter))) == (("cats", "dogs"), [4, 4], [3, 3])


@pytest.mark.parametrize("name", ["valid", "Validation", "val_set", "validation-images", "dev"])
def test_validation_folders_are_known_by_their_words(tmp_path, name):
    found = load(
        write(tmp_path / "d", pictures("train/a", "train/b", "test/a", "test/b") | pictures(f"{name}/a", f"{name}/b", many=2))
    )
    assert classes(found) == (("a", "b"), [6, 6], [4, 4]) and "4 images of the validation folder" in found.note


def test_splits_in_the_class_folders(tmp_path):
    places = [f"{label}/{side}" for label in ("cat", "dog") for side in ("Train", "test")]
    assert classes(load(write(tmp_path / "d", pictures(*places)))) == (("cat", "dog"), [4, 4], [4, 4])


def test_pictures_that_are_in_no_split_are_left_out(tmp_path):
    places = [f"seg_{side}/seg_{side}/{label}" for side in ("train", "test") for label in ("sea", "wood")]
    found = load(write(tmp_path / "d", pictures(*places, "seg_pred/seg_pred", "figures") | {"logo.png": b"x"}))
    assert classes(found) == (("sea", "wood"), [4, 4], [4, 4]) and len(found.left_out) == 9


def test_unlabelled_test_images_are_told(tmp_path):
    found = load(write(tmp_path / "d", pictures("train/a", "train/b", "test1")), test_share=0.25)
    assert classes(found) == (("a", "b"), [3, 3], [1, 1])
    assert "The images in test1 are in no class folders and are not used." in found.note


def test_classes_with_names_like_splits(tmp_path):
    assert load(write(tmp_path / "a", pictures("bus", "car", "train"))).class_names == ("bus", "car", "train")
    assert load(write(tmp_path / "b", pictures("test tube", "train", "van"))).class_names == ("test tube", "train", "van")
    both = pictures(*(f"{side}/{label}" for side in ("train", "test") for label in ("train", "bus")))
    assert load(write(tmp_path / "c", both)).class_names == ("bus", "train")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            pictures("cats_train", "dogs_train", "cats_test", "dogs_test"),
            ["holds 16 images, but no class folders", "cats_test"],
        ),
        (
            pictures(*(f"{c}_{s}/x" for c in ("cats", "dogs") for s in ("train", "test"))),
            ["both a class and a split", "rename"],
        ),
        (pictures("train", "test"), ["holds 8 images, but no class folders in test, train"]),
        (pictures("train/Cat", "train/dog", "test/cat", "test/dog"), ["'Cat' and 'cat'", "the same name"]),
        (
            pictures("p1/benign", "p1/malignant", "p2/benign", "p2/malignant"),
            ["same folders", "benign, malignant", "class_level=1"],
        ),
        (
            pictures("HAM_part_1", "HAM_part_2") | {"HAM.csv": b"image_id,dx\n"},
            ["parts of one set", "config.data.labels=HAM.csv:"],
        ),
        (pictures(*(f"fold_{n}/{s}/{c}" for n in range(2) for s in ("train", "test") for c in "ab")), ["a split of its own"]),
        (pictures("train") | {"train/metadata.jsonl": b"{}"}, ["metadata.jsonl is not read: save it as metadata.csv"]),
        (pictures("data/cat", "data/dog", "figures"), ["data seems to hold the class folders (cat, dog)", "figures beside it"]),
        (pictures("ISIC_test/a", "ISIC_val/a"), ["ISIC_test, ISIC_val name parts of a split, but not alike", "class_level=1"]),
        (pictures("test tube", "training shoe"), ["name parts of a split, but not alike", "class_level=1"]),
        (pictures(".") | {"list.csv": b"a,b\n"}, ["no class folders", "config.data.labels=list.csv:COLUMN"]),
    ],
)
def test_what_cannot_be_told_is_asked_for(tmp_path, files, words):
    with fails(write(tmp_path / "d", files), *words):
        load(tmp_path / "d")


# --- Parts, groups, masks ---------------------------------------------------------------------------------------------


def test_folds_are_put_together(tmp_path):
    places = [f"training_data/fold_{fold}/{label}" for fold in range(3) for label in ("all", "hem")]
    found = load(write(tmp_path / "d", pictures(*places)), test_share=0.25)
    assert classes(found) == (("all", "hem"), [9, 9], [3, 3])
    assert "fold_0, fold_1, fold_2 are taken for parts of one set, and all, hem in them for the classes" in found.note


def test_parts_in_the_class_folders_are_no_classes(tmp_path):
    places = [f"{label}/fold_{fold}" for fold in range(2) for label in ("all", "hem")]
    assert classes(load(write(tmp_path / "d", pictures(*places)), test_share=0.25)) == (("all", "hem"), [6, 6], [2, 2])


def test_patients_are_groups(tmp_path):
    places = [f"{place}/{label}" for place in ("Patient 01", "Patient 02", "Patient 03") for label in ("sick", "well")]
    found = load(write(tmp_path / "d", pictures(*places)), test_share=0.34)
    assert classes(found) == (("sick", "well"), [8, 8], [4, 4]) and "are taken for groups" in found.note
    assert len(np.unique(found.train.groups)) == 2 and len(np.unique(found.test.groups)) == 1
    other = write(tmp_path / "e", pictures(*(f"{number}/{label}" for number in (8863, 8864, 9022) for label in (0, 1))))
    with fails("have the same folders in them (0, 1)", "config.data.class_level=1 if", "2 if 0, 1 are"):
        load(other)
    found = load(other, class_level=2, test_share=0.34)
    assert found.class_names == ("0", "1") and len(np.unique(found.train.groups)) == 2
    assert load(other, class_level=1).class_names == ("8863", "8864", "9022")


def named(pattern, *ends):
    """Four files of each of two classes."""
    each = ((c, n, end) for c in ("COVID", "Normal") for n in range(4) for end in ends)
    return {pattern.format(c=c, n=n, end=end): encoded(noise([n, len(c), *end.encode()], 8, 8)) for c, n, end in each}


COVID = [f"{label}/{kind}" for label in ("COVID", "Normal") for kind in ("images", "masks")]


@pytest.mark.parametrize(
    "extra",
    [
        pictures(*COVID),
        named("{c}/{c} ({n}){end}", ".png", "_mask.png", "_mask_1.png"),
        pictures("train/images/COVID", "train/images/Normal") | pictures("train/masks/COVID", "train/masks/Normal"),
        named("data/{c}/{n}{end}", ".png") | named("GroundTruth/{c}/{n}{end}", "_segmentation.png"),
        pictures("COVID", "Normal", "COVID/masks", "Normal/masks"),
        named("{c}/{n}{end}", ".png") | named("{c}/mask_{n}{end}", ".png"),
        named("{c}/ISIC_{n}{end}", ".jpg", "_Segmentation.png", "_superpixels.png"),
    ],
    ids=["folders", "names", "around", "ground-truth", "inside", "before", "isic"],
)  # fmt: skip
def test_masks_are_no_images_of_a_class(tmp_path, extra):
    found = load(write(tmp_path / "d", extra), test_share=0.25)
    assert classes(found) == (("COVID", "Normal"), [3, 3], [1, 1])
    assert len(found.left_out) == len(extra) - 8 and all("is a segmentation mask" in line for line in found.left_out)
    assert f"{len(extra) - 8} segmentation masks" in found.note


def test_classes_of_masks_that_people_wear_stay(tmp_path):
    for number, names in enumerate((["mask", "no_mask"], ["with_mask", "without_mask"], ["face", "masked face"])):
        assert sorted(load(write(tmp_path / str(number), pictures(*names))).class_names) == sorted(names)
    named = {
        f"{label}/{n}{end}.png": encoded(noise([n, len(label)], 8, 8))
        for label, end in (("bare", ""), ("covered", "_mask"))
        for n in range(4)
    }
    assert classes(load(write(tmp_path / "named", named), test_share=0.25)) == (("bare", "covered"), [3, 3], [1, 1])
    assert not folder_names.masks(named)


def table(*labels):
    lines = [f"{label}/{n}.png,{label}{n}" for label in labels for n in range(4)]
    return sheet("file,group", *lines)


# --- Tables -----------------------------------------------------------------------------------------------------------


def flat(above="", many=12):
    return {f"{above}{n}.png": encoded(noise([n, *above.encode()], 8, 8)) for n in range(many)}


def sheet(head, *lines, mark=b""):
    return mark + "\r\n".join([head, *lines, ""]).encode()


LABELS = ["cat" if n % 3 else "dog" for n in range(12)]


@pytest.mark.parametrize(
    ("extra", "options"),
    [
        ({"train/metadata.csv": sheet("file_name,label", *(f"{n}.png,{c}" for n, c in enumerate(LABELS)))}, {}),
        ({"metadata.csv": sheet("file_name,label", *(f"train/{n}.png,{c}" for n, c in enumerate(LABELS)))}, {}),
        ({"labels.csv": sheet("label;file", *(f"{c};train\\{n}.png" for n, c in enumerate(LABELS)), mark=b"\xef\xbb\xbf")}, {}),
        ({"Labels.CSV": sheet(" File , Class", *(f"{n}, {c}" for n, c in enumerate(LABELS)))}, {}),
        (
            {"HAM.csv": sheet("lesion_id,image_id,dx", *(f"L{n},{n},{c}" for n, c in enumerate(LABELS)))},
            {"labels": "HAM.csv:dx"},
        ),
        (
            {"a.csv": sheet("age,picture of,What", *(f"{n}0,{n}.png,{c}" for n, c in enumerate(LABELS)))},
            {"labels": "a.csv:what"},
        ),
    ],
)
@pytest.mark.parametrize("place", ["d", "d.zip"])
def test_tables_of_labels(tmp_path, place, extra, options):
    found = load(write(tmp_path / place, flat("train/") | extra), test_share=0.25, **options)
    assert classes(found) == (("cat", "dog"), [6, 3], [2, 1]) and "The classes are from" in found.note
    names = sorted(flat("train/"))
    for rows in (found.train, found.test):
        for x, y in zip(rows.x, rows.y, strict=True):
            at = next(name for name in names if (noise([int(name[6:-4]), *b"train/"], 8, 8) == x[..., 0]).all())
            assert found.class_names[y] == LABELS[int(at[6:-4])]


def test_groups_splits_and_rows_without_an_image(tmp_path):
    lines = [f"{n}.png,{c},p{n // 6},{'test' if n >= 6 else 'TRAIN'}" for n, c in enumerate(LABELS)]
    path = write(tmp_path / "d", flat() | {"labels.csv": sheet("file,label,group,split", *lines, "99.png,cat,p9,train")})
    found = load(path)
    assert (
        classes(found) == (("cat", "dog"), [4, 2], [4, 2])
        and "1 rows of the labels (the first: '99.png') name no image" in found.note
    )
    assert len(np.unique(found.train.groups)) == 1 and not np.intersect1d(found.train.groups, found.test.groups).size
    write(path, {"labels.csv": sheet("file,label,patient_id", *(f"{n}.png,{c},{n // 2}" for n, c in enumerate(LABELS)))})
    note = load(path).note
    assert "config.data.groups=labels.csv:patient_id" in note
    found = load(path, groups="labels.csv:patient_id", test_share=0.4)
    assert "not used" not in found.note
    assert (
        len(np.unique([*found.train.groups, *found.test.groups])) == 6
        and not np.intersect1d(found.train.groups, found.test.groups).size
    )
    write(path, {"labels.csv": sheet("file,label", *(f"{n}.png,{c}" for n, c in enumerate(LABELS[:-1])))})
    assert load(path).left_out == ("11.png: has no label in the table",)


def test_tables_in_folders_of_splits(tmp_path):
    tables = {
        f"{side}/metadata.csv": sheet("file_name,label", *(f"{n}.png,{c}" for n, c in enumerate(LABELS)))
        for side in ("train", "test")
    }
    found = load(write(tmp_path / "d", flat("train/") | flat("test/") | tables))
    assert classes(found) == (("cat", "dog"), [8, 4], [8, 4])


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (sheet("file_name,text", "1.png,a cat"), {}, ["no class folders", "config.data.labels=metadata.csv:COLUMN"]),
        (sheet("file_name,label", "1.png,cat", "1.png,dog"), {}, ["two rows for 1.png that differ"]),
        (sheet("file_name,label,split", "1.png,cat,fold"), {}, ["the split is 'fold'", "train, test or val"]),
        (sheet("file_name,label,group", "1.png,cat,"), {}, ["no group for 1.png"]),
        (sheet("file_name,label", "1.png,cat", "2.png,cat"), {}, ["a single class, 'cat'"]),
        (sheet("file_name,label", "1.png,"), {}, ["a label for none of 12 images"]),
        (b"\xff\xfe\x00", {}, ["cannot read the labels in"]),
        (sheet("file_name,kind", "1.png,cat"), {"labels": "metadata.csv:knd"}, ["no column 'knd'", "did you mean 'kind'"]),
        (sheet("file_name,kind", "x.png,cat"), {"labels": "metadata.csv:kind"}, ["no column that names images"]),
        (sheet("file_name,kind", "1.png,cat"), {"labels": "metadata.csv"}, ["no column label", "FILE:COLUMN"]),
        (sheet("file_name,kind", "1.png,cat"), {"labels": "none.csv:kind"}, ["cannot read the labels in none.csv"]),
    ],
)  # fmt: skip
def test_tables_of_labels_that_do_not_do(tmp_path, content, options, words):
    with fails(*words):
        load(write(tmp_path / "d", flat() | {"metadata.csv": content}), **options)


def test_parts_that_are_classes(tmp_path):
    path = write(tmp_path / "d", pictures("Part_1", "Part_2"))
    with fails("parts of one set", "if they are the classes, set config.data.class_level=1"):
        load(path)
    assert load(path, class_level=1).class_names == ("Part_1", "Part_2")


def test_a_name_that_several_images_have_is_no_name(tmp_path):
    with fails("'1.png' in the column file names 2 images (a/1.png, b/1.png, ...)"):
        load(write(tmp_path / "d", flat("a/") | flat("b/") | {"labels.csv": sheet("file,label", "1.png,cat")}))


def test_a_table_of_something_else_is_told_and_the_folders_are_read(tmp_path):
    """As GTSRB has it: labels.csv names the classes, not the images."""
    sheets = {"labels.csv": sheet("ClassId,Name", "0,Stop", "1,Yield")}
    found = load(write(tmp_path / "d", pictures("data/0", "data/1") | sheets), test_share=0.25)
    assert classes(found) == (("0", "1"), [3, 3], [1, 1])
    assert "labels.csv has the columns ClassId, Name and names no class of an image, so it is not read" in found.note


def test_a_table_beside_the_class_folders_is_told(tmp_path):
    content = pictures("data/left", "data/right") | {"data/train.csv": sheet("id,label", "0,cat")}
    note = load(write(tmp_path / "d", content)).note
    assert "data/train.csv beside them is not read" in note and "config.data.labels=data/train.csv:COLUMN" in note
    with fails("a single class, 'part'", "if train.csv holds the classes, set config.data.labels=train.csv:COLUMN"):
        load(write(tmp_path / "e", pictures("part") | {"train.csv": sheet("id,label", "0,cat")}))
    assert "not read" not in load(write(tmp_path / "f", pictures("a", "b") | {"groups.csv": table("a", "b")})).note


# --- Start ------------------------------------------------------------------------------------------------------------


def started(workdir, found, counts, minority=()):
    """What an experiment of these data with one arm announces."""
    config = folder_config.get_config(str(workdir))
    config.seeds, config.baselines, config.method = 1, (), "none"
    task = SimpleNamespace(class_names=found.class_names, counts=counts, minority=minority)
    base = SimpleNamespace(devices=jax.devices())
    return SimpleNamespace(data=found, task=task, config=config, workdir=workdir / "run", common=base, precision="f32")


def test_an_accelerator_that_is_not_used_is_told(tmp_path):
    assert start_message.idle_accelerator("cpu", tmp_path) == ""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidia0").touch()
    assert "jax computes on the CPU although /dev/nvidia0 is an accelerator" in start_message.idle_accelerator("cpu", tmp_path)
    assert start_message.idle_accelerator("gpu", tmp_path) == ""


def test_the_start_tells_classes_groups_sizes_and_small_test_sets(tmp_path, capsys):
    places = [
        f"{split}/patient {n}/{c}"
        for split, some in (("train", (1, 2)), ("test", (3, 4)))
        for n in some
        for c in ("sick", "well")
    ]
    files = pictures(*places, many=11) | pictures("train/patient 1/sick", many=1)
    files |= {f"test/patient 3/well/copy{n}.png": files[f"train/patient 2/well/{n}.png"] for n in range(2)}
    found = load(
        write(tmp_path / "d", {name: content for name, content in files.items() if name != "test/patient 4/sick/0.png"})
    )
    counts = np.bincount(found.train.y)
    start_message.print_data_summary(started(tmp_path, found, counts))
    out = capsys.readouterr().out
    assert "rows: 8x8x1 uint8; 44 in 2 groups for training, 45 in 2 groups for testing" in out
    lines = [line.split() for line in out.splitlines()]
    assert ["sick", "22", "22", "21"] in lines and ["well", "22", "22", "22"] in lines  # two of 24 are training rows, too
    assert "warning" not in out
    few = load(write(tmp_path / "e", pictures("a", "b")), test_share=0.5)
    start_message.print_data_summary(started(tmp_path, few, [2, 2], minority=(1,)))
    out = capsys.readouterr().out
    assert "warning: fewer than 20 test rows of a (2), b (2)" in out
    table = out[out.index("       class") : out.index("warning: fewer")].splitlines()
    assert [line.split() for line in table[1:]] == [["a", "2", "2", "2"], ["b", "2", "2", "2", "minority"]]


def test_the_table_of_classes_fits_a_terminal(tmp_path, capsys):
    long = f"{'a long name of a class ' * 3}end"
    few = load(write(tmp_path / "e", pictures("a", "b")), test_share=0.5)._replace(class_names=(long, "b"))
    start_message.print_data_summary(started(tmp_path, few, [2, 2], minority=(0,)))
    out = capsys.readouterr().out
    table = out[out.index("   class") : out.index("warning: fewer")].splitlines()
    assert max(map(len, table)) <= 80 and f"[1] {long}" in table
    assert table[1].endswith("... [1]         2         2         2  minority")


# --- Folds ------------------------------------------------------------------------------------------------------------


def test_each_row_is_in_one_fold(tmp_path):
    path = write(tmp_path / "d", pictures("a", "b", many=10))
    tests = [load(path, folds=4, fold=fold, split_seed=3).test.ids.tolist() for fold in range(4)]
    assert sorted(row for rows in tests for row in rows) == list(range(20)) and max(map(len, tests)) <= 6
    assert load(path, folds=4, fold=2, split_seed=3).test.ids.tolist() == tests[2]
    assert "fold 2 of 4" in load(path, folds=4, fold=2, split_seed=3).note
    for options, words in (
        ({"folds": 1}, ["config.data.folds is 1"]),
        ({"folds": 3, "fold": 3}, ["config.data.fold is 3", "from 0 to folds - 1"]),
        ({"fold": 1}, ["config.data.fold is 1"]),
        ({"folds": 30}, ["config.data.folds must be at most 20, the number of groups", "(got 30)"]),
    ):
        with fails(*words):
            load(path, **options)
    with fails("has a test set", "config.data.folds=2"):
        load(write(tmp_path / "e", pictures("train/a", "train/b", "test/a", "test/b")), folds=2)


def test_folds_keep_groups_and_shares():
    random = np.random.default_rng(0)
    groups = random.integers(0, 40, 400)
    y = (random.random(400) < 0.2).astype(int)
    held = np.stack([split.fold_by_group(y, groups, 5, fold, 0) for fold in range(5)])
    assert (held.sum(axis=0) == 1).all()
    assert all(len(set(groups[rows]) & set(groups[~rows])) == 0 for rows in held)
    assert all(abs((y[rows] == 1).sum() / (y == 1).sum() - 0.2) < 0.08 for rows in held)


# --- Files that cannot be read this time ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [PermissionError(errno.EACCES, "Permission denied"), OSError(errno.EIO, "Input/output error"), MemoryError()]
)
def test_what_could_not_be_read_is_an_error_and_never_cached(tmp_path, monkeypatch, error):
    path = write(tmp_path / "d", pictures("a", "b"))
    monkeypatch.setattr(folder, "CACHE_FROM", 1)
    read = Path.read_bytes

    def broken(self):
        if self.name == "3.png":
            raise error
        return read(self)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", broken)
        with fails(
            "cannot read", "3.png", getattr(error, "strerror", None) or "not enough memory", "run the same command again"
        ):
            load(path)
    assert len(load(path).train.y) + len(load(path).test.y) == 8


def test_memory_that_ends_while_decoding_says_nothing_of_the_image(tmp_path, monkeypatch):
    path = write(tmp_path / "d", pictures("a", "b"))
    monkeypatch.setattr(folder, "CACHE_FROM", 1)
    with monkeypatch.context() as patch:
        patch.setattr(images, "_plain", lambda *_: (_ for _ in ()).throw(MemoryError))
        with fails("cannot read", "a/0.png", "not enough memory"):
            load(path)
    assert not load(path).left_out


def test_folders_that_cannot_be_listed_are_an_error(tmp_path, monkeypatch):
    path = write(tmp_path / "d", pictures("a", "b", "c"))
    scandir = os.scandir

    def broken(place):
        if str(place).endswith("c"):
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", broken)
    with fails("cannot read", path / "c", "Permission denied"):
        load(path)
    monkeypatch.undo()
    (path / "a" / "gone.png").symlink_to(tmp_path / "nothing")
    with files.opened(path) as tree:
        assert len(tree.entries) == 12


def test_damaged_bytes_are_let_go():
    content = bytes(2_000_000)
    tracemalloc.start()
    found = images.in_parallel(lambda n: images.decode(bytes(2_000_000) + bytes([n])), range(20))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < len(content) and all(isinstance(reason, images.Unusable) for reason in found)


# --- Zips -------------------------------------------------------------------------------------------------------------


def test_back_slashes_in_a_zip_are_slashes(tmp_path):
    plain = pictures("pets/cat", "pets/dog")
    zipped = write(
        tmp_path / "d.zip", {name.replace("/", "\\"): content for name, content in plain.items()} | {"pets\\empty\\": b""}
    )
    with fails("class folder 'empty'"):
        load(zipped)
    zipped = write(tmp_path / "e.zip", {name.replace("/", "\\"): content for name, content in plain.items()})
    assert load(zipped).digest == load(write(tmp_path / "f", plain)).digest
    with fails("leads out of the archive"):
        load(write(tmp_path / "g.zip", {"pets\\..\\..\\x.png": b"x"}))


def test_a_member_that_lies_about_its_size_fills_no_memory(tmp_path):
    """60 MB of zeros that are declared to be 100 bytes."""
    path = tmp_path / "d.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/zeros.png", bytes(60_000_000))
        for name, content in pictures("a", "b").items():
            archive.writestr(name, content)
    content = path.read_bytes()
    assert content.count(struct.pack("<I", 60_000_000)) == 2  # in the member's own head and in the list at the end
    path.write_bytes(content.replace(struct.pack("<I", 60_000_000), struct.pack("<I", 100)))
    tracemalloc.start()
    found = load(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 30_000_000 and len(found.left_out) == 1 and "a/zeros.png: cannot be unpacked" in found.left_out[0]


def edited(path, flag=0, method=None):
    """The zip with a flag or another method written into all its heads."""
    content = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = content.find(mark)
        while place >= 0:
            content[place + at] |= flag
            if method is not None:
                content[place + at + 2 : place + at + 4] = struct.pack("<H", method)
            place = content.find(mark, place + 1)
    path.write_bytes(content)
    return path


def test_zips_that_cannot_be_unpacked(tmp_path):
    with fails("d.zip cannot be used", "'a/0.png' is encrypted"):
        load(edited(write(tmp_path / "d.zip", pictures("a", "b")), flag=1))
    with fails("e.zip cannot be used", "packed by method 97"):
        load(edited(write(tmp_path / "e.zip", pictures("a", "b")), method=97))
    with zipfile.ZipFile(tmp_path / "bz.zip", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a/1.png", b"x")
    with fails("bz.zip cannot be used", "packed by method 12", "8 (deflate)"):
        load(tmp_path / "bz.zip")
    with fails("long.zip cannot be used", "has 60,004 characters, more than 4,096"):
        load(write(tmp_path / "long.zip", {"_" * 60_000 + ".png": b"x"}))
    deep = "a/" * 32_000 + "1.png"
    with fails("f.zip cannot be used", "32,000 folders deep", "more than 100"):
        load(write(tmp_path / "f.zip", {deep: b"x"}))


# --- Names ------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "darwin", reason="names are UTF-8 there")
def test_names_that_are_no_utf_8(tmp_path):
    path = write(tmp_path / "d", pictures("a"))
    odd = os.fsencode(path) + b"/caf\xe9"
    os.mkdir(odd)
    for number in range(4):
        with open(odd + b"/\xe9%d.png" % number, "wb") as file:
            file.write(encoded(noise(number, 8, 8)) if number else b"")
    found = load(path, test_share=0.3)
    assert found.class_names == ("a", "caf\\xe9") and found.left_out == ("caf\\xe9/\\xe90.png: is empty",)
    "".join([*found.class_names, found.note, found.name]).encode()
    (path / "a\nb").mkdir()
    with fails("class folder 'a\\\\nb'"):
        load(path)


def test_endings_of_jpegs(tmp_path):
    content = {
        f"{label}/{n}{end}": encoded(noise([n, ord(label)], 8, 8), "JPEG")
        for label in "ab"
        for n, end in enumerate((".jfif", ".JPE", ".jpeg"))
    }
    assert len(load(write(tmp_path / "d", content)).train.y) == 4


def test_numbers_of_any_length_as_classes(tmp_path):
    names = ["9" * 4050, "10", "9", "007"]
    assert load(write(tmp_path / "d.zip", pictures(*names))).class_names == ("007", "9", "10", "9" * 4050)
