"""The error of each form of a convolution in each precision, as a Markdown table: python -m benchmarks.precision

Root mean square error relative to float64, of the result and of both gradients. TF32 is emulated where the device has none:
what products multiply is rounded to 10 bits of mantissa, as a GPU's tensor cores do, and added up in float32.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from imbal_jax.ops import conv as ops
from imbal_jax.ops import fourier, winograd

# batch, spatial size, kernel, channels in and out
SHAPES = {
    "Winograd": (8, (16, 16), (3, 3), 32, 48),
    "patches": (8, (16, 16), (3, 3), 32, 48),
    "Fourier": (8, (96,), (33,), 16, 16),
}


def tf32(array: jax.Array) -> jax.Array:
    """float32 rounded to TF32: 10 bits of mantissa, to the nearest, ties to even."""
    bits = lax.bitcast_convert_type(array, jnp.uint32)
    bits = bits + jnp.uint32(0xFFF) + (bits >> 13 & 1)
    return lax.bitcast_convert_type(bits & jnp.uint32(0xFFFFE000), jnp.float32)


@contextmanager
def emulated() -> Iterator[None]:
    """All products round what they multiply to TF32, those of Winograd's and the Fourier form too."""
    real = lax.dot_general

    def rounded(a, b, dims, precision=None, **options):
        return real(tf32(a), tf32(b), dims, **options)

    @jax.custom_vjp
    def matmul(a, b):
        return jnp.matmul(tf32(jnp.asarray(a)), tf32(jnp.asarray(b)))

    def backward(saved, dy):
        a, b = (jnp.swapaxes(array, -1, -2) for array in saved)
        return matmul(dy, b), matmul(a, dy)

    matmul.defvjp(lambda a, b: (matmul(a, b), (a, b)), backward)
    changed: list[Any] = [
        mock.patch.object(lax, "dot_general", rounded),
        mock.patch.object(winograd, "_matmul", lambda v, u: matmul(v.reshape(-1, v.shape[-1]), u).reshape(*v.shape[:-1], -1)),
        mock.patch.object(fourier, "matmul", matmul),
    ]
    for change in changed:
        change.start()
    try:
        yield
    finally:
        for change in changed:
            change.stop()


def exact(x: np.ndarray, w: np.ndarray, dy: np.ndarray) -> tuple[np.ndarray, ...]:
    """Result and both gradients in float64."""
    y, dx, dw = np.zeros(dy.shape), np.zeros(x.shape), np.zeros(w.shape)
    for tap in np.ndindex(*w.shape[:-2]):
        seen = (slice(None), *(slice(i, i + n) for i, n in zip(tap, dy.shape[1:-1], strict=True)))
        y += x[seen] @ w[tap]
        dx[seen] += dy @ w[tap].T
        dw[tap] = np.tensordot(x[seen], dy, (tuple(range(x.ndim - 1)),) * 2)
    return y, dx, dw


def all_three(run: Callable[..., jax.Array], x: jax.Array, w: jax.Array, dy: jax.Array) -> tuple[jax.Array, ...]:
    """Result and both gradients."""
    y, pull = jax.vjp(run, x, w)
    return y, *pull(dy)


def errors(name: str, dtype: type, form: ops.Form = "gemm") -> list[float]:
    """Relative root mean square errors of the result, the input's and the kernel's gradient."""
    batch, size, kernel, c, f = SHAPES[name]
    rng = np.random.default_rng(0)
    out = [n - k + 1 for n, k in zip(size, kernel, strict=True)]
    shapes = (batch, *size, c), (*kernel, c, f), (batch, *out, f)
    x, w, dy = (jnp.asarray(rng.standard_normal(shape), dtype) for shape in shapes)
    expected = exact(*(np.asarray(array, np.float64) for array in (x, w, dy)))
    run: Callable[..., jax.Array] = lambda x, w: ops.conv(x, w, padding="VALID", form=form, precision="highest")  # noqa: E731
    tiles = ops._worth_tiles if name == "Winograd" else lambda *_: False
    with mock.patch.object(ops, "_worth_tiles", tiles):
        found = [np.asarray(part, np.float64) for part in jax.jit(lambda x, w, dy: all_three(run, x, w, dy))(x, w, dy)]
    return [float(np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2))) for a, b in zip(found, expected, strict=True)]


def table() -> str:
    """Form x precision, Markdown."""
    lines = ["| form | precision | result | input gradient | kernel gradient |", "|---|---|---|---|---|"]
    for name in SHAPES:
        measured = {"float32": errors(name, jnp.float32), "bf16": errors(name, jnp.bfloat16)}
        with emulated():
            measured["TF32, emulated"] = errors(name, jnp.float32)
        if name != "Winograd":  # whose shape is that of the patches
            measured["bf16, `lax`"] = errors(name, jnp.bfloat16, "lax")
        lines += [f"| {name} | {kind} | {' | '.join(f'{value:.1e}' for value in row)} |" for kind, row in measured.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
