"""One lane on several devices: the mathematics of one device, and work that is really divided."""

import re
from functools import cache, partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from imbal_jax.data.batches import Inputs, Pool, Shared
from imbal_jax.errors import UserError
from imbal_jax.methods import Recipe
from imbal_jax.models import s0_cnn
from imbal_jax.models.inference import apply_in_batches
from imbal_jax.ops.batch_norm import batch_norm
from imbal_jax.runtime import lanes
from imbal_jax.train import classifier, loop

SHAPE, COUNTS, BATCH, STEPS = (8, 8, 1), (12, 8, 4), 8, 3
CNN = s0_cnn.Model(3, width=0.125)
RULE = optax.sgd(0.1, momentum=0.9)
MOMENTUM = 0.8  # of the running averages


@pytest.fixture(scope="module", autouse=True)
def quickly_compiled():
    """Programs are divided among devices as always, but little polished after: half the time of these tests."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


class Normed(nn.Module):
    """dense -> batch norm -> relu -> dense: logits and features."""

    classes: int = 3

    @nn.compact
    def __call__(self, x, *, train=False):
        x = nn.Dense(6)(x.reshape(x.shape[0], -1))
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=MOMENTUM)(x))
        return nn.Dense(self.classes, name="head")(x), x


def blend(key, batch, draw, progress):
    """A transform: half of each row of a second batch."""
    return jax.tree.map(lambda one, other: (one + other) / 2, batch, draw(key, None))


MIXED = Recipe(transforms=(blend,))


def problem(many):
    """Keys and pools of lanes, the shared rows."""
    size = sum(COUNTS)
    x = jax.random.randint(jax.random.key(3), (size, *SHAPE), 0, 256).astype(jnp.uint8)
    y = jnp.repeat(jnp.arange(3), jnp.asarray(COUNTS), total_repeat_length=size)
    rows = jnp.tile(jnp.arange(size, dtype=jnp.int32), (many, 1))
    pool = Pool(rows, jnp.zeros((many, 0, *SHAPE), jnp.uint8), jnp.zeros((many, 0), jnp.int32))
    rate = {"learning_rate": jnp.full(many, 0.1)}
    return Inputs(lanes.lane_keys(1, range(many)), pool, jnp.tile(jnp.asarray(COUNTS), (many, 1)), rate), Shared(x, y)


@cache
def started(model, many):
    """Initial states of the lanes, on the host."""
    init = jax.vmap(partial(classifier.init, model=model, optimizer=RULE, shape=SHAPE))
    return jax.tree.map(np.asarray, jax.jit(init)(problem(many)[0].key))


def trained(model, devices, data, *, recipe=Recipe(), inner="loop", many=2):  # noqa: B008
    """Three steps: the result on the host, and the text of the program that one device ran."""
    inputs, shared = problem(many)
    epoch_of = classifier.epoch_of(
        model, lambda rate, total: RULE, BATCH, lambda values: recipe, lanes.split_batch(data, BATCH)
    )
    carry = loop.Carry(started(model, many), {name: jnp.zeros(many) for name in classifier.METRICS})
    used = jax.local_devices()[:devices]
    run = lanes.over_lanes(loop.span_function(epoch_of), devices=used, data=data, inner=inner)
    arguments = (carry, inputs, (lanes.replicate(shared, used), loop.span(0, STEPS, STEPS, STEPS)))
    text = run.lowered(*arguments).compile().as_text()
    return jax.tree.map(np.asarray, run(*arguments)), text


def same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-5), one, other)


def assert_divided(text, rows, features):
    """All products over rows of a batch have `rows` of them, what they give is added up, and nothing is gathered."""
    products = re.findall(r"= f32\[([\d,]+)\]\S* dot\(", text)
    assert f"{rows},{features}" in products
    assert not [shape for shape in products if shape.startswith(f"{BATCH},")]
    assert "all-reduce(" in text and "all-gather(" not in text


@pytest.fixture(scope="module")
def cnn_alone():
    return trained(CNN, 1, 1)[0]


@pytest.mark.parametrize("data", [2, 4])
def test_two_lanes_on_four_devices_are_those_of_one_device(cnn_alone, data):
    """The source's classifier with dropout: both lanes at once with 2 devices each, and one after the other with 4."""
    several, text = trained(CNN, 4, data)
    same(several, cnn_alone)
    assert_divided(text, BATCH // data, 16)


@pytest.fixture(scope="module")
def normed_alone():
    return trained(Normed(), 1, 1, recipe=MIXED)[0]


@pytest.mark.parametrize(("data", "inner"), [(2, "vmap"), (4, "loop")])
def test_batch_statistics_are_those_of_the_whole_batch(normed_alone, data, inner):
    """Both lanes on 2 devices, and on 4; with a transform that draws second batches."""
    several, text = trained(Normed(), data, data, recipe=MIXED, inner=inner)
    same(several, normed_alone)
    if inner == "loop":  # with lanes side by side, a product has rows of both
        assert_divided(text, BATCH // data, 6)


def test_no_device_asks_for_the_others_rows_to_find_moments():
    """Our own layer on maps: its central positions, sums and gradients are each device's own, and added up."""

    def one(data, lane, shared):
        split = lanes.split_batch(data, BATCH)

        def loss(scale, x):
            y, mean, variance = batch_norm(split(x * scale.reshape(1, 1, 1, 3)), scale, scale, 1e-3, "swish")
            return (y**2).sum(), (mean, variance)

        return jax.grad(loss, has_aux=True)(lane[1], shared)

    x, scale = jax.random.normal(jax.random.key(0), (BATCH, 6, 6, 3)) + 50, jnp.ones((1, 3))
    found = []
    for devices in (1, 4):
        used = jax.local_devices()[:devices]
        spread = lanes.over_lanes(partial(one, devices), devices=used, data=devices, inner="loop")
        found.append(jax.tree.map(np.asarray, spread((), scale, x)))
    same(*found)
    assert "all-gather(" not in spread.lowered((), scale, x).compile().as_text()


def test_running_averages_are_kept_and_used(normed_alone):
    """Three steps move the averages away from mean 0 and variance 1; after the training they are read, not the batch."""
    state = jax.tree.map(lambda leaf: leaf[0], normed_alone.state)
    norm = state.stats["batch_stats"]["BatchNorm_0"]
    assert set(state.params) == {"params"}
    assert np.abs(norm["mean"]).min() > 0 and (norm["var"] > MOMENTUM**STEPS).all()
    x, weights = problem(1)[1].x, classifier.variables(state)
    together, by_two = (apply_in_batches(Normed(), weights, x, batch=n)[0] for n in (len(x), 2))
    np.testing.assert_allclose(together, by_two, rtol=1e-5, atol=1e-6)


def test_what_is_not_split_is_there_on_each_device():
    """Without `split_batch` the devices of a lane do the same."""
    run = lanes.over_lanes(lambda lane, shared: lane[0] + jax.random.normal(lane[1], (3,)) * shared, data=2)
    keys = lanes.lane_keys(0, range(3))
    out = run(jnp.ones((3, 3)), keys, jnp.asarray(2.0, jnp.float32))
    expected = 1 + 2 * jax.vmap(lambda key: jax.random.normal(key, (3,)))(keys)
    np.testing.assert_allclose(out, expected, rtol=1e-6)


def test_a_network_without_averages_keeps_none():
    state = jax.eval_shape(partial(classifier.init, model=CNN, optimizer=optax.sgd(0.1), shape=SHAPE), jax.random.key(0))
    assert state.stats == {} and classifier.variables(state).keys() == {"params"}


@pytest.mark.parametrize("data", [0, 3])
def test_data_devices_must_divide_the_devices(data):
    for refused in (lambda: lanes.devices_for(1, data), lambda: lanes.over_lanes(lambda lane, shared: lane, data=data)):
        with pytest.raises(UserError, match=rf"config.data_devices must divide the 4 devices \(got {data}\): use 1, 2, 4"):
            refused()


def test_data_devices_must_divide_the_batch():
    with pytest.raises(UserError, match="config.data_devices must divide the batch of 6 rows .got 4."):
        lanes.split_batch(4, 6)


def test_pmap_has_no_data_axis():
    with pytest.raises(UserError, match="must be 'shard_map' with config.data_devices=2 .got 'pmap'."):
        lanes.over_lanes(lambda lane, shared: lane, parallel="pmap", data=2)


def test_lanes_take_the_devices_they_can_keep_busy():
    assert [len(lanes.devices_for(many, 2)) for many in (1, 2, 3)] == [2, 4, 4]
