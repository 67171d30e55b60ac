"""Our layers against flax's: the same parameters, the same initial values, the same results."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imbal_jax import models
from imbal_jax.errors import UserError
from imbal_jax.models import layers, s0_cgan, s0_cnn
from imbal_jax.models.inference import apply_in_batches
from imbal_jax.ops.pool import max_pool_2x2

KEY = jax.random.key(0)


def count(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize(("ours", "theirs"), [(layers.Conv, nn.Conv), (layers.ConvTranspose, nn.ConvTranspose)])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_weights_are_interchangeable_with_flax(ours, theirs, padding):
    x = jax.random.normal(KEY, (2, 6, 6, 3))
    mine = ours(4, (4, 4), strides=2, padding=padding)
    flax = theirs(4, (4, 4), strides=(2, 2), padding=padding)
    params = flax.init(KEY, x)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, mine.init(KEY, x))
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(mine.init(KEY, x)), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(mine.apply(params, x), flax.apply(params, x), rtol=1e-4, atol=1e-5)


def test_parameter_counts_are_the_sources():
    classifier = jax.eval_shape(s0_cnn.Model(10).init, KEY, jnp.zeros((1, 28, 28, 1)))
    assert count(classifier) == 1_199_882  # 320 + 18,496 + 1,179,776 + 1,290
    z, label, x = jnp.zeros((1, 128)), jnp.zeros((1, 10)), jnp.zeros((1, 28, 28, 1))
    generator = jax.eval_shape(s0_cgan.Generator().init, KEY, z, label)
    assert count(generator) == 139 * 6762 + (16 * 138 * 128 + 128) + (16 * 128 * 128 + 128) + (49 * 128 + 1)
    discriminator = jax.eval_shape(s0_cgan.Discriminator().init, KEY, x, label)
    assert count(discriminator) == (9 * 11 * 64 + 64) + (9 * 64 * 128 + 128) + 129


def test_max_pool_is_flax_max_pool_with_its_gradient():
    x = jax.random.normal(KEY, (2, 7, 6, 3))
    ours, pull = jax.vjp(max_pool_2x2, x)
    theirs, reference = jax.vjp(lambda x: nn.max_pool(x, (2, 2), (2, 2)), x)
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(pull(jnp.cos(ours))[0], reference(jnp.cos(ours))[0])


def test_dropout_keeps_its_share_and_the_mean():
    x = jnp.ones((200, 100))
    y = layers.Dropout(0.25).apply({}, x, True, rngs={"dropout": KEY})
    assert abs(float((y == 0).mean()) - 0.25) < 0.01
    assert abs(float(y.mean()) - 1.0) < 0.02
    np.testing.assert_array_equal(layers.Dropout(0.25).apply({}, x, False), x)


@pytest.mark.parametrize("shape", [(4000, 6), (50, 40, 8), (999, 1)])
def test_what_dropout_keeps_of_one_number_says_nothing_of_another(shape):
    kept = np.asarray(layers.Dropout(0.5).apply({}, jnp.ones(shape), True, rngs={"dropout": KEY}) > 0).reshape(-1, shape[-1])
    np.testing.assert_allclose(kept.mean(0), 0.5, atol=0.06)
    between = np.atleast_2d(np.cov(kept, rowvar=False)) - np.eye(shape[-1]) / 4
    np.testing.assert_allclose(between, 0, atol=0.025)


def test_inference_in_batches_equals_all_at_once():
    model = s0_cnn.Model(3, width=0.1)
    x = jax.random.randint(KEY, (7, 28, 28, 1), 0, 256).astype(jnp.uint8)
    params = model.init(KEY, x[:1].astype(jnp.float32))
    logits, features = apply_in_batches(model, params, x, batch=3)
    whole = model.apply(params, x.astype(jnp.float32) / 255.0)
    np.testing.assert_allclose(logits, whole[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(features, whole[1], rtol=1e-4, atol=1e-5)


def test_an_unknown_model_names_the_known_ones():
    with pytest.raises(UserError, match="did you mean 's0_cnn'"):
        models.load("s0_cn", "classifier.model", "Model")
    with pytest.raises(UserError, match="must be one of ecg_gan, s0_cgan, s1_gan, s2_dcgan"):
        models.load("s0_cnn", "gan.model", "Generator")
