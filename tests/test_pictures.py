"""The pictures of what methods do to images: which rows, which labels, and that they are the training's own transforms."""

import numpy as np
import pytest

from imbal_jax.arms import Arm
from imbal_jax.report import grids, style
from imbal_jax.report.curves import Curves
from imbal_jax.stages import arm_group, pictures
from imbal_jax.stages.training_set import prepare
from tests import small

NAMES = ("T-shirt/top", "Sneaker", "Bag")


@pytest.fixture(scope="module")
def chunk(tmp_path_factory):
    """Two lanes on 10 images of each digit, 2 of 6, 8, 9."""
    return prepare(small.get_config(), tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def filled(chunk):
    """The training sets that SMOTE makes."""
    curves = Curves(chunk.workdir / "metrics.jsonl", chunk.seeds)
    return arm_group.resample_training_sets(chunk, curves, "smote(to=5000)", None)[0]


@pytest.fixture
def undrawn(monkeypatch):
    """The pictures that would be drawn: {file name: the blocks' headings}."""
    drawn = {}

    def instead(path, title, bands):
        drawn[path.name] = {line: [block.head for block in blocks] for line, blocks in bands.items()}
        path.write_bytes(b"")

    monkeypatch.setattr(pictures, "transformed", instead)
    return drawn


def test_classes_take_turns_and_the_minority_begins():
    y = np.array([0, 0, 0, 1, 1, 2, 2, 2, 3])
    assert y[pictures.by_turns(y, (2, 3))].tolist() == [2, 3, 0, 1, 2, 0, 1, 2, 0]
    assert pictures.by_turns(y, (2, 3)).tolist()[:5] == [5, 8, 0, 3, 6]
    assert pictures.by_turns(np.repeat(np.arange(20), 3), ()).tolist() == list(range(0, 27, 3))
    assert pictures.by_turns(np.zeros(0, np.int32), (1,)).size == 0


@pytest.mark.parametrize(
    ("t", "text"),
    [
        ([0, 1, 0], "Sneaker"),
        ([0, 0.998, 0.002], "Sneaker"),
        ([0, 0.73, 0.27], "0.73 Sneaker\n+ 0.27 Bag"),
        ([0.02, 0.98, 0], "0.98 Sneaker\n+ 0.02 T-shirt/top"),
        ([0.03, 0.94, 0.03], "0.94 Sneaker\n+ 0.06 others"),
        ([0.2, 0.3, 0.5], "0.50 Bag\n+ 0.30 Sneaker\n+ 0.20 T-shirt/top"),
    ],
)
def test_soft_labels_in_words(t, text):
    assert pictures.label(np.array(t), NAMES) == text


def test_many_equal_parts_are_named_by_the_first():
    assert pictures.label(np.full(400, 1 / 400), [str(i) for i in range(400)]) == "0.00 0\n+ 1.00 others"


def test_the_step_mirrors_the_very_images_that_are_shown(chunk):
    before, after = pictures.blocks_of_step(chunk, Arm("flip(p=1)"), chunk.train)
    assert before.captions == after.captions == ["6", "8", "9", "0", "1", "2", "3", "4", "5"]
    x, y = chunk.data.train.x, chunk.data.train.y
    for i, image in enumerate(before.images):
        first = x[np.flatnonzero(y == int(before.captions[i]))[0]]
        np.testing.assert_array_equal(image, first)
        np.testing.assert_array_equal(after.images[i], first[:, ::-1])


def test_mixed_images_are_the_blend_that_their_labels_say(chunk):
    before, after = pictures.blocks_of_step(chunk, Arm("mixup(alpha=1.0)"), chunk.train)
    mixed = [caption for caption in after.captions if "+" in caption]
    assert len(mixed) >= 4
    for one, other, caption, own in zip(before.images, after.images, after.captions, before.captions, strict=True):
        shares = {part.split()[1]: float(part.split()[0]) for part in caption.split("\n+ ") if " " in part}
        assert not shares or sum(shares.values()) == pytest.approx(1, abs=0.011)
        least = (shares.get(own, 1.0) - 0.01) * one.astype(float)  # the other image can only add to its own share
        assert (other >= least - 1).all()


def test_arms_of_one_group_share_the_program_and_keep_their_numbers(chunk):
    pictures.blocks_of_step(chunk, Arm("flip(p=1)"), chunk.train)
    many = len(chunk.common.programs)
    before, after = pictures.blocks_of_step(chunk, Arm("flip(p=0)"), chunk.train)
    assert len(chunk.common.programs) == many
    np.testing.assert_array_equal(before.images, after.images)


@pytest.mark.parametrize("spec", ["none", "over", "focal | logit_adjust", "sampling"])
def test_arms_without_a_transform_have_no_picture(chunk, undrawn, spec):
    pictures.draw(chunk, [Arm(spec)], chunk.train)
    assert undrawn == {}


def test_made_rows_stand_beside_those_they_were_made_of(chunk, filled):
    one, other, new = pictures.blocks_of_made_rows(chunk, filled)
    assert [one.head, other.head, new.head] == ["made of", "and of", "made"]
    assert new.captions == one.captions == other.captions and new.captions[:3] == ["6", "8", "9"]
    for a, b, image in zip(one.images, other.images, new.images, strict=True):
        assert (np.minimum(a, b) <= image).all() and (image <= np.maximum(a, b)).all()
    assert pictures.blocks_of_made_rows(chunk, chunk.train) == []


def test_rows_that_a_later_method_dropped_are_not_shown(chunk, filled):
    rows, real = np.asarray(filled.pool.rows), len(chunk.data.train.y)
    y = np.asarray(filled.pool.new_y[0])
    lasting = rows[0][(rows[0] < real) | (y[np.maximum(rows[0] - real, 0)] == 8)]
    left = filled._replace(pool=filled.pool._replace(rows=np.stack([lasting, lasting])))
    assert set(pictures.blocks_of_made_rows(chunk, left)[-1].captions) == {"8"}
    without = filled._replace(parents=np.full_like(filled.parents, -1))  # as a generator's rows
    assert pictures.blocks_of_made_rows(chunk, without) == []


def test_both_kinds_are_in_one_picture_of_an_arm(chunk, filled, undrawn, tmp_path):
    there = chunk._replace(workdir=tmp_path)
    pictures.draw(there, [Arm("smote(to=5000) | flip(p=1)")], filled)
    pictures.draw(there, [Arm("flip(p=1)", (("classifier.learning_rate", 0.1),))], chunk.train)
    assert undrawn == {
        "transformed-smote(to=5000)_flip(p=1).png": {
            "rows made before the training": ["made of", "and of", "made"],
            "images in the training step": ["before", "after"],
        },
        "transformed-flip(p=1)_classifier.learning_rate=0.1.png": {"images in the training step": ["before", "after"]},
    }


def test_six_arms_are_drawn_once_and_only_where_there_are_images(chunk, undrawn, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "blocks_of_step", lambda *_: [grids.Block("before", [], [])])
    there, arms = chunk._replace(workdir=tmp_path), [Arm(f"flip(p=0.{i})") for i in range(1, 9)]
    signal = there._replace(task=there.task._replace(shape=(300, 1)))
    four = there._replace(task=there.task._replace(shape=(28, 28, 4)))
    for other in (signal, four, there._replace(pictured=False)):
        pictures.draw(other, arms, chunk.train)
    assert undrawn == {}
    pictures.draw(there, arms, chunk.train)
    assert list(undrawn) == [f"transformed-flip(p=0.{i}).png" for i in range(1, 7)]
    undrawn.clear()
    pictures.draw(there, arms, chunk.train)
    assert undrawn == {}


def test_the_picture_is_clear_between_images(chunk, tmp_path):
    from PIL import Image

    grey = np.full((28, 28, 1), 200, np.uint8)
    colour = np.zeros((20, 32, 3), np.uint8)
    bands = {
        "one": [grids.Block("made of", [grey, None, colour], ["a", "b", "c"]), grids.Block("made", [grey] * 3, ["a"] * 3)],
        "two": [grids.Block("before", [grey] * 9, ["0.73 Sneaker\n+ 0.27 Bag"] * 9)],
    }
    grids.transformed(tmp_path / "picture.png", "smote | mixup", bands)
    with Image.open(tmp_path / "picture.png") as image:
        alpha = np.asarray(image.convert("RGBA"))[..., 3]
    assert alpha[0].max() == 0 and alpha.max() == 255
    assert 3 * (grids.TILE * style.DPI) ** 2 * 4 < (alpha == 255).sum() < 0.7 * alpha.size


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("over | affine(zoom=0.2)", "over_affine(zoom=0.2)"),
        ("none [classifier.learning_rate=0.003]", "none_classifier.learning_rate=0.003"),
        ("smote(space='pca(32)')", "smote(space=_pca(32)_)"),
        ("a/b", "a_b"),
    ],
)
def test_names_of_arms_in_names_of_files(name, slug):
    assert style.slug(name) == slug


def test_long_names_stay_apart():
    first, second = (style.slug("smote(to=5000) | " * 30 + end) for end in "ab")
    assert first != second and max(len(first), len(second)) < 120


def test_real_images_that_there_are_not_leave_gaps():
    images = np.ma.masked_all((2, 3, 4, 4, 1), np.uint8)
    images[0], images[1, :1] = 7, 9
    page = grids._mosaic(images, gap=2)
    assert page.shape == (10, 16, 4) and (page[:4, :4] == (7, 7, 7, 255)).all() and (page[6:, :4] == (9, 9, 9, 255)).all()
    assert (page[6:, 6:, 3] == 0).all() and (page[:4, 12:, 3] == 255).all()
