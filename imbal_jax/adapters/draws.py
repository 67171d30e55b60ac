"""Random draws of rows that lie class by class, with NumPy: the same on every machine, for each way of searching neighbours.

Every draw has its own generator, made from the seed and the draw's name, so that draws are independent of each other.
"""

import zlib
from collections.abc import Sequence

import numpy as np


def generator(seed: int, name: str) -> np.random.Generator:
    """The generator of one draw ('base', 'neighbour', 'weight', ...) of a call with this seed."""
    return np.random.default_rng([zlib.crc32(name.encode()), seed])


def labels_of(counts: Sequence[int]) -> np.ndarray:
    """Labels int [sum(counts)] of rows that lie class by class."""
    return np.repeat(np.arange(len(counts)), counts)


def uniform_rows(rng: np.random.Generator, counts: Sequence[int], labels: np.ndarray) -> np.ndarray:
    """Positions int [S] of random rows, with replacement, each within the class that `labels` [S] names."""
    sizes = np.asarray(counts)
    begin = np.cumsum(sizes) - sizes
    return begin[labels] + rng.integers(0, sizes[labels])


def weighted_rows(rng: np.random.Generator, weights: np.ndarray, counts: Sequence[int], labels: np.ndarray) -> np.ndarray:
    """Positions int [S] of random rows, with replacement, each within the class that `labels` [S] names.

    Args:
        rng: the generator.
        weights: int or bool [M], how likely each row is within its class; a class that is drawn from must have one above 0.
        counts: rows of each class, adding up to M.
        labels: int [S], the classes to draw from.
    """
    ends = np.cumsum(weights, dtype=np.int64)
    bounds = np.concatenate([[0], ends])[np.concatenate([[0], np.cumsum(counts)])]
    tickets = rng.integers(bounds[labels], bounds[labels + 1])
    return np.searchsorted(ends, tickets, side="right")


def distinct_rows(rng: np.random.Generator, counts: Sequence[int], wanted: Sequence[int]) -> np.ndarray:
    """Positions int [sum(wanted)] of random rows, `wanted` of each class, without replacement and in their order."""
    y = labels_of(counts)
    order = np.lexsort((rng.random(len(y)), y))
    rank = np.arange(len(y)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(order[rank < np.asarray(wanted, int)[y]])


def joins(
    seed: int, counts: Sequence[int], missing: Sequence[int], around: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Parents int [S, 2] and weights float32 [S], in [0, 1), of new rows, class by class.

    Args:
        seed: of the call.
        counts: rows of each class, adding up to M.
        missing: new rows of each class, adding up to S.
        around: int [M, k], the neighbours of each row, one of which is drawn as the second parent.
        weights: bool or int [M], how likely each row is the first parent; None for equally likely.
    """
    y = labels_of(missing)
    rng = generator(seed, "base")
    bases = uniform_rows(rng, counts, y) if weights is None else weighted_rows(rng, weights, counts, y)
    which = generator(seed, "neighbour").integers(0, around.shape[1], len(y))
    weight = generator(seed, "weight").random(len(y), np.float32)
    return np.stack([bases, around[bases, which]], axis=1), weight


def shortened(
    seed: int, drawn: tuple[np.ndarray, np.ndarray], counts: Sequence[int], missing: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """The joins `drawn` with weights times a random number in [0, 0.5) where the second parent is of another class."""
    parents, weight = drawn
    foreign = labels_of(counts)[parents[:, 1]] != labels_of(missing)
    shorter = generator(seed, "foreign").random(len(weight), np.float32) / 2
    return parents, np.where(foreign, shorter * weight, weight)
