"""Making a training set imbalanced: how many rows of each class stay, and which."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from imbal_jax import spec
from imbal_jax.data.dataset import rank_in_class
from imbal_jax.errors import UserError, nearest
from imbal_jax.fields import is_whole
from imbal_jax.runtime.lanes import purpose

LARGEST = 1e12  # number in it
FORMS = "'none', '{6: 100, 8: 100}', 'exponential(factor=100)' or 'step(factor=100, minority=0.5)'"


def target_counts(profile: str, counts: np.ndarray, fraction: float) -> np.ndarray:
    """Rows per class after the cut, int64 [K].

    Profiles:

    - `none`: every row stays.
    - `{6: 100, 8: 100}`: class index to count in the published set; scaled by `fraction`, rounded, at least 1. The
      classes that are not named stay whole.
    - `exponential(factor=100)`: class i of K gets int(n_max * factor**(-i / (K - 1))), but no more than it has and at
      least 1 (Cui et al. 2019, "Class-Balanced Loss Based on Effective Number of Samples"). n_max is the largest count.
    - `step(factor=100, minority=0.5)`: of the classes the last `minority` share (a half rounded up) keeps
      1 / factor of its rows, at least 1 (Buda et al. 2018, "A systematic study of the class imbalance problem").

    Args:
        profile: one of the forms above.
        counts: loaded rows of each class, int [K].
        fraction: loaded rows / rows of the published set, as in `Dataset.fraction`.

    Raises:
        UserError: a profile of no known form, a class that the data does not have, a count larger than the class, a
            factor below 1, a minority share that is not between 0 and 1 or means no class or all of them.
    """
    counts = np.asarray(counts, np.int64)
    name, options = _parse(profile)
    if name == "none":
        return counts.copy()
    if name == "counts":
        return _explicit(profile, options, counts, fraction)
    factor = options["factor"]
    if not 1 <= factor < math.inf:
        raise UserError(f"config.cut.profile {profile!r}: the factor must be finite and at least 1 (got {factor})")
    if name == "exponential":
        return _exponential(factor, counts)
    return _step(profile, factor, options["minority"], counts)


def minority(counts: Sequence[int]) -> set[int]:
    """The rare classes of a training set: those with fewer than half the rows of the largest class.

    Args:
        counts: training rows of each class after the cut, before any balancing, [K].
    """
    return {label for label, count in enumerate(counts) if 2 * count < max(counts)}


def cut(y: np.ndarray, counts: np.ndarray, draw: str, keys: jax.Array) -> np.ndarray:
    """Which rows stay, for each lane: row numbers in ascending order, int32 [L, M] with M = counts.sum().

    Args:
        y: labels of all rows, int [N].
        counts: rows to keep of each class, int [K], as `target_counts` gives them.
        draw: 'first' keeps the first rows of each class, the same in every lane; 'random' draws them without
            replacement from the lane's key, each class on its own.
        keys: the lanes' keys, typed, [L]. A lane's rows depend on its own key alone.

    Raises:
        UserError: an unknown draw, or a count larger than the class.
    """
    y, counts = np.asarray(y), np.asarray(counts)
    have = np.bincount(y, minlength=len(counts))
    if len(have) != len(counts) or (counts > have).any():
        raise UserError(f"cannot subsample classes of {have.tolist()} rows to {counts.tolist()}")
    if draw == "first":
        rows = np.flatnonzero(rank_in_class(y) < counts[y])
        return np.tile(rows.astype(np.int32), (len(keys), 1))
    if draw == "random":
        return _random_rows(y, counts, have, keys)
    raise UserError(f"config.cut.draw must be 'first' or 'random' (got {draw!r}){nearest(draw, ('first', 'random'))}")


def _random_rows(y: np.ndarray, counts: np.ndarray, have: np.ndarray, keys: jax.Array) -> np.ndarray:
    members = [np.flatnonzero(y == label) for label in range(len(counts))]
    keep = np.zeros((len(keys), len(y)), bool)
    for label, rows in enumerate(members):
        if counts[label] == len(rows):
            keep[:, rows] = True
    reduced = np.flatnonzero(counts < have)
    if reduced.size:
        # One random number for each row; the smallest `count` of a class win. All classes draw as many, so that this is
        # compiled once; the sorting is done on the host, where classes may differ in size.
        draws = np.asarray(_class_draws(keys, jax.numpy.asarray(reduced, jax.numpy.uint32), int(have[reduced].max())))
        for drawn, label in zip(draws, reduced.tolist(), strict=True):
            rows = members[label]
            won = np.argsort(drawn[:, : len(rows)], axis=1, kind="stable")[:, : counts[label]]
            np.put_along_axis(keep, rows[won], True, axis=1)
    return np.stack([np.flatnonzero(lane) for lane in keep]).astype(np.int32)


@functools.partial(jax.jit, static_argnames="size")
def _class_draws(keys: jax.Array, labels: jax.Array, size: int) -> jax.Array:
    """Random numbers uint32 [classes, L, size], each from the lane's key for the purpose 'subset' and the class."""

    def draw(label: jax.Array, key: jax.Array) -> jax.Array:
        return jax.random.bits(jax.random.fold_in(purpose(key, "subset"), label), (size,))

    over_lanes = jax.vmap(draw, in_axes=(None, 0))
    return jax.vmap(over_lanes, in_axes=(0, None))(labels, keys)


def _parse(profile: str) -> tuple[str, dict[Any, Any]]:
    """The profile's name ('counts' for the explicit form) and its options, or the counts by class."""
    defaults: dict[str, dict[str, float]] = {
        "none": {},
        "exponential": {"factor": 100},
        "step": {"factor": 100, "minority": 0.5},
    }
    if profile.strip().startswith("{"):
        try:
            return "counts", spec.literal(profile)
        except ValueError as error:
            raise UserError(f"config.cut.profile {profile!r:.200} cannot be read; write {FORMS}") from error
    words = spec.parse(profile, "config.cut.profile", FORMS)
    if len(words) > 1:
        raise UserError(f"config.cut.profile {profile!r:.200} must be one word; write {FORMS}")
    name, options = words[0].name, words[0].options
    if name not in defaults:
        raise UserError(f"config.cut.profile must be one of {FORMS} (got {profile!r}){nearest(name, defaults)}")
    what = f"config.cut.profile {profile!r:.200}"
    for option, value in options.items():
        if option not in defaults[name]:
            hint = nearest(option, defaults[name])
            raise UserError(f"{what} has no option {option!r}{hint}; it is one of {FORMS}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"{what}: {option} must be a number (got {value!r:.40})")
        if isinstance(value, int) and abs(value) > LARGEST:
            raise UserError(f"{what}: {option} must be at most {LARGEST:g} in size (got {value!r:.40})")
    return name, defaults[name] | options


def _explicit(profile: str, published: dict[Any, Any], counts: np.ndarray, fraction: float) -> np.ndarray:
    target, what = counts.copy(), f"config.cut.profile {profile!r:.200}"
    for label, count in published.items():
        if not is_whole(label) or not 0 <= label < len(counts):
            raise UserError(f"{what}: no class {label!r:.40}; the data has classes 0 to {len(counts) - 1}")
        if not is_whole(count) or not 1 <= count <= LARGEST:
            raise UserError(f"{what}: class {label} needs a whole count from 1 on (got {count!r:.40})")
        target[label] = max(1, round(count * fraction))
        if target[label] > counts[label]:
            scaled = f" (scaled by {fraction:.4g} to {target[label]})" if fraction != 1 else ""
            raise UserError(f"{what}: class {label} has {counts[label]} rows, not {count}{scaled}")
    return target


def _exponential(factor: float, counts: np.ndarray) -> np.ndarray:
    last = max(1, len(counts) - 1)
    ideal = [int(counts.max() * factor ** (-label / last)) for label in range(len(counts))]
    return np.minimum(np.maximum(ideal, 1), counts)


def _step(profile: str, factor: float, minority: float, counts: np.ndarray) -> np.ndarray:
    if not 0 < minority < 1:
        raise UserError(f"config.cut.profile {profile!r}: minority must be a share of classes between 0 and 1 (got {minority})")
    rare = math.floor(minority * len(counts) + 0.5)
    if rare in (0, len(counts)):
        raise UserError(f"config.cut.profile {profile!r}: minority={minority} selects {rare} of {len(counts)} classes")
    target = counts.copy()
    target[-rare:] = np.minimum(np.maximum(target[-rare:] / factor, 1), counts[-rare:]).astype(np.int64)
    return target
