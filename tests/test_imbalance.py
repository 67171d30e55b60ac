"""Class profiles and the rows they leave."""

import jax
import numpy as np
import pytest

from imbal_jax.data.dataset import rank_in_class
from imbal_jax.data.imbalance import cut, minority, target_counts
from imbal_jax.errors import UserError
from imbal_jax.runtime.lanes import lane_keys

MNIST = np.array([5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949])
BALANCED = np.full(10, 5000)


def labels(n=400, classes=4, seed=0):
    return np.random.default_rng(seed).integers(0, classes, n).astype(np.int32)


def test_none_keeps_all():
    target = target_counts("none", MNIST, 1.0)
    assert target.tolist() == MNIST.tolist() and target is not MNIST


def test_explicit_counts():
    target = target_counts("{6: 100, 8: 100, 9: 100}", MNIST, 1.0)
    assert target.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 100, 6265, 100, 100]


def test_explicit_counts_scale_with_the_fraction_and_stay_above_zero():
    target = target_counts("{6: 100, 8: 1}", np.full(10, 400), 4000 / 60000)
    assert target[6] == 7 and target[8] == 1 and target[0] == 400


def test_exponential_gives_the_counts_of_the_long_tailed_cifar_sets():
    # CIFAR-10-LT and CIFAR-100-LT at factor 100, as Cui et al. 2019 and all who followed use them.
    ten = target_counts("exponential(factor=100)", BALANCED, 1.0)
    assert ten.tolist() == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    hundred = target_counts("exponential(factor=100)", np.full(100, 500), 1.0)
    assert hundred[0] == 500 and hundred[-1] == 5 and hundred.sum() == 10847


def test_exponential_never_exceeds_a_class_and_never_empties_one():
    target = target_counts("exponential(factor=1)", MNIST, 1.0)
    assert target.tolist() == MNIST.tolist()
    assert target_counts("exponential(factor=1e9)", np.full(3, 50), 1.0).tolist() == [50, 1, 1]
    assert target_counts("exponential", np.array([7]), 1.0).tolist() == [7]


def test_step_reduces_the_last_share():
    assert target_counts("step(factor=100, minority=0.5)", BALANCED, 1.0).tolist() == [5000] * 5 + [50] * 5
    assert target_counts("step(factor=10, minority=0.2)", MNIST, 1.0).tolist() == [*MNIST[:8].tolist(), 585, 594]
    assert target_counts("step", np.full(4, 30), 1.0).tolist() == [30, 30, 1, 1]


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ("{10: 5}", ["no class 10", "classes 0 to 9"]),
        ("{-1: 5}", ["no class -1"]),
        ("{'six': 5}", ["no class 'six'"]),
        ("{6: 7000}", ["class 6 has 5918 rows, not 7000"]),
        ("{6: 0}", ["class 6", "whole count from 1 on"]),
        ("{6: 1.5}", ["class 6", "(got 1.5)"]),
        ("{6: True}", ["class 6", "(got True)"]),
        ("{6: 100", ["config.cut.profile '{6: 100' cannot be read", "exponential(factor=100)", "'none'"]),
        ("{6: n}", ["cannot be read"]),
        ("", ["config.cut.profile '' cannot be parsed"]),
        (
            "exponental(factor=10)",
            ["config.cut.profile must be one of", "did you mean 'exponential'", "step(factor=100, minority=0.5)"],
        ),
        ("exponential(10)", ["config.cut.profile 'exponential(10)' cannot be parsed", "exponential(factor=100)"]),
        ("[1, 2]", ["cannot be parsed", "'none'"]),
        ("none(factor=2)", ["no option 'factor'"]),
        ("exponential(faktor=10)", ["no option 'faktor'", "did you mean 'factor'"]),
        ("exponential(**{'factor': 1})", ["no option 'None'"]),
        ("exponential(factor='x')", ["factor must be a number (got 'x')"]),
        ("exponential(factor=0.5)", ["factor must be finite and at least 1 (got 0.5)"]),
        ("exponential(factor=1e999)", ["factor must be finite and at least 1 (got inf)"]),
        ("step(factor=0)", ["factor must be finite and at least 1 (got 0)"]),
        ("step(minority=1.5)", ["between 0 and 1 (got 1.5)"]),
        ("step(minority=0.01)", ["selects 0 of 10 classes"]),
        ("step(minority=0.99)", ["selects 10 of 10 classes"]),
    ],
)
def test_a_wrong_profile_says_what_is_wrong(profile, words):
    with pytest.raises(UserError) as error:
        target_counts(profile, MNIST, 1.0)
    assert all(word in str(error.value) for word in [*words, repr(profile)]), str(error.value)
    assert "\n" not in str(error.value)


def test_a_cut_is_compared_after_scaling():
    counts = np.full(10, 400)
    assert target_counts("{6: 5000}", counts, 4000 / 60000)[6] == 333
    with pytest.raises(UserError, match=r"class 6 has 400 rows, not 7000 \(scaled by 0.06667 to 467\)"):
        target_counts("{6: 7000}", counts, 4000 / 60000)


def test_first_keeps_the_first_rows_of_each_class_in_every_lane():
    y, counts = labels(), np.array([5, 20, 1, 60])
    rows = cut(y, counts, "first", lane_keys(0, [0, 1]))
    assert rows.shape == (2, 86) and rows.dtype == np.int32
    assert (rows[0] == rows[1]).all() and (np.diff(rows[0]) > 0).all()
    for label, count in enumerate(counts):
        assert rows[0][y[rows[0]] == label].tolist() == np.flatnonzero(y == label)[:count].tolist()


def test_random_draws_distinct_rows_that_differ_by_lane():
    y = labels()
    counts = np.bincount(y)
    counts[[1, 3]] = [20, 7]
    rows = cut(y, counts, "random", lane_keys(0, [0, 1, 2]))
    assert rows.shape == (3, counts.sum()) and rows.dtype == np.int32
    assert (np.diff(rows, axis=1) > 0).all()
    for lane in rows:
        assert np.bincount(y[lane]).tolist() == counts.tolist()
    assert not (rows[0] == rows[1]).all() and not (rows[1] == rows[2]).all()


def test_random_rows_of_a_lane_depend_on_its_key_alone():
    y, counts = labels(), np.array([5, 20, 1, 60])
    together = cut(y, counts, "random", lane_keys(3, [0, 1, 2, 3]))
    assert (cut(y, counts, "random", lane_keys(3, [2]))[0] == together[2]).all()
    assert not (cut(y, counts, "random", lane_keys(4, [2]))[0] == together[2]).all()


def test_random_draw_of_a_class_is_uniform():
    y, counts = np.zeros(20, np.int32), np.array([5])
    rows = cut(y, counts, "random", lane_keys(0, list(range(400))))
    share = np.bincount(rows.ravel(), minlength=20) / 400
    assert np.abs(share - 0.25).max() < 0.1  # 4.6 standard deviations of a share of 400 draws


def test_random_without_a_cut_keeps_every_row():
    y = labels()
    rows = cut(y, np.bincount(y), "random", lane_keys(0, [0, 1]))
    assert (rows == np.arange(len(y))).all()


def test_cut_errors():
    y, keys = np.array([0, 0, 1]), jax.random.split(jax.random.key(0), 1)
    with pytest.raises(UserError, match="config.cut.draw must be 'first' or 'random' .got 'frist'.; did you mean 'first'"):
        cut(y, np.array([1, 1]), "frist", keys)
    with pytest.raises(UserError, match=r"cannot subsample classes of \[2, 1\] rows to \[1, 2\]"):
        cut(y, np.array([1, 2]), "first", keys)


def test_rank_in_class():
    assert rank_in_class(np.array([2, 0, 2, 2, 0, 1])).tolist() == [0, 0, 1, 2, 1, 0]


def test_rare_classes_have_fewer_than_half_the_rows_of_the_largest():
    assert minority([720, 320, 32]) == {1, 2} and minority([10, 5, 4]) == {2} and minority([7, 7]) == set()
    assert minority([600, 320, 32]) == {2}  # 720 cut to 600: a cut that names the commonest class does not make it rare
    for classes, rare in ((10, 8), (100, 85)):
        counts = target_counts("exponential(factor=100)", np.full(classes, 5000), 1.0)
        assert len(minority(counts)) == rare == (counts < counts.max() / 2).sum()
