"""The depthwise convolution against jax.lax's grouped one: values, gradients, gradients of gradients, lanes, loops."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imbal_jax.ops.depthwise import depthwise

KEY = jax.random.key(0)
CASES = [  # x, taps, stride, padding
    ((2, 9, 6, 4), (3, 3), 1, "SAME"),
    ((2, 9, 6, 4), (5, 5), 2, "SAME"),
    ((2, 2, 3, 4), (5, 5), 1, "SAME"),  # taps that see padding alone
    ((2, 1, 1, 4), (5, 3), 2, "SAME"),
    ((2, 10, 9, 3), (2, 3), (3, 1), "VALID"),  # rows that no tap sees
    ((2, 26, 3), (5,), 2, "SAME"),
]


def drawn(shape, taps):
    keys = jax.random.split(KEY)
    return jax.random.normal(keys[0], shape), jax.random.normal(keys[1], (*taps, shape[-1]))


@partial(jax.jit, static_argnames=("stride", "padding", "form"))
def all_of(x, w, stride, padding, form):
    y, pull = jax.vjp(partial(depthwise, stride=stride, padding=padding, form=form), x, w)
    return y, *pull(jnp.cos(y))


@pytest.mark.parametrize(("shape", "taps", "stride", "padding"), CASES)
def test_values_and_both_gradients_are_those_of_lax(shape, taps, stride, padding):
    x, w = drawn(shape, taps)
    for mine, reference in zip(*(all_of(x, w, stride, padding, form) for form in ("gemm", "lax")), strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-4, atol=1e-5)


def test_groups_of_pixels_that_do_not_come_out_even():
    x, w = drawn((1, 23, 14, 2), (1, 2))
    for mine, reference in zip(*(all_of(x, w, 1, "VALID", form) for form in ("gemm", "lax")), strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-4, atol=1e-4)


def test_lanes_and_loops_give_what_single_calls_give():
    x, w = drawn((2, 3, 6, 5, 4), (3, 3))
    w = jnp.stack([w, 2 * w])
    single = [all_of(x[i], w[i], 2, "SAME", "gemm") for i in range(2)]
    one = lambda x, w: all_of(x, w, 2, "SAME", "gemm")  # noqa: E731
    mapped = jax.jit(jax.vmap(one))(x, w)
    looped = jax.lax.scan(lambda carry, xw: (carry, one(*xw)), 0, (x, w))[1]
    for i in range(2):
        for part, alone in enumerate(single[i]):
            np.testing.assert_allclose(mapped[part][i], alone, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(looped[part][i], alone, rtol=1e-5, atol=1e-5)


def test_gradients_of_gradients():
    x, w = drawn((1, 5, 4, 2), (3, 3))

    @partial(jax.jit, static_argnums=2)
    def second(x, w, form):
        y_of = partial(depthwise, stride=2, form=form)
        size_of = lambda x, w: sum((g**2).sum() for g in jax.grad(lambda *xw: (y_of(*xw) ** 3).sum(), (0, 1))(x, w))  # noqa: E731
        return jax.grad(size_of, (0, 1))(x, w)

    for mine, reference in zip(second(x, w, "gemm"), second(x, w, "lax"), strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-3)


def test_bfloat16_loses_only_its_own_rounding():
    x, w = drawn((2, 8, 8, 4), (5, 5))
    half = [part.astype(jnp.bfloat16) for part in (x, w)]
    y = jax.jit(depthwise)(*half)
    assert {part.dtype for part in jax.eval_shape(lambda x, w: all_of(x, w, 1, "SAME", "gemm"), *half)} == {y.dtype}
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32), jax.jit(depthwise)(x, w), rtol=0.02, atol=0.1)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [((jnp.zeros((1, 4, 4, 2)), jnp.zeros((3, 3, 3))), "fit"), ((jnp.zeros((1, 4)), jnp.zeros(4)), "fit")],
)
def test_shapes_that_do_not_fit(arguments, word):
    with pytest.raises(ValueError, match=word):
        depthwise(*arguments)
    with pytest.raises(ValueError, match="SAME"):
        depthwise(jnp.zeros((1, 4, 4, 2)), jnp.zeros((3, 3, 2)), padding="FULL")
