"""Batch statistics computed anew: against moments in numpy, for averages of weights, on several devices, end to end."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from imbal_jax import methods
from imbal_jax.arms import Arm
from imbal_jax.artifacts import json_files
from imbal_jax.data import batches
from imbal_jax.data.batches import Inputs, Pool, Shared
from imbal_jax.data.storage_types import floats
from imbal_jax.methods import Recipe
from imbal_jax.models import ecg_gan, resnet32, s0_cnn, s1_gan
from imbal_jax.models import precise_batch_norm as normalisation
from imbal_jax.models.layers import BatchNorm, Dropout
from imbal_jax.report.curves import Curves
from imbal_jax.runtime import lanes
from imbal_jax.stages import classifier_network
from imbal_jax.stages import classifier_training as stage
from imbal_jax.stages.context import inputs_of
from imbal_jax.stages.training_set import prepare
from imbal_jax.train import classifier, loop, statistics_of_arm
from tests import small

SHAPE, COUNTS, BATCH = (4, 4, 1), (12, 8, 4), 8
KEY = jax.random.key(0)


class One(nn.Module):
    """dropout -> batch norm -> dense: what comes to the norm is the rows themselves."""

    momentum: float = 0.99

    @nn.compact
    def __call__(self, x, *, train=False):
        x = Dropout(0.5)(x.reshape(x.shape[0], -1), train)
        x = BatchNorm(momentum=self.momentum, name="norm")(x, train)
        return nn.Dense(3, name="head")(x), x


class Two(nn.Module):
    """dense -> batch norm -> relu -> dense -> batch norm -> dense."""

    classes: int = 3

    @nn.compact
    def __call__(self, x, *, train=False):
        x = BatchNorm(activation="relu")(nn.Dense(6)(x.reshape(x.shape[0], -1)), train)
        x = BatchNorm()(nn.Dense(5)(x), train)
        return nn.Dense(self.classes, name="head")(x), x


def problem(many=1):
    size = sum(COUNTS)
    y = jnp.repeat(jnp.arange(3), jnp.asarray(COUNTS), total_repeat_length=size)
    x = (jax.random.randint(jax.random.key(3), (size, *SHAPE), 0, 100) + 70 * y[:, None, None, None]).astype(jnp.uint8)
    rows = jnp.tile(jnp.arange(size, dtype=jnp.int32), (many, 1))
    pool = Pool(rows, jnp.zeros((many, 0, *SHAPE), jnp.uint8), jnp.zeros((many, 0), jnp.int32))
    rate = {"learning_rate": jnp.full(many, 0.1)}
    return Inputs(lanes.lane_keys(1, range(many)), pool, jnp.tile(jnp.asarray(COUNTS), (many, 1)), rate), Shared(x, y)


def baseline_job():
    inputs, shared = problem()
    return jax.tree.map(lambda leaf: leaf[0], inputs), shared


def again(model, variables, many=sum(COUNTS) // BATCH, recipe=Recipe(), **options):  # noqa: B008
    inputs, shared = baseline_job()
    numbers = (jnp.asarray(many, jnp.int32), jnp.asarray(options.pop("progress", 0.5), jnp.float32))
    settled = partial(statistics_of_arm.recomputed, model, recipe=recipe, batch=options.pop("batch", BATCH))
    return jax.jit(settled)(variables, inputs, shared, *numbers)


def started(model):
    made = model.init(KEY, jnp.zeros((1, *SHAPE)))
    stats = jax.tree.map(lambda leaf: leaf + 1e4, made["batch_stats"])  # old averages, far away
    return {**made, "batch_stats": stats}


@pytest.mark.parametrize("batch", [8, 12, 24])
def test_one_layer_has_the_moments_of_all_rows(batch):
    """Whatever the batches are, and whatever the averages were; no dropout."""
    x = np.asarray(floats(baseline_job()[1].x), np.float64).reshape(sum(COUNTS), -1)
    held = started(One())
    found = again(One(), held, sum(COUNTS) // batch, batch=batch)
    np.testing.assert_allclose(found["batch_stats"]["norm"]["mean"], x.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found["batch_stats"]["norm"]["var"], x.var(0), rtol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, found["params"], held["params"])


def test_flaxs_own_layer_is_found():
    class Theirs(nn.Module):
        @nn.compact
        def __call__(self, x, *, train=False):
            x = nn.Dropout(0.5, deterministic=not train)(x.reshape(x.shape[0], -1))
            x = nn.BatchNorm(use_running_average=not train, name="norm")(x)
            return nn.Dense(3, name="head")(x), x

    ours, theirs = (again(net, started(net))["batch_stats"]["norm"] for net in (One(), Theirs()))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), ours, theirs)


def test_classes_are_drawn_and_rows_transformed_as_in_a_step():
    """The mean of rows of which the last class is drawn alone, halved by a transform; both know the progress."""
    only = Recipe(
        sample=lambda progress: jax.nn.one_hot(jnp.where(progress > 0.4, 2, 0), 3),
        transforms=(lambda key, batch, draw, progress: batch._replace(x=batch.x * progress),),
    )
    found = again(One(), started(One()), 400, only)["batch_stats"]["norm"]
    x = np.asarray(floats(baseline_job()[1].x), np.float64).reshape(sum(COUNTS), -1)[-COUNTS[-1] :] / 2
    np.testing.assert_allclose(found["mean"], x.mean(0), rtol=0.02)
    np.testing.assert_allclose(found["var"], x.var(0), rtol=0.1)


def test_later_layers_see_what_the_batches_made_of_the_earlier():
    """Against the same in float64, batch by batch; the batches are the rows in the order of the lane's key."""
    held, (inputs, shared) = started(Two()), baseline_job()
    found = again(Two(), held)["batch_stats"]
    order = batches.shuffled(lanes.purpose(inputs.key, "batch statistics"), 0, sum(COUNTS))
    x = np.asarray(floats(shared.x), np.float64).reshape(sum(COUNTS), -1)[np.asarray(order)].reshape(3, BATCH, -1)
    weights = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), held["params"])
    first = x @ weights["Dense_0"]["kernel"] + weights["Dense_0"]["bias"]
    unit = (first - first.mean(1, keepdims=True)) / np.sqrt(first.var(1, keepdims=True) + 1e-5)
    second = np.maximum(unit, 0) @ weights["Dense_1"]["kernel"] + weights["Dense_1"]["bias"]
    for name, values in (("BatchNorm_0", first), ("BatchNorm_1", second)):
        np.testing.assert_allclose(found[name]["mean"], values.mean((0, 1)), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found[name]["var"], values.var((0, 1)), rtol=1e-4)


def test_moments_of_batches_with_large_means_keep_their_digits():
    random = np.random.default_rng(0)
    x = (random.normal(size=(30, 16, 3)) + 1e4 + random.normal(size=(30, 1, 1))).astype(np.float32)
    of = lambda i: {"a": normalisation.Moments(jnp.asarray(x)[i].mean(0), jnp.asarray(x)[i].var(0))}  # noqa: E731
    found = normalisation.population(of, 30)["a"]
    wide = x.astype(np.float64)
    np.testing.assert_allclose(found.mean, wide.mean((0, 1)), rtol=3e-7)
    np.testing.assert_allclose(found.variance, wide.var((0, 1)), rtol=2e-3)  # the means of batches are rounded to 1e-3


def test_what_has_no_batch_normalisation_stays_as_it_is():
    """The source's classifier, and spectral normalisation, which keeps vectors under the same name."""
    image, beat, label = jnp.zeros((2, 28, 28, 1)), jnp.zeros((2, 300, 1)), jnp.zeros((2, 5))
    assert normalisation.layers(s0_cnn.Model(3, width=0.125), image) == ()
    assert normalisation.layers(ecg_gan.Discriminator(width=0.1), beat, label) == ()
    assert len(normalisation.layers(s1_gan.Discriminator(width=0.1), beat, label)) == 3
    assert "stage2_block4_second/BatchNorm_0" in normalisation.layers(resnet32.Model(3, width=0.2), jnp.zeros((2, 8, 8, 3)))
    held = {"params": {"a": jnp.ones(2)}, "batch_stats": {"u": jnp.ones(3)}}
    assert jax.tree.all(jax.tree.map(np.array_equal, normalisation.replaced(held, {}), held))


def trained(steps, **options):
    rule = lambda rate, total: optax.sgd(rate, momentum=0.9)  # noqa: E731
    inputs, shared = baseline_job()
    state = classifier.init(inputs.key, Two(), rule(0.1, 1), SHAPE, ema=options.get("ema", 0.0))
    carry = loop.Carry(state, {name: jnp.zeros(()) for name in classifier.METRICS})
    run = jax.jit(loop.span_function(classifier.epoch_of(Two(), rule, BATCH, **options)))
    for start in range(0, steps, 3):
        carry = run((carry, inputs), (shared, loop.span(start, start + 3, 3, steps)))
    return carry.state, shared


def figures(variables, shared, train):
    z = Two().apply(variables, floats(shared.x), train=train, mutable=["batch_stats"])[0][0]
    loss = optax.softmax_cross_entropy_with_integer_labels(z, shared.y).mean()
    return float(loss), float((z.argmax(-1) == shared.y).mean())


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_after_few_steps_evaluation_is_as_good_as_training(ema):
    """Six steps: by running averages the network is at chance, by statistics of its own weights as in training."""
    state, shared = trained(12, ema=ema)
    lagging = classifier.averaged(state)
    loss, accuracy = figures(lagging, shared, True)
    stale = figures(lagging, shared, False)
    found = figures(again(Two(), lagging, 1, batch=24), shared, False)
    np.testing.assert_allclose(found, (loss, accuracy), rtol=1e-4)  # one batch of all rows: the same numbers
    by_batches = figures(again(Two(), lagging), shared, False)
    np.testing.assert_allclose(by_batches, (loss, accuracy), atol=0.1)
    assert stale[0] > loss + 0.3, "the case that this is for"


def test_no_lane_depends_on_its_neighbours_or_devices():
    """Two lanes on one device, on two, and with two devices each, against each lane alone."""
    inputs, shared = problem(2)
    held = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf * 1.1]), started(Two()))
    numbers = (jnp.asarray(3, jnp.int32), jnp.asarray(0.5, jnp.float32))

    def run(devices, data, lanes_of=slice(None), inner="vmap"):
        def one(lane, given):
            (_, (variables, inputs)), split = lane, lanes.split_batch(data, BATCH)
            return statistics_of_arm.recomputed(
                Two(), variables, inputs, given, *numbers, recipe=Recipe(), batch=BATCH, split=split
            )  # fmt: skip

        used = jax.local_devices()[:devices]
        spread = lanes.over_lanes(one, devices=used, data=data, inner=inner)
        own = jax.tree.map(lambda leaf: leaf[lanes_of], (held, inputs))
        return jax.tree.map(np.asarray, spread((), own, lanes.replicate(shared, used)))

    together = run(1, 1)
    same = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    jax.tree.map(same, run(2, 1), together)
    jax.tree.map(same, run(4, 2, inner="loop"), together)
    for lane in (0, 1):
        single = run(1, 1, slice(lane, lane + 1))
        jax.tree.map(lambda a, b, lane=lane: same(a[0], b[lane]), single, together)


def test_a_judged_epoch_costs_a_tenth_of_its_rows_at_most():
    assert [statistics_of_arm.judged_rows(*each) for each in ((72, 32), (3_000, 32), (50_000, 128))] == [64, 300, 1_024]


def test_the_number_of_batches():
    assert [statistics_of_arm.number_of(*each) for each in ((72, 32, 10_000), (10**6, 128, 10_000), (5, 8, 100))] == [3, 79, 1]


@pytest.mark.parametrize("chosen", [pytest.param("last", marks=pytest.mark.slow), "best"])
def test_what_a_training_gives_is_evaluated_by_new_statistics(tmp_path, monkeypatch, chosen):
    """The stage: two seeds, over-sampling, averages of weights; with `best`, each epoch is judged by them as well."""
    monkeypatch.setattr(classifier_network, "model_of", lambda config, classes, form, shape: Two(classes=classes))
    config = small.get_config()
    config.data.per_class, config.data.validation, config.cut.profile = 20, 0.3, "none"
    config.classifier.update({"select": chosen, "ema": 0.9, "epochs": 4, "learning_rate": 0.05})
    chunk = prepare(config, tmp_path)
    fitted = stage.fit(chunk, Curves(tmp_path / "metrics.jsonl", chunk.seeds), [Arm("affine")], chunk.train)
    recipe = methods.recipe_of("affine", chunk.task, chunk.train.counts)
    inputs = inputs_of(chunk.keys, chunk.train.pool, chunk.train.counts, {})
    many = jnp.asarray(statistics_of_arm.number_of(sum(chunk.train.counts), 16, statistics_of_arm.ROWS), jnp.int32)
    lines = [row for row in json_files.read(tmp_path / "metrics.jsonl") if row["stage"] == "classifier"]
    for lane in range(2):
        held = jax.tree.map(lambda leaf, lane=lane: leaf[0, lane], fitted.params)
        own = jax.tree.map(lambda leaf, lane=lane: leaf[lane], inputs)
        settled = partial(statistics_of_arm.recomputed, Two(classes=10), recipe=recipe, batch=16)
        expected = jax.jit(settled)(held, own, chunk.shared, many, jnp.asarray(1.0, jnp.float32))
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), held, expected)
        if chosen == "best":  # the curve has the figure of the weights that are kept, with the statistics of fewer rows
            rows, size = chunk.validation[lane], sum(chunk.train.counts)
            fewer = statistics_of_arm.number_of(size, 16, statistics_of_arm.judged_rows(size // 16 * 16, 16))
            judged = jax.jit(settled)(held, own, chunk.shared, jnp.asarray(fewer, jnp.int32), jnp.asarray(1.0, jnp.float32))
            z, y = Two(classes=10).apply(judged, floats(chunk.shared.x[rows]))[0], chunk.shared.y[rows]
            loss = float(optax.softmax_cross_entropy_with_integer_labels(z, y).mean())
            epoch = int(fitted.selected[0, lane])
            line = next(row for row in lines if row["seed"] == lane and row["epoch"] == epoch)
            assert line["val_loss"] == pytest.approx(loss, rel=1e-4)
