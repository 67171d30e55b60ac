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
