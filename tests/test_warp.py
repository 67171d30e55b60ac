"""Warps against SciPy and against what can be said without a reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from imbal_jax.methods.inputs import affine
from imbal_jax.ops import warp

SCIPY = {"constant": "grid-constant", "nearest": "nearest", "reflect": "reflect", "wrap": "grid-wrap"}


def images(shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def some_matrices(many, seed=0):
    """Far-reaching ones: parts of what is read lie more than a whole image away."""
    rng = np.random.default_rng(seed)
    low, high = np.array([[180, 40, -0.4, -0.4, 9, 9], [180, 40, 3, 3, 9, 9]])[:, :, None] * [[[-1]], [[1]]]
    return composed(*rng.uniform(low, high, (6, many)))


@jax.jit
def composed(angle, slant, fy, fx, dy, dx):
    return warp.compose(warp.rotation(angle), warp.shear(slant), warp.zoom(fy, fx), warp.translation(dy, dx))


def by_scipy(x, matrix, fill, value):
    matrix = np.asarray(matrix, np.float64)
    out = np.empty(x.shape)
    centre = (np.array(x.shape[1:3]) - 1) / 2
    for i, channel in np.ndindex(x.shape[0], x.shape[3]):
        linear, shift = matrix[i, :2, :2], matrix[i, :2, 2]
        out[i, :, :, channel] = ndimage.affine_transform(
            x[i, :, :, channel].astype(np.float64),
            linear,
            centre - linear @ centre + shift,
            order=1,
            mode=SCIPY[fill],
            cval=value,
        )
    return out


@jax.jit
def by_every_fill(x, matrix):
    return {fill: warp.affine(x, matrix, fill=fill, value=0.3) for fill in warp.FILLS}


@pytest.mark.parametrize("shape", [(12, 7, 10, 3), (5, 28, 28, 1)])
def test_warps_equal_scipys(shape):
    x, matrix = images(shape), some_matrices(shape[0])
    for fill, ours in by_every_fill(x, matrix).items():
        np.testing.assert_allclose(ours, by_scipy(x, matrix, fill, 0.3), atol=5e-5, err_msg=fill)


def test_a_place_on_a_pixel_reads_that_pixel_in_every_program():
    """Index and share may be computed in two kernels, which rounded this case's place to different sides of a pixel."""
    keys, x = jax.random.split(jax.random.key(2), 4), images((4, 64, 28, 28, 1))
    ranges = affine.Ranges(15.0, 10.0, (0.9, 1.1), 0.0)

    @jax.jit
    def lanes(keys, x):
        matrix = jax.vmap(lambda key: affine.random_matrices(key, 64, (28, 28), ranges))(keys)
        return matrix, jax.vmap(lambda key, x: affine.random_affine(key, x, ranges))(keys, x)

    matrix, out = lanes(keys, x)
    for lane in range(4):
        np.testing.assert_allclose(out[lane], by_scipy(x[lane], matrix[lane], "constant", 0.0), atol=5e-5)


def test_dtypes_are_kept():
    x, matrix = images((4, 9, 9, 2)), some_matrices(4)[:, :2]
    same = jax.jit(lambda *all: [warp.affine(x, matrix) for x in all])
    exact, half, whole = same(x, jnp.asarray(x, jnp.bfloat16), np.round(x * 255).astype(np.uint8))
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), exact, atol=0.01)
    assert whole.dtype == jnp.uint8
    np.testing.assert_allclose(whole, exact * 255, atol=1.01)


def test_the_identity_changes_nothing():
    x = images((3, 6, 5, 2))
    matrix = composed(np.zeros(3), 0.0, 1.0, 1.0, 0.0, 0.0)
    for fill, out in by_every_fill(x, matrix).items():
        np.testing.assert_array_equal(out, x, err_msg=fill)


def test_directions():
    image = images((5, 5))
    x = np.tile(image[None, :, :, None], (4, 1, 1, 1))
    matrix = jnp.stack([warp.rotation(90.0), warp.translation(1.0, 2.0), warp.zoom(0.5, 0.5), warp.shear(30.0)])
    turned, moved, magnified, _ = np.asarray(jax.jit(warp.affine)(x, matrix))[:, :, :, 0]
    np.testing.assert_allclose(turned, np.rot90(image, -1), atol=1e-5)
    np.testing.assert_allclose(moved[:4, :3], image[1:, 2:], atol=1e-6)
    np.testing.assert_allclose(magnified[::2, ::2], image[1:4, 1:4], atol=1e-6)
    np.testing.assert_allclose(matrix[3], [[1, -0.5, 0], [0, np.cos(np.pi / 6), 0], [0, 0, 1]], atol=1e-6)


def test_composing_applies_the_first_one_first():
    """Whole-pixel steps, so that two resamplings lose nothing against one."""
    turn, move = warp.rotation(90.0)[None], warp.translation(1.0, 0.0)[None]

    @jax.jit
    def both(x):
        one_by_one = warp.affine(warp.affine(x, turn, fill="wrap"), move, fill="wrap")
        return one_by_one, warp.affine(x, warp.compose(turn, move), fill="wrap")

    twice, once = both(images((1, 7, 7, 1)))
    np.testing.assert_allclose(once, twice, atol=1e-5)


def test_lanes_batched_together_and_gradients():
    x, matrix = images((2, 3, 6, 6, 1)), jnp.stack([some_matrices(3), some_matrices(3, 1)])

    @jax.jit
    def both(x, matrix):
        slopes = jax.grad(lambda x, m: (warp.affine(x, m) ** 2).sum(), argnums=(0, 1))(x[0], matrix[0])
        alone = jnp.stack([warp.affine(x[lane], matrix[lane]) for lane in range(2)])
        return jax.vmap(warp.affine)(x, matrix), alone, slopes

    together, alone, slopes = both(x, matrix)
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert all(np.isfinite(slope).all() for slope in slopes)


def test_bad_calls():
    x = jnp.zeros((2, 4, 4, 1))
    with pytest.raises(ValueError, match="'mirror' is none of constant"):
        warp.affine(x, jnp.zeros((2, 2, 3)), fill="mirror")
    with pytest.raises(ValueError, match=r"not \(2, 4, 4, 1\) and \(3, 2, 3\)"):
        warp.affine(x, jnp.zeros((3, 2, 3)))
    with pytest.raises(ValueError, match=r"not \(2, 4, 4, 1\) and \(2, 4, 4\)"):
        warp.displace(x, jnp.zeros((2, 4, 4)))
