import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from imbal_jax.ops import conv, fourier

KEY = jax.random.key(0)


def arrays(t, k, c, f, many=3):
    return jax.random.normal(KEY, (many, t, c)), jax.random.normal(jax.random.fold_in(KEY, 1), (k, c, f))


def reference(x, w, before, out):
    after = out + w.shape[0] - 1 - before - x.shape[1]
    return lax.conv_general_dilated(x, w, (1,), [(before, after)], dimension_numbers=("NWC", "WIO", "NWC"))


@pytest.mark.parametrize(
    ("t", "k", "before", "out"),
    [
        (20, 5, 0, 16),
        (20, 5, 2, 20),
        (20, 6, 2, 20),
        (20, 6, 5, 25),
        (7, 16, 15, 22),
        (7, 16, 7, 7),
        (16, 16, 0, 1),
        (9, 1, 0, 9),
    ],
)
def test_values_and_gradients_match_lax(t, k, before, out):
    x, w = arrays(t, k, 3, 4)

    def both(function):
        value = lambda x, w: jnp.sum(jnp.sin(function(x, w, before, out)))  # noqa: E731
        return function(x, w, before, out), *jax.grad(value, (0, 1))(x, w)

    for mine, theirs in zip(both(fourier.correlate), both(reference), strict=True):
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layer", [conv.conv, conv.conv_transpose])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("k", [32, 33])
def test_long_kernels_go_this_way_and_agree(layer, padding, k):
    x, w = arrays(60, k, 8, 8)
    assert fourier.worth(x, w, 1)
    mine, theirs = layer(x, w, padding=padding), layer(x, w, padding=padding, form="lax")
    np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4)


def test_short_kernels_strides_images_and_single_channels_do_not():
    x, w = arrays(60, 32, 8, 8)
    assert not fourier.worth(x, w[:5], 1) and not fourier.worth(x, w, 2) and not fourier.worth(x, w, (2,))
    assert not fourier.worth(x[:, None], w[None], 1) and not fourier.worth(x[..., :1], w[:, :1], 1)
    assert fourier.worth(x, w, (1,))


def test_a_gradient_penalty_and_lanes():
    x, w = arrays(40, 16, 8, 8)
    slopes = lambda w, x: jnp.sum(jax.grad(lambda x: jnp.sum(conv.conv(x, w) ** 2))(x) ** 2)  # noqa: E731
    theirs = lambda w, x: jnp.sum(jax.grad(lambda x: jnp.sum(conv.conv(x, w, form="lax") ** 2))(x) ** 2)  # noqa: E731
    mine = jax.vmap(jax.grad(slopes))(jnp.stack([w, 2 * w]), jnp.stack([x, x]))
    for i, kernel in enumerate((w, 2 * w)):
        expected = jax.grad(theirs)(kernel, x)
        np.testing.assert_allclose(mine[i], expected, rtol=1e-3, atol=1e-4 * float(jnp.abs(expected).max()))


def test_bfloat16_stays():
    x, w = arrays(40, 16, 8, 8)
    y = conv.conv(x.astype(jnp.bfloat16), w.astype(jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32), conv.conv(x, w), rtol=0.05, atol=0.5)
