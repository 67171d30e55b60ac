"""Convolution and transposed convolution, 1-D and 2-D, as matrix products (GEMM) with hand-written gradients.

Why: XLA's CPU backend has no fast path for the gradient of a convolution inside a loop, and a convolution whose
weights are mapped over lanes becomes a grouped one, slow nearly everywhere. Matrix products are fast in both places.

A convolution is bilinear, and so are its two gradients; each of the three maps below is written by hand, and its
own gradient is given by the other two, so derivatives of any order (WGAN-GP) stay on the fast path:

    correlate(x, w) -> y        _input_gradient(dy, w) -> dx        _kernel_gradient(x, dy) -> dw

A transposed convolution *is* `_input_gradient`. All arrays are channels-last; kernels are [kh, kw, in, out], the layout
and spatial orientation of `jax.lax.conv_general_dilated` and `flax.linen.Conv`, so weights are interchangeable.
Long kernels over signals go through the frequency domain instead (`ops.fourier`).
The reference in the tests is `jax.lax`, which is also the form used where it is faster (`form='lax'`).
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from imbal_jax.errors import UserError
from imbal_jax.ops import fourier, winograd

Form = Literal["gemm", "lax"]
Padding = Literal["SAME", "VALID"]
Precision = lax.Precision | str | None


TILE = 3  # outputs a side of one Winograd tile: 2.25 to 3.24 times fewer products, errors near plain float32


class Geometry(NamedTuple):
    """What is static about a 2-D convolution: everything but the batch and the channels."""

    size: tuple[int, int]  # rows and columns of x
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: tuple[tuple[int, int], tuple[int, int]]  # zeros before and after, rows then columns
    precision: Precision = lax.Precision.HIGHEST  # of the products of float32 arrays

    @property
    def out(self) -> tuple[int, int]:
        """Rows and columns of y."""
        return tuple(
            (n + lo + hi - k) // s + 1 for n, k, s, (lo, hi) in zip(self.size, self.kernel, self.stride, self.pads, strict=True)
        )  # type: ignore[return-value]


def resolve_form(form: str, lanes: int = 1, backend: str | None = None) -> Form:
    """'auto' -> 'gemm' on a CPU and where a device has several lanes, else 'lax'; 'gemm' and 'lax' stay as they are.

    Weights that differ from lane to lane make a grouped convolution of `lax`: on an H200 with 8 lanes its step of the
    conditional GAN took 7.1 ms a lane, the same in matrix products 1.5 (one lane: 3.8 and 3.1).

    Args:
        form: config.conv.
        lanes: how many a device has.
        backend: 'cpu', 'gpu' or 'tpu'; jax's default.
    """
    if form == "auto":
        return "gemm" if lanes > 1 or (backend or jax.default_backend()) == "cpu" else "lax"
    if form not in ("gemm", "lax"):
        raise UserError(f"config.conv must be 'auto', 'gemm' or 'lax' (got {form!r})")
    return form  # type: ignore[return-value]


def resolve_precision(precision: Precision = None) -> Precision:
    """The precision of the products of float32 arrays: as given, else jax's (`jax.default_matmul_precision`).

    Where neither says anything: float32 on a CPU, whose products are that whatever they are asked for, and TF32 on a GPU
    ('high'). So the result names what is computed, and the form that runs depends on that name alone.

    Args:
        precision: 'highest' or 'float32' (float32 on every device); 'high' or 'tensorfloat32' (TF32 on a GPU); another of
            jax's names; or None.
    """
    name = jax.config.jax_default_matmul_precision if precision is None else precision  # type: ignore[attr-defined]
    if name is None:
        return lax.Precision.HIGHEST if jax.default_backend() == "cpu" else lax.Precision.HIGH
    names = {"highest": "HIGHEST", "float32": "HIGHEST", "high": "HIGH", "tensorfloat32": "HIGH"}
    return lax.Precision[names[name]] if name in names else name


def conv(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: int | Sequence[int] = 1,
    padding: Padding = "SAME",
    form: Form = "gemm",
    precision: Precision = None,
) -> jax.Array:
    """Convolution (cross-correlation, as in every deep-learning library) over the spatial axes of `x`.

    Args:
        x: [B, H, W, C] or [B, T, C], floating.
        kernel: [kh, kw, C, F] or [k, C, F], same dtype.
        stride: one number, or one per spatial axis.
        padding: 'SAME' (output = ceil(input / stride)) or 'VALID'.
        form: 'gemm' (this module) or 'lax' (`jax.lax.conv_general_dilated`).
        precision: of the products of float32 arrays, forward and backward, see `resolve_precision`. Products of bfloat16
            arrays are added up in float32.

    Returns:
        [B, H', W', F] or [B, T', F].
    """
    _check(x, kernel, padding)
    if form == "gemm" and fourier.worth(x, kernel, stride):
        before, after = _same_pads(x.shape[1], kernel.shape[0], 1) if padding == "SAME" else (0, 0)
        return fourier.correlate(x, kernel, before, x.shape[1] + before + after - kernel.shape[0] + 1)
    return _lift_1d(_conv_2d, x, kernel, stride, padding, form, resolve_precision(precision))


def conv_transpose(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: int | Sequence[int] = 1,
    padding: Padding = "SAME",
    form: Form = "gemm",
    precision: Precision = None,
) -> jax.Array:
    """Transposed (fractionally strided) convolution with the conventions of `jax.lax.conv_transpose`.

    Args:
        x: [B, H, W, C] or [B, T, C], floating.
        kernel: [kh, kw, C, F] or [k, C, F]; not flipped, as in `flax.linen.ConvTranspose`.
        stride: one number, or one per spatial axis.
        padding: 'SAME' (output = input * stride) or 'VALID' (output = input * stride + max(k - stride, 0)).
        form: 'gemm' or 'lax'.
        precision: as in `conv`.

    Returns:
        [B, H', W', F] or [B, T', F].
    """
    _check(x, kernel, padding)
    if form == "gemm" and fourier.worth(x, kernel, stride):
        out, (lo, _) = _transposed_axis(x.shape[1], kernel.shape[0], 1, padding)
        return fourier.correlate(x, kernel, kernel.shape[0] - 1 - lo, out)
    return _lift_1d(_conv_transpose_2d, x, kernel, stride, padding, form, resolve_precision(precision))


def _check(x, kernel, padding):
    if x.ndim not in (3, 4) or kernel.ndim != x.ndim or x.shape[-1] != kernel.shape[-2]:
        raise ValueError(f"convolution of x {x.shape} with kernel {kernel.shape}: channels or ranks do not fit")
    if padding not in ("SAME", "VALID"):
        raise ValueError(f"padding {padding!r}: use 'SAME' or 'VALID'")


def _lift_1d(function, x, kernel, stride, padding, form, precision):
    """A signal is an image of one row."""
    strides = (stride,) * (x.ndim - 2) if isinstance(stride, int) else tuple(stride)
    if x.ndim == 4:
        return function(x, kernel, strides, padding, form, precision)
    return function(x[:, None], kernel[None], (1, *strides), padding, form, precision)[:, 0]


def _conv_2d(x, kernel, stride, padding, form, precision):
    if form == "lax":
        layout = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, kernel, stride, padding, dimension_numbers=layout, precision=precision)
    size, taps = x.shape[1:3], kernel.shape[:2]
    pads = tuple(_same_pads(n, k, s) if padding == "SAME" else (0, 0) for n, k, s in zip(size, taps, stride, strict=True))
    return correlate(Geometry(size, taps, stride, pads, precision), x, kernel)  # type: ignore[arg-type]


def _conv_transpose_2d(x, kernel, stride, padding, form, precision):
    if form == "lax":
        layout = ("NHWC", "HWIO", "NHWC")
        return lax.conv_transpose(x, kernel, stride, padding, dimension_numbers=layout, precision=precision)
    taps = kernel.shape[:2]
    size, pads = zip(
        *(_transposed_axis(n, k, s, padding) for n, k, s in zip(x.shape[1:3], taps, stride, strict=True)), strict=True
    )
    # lax convolves the dilated input with the kernel as it is; the adjoint of a correlation uses it flipped.
    return _input_gradient(Geometry(size, taps, stride, pads, precision), x, kernel[::-1, ::-1].swapaxes(2, 3))


def _same_pads(n: int, k: int, s: int) -> tuple[int, int]:
    total = max((-(-n // s) - 1) * s + k - n, 0)
    return total // 2, total - total // 2


def _transposed_axis(n: int, k: int, s: int, padding: str) -> tuple[int, tuple[int, int]]:
    """Size and pads of the correlation whose input gradient is the transposed convolution on one axis."""
    if padding == "VALID":
        return n * s + max(k - s, 0), (0, 0)
    total = k + s - 2
    before = k - 1 if s > k - 1 else -(-total // 2)  # lax's own rule for 'SAME'
    lo, hi = k - 1 - before, k - 1 - (total - before)
    return n * s, (lo, hi)


# --- the three bilinear maps ------------------------------------------------------------------------------------


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def correlate(geometry: Geometry, x: jax.Array, w: jax.Array) -> jax.Array:
    """y[b, i, j, f] = sum over taps and channels of padded x[b, i s + u, j s + v, c] w[u, v, c, f]."""
    return _correlate(geometry, x, w)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _input_gradient(geometry: Geometry, dy: jax.Array, w: jax.Array) -> jax.Array:
    """The adjoint of `correlate` in x: [B, *out, F], [kh, kw, C, F] -> [B, *size, C]."""
    c, f = w.shape[2:]
    if geometry.stride == (1, 1):
        if _worth_tiles(geometry, dy.dtype, c, f) and c < f:
            return winograd.input_gradient(dy, w, geometry.pads, geometry.size, TILE)
        return _correlate(_mirrored(geometry), dy, _flip(w))
    dense = _blocked(geometry)
    dx = _correlate(_mirrored(dense), dy, _flip(_kernel_to_blocks(geometry, w)))
    return _from_blocks(geometry, dx, w.shape[2])


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _kernel_gradient(geometry: Geometry, x: jax.Array, dy: jax.Array) -> jax.Array:
    """The adjoint of `correlate` in w: [B, *size, C], [B, *out, F] -> [kh, kw, C, F]."""
    c, f = x.shape[-1], dy.shape[-1]
    kh, kw = geometry.kernel
    if _worth_tiles(geometry, x.dtype, c, f):
        if geometry.stride != (1, 1):
            dw = _kernel_gradient(_blocked(geometry), _to_blocks(geometry, x), dy)
            return _kernel_from_blocks(geometry, dw, c)
        return winograd.kernel_gradient(x, dy, geometry.pads, kh, TILE)
    if geometry.stride == (1, 1) and f < c:  # the fewer channels are the cheaper ones to repeat
        shifted = _patches(_mirrored(geometry), dy).reshape(-1, kh * kw * f)
        dw = _product(geometry, x.reshape(-1, c), shifted, 0, 0)
        return dw.reshape(c, kh, kw, f)[:, ::-1, ::-1].transpose(1, 2, 0, 3).astype(x.dtype)
    patches = _patches(geometry, x).reshape(-1, kh * kw * c)
    return _product(geometry, patches, dy.reshape(-1, f), 0, 0).reshape(kh, kw, c, f).astype(x.dtype)


correlate.defvjp(
    lambda g, x, w: (_correlate(g, x, w), (x, w)),
    lambda g, saved, dy: (_input_gradient(g, dy, saved[1]), _kernel_gradient(g, saved[0], dy)),
)
_input_gradient.defvjp(
    lambda g, dy, w: (_input_gradient(g, dy, w), (dy, w)),
    lambda g, saved, dx: (correlate(g, dx, saved[1]), _kernel_gradient(g, dx, saved[0])),
)
_kernel_gradient.defvjp(
    lambda g, x, dy: (_kernel_gradient(g, x, dy), (x, dy)),
    lambda g, saved, dw: (_input_gradient(g, saved[1], dw), correlate(g, saved[0], dw)),
)


# --- how they are computed --------------------------------------------------------------------------------------


def _flip(w: jax.Array) -> jax.Array:
    """The kernel of the adjoint: turned by 180 degrees, in and out exchanged."""
    return w[::-1, ::-1].swapaxes(2, 3)


def _mirrored(g: Geometry) -> Geometry:
    """The stride-1 correlation that maps dy to dx. Its pads may be negative: then rows are cut off."""
    pads = tuple((k - 1 - lo, k - 1 - hi) for k, (lo, hi) in zip(g.kernel, g.pads, strict=True))
    return Geometry(g.out, g.kernel, (1, 1), pads, g.precision)  # type: ignore[arg-type]


def _correlate(g: Geometry, x: jax.Array, w: jax.Array) -> jax.Array:
    c, f = w.shape[2:]
    if g.kernel == (1, 1) and g.stride == (1, 1) and g.pads == ((0, 0), (0, 0)):
        return _product(g, x, w[0, 0], -1, 0).astype(x.dtype)
    if _worth_tiles(g, x.dtype, c, f):
        if g.stride != (1, 1):
            return _correlate(_blocked(g), _to_blocks(g, x), _kernel_to_blocks(g, w))
        return winograd.correlate(x, w, g.pads, g.out, TILE)
    if g.stride == (1, 1) and f < c:
        return _multiply_first(g, x, w)
    return _product(g, _patches(g, x), w.reshape(-1, f), -1, 0).astype(x.dtype)


def _product(g: Geometry, a: jax.Array, b: jax.Array, axis_a: int, axis_b: int) -> jax.Array:
    """The sum over an axis of each, added up in float32 also for bfloat16, and returned so: for the caller to cast."""
    dims = (((axis_a % a.ndim,), (axis_b % b.ndim,)), ((), ()))
    return lax.dot_general(a, b, dims, precision=g.precision, preferred_element_type=jnp.promote_types(a.dtype, jnp.float32))


def _worth_tiles(g: Geometry, dtype: jnp.dtype, c: int, f: int) -> bool:
    """Whether Winograd's tiles are faster: 2x2 or 3x3 taps (after blocking) and enough channels to fill matrix products.

    They are for true float32 alone, for the transforms enlarge the rounding of the products several times. bfloat16 arrays
    go through float32 on a CPU, where that is the fastest form too; elsewhere products in bfloat16 are faster.
    """
    taps = {-(-k // s) for k, s in zip(g.kernel, g.stride, strict=True)}
    exact = g.precision == lax.Precision.HIGHEST and (dtype != jnp.bfloat16 or jax.default_backend() == "cpu")
    return exact and taps in ({2}, {3}) and min(c, f) >= 16 and min(g.out) >= TILE


def _pad(x: jax.Array, pads: tuple[tuple[int, int], ...]) -> jax.Array:
    """Zero rows and columns added (or, where negative, removed) around [B, H, W, C]."""
    if pads == ((0, 0), (0, 0)):
        return x
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (*pads[0], 0), (*pads[1], 0), (0, 0, 0)))


def _taps(g: Geometry, padded: jax.Array) -> list[jax.Array]:
    """For each kernel tap the strided view [B, *out, C] that it multiplies, rows of the kernel first."""
    (kh, kw), (sh, sw), (h, w) = g.kernel, g.stride, g.out
    b, c = padded.shape[0], padded.shape[-1]
    return [
        lax.slice(padded, (0, u, v, 0), (b, u + (h - 1) * sh + 1, v + (w - 1) * sw + 1, c), (1, sh, sw, 1))
        for u in range(kh)
        for v in range(kw)
    ]


def _patches(g: Geometry, x: jax.Array) -> jax.Array:
    """[B, *size, C] -> [B, *out, kh kw C]: what each output pixel sees."""
    return jnp.concatenate(_taps(g, _pad(x, g.pads)), axis=-1)


def _multiply_first(g: Geometry, x: jax.Array, w: jax.Array) -> jax.Array:
    """Few output channels: one product per tap on the small side, shifted and added after (kn2row).

    The patches of a 7x7 kernel over 128 channels would be 49 times the input; the products are 49 numbers a pixel.
    """
    (kh, kw), (c, f) = g.kernel, w.shape[2:]
    b = x.shape[0]
    if f < 4:  # taps outermost, so that each shifted view is read in order
        flat = _product(g, w.transpose(0, 1, 3, 2).reshape(-1, c), x.reshape(-1, c), 1, 1)
        planes = flat.reshape(kh * kw, f * b, *g.size)
        planes = lax.pad(planes, jnp.zeros((), flat.dtype), ((0, 0, 0), (0, 0, 0), (*g.pads[0], 0), (*g.pads[1], 0)))
        h, width = g.out
        total = sum(planes[u * kw + v, :, u : u + h, v : v + width] for u in range(kh) for v in range(kw))
        return jnp.moveaxis(total.reshape(f, b, h, width), 0, -1).astype(x.dtype)  # type: ignore[union-attr]
    products = _product(g, x, w.transpose(2, 0, 1, 3).reshape(c, kh * kw * f), -1, 0)
    padded = _pad(products, g.pads)
    h, width = g.out
    views = [
        lax.slice(padded, (0, u, v, t * f), (b, u + h, v + width, (t + 1) * f))
        for t, (u, v) in enumerate((u, v) for u in range(kh) for v in range(kw))
    ]
    return sum(views[1:], start=views[0]).astype(x.dtype)


# A stride-s correlation is a stride-1 one over s x s blocks of pixels (space to depth), so the strided forms and their
# gradients need no code of their own. Kernels are filled up with zero taps to a multiple of the stride.


def _blocked(g: Geometry) -> Geometry:
    """The stride-1 geometry over blocks."""
    kernel = tuple(-(-k // s) for k, s in zip(g.kernel, g.stride, strict=True))
    size = tuple(n + k - 1 for n, k in zip(g.out, kernel, strict=True))
    return Geometry(size, kernel, (1, 1), ((0, 0), (0, 0)), g.precision)  # type: ignore[arg-type]


def _block_pads(g: Geometry) -> tuple[tuple[int, int], ...]:
    """Zeros around x that make it whole blocks; negative where the last rows are never seen."""
    blocks = _blocked(g).size
    return tuple((lo, b * s - n - lo) for b, s, n, (lo, _) in zip(blocks, g.stride, g.size, g.pads, strict=True))


def _to_blocks(g: Geometry, x: jax.Array) -> jax.Array:
    """[B, *size, C] -> [B, rows, columns, sh sw C]."""
    (sh, sw), (rows, columns), c = g.stride, _blocked(g).size, x.shape[-1]
    x = _pad(x, _block_pads(g)).reshape(-1, rows, sh, columns, sw, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(-1, rows, columns, sh * sw * c)


def _from_blocks(g: Geometry, x: jax.Array, c: int) -> jax.Array:
    """The adjoint of `_to_blocks`."""
    (sh, sw), (rows, columns) = g.stride, _blocked(g).size
    x = x.reshape(-1, rows, columns, sh, sw, c).transpose(0, 1, 3, 2, 4, 5)
    return _pad(x.reshape(-1, rows * sh, columns * sw, c), tuple((-lo, -hi) for lo, hi in _block_pads(g)))


def _kernel_to_blocks(g: Geometry, w: jax.Array) -> jax.Array:
    """[kh, kw, C, F] -> [rows, columns, sh sw C, F]."""
    (sh, sw), (rows, columns), (kh, kw), (c, f) = g.stride, _blocked(g).kernel, g.kernel, w.shape[2:]
    w = jnp.pad(w, ((0, rows * sh - kh), (0, columns * sw - kw), (0, 0), (0, 0)))
    return w.reshape(rows, sh, columns, sw, c, f).transpose(0, 2, 1, 3, 4, 5).reshape(rows, columns, sh * sw * c, f)


def _kernel_from_blocks(g: Geometry, w: jax.Array, c: int) -> jax.Array:
    """The adjoint of `_kernel_to_blocks`."""
    (sh, sw), (rows, columns), (kh, kw), f = g.stride, _blocked(g).kernel, g.kernel, w.shape[-1]
    w = w.reshape(rows, columns, sh, sw, c, f).transpose(0, 2, 1, 3, 4, 5)
    return w.reshape(rows * sh, columns * sw, c, f)[:kh, :kw]
