"""Depthwise convolution, 1-D and 2-D, as shifted products with hand-written gradients.

Why: XLA's CPU backend computes the grouped form of a convolution a hundred times slower than need be. Each channel has its
own few taps, so there is no matrix product to be made of it: a sum of shifted products reads the image once a tap, and
the compiler fuses it into one loop.

All arrays are channels-last; kernels are [kh, kw, C]. The reference in the tests is `jax.lax` with
`feature_group_count=C`, which is also the form used where it is faster (`form='lax'`).
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from imbal_jax.ops.conv import Form, Geometry, Padding

PRODUCTS = 100  # in the one expression of a kernel's gradient: more are little faster, and take long to compile


def depthwise(
    x: jax.Array, kernel: jax.Array, *, stride: int | Sequence[int] = 1, padding: Padding = "SAME", form: Form = "gemm"
) -> jax.Array:
    """Convolution (cross-correlation) of each channel with its own kernel.

    Args:
        x: [B, H, W, C] or [B, T, C], floating. Sums are in float32, whatever its dtype.
        kernel: [kh, kw, C] or [k, C], same dtype.
        stride: one number, or one per spatial axis.
        padding: 'SAME' (output = ceil(input / stride)) or 'VALID'.
        form: 'gemm' (this module) or 'lax' (`jax.lax.conv_general_dilated`).

    Returns:
        [B, H', W', C] or [B, T', C], x's dtype.
    """
    if x.ndim not in (3, 4) or kernel.ndim != x.ndim - 1 or x.shape[-1] != kernel.shape[-1]:
        raise ValueError(f"depthwise convolution of x {x.shape} with kernel {kernel.shape}: channels or ranks do not fit")
    if padding not in ("SAME", "VALID"):
        raise ValueError(f"padding {padding!r}: use 'SAME' or 'VALID'")
    strides = (stride,) * (x.ndim - 2) if isinstance(stride, int) else tuple(stride)
    if x.ndim == 4:
        return _depthwise_2d(x, kernel, strides, padding, form)
    return _depthwise_2d(x[:, None], kernel[None], (1, *strides), padding, form)[:, 0]


def _depthwise_2d(x, kernel, stride, padding, form):
    if form == "lax":
        return lax.conv_general_dilated(
            x, kernel[:, :, None], stride, padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=x.shape[-1],
        )  # fmt: skip
    size, taps = x.shape[1:3], kernel.shape[:2]
    whole = Geometry(size, taps, stride, tuple(lax.padtype_to_pads(size, taps, stride, padding)))  # type: ignore[arg-type]
    (top, bottom), (left, right) = (_reach(whole, axis) for axis in range(2))
    (above, below), (before, after) = whole.pads
    pads = ((above - top, below - taps[0] + bottom), (before - left, after - taps[1] + right))
    useful = whole._replace(kernel=(bottom - top, right - left), pads=pads)
    return _correlate(useful, x, kernel[top:bottom, left:right])


def _reach(g: Geometry, axis: int) -> tuple[int, int]:
    """First and last + 1 of the taps that ever see more than padding: 5 taps over 2 pixels are 3."""
    n, k, s, (lo, _), out = g.size[axis], g.kernel[axis], g.stride[axis], g.pads[axis], g.out[axis]
    useful = [u for u in range(k) if any(0 <= i * s + u - lo < n for i in range(out))]
    return useful[0], useful[-1] + 1


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _shifted_products(geometry: Geometry, x: jax.Array, w: jax.Array) -> jax.Array:
    """y[b, i, j, c] = sum over taps of padded x[b, i s + u, j s + v, c] w[u, v, c]."""
    return _forward(geometry, x, w)[0]


def _forward(g: Geometry, x: jax.Array, w: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    padded = _padded(x, g.pads)
    return _add_up([_view(padded, (u, v), g.stride, g.out) * _tap(w, u, v) for u, v in _pairs(g.kernel)], x.dtype), (padded, w)


def _backward(g: Geometry, saved: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    padded, w = saved
    dy = lax.optimization_barrier(dy)  # read by every tap: what made it must not be repeated there
    return _input_gradient(g, dy, w), _kernel_gradient(g, padded, dy)


_shifted_products.defvjp(_forward, _backward)
_correlate = jax.jit(_shifted_products, static_argnums=0)  # layers of one shape are then traced once


def _input_gradient(g: Geometry, dy: jax.Array, w: jax.Array) -> jax.Array:
    """The adjoint in x: [B, *out, C], [kh, kw, C] -> [B, *size, C].

    Of the padded rows, number p, p + s, p + 2 s, ... see the taps p, p + s, ... alone: each of the s x s kinds of pixels is
    a stride-1 correlation of dy with its part of the kernel, turned round.
    """
    (sh, sw), b, c = g.stride, dy.shape[0], dy.shape[-1]
    (top, _), (left, _) = g.pads
    if g.stride == (1, 1):
        return _spread(dy, w, g.size, (top, left))
    rows, columns = (-(-(n + lo + hi) // s) for n, s, (lo, hi) in zip(g.size, g.stride, g.pads, strict=True))
    kinds = [[_spread(dy, w[p::sh, q::sw], (rows, columns), (0, 0)) for q in range(sw)] for p in range(sh)]
    wide = [jnp.stack(kind, axis=3).reshape(b, rows, columns * sw, c) for kind in kinds]
    dx = jnp.stack(wide, axis=2).reshape(b, rows * sh, columns * sw, c)
    return dx[:, top : top + g.size[0], left : left + g.size[1]]


def _spread(dy: jax.Array, w: jax.Array, size: tuple[int, int], first: tuple[int, int]) -> jax.Array:
    """Where dy goes through the taps w at stride 1: `size` rows and columns from number `first` of the padded ones."""
    taps, out = w.shape[:2], dy.shape[1:3]
    if 0 in taps:  # the stride is longer than the kernel: pixels that no tap sees
        return jnp.zeros((dy.shape[0], *size, dy.shape[-1]), dy.dtype)
    pads = tuple((k - 1 - i, i + n - m) for k, i, n, m in zip(taps, first, size, out, strict=True))
    return _correlate(Geometry(out, taps, (1, 1), pads), dy, w[::-1, ::-1])  # type: ignore[arg-type]


def _kernel_gradient(g: Geometry, padded: jax.Array, dy: jax.Array) -> jax.Array:
    """The adjoint in w: padded x, [B, *out, C] -> [kh, kw, C].

    Some pixels are added up in one expression for all taps, a fast loop over the channels; what is left to be summed up, which
    the compiler does less well, is small.
    """
    (sh, sw), (h, w) = g.stride, g.out
    terms = max(1, PRODUCTS // (g.kernel[0] * g.kernel[1]))
    across = _even(w, terms)
    down = _even(h, terms // across)
    below, after = -h % down, -w % across  # rows and columns of zeros that make whole groups
    dy, padded = _padded(dy, ((0, below), (0, after))), _padded(padded, ((0, below * sh), (0, after * sw)))
    step, groups = (down * sh, across * sw), ((h + below) // down, (w + after) // across)
    parts = [_view(dy, (i, j), (down, across), groups) for i, j in _pairs((down, across))]

    def of_tap(u: int, v: int) -> jax.Array:
        views = [_view(padded, (u + i * sh, v + j * sw), step, groups) for i, j in _pairs((down, across))]
        return _add_up([view.astype(jnp.float32) * part for view, part in zip(views, parts, strict=True)], jnp.float32)

    sums = jnp.stack([of_tap(u, v) for u, v in _pairs(g.kernel)]).sum((1, 2, 3))
    return sums.reshape(*g.kernel, -1).astype(dy.dtype)


def _even(n: int, most: int) -> int:
    """n in as few parts of at most `most` as can be: the size of a part when they are alike."""
    return -(-n // -(-n // most))


def _pairs(counts: tuple[int, int]) -> list[tuple[int, int]]:
    return [(i, j) for i in range(counts[0]) for j in range(counts[1])]


def _add_up(products: list[jax.Array], dtype: jnp.dtype) -> jax.Array:
    return sum(products[1:], start=products[0]).astype(dtype)


def _padded(x: jax.Array, pads: tuple[tuple[int, int], tuple[int, int]]) -> jax.Array:
    """Zero rows and columns added (or, where negative, removed) around [B, H, W, C].

    The barriers keep the compiler from padding or computing x again at every tap.
    """
    x = lax.optimization_barrier(x)
    if pads == ((0, 0), (0, 0)):
        return x
    return lax.optimization_barrier(lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (*pads[0], 0), (*pads[1], 0), (0, 0, 0))))


def _view(x: jax.Array, first: tuple[int, int], step: tuple[int, int], count: tuple[int, int]) -> jax.Array:
    """`count` rows and columns of [B, H, W, C] from `first` on, every `step`-th."""
    last = [i + (n - 1) * s + 1 for i, n, s in zip(first, count, step, strict=True)]
    return lax.slice(x, (0, *first, 0), (x.shape[0], *last, x.shape[-1]), (1, *step, 1))


def _tap(w: jax.Array, u: int, v: int) -> jax.Array:
    """One tap of every channel, in float32: sums over the taps do not lose precision where x is bfloat16."""
    return w[u, v].astype(jnp.float32).reshape(1, 1, 1, -1)
