"""Batch normalisation against flax's: values, running averages, gradients, lanes, dtypes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imbal_jax.models.layers import BatchNorm

KEY = jax.random.key(0)
ACTIVATIONS = {"": lambda u: u, "relu": nn.relu, "swish": nn.swish}


def variables(channels):
    draw = lambda i: jax.random.uniform(jax.random.fold_in(KEY, i), (channels,), minval=0.5)  # noqa: E731
    return {"params": {"scale": draw(0), "bias": draw(1)}, "batch_stats": {"mean": draw(2), "var": draw(3)}}


def outcome(layer, train):
    """(variables, x) -> result, running averages, gradients."""

    def loss(params, x, stats):
        y, new = layer.apply({"params": params, "batch_stats": stats}, x, train, mutable=["batch_stats"])
        return jnp.sum(jnp.sin(y.astype(jnp.float32))), (y, new)

    def run(held, x):
        (_, (y, new)), grads = jax.value_and_grad(loss, (0, 1), has_aux=True)(held["params"], x, held["batch_stats"])
        return y, new["batch_stats"], grads

    return jax.jit(run)


class Theirs(nn.Module):
    activation: str

    @nn.compact
    def __call__(self, x, train):
        norm = nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-3)
        return ACTIVATIONS[self.activation](nn.share_scope(self, norm) or norm(x))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("train", [True, False])
def test_values_averages_and_gradients_are_flaxs(activation, train):
    x, held = jax.random.normal(KEY, (3, 4, 5, 6)) + 1, variables(6)
    mine = outcome(BatchNorm(momentum=0.9, epsilon=1e-3, activation=activation), train)(held, x)
    flax = outcome(Theirs(activation), train)(held, x)
    assert jax.tree.structure(mine) == jax.tree.structure(flax)
    for ours, theirs in zip(jax.tree.leaves(mine), jax.tree.leaves(flax), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_names_and_initial_values_are_flaxs():
    x = jnp.ones((2, 3))
    mine, flax = BatchNorm().init(KEY, x, True), nn.BatchNorm(use_running_average=False).init(KEY, x)
    assert jax.tree.structure(mine) == jax.tree.structure(flax)
    for ours, theirs in zip(jax.tree.leaves(mine), jax.tree.leaves(flax), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_lanes_keep_statistics_of_their_own():
    run, x = (
        outcome(BatchNorm(activation="swish"), True),
        jax.random.normal(KEY, (3, 8, 2, 4)) * jnp.arange(1.0, 4).reshape(3, 1, 1, 1),
    )
    held = jax.tree.map(lambda a: jnp.stack([a, a + 1, a + 2]), variables(4))
    together = jax.vmap(run)(held, x)
    for lane in range(3):
        alone = run(jax.tree.map(lambda a, lane=lane: a[lane], held), x[lane])
        for ours, theirs in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(ours[lane], theirs, rtol=1e-5, atol=1e-6)


def test_bfloat16_in_and_out_with_float32_statistics():
    x = (jax.random.normal(KEY, (64, 4)) + 3).astype(jnp.bfloat16)
    held = variables(4)
    held["params"] = jax.tree.map(lambda a: a.astype(jnp.bfloat16), held["params"])
    y, stats, grads = outcome(BatchNorm(), True)(held, x)
    assert y.dtype == jnp.bfloat16 and {a.dtype for a in jax.tree.leaves(grads)} == {jnp.dtype(jnp.bfloat16)}
    assert stats["mean"].dtype == stats["var"].dtype == jnp.float32
    np.testing.assert_allclose(jnp.std(y.astype(jnp.float32), 0), held["params"]["scale"].astype(jnp.float32), rtol=0.02)


def test_a_constant_channel_stays_finite():
    y, stats, grads = outcome(BatchNorm(), True)(variables(2), jnp.full((8, 2), 1000.0))
    assert all(bool(jnp.isfinite(a).all()) for a in jax.tree.leaves((y, stats, grads)))


@pytest.mark.parametrize("shape", [(64, 5), (8, 30, 5), (6, 9, 7, 5)])
@pytest.mark.parametrize("ratio", [0.0, 1e3, 1e4, -1e4])
def test_digits_are_kept_where_the_mean_is_large(shape, ratio):
    """Values, moments and gradients at mean / sd of 1,000 and 10,000, against the formulas in float64."""
    random = np.random.default_rng(0)
    x = (random.normal(size=shape) * 0.5 + 0.5 * ratio).astype(np.float32)
    scale, bias, weight = (random.uniform(0.5, 1.5, 5), random.normal(size=5), random.normal(size=shape))
    layer = BatchNorm(momentum=0.0, epsilon=1e-5)

    def loss(params, x):
        held = {"params": params, "batch_stats": {"mean": jnp.zeros(5), "var": jnp.ones(5)}}
        y, new = layer.apply(held, x, True, mutable=["batch_stats"])
        return jnp.sum(y * weight.astype(np.float32)), (y, new["batch_stats"])

    params = {"scale": jnp.asarray(scale, jnp.float32), "bias": jnp.asarray(bias, jnp.float32)}
    (_, (y, stats)), (grads, dx) = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(params, x)

    axes, wide = tuple(range(len(shape) - 1)), x.astype(np.float64)
    mean, variance, count = wide.mean(axes), wide.var(axes), x.size // 5
    inverse = 1 / np.sqrt(variance + 1e-5)
    unit = (wide - mean) * inverse
    dbias, dscale = weight.sum(axes), (weight * unit).sum(axes)
    expected = scale * inverse * (weight - dbias / count - unit * dscale / count)
    loose = 1e-5 + abs(ratio) * 1e-6  # the mean itself is rounded to float32: a part in 10 million of it
    np.testing.assert_allclose(stats["mean"], mean, rtol=2e-7, atol=1e-6)
    np.testing.assert_allclose(stats["var"], variance, rtol=2e-6)
    np.testing.assert_allclose(y, unit * scale + bias, atol=loose)
    np.testing.assert_allclose(grads["bias"], dbias, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(grads["scale"], dscale, rtol=1e-5, atol=loose * np.abs(weight).sum() / 5)
    np.testing.assert_allclose(dx, expected, atol=4 * loose)
    given = {"params": params, "batch_stats": {"mean": jnp.asarray(mean, jnp.float32), "var": stats["var"]}}
    np.testing.assert_allclose(layer.apply(given, x, False), unit * scale + bias, atol=loose)


def test_the_shift_may_be_far_from_the_mean():
    """The worst case of the bound: the central position, of which the shift is taken, is all that differs from the rest."""
    x = np.random.default_rng(0).normal(size=(4, 15, 15, 2)).astype(np.float32) * 1e-3
    x[:, 7, 7] += 1000
    stats = outcome(BatchNorm(momentum=0.0), True)(variables(2), x)[1]
    np.testing.assert_allclose(stats["var"], x.astype(np.float64).var((0, 1, 2)), rtol=1e-4)
