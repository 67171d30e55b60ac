"""Splits by group: whole groups, every class on its share, the same again."""

import time

import numpy as np
import pytest
from data_files import fails

from imbal_jax.data.split import by_group, several, unmatched


def shares(y, held):
    return np.bincount(y, held) / np.bincount(y)


def whole(groups, held):
    return not np.intersect1d(groups[held], groups[~held]).size


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.9])
def test_single_rows_are_stratified_to_half_a_row(share):
    y = np.random.default_rng(0).permutation(np.repeat(np.arange(4), [1000, 200, 40, 7]))
    held = by_group(y, np.arange(len(y)), share, 0)
    counts = np.bincount(y, held)
    expected = share * np.bincount(y)
    assert held.dtype == bool and (np.abs(counts - expected) <= 0.5 + 1e-6).sum() >= 3
    assert ((counts > 0) & (counts < np.bincount(y))).all()


@pytest.mark.parametrize(
    "sizes",
    [
        [2] * 400,  # two eyes each
        [1, 2, 3, 4, 5, 6, 7] * 60,
        [300, 200, 100, 50, 50, *[5] * 40, *[1] * 60],
    ],
)
@pytest.mark.parametrize("mixed", [False, True])
def test_groups_stay_whole_and_shares_near(sizes, mixed):
    groups = np.repeat(np.random.default_rng(1).permutation(len(sizes)) * 17 + 3, sizes)
    of_group = np.random.default_rng(2).choice(3, len(sizes), p=[0.6, 0.3, 0.1])
    y = np.random.default_rng(3).choice(3, len(groups), p=[0.6, 0.3, 0.1]) if mixed else np.repeat(of_group, sizes)
    for seed in range(3):
        held = by_group(y, groups, 0.2, seed)
        assert whole(groups, held)
        np.testing.assert_allclose(held.mean(), 0.2, atol=0.02)
        np.testing.assert_allclose(shares(y, held), 0.2, atol=0.08)


def test_deterministic_and_drawn_by_the_seed():
    y, groups = np.tile([0, 1], 50), np.arange(100) // 2
    draws = [by_group(y, groups, 0.3, seed) for seed in (0, 0, 1)]
    assert (draws[0] == draws[1]).all() and (draws[0] != draws[2]).any()
    # Names of groups and classes mean nothing but their order.
    assert (by_group(y * 7 - 3, groups * 10, 0.3, 0) == draws[0]).all()


def test_each_of_equal_groups_is_held_out_alike():
    groups = np.repeat(np.arange(5), 3)
    often = sum(by_group(np.zeros(15, int), groups, 0.2, seed) for seed in range(400))
    assert (np.abs(often - 80) < 35).all()


def test_large_groups_are_drawn_as_far_as_they_fit():
    sizes = [60, 40, 30, 20, 10, 5]
    groups = np.repeat(np.arange(6), sizes)
    held = np.array([by_group(np.zeros(165, int), groups, 0.25, seed) for seed in range(200)])
    often = held.mean(axis=0)[np.cumsum(sizes) - 1]
    assert often[0] == 0 and (often[1:] > 0.1).all() and (often[1:] < 0.7).all()
    np.testing.assert_allclose(held.mean(axis=1), 0.25, atol=0.1)


def test_a_class_of_two_groups_has_one_on_each_side():
    y = np.repeat([0, 1, 1, 2], [50, 4, 1, 1])
    groups = np.concatenate([np.arange(50), [60] * 4, [61], [62]])
    for seed in range(20):
        held = by_group(y, groups, 0.1, seed)
        assert held[y == 1].any() and not held[y == 1].all()


def test_entangled_groups_end_in_some_split():
    """Three classes, each in two of three groups: no split has all of them on both sides."""
    y, groups = np.array([0, 1, 1, 2, 0, 2]), np.array([0, 0, 1, 1, 2, 2])
    held = by_group(y, groups, 0.3, 0)
    assert whole(groups, held) and held.any() and not held.all()


@pytest.mark.parametrize("many", [1, 2, 10])
def test_thirty_thousand_rows_take_no_time(many):
    random = np.random.default_rng(0)
    y, groups = random.choice(5, 30_000, p=[0.7, 0.15, 0.1, 0.04, 0.01]), np.arange(30_000) // many
    start = time.process_time()
    held = by_group(y, groups, 0.2, 0)
    assert time.process_time() - start < 0.5
    np.testing.assert_allclose(shares(y, held), 0.2, atol=0.005)


def test_limits():
    assert by_group(np.zeros(0, int), np.zeros(0, int), 0.2, 0).shape == (0,)
    assert by_group(np.zeros(1, int), np.zeros(1, int), 0.2, 0).shape == (1,)
    for share in (0, 1, -0.1, 1.5, float("nan")):
        with fails("share", share, "between 0 and 1"):
            by_group(np.zeros(3, int), np.arange(3), share, 0)


# Rows of each class in the 22 records of MIT-BIH that train between patients (DS1): N S V F Q. Most of F is in one record.
DS1 = """1859 3 0 0 2|1507 0 520 0 0|1739 4 17 2 0|2491 0 38 2 0|2536 2 0 0 0|1820 12 43 4 0|1952 0 0 0 0|2301 1 109 0 0
|2165 96 16 0 0|1543 0 444 0 0|2474 0 0 0 0|1535 31 47 5 0|1634 128 198 2 0|2529 2 444 1 4|2570 3 71 11 0|1542 107 210 0 0
|1585 2 992 372 2|2620 383 1 0 0|3194 3 164 1 0|1952 94 0 0 0|2044 73 473 14 0|2253 0 1 0 0"""


def records():
    table = np.array([[int(n) for n in line.split()] for line in DS1.split("|")])
    y = np.concatenate([np.repeat(np.arange(5), row) for row in table])
    return table, y, np.repeat(np.arange(len(table)), table.sum(1))


def test_few_large_groups_are_matched_in_all_classes_at_once():
    """No other choice of the records comes nearer: all are tried here by another way."""
    table, y, groups = records()
    found = several(y, groups, 0.15, 0, 8, complete=False)
    best = shares(y, found[0])[:4]
    assert len(found) == 8 and len(np.unique(found, axis=0)) == 8 and all(whole(groups, held) for held in found)
    assert (best > [0.1, 0.11, 0.14, 0.07]).all() and (best < [0.22, 0.16, 0.18, 0.1]).all()
    every = np.array(np.meshgrid(*[[0, 1]] * 11, indexing="ij")).reshape(11, -1).T  # all choices, by two halves
    halves = [every @ table[:11], every @ table[11:]]
    wanted, slack = 0.15 * table.sum(0), np.array([1, 0.5, 0.5, 0.5, 1])
    miss = lambda out: (np.maximum(np.abs(out - wanted) - slack, 0) ** 4 / wanted**4).mean(-1)  # noqa: E731
    least = min(miss(more + halves[1]).min() for more in halves[0])
    np.testing.assert_allclose(miss(np.bincount(y, found[0], minlength=5)), least, rtol=1e-4)
    named = [label for label, _, _ in unmatched(y, found[0], 0.15)]
    assert 3 in named and 2 not in named  # F, which one record has nearly all of; not V


def test_a_test_split_of_few_groups_has_every_class_that_can_be_divided():
    table, y, groups = records()
    held = by_group(y, groups, 0.15, 3)
    assert (np.bincount(y, held, minlength=5) > 0).all() and (np.bincount(y, ~held, minlength=5) > 0).all()


def test_many_groups_that_are_hard_to_match_are_exchanged():
    """60 patients, most of the rare class in five of them."""
    random = np.random.default_rng(0)
    table = np.stack([random.integers(200, 900, 60), random.integers(0, 9, 60) ** 2, np.zeros(60, int)], axis=1)
    table[:12, 2] = [150, 90, 70, 60, 40, 5, 4, 4, 3, 3, 2, 2]
    y = np.concatenate([np.repeat(np.arange(3), row) for row in table])
    groups = np.repeat(np.arange(60), table.sum(1))
    for seed in range(4):
        held = by_group(y, groups, 0.2, seed)
        assert whole(groups, held) and unmatched(y, held, 0.2) == []
        np.testing.assert_allclose(shares(y, held), 0.2, atol=0.01)
    assert (by_group(y, groups, 0.2, 3) == held).all()


def test_a_class_of_one_group_stays_in_the_training_set():
    y = np.concatenate([np.zeros(90, int), np.ones(30, int), [2, 2]])
    for groups in (np.arange(len(y)) // 2, np.concatenate([np.arange(120) // 10, [12, 12]])):
        for seed in range(10):
            held = by_group(y, groups, 0.5, seed)
            assert not held[-2:].any() and held.any()
    assert unmatched(np.repeat([0, 1], [100, 40]), np.arange(140) < 20, 0.2) == [(1, 0, 40)]
