"""Warps of images: a matrix or a field of displacements, and one bilinear resampling, per image.

Convention, as in `scipy.ndimage.affine_transform`: a matrix takes homogeneous coordinates (row, column, 1) of an output
pixel to the place in the input that it is read from, both counted in pixels from the image's centre ((H - 1) / 2,
(W - 1) / 2). Hence zoom factors below 1 magnify, and `compose(first, second)` warps by `first`, then by `second`.
"""

import math

import jax
import jax.numpy as jnp

FILLS = {  # what lies outside: the name here -> `jnp.pad`'s; scipy's mode is given in `affine`
    "constant": "constant",
    "nearest": "edge",
    "reflect": "symmetric",
    "wrap": "wrap",
}


def affine(x: jax.Array, matrix: jax.Array, *, fill: str = "constant", value: float = 0.0) -> jax.Array:
    """Warp each image by its own matrix, with bilinear interpolation.

    Args:
        x: [B, H, W, C]; integers are interpolated in float32 and rounded.
        matrix: [B, 2, 3] or [B, 3, 3], from output to input pixels about the centre (see the module); the last row of a
            3 x 3 matrix is taken to be (0, 0, 1).
        fill: what lies outside an image (abcd): 'constant' (vv abcd vv, v = `value`; scipy's 'grid-constant': pixels
            between the border and one pixel beyond it are blended), 'nearest' (aa abcd dd), 'reflect' (ba abcd dc, as
            scipy's 'reflect') or 'wrap' (cd abcd ab, scipy's 'grid-wrap').
        value: a number in x's units.

    Returns:
        x's shape and dtype.

    Raises:
        ValueError: an unknown `fill`; another rank or shape.
    """
    if x.ndim != 4 or matrix.shape not in ((x.shape[0], 2, 3), (x.shape[0], 3, 3)):
        raise ValueError(f"images [B, H, W, C] and matrices [B, 2 or 3, 3] are needed, not {x.shape} and {matrix.shape}")
    rows, columns = _coordinates(matrix.astype(jnp.float32), x.shape[1], x.shape[2])
    return _read(x, rows, columns, fill, value)


def displace(x: jax.Array, field: jax.Array, *, fill: str = "constant", value: float = 0.0) -> jax.Array:
    """Read each output pixel from its own place plus a displacement, with bilinear interpolation.

    Args:
        x: [B, H, W, C]; integers are interpolated in float32 and rounded.
        field: float [B, 2, H, W], rows and columns further, in pixels.
        fill, value: as for `affine`.

    Returns:
        x's shape and dtype.

    Raises:
        ValueError: an unknown `fill`; another rank or shape.
    """
    if x.ndim != 4 or field.shape != (x.shape[0], 2, *x.shape[1:3]):
        raise ValueError(f"images [B, H, W, C] and fields [B, 2, H, W] are needed, not {x.shape} and {field.shape}")
    rows, columns = jnp.arange(x.shape[1], dtype=jnp.float32), jnp.arange(x.shape[2], dtype=jnp.float32)
    return _read(x, rows[None, :, None] + field[:, 0], columns[None, None, :] + field[:, 1], fill, value)


def _read(x: jax.Array, rows: jax.Array, columns: jax.Array, fill: str, value: float) -> jax.Array:
    """The images [B, H, W, C] at places [B, H, W], bilinear."""
    if fill not in FILLS:
        raise ValueError(f"fill={fill!r} is none of {', '.join(FILLS)}")
    _, height, width, channels = x.shape
    top, down = _tap(rows, height, fill)
    left, right = _tap(columns, width, fill)
    # A border of one pixel makes the four taps neighbours everywhere, whatever the fill.
    border = ((0, 0), (1, 1), (1, 1), (0, 0))
    padded = jnp.pad(x, border, constant_values=value) if fill == "constant" else jnp.pad(x, border, mode=FILLS[fill])
    start = jnp.arange(x.shape[0])[:, None, None] * ((height + 2) * (width + 2))
    place = start + top * (width + 2) + left
    above, below = _pairs(padded.astype(jnp.float32), jnp.stack([place, place + width + 2]))
    both = _between(above, below, down[..., None, None])
    out = _between(both[..., 0, :], both[..., 1, :], right[..., None])
    return (out if jnp.issubdtype(x.dtype, jnp.inexact) else jnp.round(out)).astype(x.dtype)


def rotation(degrees: jax.Array | float) -> jax.Array:
    """The matrix [..., 3, 3] of a rotation by degrees [...]; positive turns what is seen clockwise."""
    angle = jnp.asarray(degrees, jnp.float32) * (math.pi / 180)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return _matrix([[cos, -sin, 0], [sin, cos, 0]])


def shear(degrees: jax.Array | float) -> jax.Array:
    """The matrix [..., 3, 3] of a shear by degrees [...]: the column axis is turned by the angle, the row axis stays.

    As in Keras's `random_shear`: row' = row - sin(angle) column, column' = cos(angle) column.
    """
    angle = jnp.asarray(degrees, jnp.float32) * (math.pi / 180)
    return _matrix([[jnp.ones_like(angle), -jnp.sin(angle), 0], [0, jnp.cos(angle), 0]])


def zoom(fy: jax.Array | float, fx: jax.Array | float) -> jax.Array:
    """The matrix [..., 3, 3] that reads `fy` times as many rows and `fx` times as many columns: below 1 magnifies."""
    return _matrix([[jnp.asarray(fy, jnp.float32), 0, 0], [0, jnp.asarray(fx, jnp.float32), 0]])


def translation(dy: jax.Array | float, dx: jax.Array | float) -> jax.Array:
    """The matrix [..., 3, 3] that reads `dy` rows and `dx` columns further: what is seen moves up and left."""
    return _matrix([[1, 0, jnp.asarray(dy, jnp.float32)], [0, 1, jnp.asarray(dx, jnp.float32)]])


def compose(*matrices: jax.Array) -> jax.Array:
    """One matrix [..., 3, 3] for warping by the given ones [..., 3, 3], the first of them first."""
    product = matrices[0]
    for matrix in matrices[1:]:  # sums entry by entry, not a matrix product: one kernel, and exact float32 on accelerators
        product = _matrix([[sum(product[..., i, k] * matrix[..., k, j] for k in range(3)) for j in range(3)] for i in range(2)])
    return product


def _matrix(rows: list[list]) -> jax.Array:
    """Two rows of three entries [...], and (0, 0, 1): [..., 3, 3]."""
    entries = jnp.broadcast_arrays(*(jnp.asarray(entry, jnp.float32) for row in [*rows, [0, 0, 1]] for entry in row))
    return jnp.stack([jnp.stack(entries[first : first + 3], axis=-1) for first in (0, 3, 6)], axis=-2)


def _coordinates(matrix: jax.Array, height: int, width: int) -> tuple[jax.Array, jax.Array]:
    """Where each output pixel is read, float32 [B, H, W] rows and columns.

    As a matrix product, for its result is written out: sums of a few terms would be recomputed, one by one, in the
    kernel that gathers, which takes a third longer. Yet the same bits wherever it is computed, for a compiler may take it
    apart after all, and work out a place twice, once for the pixel to read and once for its neighbour's share: two that fall
    on different sides of a pixel would read the wrong one. So every product is exact (of an entry's upper or lower half and a
    coordinate of up to 12 bits), with and without fused multiply-add.
    """
    cy, cx = (height - 1) / 2, (width - 1) / 2
    row = jnp.repeat(jnp.arange(height, dtype=jnp.float32) - cy, width)
    column = jnp.tile(jnp.arange(width, dtype=jnp.float32) - cx, height)
    bits = jax.lax.bitcast_convert_type(matrix[:, :2, :2], jnp.uint32) & jnp.uint32(0xFFFFF000)
    upper = jax.lax.stop_gradient(jax.lax.bitcast_convert_type(bits, jnp.float32))
    constant = matrix[:, :2, 2:] + jnp.asarray([[[cy], [cx]]], jnp.float32)
    entries = jnp.concatenate([constant, upper, matrix[:, :2, :2] - upper], axis=-1).reshape(-1, 5)
    place = jnp.matmul(entries, jnp.stack([jnp.ones_like(row), row, column, row, column]), precision="highest")
    place = place.reshape(-1, 2, height, width)
    return place[:, 0], place[:, 1]


def _tap(place: jax.Array, size: int, fill: str) -> tuple[jax.Array, jax.Array]:
    """The first of two neighbours in an axis with a border of one, int32 from 0 to size, and the second's share."""
    if fill == "constant":
        place = jnp.clip(place, -1, size)
    elif fill == "nearest":
        place = jnp.clip(place, 0, size - 1)
    elif fill == "wrap":
        place = _rest(place, size)
    else:
        turn = _rest(place + 0.5, 2 * size)
        place = jnp.minimum(turn, 2 * size - turn) - 0.5
    first = jnp.minimum(jnp.floor(place), size - 1)  # the last pixel's right neighbour is the border
    return first.astype(jnp.int32) + 1, place - first


def _rest(place: jax.Array, size: int) -> jax.Array:
    """place modulo size, half as slow as `jnp.mod`; by rounding it may reach just below 0 or size, where the border is."""
    return place - size * jnp.floor(place / size)


def _pairs(x: jax.Array, place: jax.Array) -> jax.Array:
    """Two neighbours in a row, read at once with all their channels: [..., 2, C] of [B, H, W, C] at pixels [...], counted
    through the whole batch, which has fewer than 2^31 numbers."""
    channels = x.shape[-1]
    numbers = jax.lax.GatherDimensionNumbers(offset_dims=(place.ndim,), collapsed_slice_dims=(), start_index_map=(0,))
    index = channels * place[..., None]
    found = jax.lax.gather(x.reshape(-1), index, numbers, (2 * channels,), mode="promise_in_bounds")
    return found.reshape(*place.shape, 2, channels)


def _between(first: jax.Array, second: jax.Array, share: jax.Array) -> jax.Array:
    return first + (second - first) * share
