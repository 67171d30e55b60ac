"""Splits by group: whole groups, every class on its share, the same again."""

import time

import numpy as np
import pytest
from data_files import fails

from imbal_jax.data.split import by_group


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
