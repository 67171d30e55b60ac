"""Affine transforms: each image of a batch is rotated, sheared, zoomed and moved at random, by one resampling."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from imbal_jax.data.batches import Batch
from imbal_jax.errors import UserError, nearest
from imbal_jax.methods.method import Draw, Method, Task, check_range, images
from imbal_jax.ops import warp

TRACED = ("rotation", "shear", "zoom", "translation", "p")


class Ranges(NamedTuple):
    """What random transforms are drawn from, each uniformly.

    Attributes:
        rotation: at most this many degrees in either direction.
        shear: at most this many degrees in either direction.
        zoom: least and greatest factor, drawn independently for each axis; below 1 magnifies (see `imbal_jax.ops.warp`).
        translation: at most this share of the height and of the width either way.
        fill: what lies outside an image; 'constant' is 0.
    """

    rotation: float = 15.0
    shear: float = 10.0
    zoom: tuple[float, float] = (0.9, 1.1)
    translation: float = 0.1
    fill: str = "constant"


def make(
    task: Task,
    rotation: float = 15.0,
    shear: float = 10.0,
    zoom: float | str = 0.1,
    translation: float = 0.1,
    fill: str = "constant",
    classes: int | str = "all",
    p: float = 1.0,
) -> Method:
    """Transform each image by its own random rotation, shear, zoom and translation, in this order.

    out(p) = image(R S Z T p), bilinear, with p counted from the centre: one matrix, one resampling.

    Args:
        task: the problem.
        rotation: degrees, drawn from -rotation to rotation.
        shear: degrees, drawn from -shear to shear.
        zoom: factors drawn from 1 - zoom to 1 + zoom, or 'low,high' as in Keras's random_zoom ('0.8,0.8': always 0.8);
            each axis has its own, and below 1 magnifies.
        translation: share of the height and width, drawn from -translation to translation.
        fill: 'constant' (black), 'nearest', 'reflect' or 'wrap': what lies outside an image.
        classes: 'all', 'minority' (the rare classes before any balancing), a class, or several as in '6,8,9': the
            examples of other classes stay as they are. A mixed example counts for its largest class.
        p: how likely an image is to be transformed, from 0 to 1. A transformed image is less sharp, for it is resampled, and
            a network that has met no other in training can stumble over the sharp ones of a test; below 1 it meets both.
    """
    ranges = read_ranges("affine", task, rotation, shear, zoom, translation, fill)
    chosen = read_classes("affine", task, classes)
    check_range("affine", "p", p, 0, 1)

    def transform(key: jax.Array, batch: Batch, draw: Draw, progress: jax.Array) -> Batch:
        return replace_some(key, batch, random_affine(key, batch.x, ranges), chosen, p)

    return Method(transform=transform)


def replace_some(key: jax.Array, batch: Batch, x: jax.Array, chosen: tuple[bool, ...], p: jax.Array | float) -> Batch:
    """As `replace`, each row with probability p.

    The key may be the one that x was drawn with: it is folded.
    """
    return replace(batch, x, chosen, jax.random.bernoulli(jax.random.fold_in(key, 1), p, (x.shape[0],)))


def replace(batch: Batch, x: jax.Array, chosen: tuple[bool, ...], moved: jax.Array | None = None) -> Batch:
    """The batch with the rows x [B, ...example] for its own: those of the `chosen` classes [K] that are `moved`, bool [B]."""
    if not all(chosen):
        own = jnp.asarray(chosen)[jnp.argmax(batch.t, axis=-1)]
        moved = own if moved is None else moved & own
    return batch._replace(x=x if moved is None else jnp.where(moved.reshape(-1, *[1] * (x.ndim - 1)), x, batch.x))


def random_affine(key: jax.Array, x: jax.Array, ranges: Ranges, value: float = 0.0) -> jax.Array:
    """Transform each of the images x [B, H, W, C] by its own random matrix; `value` lies outside with fill 'constant'.

    Returns x's shape and dtype. Raises ValueError for another rank or an unknown fill.
    """
    matrix = random_matrices(key, x.shape[0], (x.shape[1], x.shape[2]), ranges)
    return warp.affine(x, matrix, fill=ranges.fill, value=value)


def random_matrices(key: jax.Array, many: int, size: tuple[int, int], ranges: Ranges) -> jax.Array:
    """Random matrices, float32 [many, 3, 3], for `warp.affine` on images of `size` (height, width)."""
    u = jax.random.uniform(key, (6, many))
    either = 2 * u - 1
    low, high = ranges.zoom
    return warp.compose(
        warp.rotation(either[0] * ranges.rotation),
        warp.shear(either[1] * ranges.shear),
        warp.zoom(low + u[2] * (high - low), low + u[3] * (high - low)),
        warp.translation(either[4] * (ranges.translation * size[0]), either[5] * (ranges.translation * size[1])),
    )


def read_ranges(
    name: str, task: Task, rotation: float, shear: float, zoom: float | str, translation: float, fill: str
) -> Ranges:
    """The options as `Ranges`.

    Raises:
        UserError: rows that are not images, or an option out of its range; the text begins with `name`, the method's.
    """
    images(task, name)
    for option, given, most in (("rotation", rotation, 180), ("shear", shear, 89), ("translation", translation, 1)):
        check_range(name, option, given, 0, most)
    read_fill(name, fill)
    return Ranges(rotation, shear, _factors(name, zoom), translation, fill)


def read_fill(name: str, fill: str) -> None:
    """Raise UserError for an unknown fill; the text begins with `name`, the method's."""
    if fill not in warp.FILLS:
        raise UserError(f"{name}: unknown fill {fill!r}{nearest(fill, warp.FILLS)}; known: {', '.join(warp.FILLS)}")


def read_classes(name: str, task: Task, classes: int | str) -> tuple[bool, ...]:
    """Which classes are meant by 'all', 'minority', a class or several with commas between them: [K].

    Raises:
        UserError: none of these; the text begins with `name`, the method's.
    """
    known = range(len(task.counts))
    if classes in ("all", "minority"):
        wanted = set(known if classes == "all" else task.minority)
    else:
        words = [word.strip() for word in str(classes).split(",")]
        if not all(word.isdecimal() and int(word) in known for word in words):
            raise UserError(
                f"{name}: classes={classes!r} is none of 'all', 'minority', a class from 0 to {len(known) - 1}, or several "
                "as in '0,1'"
            )
        wanted = {int(word) for word in words}
    return tuple(label in wanted for label in known)


def _factors(name: str, zoom: float | str) -> tuple[float, float]:
    if not isinstance(zoom, str):
        check_range(name, "zoom", zoom, 0, 1, below=True, hint=", or two factors as '0.8,1.2'")
        return 1 - zoom, 1 + zoom
    try:
        low, high = (float(word) for word in zoom.split(","))
    except ValueError:
        raise UserError(f"{name}: zoom must be a number or two factors as '0.8,1.2' (got {zoom!r})") from None
    if not 0 < low <= high < float("inf"):
        raise UserError(f"{name}: the factors of zoom must be above 0 and in rising order (got {zoom!r})")
    return low, high
