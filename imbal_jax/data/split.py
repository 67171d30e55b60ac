"""Splits that tear no group apart."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from imbal_jax.errors import UserError

FEW = 22  # groups, of which every choice is compared
GOOD = 0.2  # a split is as good as the best one if its `_miss` is larger by at most this
TINY = 0.03  # the cost in `_miss` of not holding out a class that may be omitted; see `several`
UNMATCHED = 0.15  # of the requested rows: a class that misses them by more is named
UNSEEN = 0.02  # of the requested rows: below it a drawn split stays as it is
PAIRS = 128  # groups of a side that are tried for an exchange at once


def by_group(y: np.ndarray, groups: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which rows are held out, bool [N]: whole groups, about `share` of the rows of each class.

    Of up to 22 groups every choice is compared: one of the up to 8 that come nearest to the share in all classes at once is
    taken. More groups are drawn from the largest to the smallest, in random order where they are about equally large. Each is
    held out with the chance that keeps every class on its share, a class's rows counting the more the fewer it has; not if
    that were too much for the smaller groups to make up for. Among the smallest groups of a class the choice is exact instead
    of random. So a class of single rows misses its share by half a row at most, others by about half of a small group. Where a
    class still misses its share, groups are moved and exchanged as long as that brings all classes nearer. A class of two or
    more groups has rows on both sides, unless groups of several classes are so entangled that this cannot be found.

    Args:
        y: labels, int [N]; any numbers.
        groups: int [N]; rows with the same number stay together.
        share: of the rows to hold out, between 0 and 1.
        seed: of the draw; the same one gives the same rows on every machine.

    Raises:
        UserError: a share that is not between 0 and 1.
    """
    return several(y, groups, share, seed, 1)[0]


def several(y: np.ndarray, groups: np.ndarray, share: float, seed: int, many: int, complete: bool = True) -> np.ndarray:
    """Up to `many` different splits as `by_group` makes them, bool [P, N], P at least 1.

    Args:
        y, groups, share, seed: as for `by_group`.
        many: at most.
        complete: whether a class of less than a thousandth of the rows, of which fewer than two are requested, must have some
            on both sides, too, however much worse the other classes are matched for it; else only where they are matched about
            as well.
    """
    if not 0 < share < 1:
        raise UserError(f"the share of rows to hold out must be between 0 and 1 (got {share})")
    if not len(y):
        return np.zeros((1, 0), bool)
    group = np.unique(groups, return_inverse=True)[1]
    label = np.unique(y, return_inverse=True)[1]
    classes = int(label.max()) + 1
    pairs, counts = np.unique(group * classes + label, return_counts=True)
    number = int(group.max()) + 1
    if number <= FEW and number < len(y):  # single rows are drawn: that is exact
        table = np.zeros((number, classes), np.float32)
        table[pairs // classes, pairs % classes] = counts
        random = np.random.default_rng(seed)
        choices = _nearest(table, _asked(table, share, complete), 8 if many == 1 else many, random)
        return (choices[random.integers(len(choices))][None] if many == 1 else choices)[:, group]
    seeds = [seed] if many == 1 else [(seed, place) for place in range(many)]
    choices = np.stack(
        [_drawn(group, label, pairs, counts, classes, share, np.random.default_rng(split_seed)) for split_seed in seeds]
    )
    return np.unique(choices, axis=0)[:, group] if many > 1 else choices[:, group]


def unmatched(y: np.ndarray, held: np.ndarray, share: float) -> list[tuple[int, int, int]]:
    """The classes whose held-out rows are not about `share` of theirs: (class, rows held out, rows).

    Args:
        y: labels, int [N], from 0.
        held: which rows are held out, bool [N] or their numbers.
        share: the requested one.
    """
    rows = np.bincount(y)
    out = np.bincount(y[held], minlength=len(rows))
    misses = np.abs(out - share * rows) > np.maximum(UNMATCHED * share * rows, 1)
    return [(int(k), int(out[k]), int(rows[k])) for k in np.flatnonzero(misses)]


def said(y: np.ndarray, held: np.ndarray, share: float, names: Sequence[str], what: str) -> list[str]:
    """A sentence for each class that `unmatched` finds; `what` is what a class is called, such as 'Class' or 'Grade'."""
    why = "its rows lie in too few groups, or in groups with rows of other classes"
    return [
        f"{what} {names[label]}: {out} of {of} rows ({out / of:.1%}) are in the test set, not {share:.0%}, because {why}."
        for label, out, of in unmatched(y, held, share)
    ]


class _Asked(NamedTuple):
    """What a split is judged by, for each class [K].

    Attributes:
        wanted: rows to hold out.
        totals: all of its rows.
        missing: what it costs to hold out none, see `_miss`.
        slack: rows too many or too few that do not count: half of its smallest group, 1 at most.
    """

    wanted: np.ndarray
    totals: np.ndarray
    missing: np.ndarray
    slack: np.ndarray


def _asked(table: np.ndarray, share: float, complete: bool = True) -> _Asked:
    """For groups' class counts [G, K]. A class of one group need not be held out: it stays in the training set."""
    totals = table.sum(0)
    wanted = share * totals
    smallest = np.where(table > 0, table, np.inf).min(0)
    tiny = (wanted < 2) & (totals < totals.sum() / 1000)
    missing = ((table > 0).sum(0) > 1) * np.where(tiny & (not complete), TINY, 1)
    return _Asked(wanted, totals, missing.astype(np.float32), np.minimum(smallest / 2, 1))


def _miss(out: np.ndarray, asked: _Asked) -> np.ndarray:
    """How far splits are from the request, [...]: `out` [..., K] are the rows that they hold out of each class.

    The fourth-power mean over the classes of the rows too many or too few as a share of those wanted: between
    the mean, which lets a small class go, and the largest, which lets all others go for the one that cannot be matched. Each
    class of several groups of which no row is held out costs 1 (a tiny one TINY, see `several`); without training rows, 10.
    """
    relative = np.maximum(np.abs(out - asked.wanted) - asked.slack, 0) / asked.wanted
    squared = relative * relative
    missing = (out == 0) @ asked.missing + 10 * (out == asked.totals).sum(-1)
    return np.sqrt(np.sqrt((squared * squared).mean(-1))) + missing


def _nearest(table: np.ndarray, request: _Asked, many: int, random: np.random.Generator) -> np.ndarray:
    """The up to `many` best choices of groups, bool [P, G], best first; among equally good ones at random.

    All hold out some rows of the classes of which the best one does, and of no others.
    """
    low, most = min(len(table), 14), 8 * many
    sums = _sums(table[:low])
    scores, places = np.zeros(0), np.zeros(0, np.int64)
    for number, more in enumerate(_sums(table[low:])):
        score = _miss(sums + more, request) + 1e-6 * random.random(len(sums))
        best = np.argpartition(score, most)[:most] if len(score) > most else np.arange(len(score))
        scores, places = np.concatenate([scores, score[best]]), np.concatenate([places, best + number * len(sums)])
        keep = np.argsort(scores)[:most]
        scores, places = scores[keep], places[keep]
    places = places[scores <= scores[0] + GOOD]
    chosen = (places[:, None] >> np.arange(len(table)) & 1).astype(bool)
    has = chosen @ table > 0
    return chosen[(has == has[0]).all(1)][:many]


def _sums(table: np.ndarray) -> np.ndarray:
    """The class counts of every choice of the groups, [2^G, K]; bit g of a choice's number says whether it has group g."""
    found = np.zeros((1, table.shape[1]), table.dtype)
    for row in table:
        found = np.concatenate([found, found + row])
    return found


def _drawn(
    group: np.ndarray,
    label: np.ndarray,
    pairs: np.ndarray,
    counts: np.ndarray,
    classes: int,
    share: float,
    random: np.random.Generator,
) -> np.ndarray:
    """Which of many groups are held out, bool [G]."""
    starts = np.searchsorted(pairs // classes, np.arange(group.max() + 2))
    held = _draw(np.bincount(group), starts, pairs % classes, counts, np.bincount(label), share, random)
    _mend(held, pairs // classes, pairs % classes, counts, classes, random)
    alone = np.bincount(pairs % classes, minlength=classes) == 1  # such a class cannot be divided: it stays
    held[(pairs // classes)[alone[pairs % classes]]] = False
    totals = np.bincount(label)
    out = np.bincount(label, held[group], classes)
    if (np.abs(out - share * totals) > np.maximum(UNSEEN * share * totals, 1)).any() and held.size * classes <= 10**7:
        table = np.zeros((held.size, classes), np.float32)
        table[pairs // classes, pairs % classes] = counts
        _improve(held, table, _asked(table, share), random)
    return held


def _improve(held: np.ndarray, table: np.ndarray, request: _Asked, random: np.random.Generator) -> None:
    """Move the group or exchange the two groups that brings all classes nearest, in place, until no move improves the split."""
    now = float(_miss(table[held].sum(0), request))
    idle = 0
    for _ in range(500):
        out = table[held].sum(0)
        moves = _miss(out + np.where(held, -1, 1)[:, None] * table, request)
        inside, outside = (random.permutation(np.flatnonzero(side))[:PAIRS] for side in (held, ~held))
        swaps = _miss(out - table[inside][:, None] + table[outside][None], request)
        if min(best := float(moves.min()), float(swaps.min(initial=np.inf))) >= now - 1e-9:
            idle += 1
            if idle == 3 or len(held) <= PAIRS:
                return
            continue
        idle = 0
        if best <= swaps.min(initial=np.inf):
            changed = [int(moves.argmin())]
        else:
            moved_out, moved_in = np.unravel_index(int(swaps.argmin()), swaps.shape)
            changed, best = [int(inside[moved_out]), int(outside[moved_in])], float(swaps.min())
        held[changed], now = ~held[changed], best


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
        raise UserError(f"config.data.folds must be at most {many}, the number of groups of rows (got {folds})")
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
    groups_of_class = np.bincount(label, minlength=classes)  # groups of each class
    for chosen_class in np.argsort(groups_of_class, kind="stable"):
        members = random.permutation(group[label == chosen_class])
        if len(members) < 2 or 0 < held[members].sum() < len(members):
            continue
        out = np.bincount(label, held[group], classes)
        side = bool(held[members[0]])
        # A class loses its last group on this side where all that it has here is the group that moves.
        here = out if side else groups_of_class - out
        costs = [_cost(here, groups_of_class, label[group == member], counts[group == member]) for member in members]
        best = int(np.argmin(costs))
        if np.isfinite(costs[best]):
            held[members[best]] = not side


def _cost(here: np.ndarray, many: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> float:
    """The rows that move with a group of such labels; infinite where a class would have none left on its side."""
    return np.inf if ((here[labels] == 1) & (many[labels] > 1)).any() else float(counts.sum())
