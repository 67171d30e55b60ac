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
    with pytest.raises(UserError, match="config.conv must be"):
        ops.resolve_form("fft")
    assert ops.resolve_form("auto", backend="cpu") == "gemm"
    assert ops.resolve_form("auto", backend="gpu") == "lax"
    assert ops.resolve_form("auto", 8, "gpu") == "gemm"


# --- precision --------------------------------------------------------------------------------------------------

FORMS = {"tiles": (3, (12, 12), (3, 3), 16, 24), "patches": (3, (12, 12), (3, 3), 3, 24), "long": (3, (60,), (33,), 16, 16)}


def all_three(x, w, dy, **options):
    """The convolution and both gradients, float64 arrays."""
    y, pull = jax.vjp(lambda x, w: ops.conv(x, w, padding="VALID", **options), x, w)
    return [np.asarray(part, np.float64) for part in (y, *pull(dy.astype(y.dtype)))]


def rms(found, expected):
    return [float(np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2))) for a, b in zip(found, expected, strict=True)]


def exact(x, w, dy):
    """The same by float64 numpy, for one or two spatial axes."""
    x, w, dy = (np.asarray(array, np.float64) for array in (x, w, dy))
    taps, out = w.shape[:-2], dy.shape[1:-1]
    y, dx, dw = np.zeros(dy.shape), np.zeros(x.shape), np.zeros(w.shape)
    for tap in np.ndindex(*taps):
        seen = (slice(None), *(slice(i, i + n) for i, n in zip(tap, out, strict=True)))
        y += x[seen] @ w[tap]
        dx[seen] += dy @ w[tap].T
        dw[tap] = np.tensordot(x[seen], dy, (tuple(range(x.ndim - 1)),) * 2)
    return y, dx, dw


def rounded_case(name, dtype):
    """x, w, dy of a form in that dtype."""
    x, w = arrays(FORMS[name])
    dy = jax.random.normal(jax.random.key(9), jax.eval_shape(lambda: ops.conv(x, w, padding="VALID")).shape)
    return [array.astype(dtype) for array in (x, w, dy)]


@pytest.mark.parametrize("name", FORMS)
def test_bfloat16_is_as_exact_as_lax(name):
    x, w, dy = rounded_case(name, jnp.bfloat16)
    expected = exact(x, w, dy)
    for ours, theirs in zip(rms(all_three(x, w, dy), expected), rms(all_three(x, w, dy, form="lax"), expected), strict=True):
        assert ours <= 1.1 * theirs and ours < 0.0025  # rounding the result to 8 bits is 0.17 %


def tf32(array):
    """Rounded to TF32's 10 bits of mantissa, to the nearest, ties to even, as tensor cores do with what they multiply."""
    bits = jax.lax.bitcast_convert_type(array, jnp.uint32)
    bits = bits + jnp.uint32(0xFFF) + (bits >> 13 & 1)
    return jax.lax.bitcast_convert_type(bits & jnp.uint32(0xFFFFE000), jnp.float32)


@pytest.fixture
def emulated(monkeypatch):
    """Products that do not ask for float32 round what they multiply, as a GPU does."""
    real = jax.lax.dot_general

    def dot_general(a, b, dims, precision=None, **options):
        full = precision == jax.lax.Precision.HIGHEST or precision == (jax.lax.Precision.HIGHEST,) * 2
        return real(a, b, dims, precision=precision, **options) if full else real(tf32(a), tf32(b), dims, **options)

    monkeypatch.setattr(jax.lax, "dot_general", dot_general)


@pytest.mark.parametrize(("precision", "bound"), [("highest", 2e-6), ("high", 6e-4)])
@pytest.mark.parametrize("name", FORMS)
def test_error_by_named_precision(emulated, name, precision, bound):
    x, w, dy = rounded_case(name, jnp.float32)
    errors = rms(all_three(x, w, dy, precision=precision), exact(x, w, dy))
    assert max(errors) < bound
    if precision == "high" and name != "long":
        assert min(errors) > 1e-4  # the emulation is at work


def test_the_precision_is_named_in_the_program():
    """For a GPU: each product of forward and backward asks for what was named, whichever form runs."""
    for name, form in itertools.product(FORMS, ("gemm", "lax")):
        x, w = arrays(FORMS[name])

        def loss(x, w, form=form, **options):
            return jnp.sum(ops.conv(x, w, padding="VALID", form=form, **options) ** 2)

        def text(function, x=x, w=w):
            return jax.jit(jax.grad(function, (0, 1))).trace(x, w).lower(lowering_platforms=("cuda",)).as_text()

        full = text(lambda x, w, loss=loss: loss(x, w, precision="highest"))
        products = sum(full.count(word) for word in ("stablehlo.dot_general", "stablehlo.convolution"))
        named = full.count("[HIGHEST, HIGHEST]") + full.count("precision_config = [#stablehlo<precision HIGHEST>")
        assert products and named >= products
        with jax.default_matmul_precision("float32"):
            assert text(loss).count("HIGHEST") == full.count("HIGHEST")


def test_resolved_precision():
    highest, high = jax.lax.Precision.HIGHEST, jax.lax.Precision.HIGH
    assert ops.resolve_precision() == highest  # on a CPU
    assert ops.resolve_precision("high") == ops.resolve_precision(high) == high
    with jax.default_matmul_precision("tensorfloat32"):
        assert ops.resolve_precision() == high and ops.resolve_precision("float32") == highest
