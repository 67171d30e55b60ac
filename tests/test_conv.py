"""Every convolution against jax.lax: values, gradients, gradients of gradients; under jit, vmap and scan."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imbal_jax.errors import UserError
from imbal_jax.ops import conv as ops

# batch, size, kernel, channels in and out
SHAPES_2D = [
    (2, (9, 8), (3, 3), 2, 5),
    (2, (7, 7), (3, 3), 5, 2),
    (3, (8, 6), (4, 4), 3, 4),
    (2, (9, 9), (7, 7), 6, 1),
    (1, (5, 7), (1, 1), 4, 3),
    (2, (6, 9), (2, 5), 5, 6),
    (2, (10, 9), (3, 3), 16, 17),
    (2, (8, 11), (4, 4), 17, 16),
    (1, (7, 8), (2, 2), 16, 16),
]
SHAPES_1D = [(2, (20,), (4,), 3, 5), (2, (15,), (8,), 6, 1), (1, (9,), (3,), 2, 2)]
CASES = [
    *itertools.product(SHAPES_2D + SHAPES_1D, (1, 2), ("SAME", "VALID")),
    *itertools.product((SHAPES_2D[0], SHAPES_2D[5], SHAPES_1D[2]), (3,), ("SAME", "VALID")),
]


def arrays(shape, seed=0):
    batch, size, kernel, c, f = shape
    keys = jax.random.split(jax.random.key(seed), 2)
    return jax.random.normal(keys[0], (batch, *size, c)), jax.random.normal(keys[1], (*kernel, c, f))


def reference(name):
    """The lax form of a function; a signal goes through lax as an image of one row."""
    return lambda x, w, **options: getattr(ops, name)(x, w, form="lax", **options)


@pytest.mark.parametrize("name", ["conv", "conv_transpose"])
@pytest.mark.parametrize(("shape", "stride", "padding"), CASES)
def test_values_and_gradients_match_lax(name, shape, stride, padding):
    x, w = arrays(shape)
    options = {"stride": stride, "padding": padding}

    def both(function):
        def run(x, w):
            y, pull = jax.vjp(lambda x, w: function(x, w, **options), x, w)
            return y, *pull(jnp.cos(y))

        return jax.jit(run)(x, w)

    for ours, theirs in zip(both(getattr(ops, name)), both(reference(name)), strict=True):
        # Sums are rounded in proportion to their largest terms, and the tiles' transforms cancel some of them.
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5 * float(jnp.abs(theirs).max()))


@pytest.mark.parametrize("name", ["conv", "conv_transpose"])
def test_gradient_of_gradient_matches_lax(name):
    x, w = arrays((2, (8, 8), (4, 4), 3, 4))

    def penalty(function):
        def run(x, w):
            slope = jax.grad(lambda x: jnp.sum(jnp.tanh(function(x, w, stride=2))))(x)
            return jnp.sum(slope**2)

        return jax.jit(jax.grad(run, (0, 1)))(x, w)

    for ours, theirs in zip(penalty(getattr(ops, name)), penalty(reference(name)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["conv", "conv_transpose"])
def test_lanes_and_scan_equal_single_calls(name):
    function = getattr(ops, name)
    lanes = [arrays((2, (8, 8), (3, 3), 3, 4), seed) for seed in range(3)]
    x, w = (jnp.stack(parts) for parts in zip(*lanes, strict=True))
    step = jax.value_and_grad(lambda w, x: jnp.mean(function(x, w, stride=2) ** 2))
    alone = [step(wi, xi) for xi, wi in lanes]
    mapped = jax.jit(jax.vmap(step))(w, x)
    _, scanned = jax.jit(lambda w, x: jax.lax.scan(lambda c, wx: (c, step(*wx)), 0, (w, x)))(w, x)
    for i, (loss, gradient) in enumerate(alone):
        for batch in (mapped, scanned):
            np.testing.assert_allclose(batch[0][i], loss, rtol=1e-5)
            np.testing.assert_allclose(batch[1][i], gradient, rtol=1e-4, atol=1e-5)


def test_bad_arguments_are_named():
    x, w = arrays((2, (8, 8), (3, 3), 3, 4))
    with pytest.raises(ValueError, match="channels"):
        ops.conv(x[..., :2], w)
    with pytest.raises(ValueError, match="padding"):
        ops.conv(x, w, padding="FULL")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="form"):
        ops.resolve_form("fft")
    assert ops.resolve_form("auto", backend="cpu") == "gemm"
    assert ops.resolve_form("auto", backend="gpu") == "lax"
    assert ops.resolve_form("auto", 8, "gpu") == "gemm"
