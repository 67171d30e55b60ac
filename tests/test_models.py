"""The classifiers: the published sizes, and what a training step needs of them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imbal_jax import models
from imbal_jax.errors import UserError
from imbal_jax.models import efficientnet_b0, efficientnet_small, mlp, resnet32, s0_cnn, s4_cnn
from imbal_jax.models.efficientnet import EfficientNet, Stage, scaled
from imbal_jax.models.layers import DepthwiseConv, StochasticDepth, initializer

KEY = jax.random.key(0)
TINY = (Stage(1, 3, 2, 1, 8), Stage(1, 3, 1, 2, 8))


def counts(model, shape):
    made = jax.eval_shape(model.init, KEY, jnp.zeros((1, *shape)))
    return {name: sum(leaf.size for leaf in jax.tree.leaves(part)) for name, part in made.items()}


def tiny(**options):
    return EfficientNet(3, TINY, stem=8, top=16, **options)


def test_the_published_numbers_of_parameters():
    assert counts(s4_cnn.Model(10), (28, 28, 1)) == {"params": 416 + 12_832 + 4_224 + 1_290}
    ours = counts(efficientnet_b0.Model(7), (48, 48, 3))
    assert ours == {"params": 4_016_515, "batch_stats": 42_016}
    assert sum(ours.values()) + 7 == 4_058_538  # Keras's, with the 7 numbers of its normalisation of the input
    assert counts(efficientnet_b0.Model(1000), (224, 224, 3))["params"] == 5_288_548
    assert counts(efficientnet_b0.Model(7), (48, 48, 1))["params"] == 4_016_515 - 2 * 9 * 32
    assert counts(resnet32.Model(10), (32, 32, 3))["params"] == 464_154
    assert counts(efficientnet_small.Model(7), (48, 48, 1)) == {"params": 205_831, "batch_stats": 5_184}


@pytest.mark.parametrize(
    ("model", "shape", "width", "features"),
    [
        (s0_cnn, (28, 28, 1), 0.5, 64),
        (s4_cnn, (28, 28, 1), 0.5, 64),
        (resnet32, (32, 32, 3), 0.5, 32),
        (efficientnet_b0, (48, 48, 1), 0.5, 640),
        (efficientnet_b0, (32, 40, 3), 1.0, 1280),
        (efficientnet_small, (48, 48, 1), 1.0, 384),
    ],
)
def test_the_contract_of_a_classifier(model, shape, width, features):
    net = model.Model(5, width=width, form="lax", init_kernel="glorot_uniform")
    x = jnp.zeros((2, *shape))
    held = jax.eval_shape(net.init, KEY, x)
    assert held["params"]["head"]["kernel"].shape == (features, 5)
    logits, seen = jax.eval_shape(net.apply, held, x)
    assert (logits.shape, seen.shape, seen.dtype) == ((2, 5), (2, features), jnp.float32)
    half = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16), held["params"])
    logits, seen = jax.eval_shape(net.apply, {**held, "params": half}, x.astype(jnp.bfloat16))
    assert (logits.dtype, seen.dtype) == (jnp.bfloat16, jnp.float32)
    assert {"Model"} <= set(dir(models.load(model.__name__.split(".")[-1], "classifier.model", "Model")))


def step_of(model):
    """(variables, x, key) -> loss, (logits, new averages), gradients of a training step."""

    def loss(params, stats, x, key):
        (z, _), new = model.apply({"params": params, **stats}, x, train=True, rngs={"dropout": key}, mutable=["batch_stats"])
        return jnp.mean(z.astype(jnp.float32) ** 2), (z, dict(new))

    def run(held, x, key):
        stats = {name: part for name, part in held.items() if name != "params"}
        (value, aux), grads = jax.value_and_grad(loss, has_aux=True)(held["params"], stats, x, key)
        return value, aux, grads

    return run


def test_a_training_step_of_each_lane_is_its_own():
    model, keys = tiny(), jax.random.split(KEY, 2)
    x = jax.random.uniform(KEY, (2, 16, 9, 9, 1))
    held = jax.jit(jax.vmap(lambda key: model.init(key, x[0])))(keys)
    run = jax.jit(jax.vmap(step_of(model)))
    first, second = (jax.device_get(run(held, part, keys)) for part in (x, x.at[1].multiply(0.3)))
    for ours, theirs in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-4, atol=1e-6)
    value, (z, stats), grads = first
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((value, stats, grads)))
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(grads))
    for one, other, before in zip(
        *map(jax.tree.leaves, (stats, second[1][1], jax.device_get(held["batch_stats"]))), strict=True
    ):
        assert np.any(one != before) and np.any(one[1] != other[1])
    evaluated = jax.jit(jax.vmap(lambda held, x: model.apply(held, x)[0]))(held, x)
    assert not np.allclose(evaluated, z, atol=1e-3)  # other statistics, no dropout


def test_bfloat16_weights_compute_in_bfloat16():
    model, x = tiny(), jax.random.uniform(KEY, (4, 9, 9, 1))

    def run(key):
        held = model.init(key, x)
        half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), held["params"])
        return step_of(model)({**held, "params": half}, x.astype(jnp.bfloat16), key)

    _, (z, stats), grads = jax.device_get(jax.jit(run)(KEY))
    assert z.dtype == jnp.bfloat16 and {leaf.dtype for leaf in jax.tree.leaves(grads)} == {jnp.dtype(jnp.bfloat16)}
    assert {leaf.dtype for leaf in jax.tree.leaves(stats)} == {jnp.dtype(jnp.float32)}
    assert all(np.isfinite(leaf.astype(np.float32)).all() for leaf in jax.tree.leaves((z, grads, stats)))


def test_both_forms_of_computing_agree():
    x = jax.random.uniform(KEY, (4, 9, 9, 1))
    held = jax.jit(tiny().init)(KEY, x)
    ours, theirs = (jax.jit(tiny(form=form).apply)(held, x)[0] for form in ("gemm", "lax"))
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_stochastic_depth_drops_whole_examples_and_keeps_the_mean():
    x = jnp.ones((4000, 3, 2))
    y = StochasticDepth(0.2).apply({}, x, True, rngs={"dropout": KEY})
    each = y.reshape(4000, -1)
    assert bool((each == each[:, :1]).all()) and set(np.unique(each)) == {0.0, 1.25}
    assert abs(float(y.mean()) - 1) < 0.02
    np.testing.assert_array_equal(StochasticDepth(0.2).apply({}, x, False), x)


def test_depthwise_weights_are_interchangeable_with_flax():
    x = jax.random.normal(KEY, (2, 6, 5, 4))
    mine = DepthwiseConv((3, 3), strides=2)
    flax = nn.Conv(4, (3, 3), strides=2, feature_group_count=4, use_bias=False)
    held = flax.init(KEY, x)
    np.testing.assert_array_equal(held["params"]["kernel"], mine.init(KEY, x)["params"]["kernel"])
    np.testing.assert_allclose(mine.apply(held, x), flax.apply(held, x), rtol=1e-4, atol=1e-5)


def test_kernels_are_drawn_as_published():
    drawn = initializer("he_fan_out")(KEY, (3, 3, 16, 64))
    assert abs(float(drawn.std()) / (2 / (9 * 64)) ** 0.5 - 1) < 0.03
    held = jax.jit(tiny().init)(KEY, jnp.zeros((1, 8, 8, 1)))["params"]
    taps = np.concatenate([held[f"block{i}"]["depthwise"]["kernel"].reshape(-1) for i in (0, 1)])
    assert abs(float(taps.std()) / (2 / 9) ** 0.5 - 1) < 0.2
    assert float(jnp.abs(held["head"]["kernel"]).max()) <= 3**-0.5 < 0.6


def test_widths_are_multiples_of_8_near_what_is_asked():
    assert [scaled(n, 1.0) for n in (16, 24, 40, 1280)] == [16, 24, 40, 1280]
    assert [scaled(32, 1.1), scaled(24, 0.5), scaled(16, 0.1), scaled(80, 1.4)] == [32, 16, 8, 112]


def test_networks_by_the_rank_of_the_rows():
    assert [models.classifier_for("auto", shape) for shape in ((9,), (187, 1), (8, 8, 3))] == [
        "mlp", "ecg_cnn", "efficientnet_small",
    ]  # fmt: skip
    assert models.classifier_for("s0_cnn", (28, 28, 1)) == "s0_cnn"
    with pytest.raises(UserError, match=r"'resnet32', a network for images \[H, W, C\], and the data has vectors.*of mlp$"):
        models.classifier_for("resnet32", (9,))
    with pytest.raises(UserError, match=r"'mlp', a network for vectors \[D\], and the data has signals .*ecg_cnn, ecg_cnn_rr"):
        models.classifier_for("mlp", (187, 2))


def test_an_mlp_is_two_hidden_layers():
    net = mlp.Model(3, width=0.1)
    x = jax.random.normal(jax.random.key(0), (5, 4))
    held = net.init(jax.random.key(1), x)
    z, features = net.apply(held, x)
    layers = jax.tree.map(np.asarray, held["params"])
    first, second, head = (layers[name] for name in ("Dense_0", "Dense_1", "head"))
    hidden = np.maximum(np.asarray(x) @ first["kernel"] + first["bias"], 0)
    expected = np.maximum(hidden @ second["kernel"] + second["bias"], 0)
    np.testing.assert_allclose(features, expected, atol=1e-5)
    np.testing.assert_allclose(z, expected @ head["kernel"] + head["bias"], atol=1e-5)
    with pytest.raises(UserError, match="for vectors"):
        net.init(jax.random.key(1), x[None])
