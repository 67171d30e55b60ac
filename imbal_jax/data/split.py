"""Splits that tear no group apart."""

import numpy as np

from imbal_jax.errors import UserError


def by_group(y: np.ndarray, groups: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which rows are held out, bool [N]: whole groups, about `share` of the rows of each class.

    Groups are drawn from the largest to the smallest, in random order where they are about equally large. Each is held out
    with the chance that keeps every class on its share, a class's rows counting the more the fewer it has; not if that
    were too much for the smaller groups to make up for. Among the smallest groups of a class the choice is exact instead of
    random. So a class of single rows misses its share by half a row at most, others by about half of a small group. A class
    of two or more groups has rows on both sides, unless groups of several classes are so entangled that moving one group
    at a time does not bring this about.

    Args:
        y: labels, int [N]; any numbers.
        groups: int [N]; rows with the same number stay together.
        share: of the rows to hold out, between 0 and 1.
        seed: of the draw; the same one gives the same rows on every machine.

    Raises:
        UserError: a share that is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise UserError(f"the share of rows to hold out is {share}: it must lie between 0 and 1")
    if not len(y):
        return np.zeros(0, bool)
    group = np.unique(groups, return_inverse=True)[1]
    label = np.unique(y, return_inverse=True)[1]
    classes = int(label.max()) + 1
    pairs, counts = np.unique(group * classes + label, return_counts=True)
    starts = np.searchsorted(pairs // classes, np.arange(group.max() + 2))
    random = np.random.default_rng(seed)
    held = _draw(np.bincount(group), starts, pairs % classes, counts, np.bincount(label), share, random)
    _mend(held, pairs // classes, pairs % classes, counts, classes, random)
    return held[group]


def fold_by_group(y: np.ndarray, groups: np.ndarray, folds: int, fold: int, seed: int) -> np.ndarray:
    """Which rows are in one of K folds, bool [N]: whole groups, about 1/K of the rows of each class.

    Each row is in one fold. The folds are drawn one after the other by `by_group` from the rows that are left.

    Args:
        y, groups, seed: as in `by_group`.
        folds: K, from 2 on.
        fold: which one, from 0 to K - 1.

    Raises:
        UserError: there are fewer groups than folds.
    """
    if (many := len(np.unique(groups))) < folds:
        raise UserError(f"{folds} folds were asked for, but there are {many} groups of rows: ask for fewer folds")
    rest = np.arange(len(y))
    for number in range(fold + 1):
        last = number == folds - 1
        held = np.ones(len(rest), bool) if last else by_group(y[rest], groups[rest], 1 / (folds - number), seed)
        drawn, rest = rest[held], rest[~held]
    return np.isin(np.arange(len(y)), drawn)


def _draw(
    sizes: np.ndarray,
    starts: np.ndarray,
    labels: np.ndarray,
    counts: np.ndarray,
    totals: np.ndarray,
    share: float,
    random: np.random.Generator,
) -> np.ndarray:
    """Which groups are held out, bool [G]; group g's labels and their counts are at starts[g] to starts[g + 1]."""
    magnitude = np.frexp(sizes)[1]  # 1, 2 to 3, 4 to 7, ... rows: equally large, as far as the order goes
    order = np.lexsort((random.random(len(sizes)), -magnitude))
    smallest = np.full(len(totals), magnitude.max())
    np.minimum.at(smallest, labels, np.repeat(magnitude, np.diff(starts)))
    last = magnitude <= np.maximum.reduceat(smallest[labels], starts[:-1])
    chance = np.where(last, 0.5, random.random(len(sizes)))
    held = np.zeros(len(sizes), bool)
    # Plain Python from here on: the groups come one after the other, and most have a single class.
    lacking = [0.0] * len(totals)  # rows of each class that the groups so far should have held out, and have not
    room = (share * totals).tolist()  # rows of each class that may still be held out
    weights, ends, chances, lasts = (1 / totals).tolist(), starts.tolist(), chance.tolist(), last.tolist()
    all_labels, all_counts = labels.tolist(), counts.tolist()
    for number in order.tolist():
        mine = range(ends[number], ends[number + 1])
        gain = fit = 0.0
        for at in mine:
            label, count = all_labels[at], all_counts[at]
            lacking[label] += share * count
            gain += weights[label] * count * (lacking[label] - chances[number] * count)
            fit += weights[label] * count * (room[label] - count)
        if gain > 0 and (fit >= 0 or lasts[number]):
            held[number] = True
            for at in mine:
                lacking[all_labels[at]] -= all_counts[at]
                room[all_labels[at]] -= all_counts[at]
    return held


def _mend(
    held: np.ndarray,
    group: np.ndarray,
    label: np.ndarray,
    counts: np.ndarray,
    classes: int,
    random: np.random.Generator,
) -> None:
    """Move groups, in place, so that each class with two or more of them has some on both sides.

    The arrays group, label and counts [P] name each pair of a group and a class that occurs, and its rows.
    """
    many = np.bincount(label, minlength=classes)  # groups of each class
    for one in np.argsort(many, kind="stable"):
        members = random.permutation(group[label == one])
        if len(members) < 2 or 0 < held[members].sum() < len(members):
            continue
        out = np.bincount(label, held[group], classes)
        side = bool(held[members[0]])
        # A class loses its last group on this side where all that it has here is the group that moves.
        here = out if side else many - out
        costs = [_cost(here, many, label[group == member], counts[group == member]) for member in members]
        best = int(np.argmin(costs))
        if np.isfinite(costs[best]):
            held[members[best]] = not side


def _cost(here: np.ndarray, many: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> float:
    """The rows that move with a group of such labels; infinite where a class would have none left on its side."""
    return np.inf if ((here[labels] == 1) & (many[labels] > 1)).any() else float(counts.sum())
