"""The adversarial step: losses, augmentation, moving average, sampling, filters, failure signs."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from imbal_jax.artifacts import json_files
from imbal_jax.data import batches
from imbal_jax.errors import UserError
from imbal_jax.gan import augment, losses, monitor, sample
from imbal_jax.gan import step as gan_step
from imbal_jax.gan import train as gan_train
from imbal_jax.models import s0_cgan
from imbal_jax.report.curves import Curves
from imbal_jax.stages import arm_group
from imbal_jax.train import loop

KEY = jax.random.key(0)
B, K = 6, 3


def nets(**options):
    sizes = {"classes": K, "width": 0.05}
    adam = optax.adam(1e-3)
    fixed = {"loss": losses.make("bce"), "latent": 4, "classes": K}
    return gan_step.Nets(
        s0_cgan.Generator(latent=4, **sizes), s0_cgan.Discriminator(**sizes), adam, adam, **{**fixed, **options}
    )


def one_step(nets, state, number=0):
    x = jax.random.uniform(KEY, (B, 28, 28, 1))
    y = jnp.arange(B) % K
    run = jax.jit(lambda state: gan_step.step(nets, state, jnp.asarray(number), lambda i: (x, y), KEY))
    return run(state)


@pytest.mark.parametrize("name", losses.names())
def test_a_step_moves_both_networks_and_stays_finite(name):
    parts = nets(loss=losses.make(name), d_steps=2, augment=("translation", "cutout", "contrast"), ema=0.9)
    before = gan_step.init(KEY, parts, (28, 28, 1))
    after, metrics = one_step(parts, before)
    assert set(metrics) == set(gan_step.METRICS)
    for tree in (after, metrics):
        assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(tree))
    for old, new in ((before.generator, after.generator), (before.discriminator, after.discriminator)):
        assert any(bool(jnp.any(a != b)) for a, b in zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True))


def test_bce_losses_are_the_cross_entropies():
    loss = losses.make("bce")
    real, fake = jnp.array([2.0, -1.0]), jnp.array([0.5, 3.0])
    by_hand = -np.mean(np.log(np.concatenate([jax.nn.sigmoid(real), 1 - jax.nn.sigmoid(fake)])))
    np.testing.assert_allclose(loss.discriminator(real, fake), by_hand, rtol=1e-6)
    np.testing.assert_allclose(loss.generator(None, fake), -np.mean(np.log(jax.nn.sigmoid(fake))), rtol=1e-6)


REAL, FAKE = np.array([2.0, -1.0, 0.3]), np.array([0.5, 3.0, -0.7])


def test_least_squares_losses_are_those_of_the_paper():
    loss = losses.make("lsgan", real_target=0.8)
    np.testing.assert_allclose(loss.discriminator(REAL, FAKE), np.mean((REAL - 0.8) ** 2) / 2 + np.mean(FAKE**2) / 2, rtol=1e-6)
    np.testing.assert_allclose(loss.generator(None, FAKE), np.mean((FAKE - 0.8) ** 2) / 2, rtol=1e-6)
    assert losses.level_of(loss, REAL, FAKE) == 0.4 and losses.make("lsgan").level == 0.5


def test_relativistic_losses_are_those_of_the_paper():
    loss = losses.make("relativistic")
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    np.testing.assert_allclose(loss.discriminator(REAL, FAKE), -np.mean(np.log(sigmoid(REAL - FAKE))), rtol=1e-6)
    np.testing.assert_allclose(loss.generator(REAL, FAKE), -np.mean(np.log(sigmoid(FAKE - REAL))), rtol=1e-6)
    np.testing.assert_allclose(losses.level_of(loss, REAL, FAKE), (REAL.mean() + FAKE.mean()) / 2, rtol=1e-6)


class Level:
    """A discriminator whose logit is the first value of a row, whatever its weights."""

    def init(self, key, x, label):
        return {"params": {"unused": jnp.zeros(())}}

    def apply(self, variables, x, label, **options):
        return x.reshape(x.shape[0], -1)[:, 0] + 0 * variables["params"]["unused"], {}


class Rows:
    """A generator whose rows have one value, its only weight."""

    def init(self, key, z, label):
        return {"params": {"value": jnp.asarray(0.3)}}

    def apply(self, variables, z, label, **options):
        return jnp.full((z.shape[0], 2), variables["params"]["value"]), {}


@pytest.mark.parametrize("separate", [False, True])
def test_a_relativistic_generator_sees_the_real_rows_of_its_batch(separate):
    """By hand: real logits 0, 1, 2; generated ones 0.3 each; the generator descends by the slope of its loss."""
    sgd = optax.sgd(1.0)
    parts = gan_step.Nets(Rows(), Level(), sgd, sgd, losses.make("relativistic"), 4, K, separate=separate, d_steps=2)
    x = jnp.array([[0.0, 5.0], [1.0, 5.0], [2.0, 5.0]])
    state = gan_step.init(KEY, parts, (2,))
    after, metrics = gan_step.step(parts, state, jnp.asarray(0), lambda i: (x, jnp.arange(K)), KEY)
    gap = np.array([0.0, 1.0, 2.0]) - 0.3
    np.testing.assert_allclose(metrics["g_loss"], np.mean(np.log1p(np.exp(gap))), rtol=1e-6)
    np.testing.assert_allclose(metrics["d_loss"], np.mean(np.log1p(np.exp(-gap))), rtol=1e-6)
    np.testing.assert_allclose(after.generator["params"]["value"], 0.3 + np.mean(1 / (1 + np.exp(-gap))), rtol=1e-6)
    np.testing.assert_allclose(metrics["d_real_accuracy"], 2 / 3, rtol=1e-6)  # above (1 + 0.3) / 2
    assert metrics["d_fake_accuracy"] == 1


def test_accuracies_are_read_at_the_level_of_the_loss():
    """Generated logits of 0.3 count as real at level 0, and as generated at 0.5."""
    sgd, x = optax.sgd(1.0), jnp.array([[0.4, 0.0], [0.9, 0.0], [1.1, 0.0]])
    for name, real, fake in (("bce", 1, 0), ("lsgan", 2 / 3, 1)):
        parts = gan_step.Nets(Rows(), Level(), sgd, sgd, losses.make(name), 4, K)
        state = gan_step.init(KEY, parts, (2,))
        _, metrics = gan_step.step(parts, state, jnp.asarray(0), lambda i: (x, jnp.arange(K)), KEY)
        np.testing.assert_allclose([metrics["d_real_accuracy"], metrics["d_fake_accuracy"]], [real, fake], rtol=1e-6)


def test_gradient_penalty_of_a_linear_critic_is_known():
    x = jax.random.uniform(KEY, (4, 5, 5, 1))
    critic = lambda x: 3.0 * jnp.sum(x, axis=(1, 2, 3))  # noqa: E731  its gradient has norm 3 * 5
    np.testing.assert_allclose(losses.gradient_penalty(critic, x, 1 - x, KEY), (15.0 - 1) ** 2, rtol=1e-5)


def test_r1_of_a_linear_critic_is_known():
    x = jax.random.uniform(KEY, (4, 5, 5, 1))
    critic = lambda x: 3.0 * jnp.sum(x, axis=(1, 2, 3))  # noqa: E731  its gradient has norm 3 * 5
    np.testing.assert_allclose(losses.r1(critic, x), 15.0**2 / 2, rtol=1e-5)


def test_r1_flattens_the_discriminator():
    before = gan_step.init(KEY, nets(), (28, 28, 1))
    after, told = one_step(nets(r1=1e4), before)
    assert float(told["d_loss"]) > 2  # of two cross-entropies near log 2, and the penalty

    def steepness(state):
        critic = lambda x: nets().discriminator.apply(state.discriminator, x, jnp.eye(K)[jnp.arange(B) % K])  # noqa: E731
        return float(losses.r1(critic, jax.random.uniform(KEY, (B, 28, 28, 1))))

    assert steepness(after) < steepness(before)


def test_bfloat16_keeps_the_weights_and_about_the_losses():
    state = gan_step.init(KEY, nets(), (28, 28, 1))
    (exact, told), (after, close) = (one_step(nets(dtype=dtype), state) for dtype in (jnp.float32, jnp.bfloat16))
    assert all(leaf.dtype == same.dtype for leaf, same in zip(jax.tree.leaves(after), jax.tree.leaves(exact), strict=True))
    for name in ("d_loss", "g_loss"):
        assert told[name] != close[name]
        np.testing.assert_allclose(close[name], told[name], rtol=0.05)


def test_moving_average_starts_short_and_follows():
    parts = nets(ema=0.999)
    state = gan_step.init(KEY, parts, (28, 28, 1))
    after, _ = one_step(parts, state, number=0)  # decay min(0.999, 1 / 10)
    for old, new, average in zip(*map(jax.tree.leaves, (state.generator, after.generator, after.average)), strict=True):
        np.testing.assert_allclose(average, 0.1 * old + 0.9 * new, rtol=1e-5, atol=1e-7)
    assert gan_step.sampler(after) is after.average
    assert gan_step.sampler(after._replace(average=None)) is after.generator


@pytest.mark.parametrize("kind", augment.KINDS)
def test_augmentation_is_differentiable_and_random_per_image(kind):
    x = jnp.broadcast_to(jax.random.uniform(KEY, (1, 16, 16, 1)), (8, 16, 16, 1))
    y, pull = jax.vjp(lambda x: augment.augment(KEY, x, (kind,)), x)
    assert y.shape == x.shape
    assert not np.allclose(y[0], y[1]) or not np.allclose(y[0], y[2])
    assert bool(jnp.all(jnp.isfinite(pull(y)[0])))


def test_translation_moves_whole_pixels():
    x = jnp.zeros((64, 16, 16, 1)).at[:, 8, 8].set(1.0)
    y = np.asarray(augment.augment(KEY, x, ("translation",)))
    spots = np.argwhere(y > 0)
    assert len(spots) == 64 and (y[y > 0] == 1).all()
    assert (np.abs(spots[:, 1:3] - 8).max(axis=0) == 2).all()  # an eighth of 16


def test_unknown_names_are_rejected_with_suggestions():
    with pytest.raises(UserError, match="did you mean 'hinge'"):
        losses.make("hing")
    with pytest.raises(UserError, match="did you mean 'cutout'"):
        augment.parse("cutou")
    with pytest.raises(UserError, match="known: normal, uniform"):
        sample.latents(KEY, (1, 1), "cauchy")


def test_generated_images_do_not_depend_on_the_batch():
    parts = nets()
    params = gan_step.init(KEY, parts, (28, 28, 1)).generator
    z, y = sample.latents(KEY, (7, 4), "normal"), jnp.arange(7) % K
    images = sample.generate(parts.generator, params, z, y, K, batch=3)
    assert images.shape == (7, 28, 28, 1) and images.dtype == jnp.uint8
    whole = sample.generate(parts.generator, params, z, y, K, batch=7)
    assert np.abs(images.astype(int) - whole.astype(int)).max() <= 1


def test_the_best_candidates_of_each_class_are_kept():
    scores = jnp.array([0.1, 0.9, 0.5, 0.7, 3.0, 2.0])  # four candidates of class 0, none of 1, two of 2
    assert sorted(sample.keep_best(scores, (2, 0, 1), (4, 0, 2)).tolist()) == [1, 3, 4]


def test_balanced_batches_draw_every_class_alike():
    counts = (50, 0, 2)
    pool = batches.Pool(jnp.arange(52), jnp.zeros((0, 1), jnp.uint8), jnp.zeros(0, jnp.int32))
    shared = batches.Shared(jnp.zeros((52, 1), jnp.uint8), jnp.repeat(jnp.array([0, 2]), jnp.array([50, 2])))
    index = batches.balanced(KEY, jnp.asarray(3), counts, 2000)
    _, y = batches.pick(pool, shared, index)
    assert int((y == 1).sum()) == 0
    assert abs(float((y == 2).mean()) - 0.5) < 0.05


def test_an_epoch_of_shuffled_batches_sees_every_row_once():
    order = batches.shuffled(KEY, jnp.asarray(2), 10)
    assert sorted(order.tolist()) == list(range(10))
    assert order.tolist() != batches.shuffled(KEY, jnp.asarray(3), 10).tolist()


def test_where_a_chunk_is_cut_changes_nothing():
    parts = nets()
    pool = batches.Pool(jnp.arange(12), jnp.zeros((0, 28, 28, 1), jnp.uint8), jnp.zeros(0, jnp.int32))
    x = jax.random.randint(KEY, (12, 28, 28, 1), 0, 256).astype(jnp.uint8)
    shared, inputs = batches.Shared(x, jnp.arange(12) % K), batches.Inputs(KEY, pool, jnp.full(K, 4))
    run = jax.jit(loop.span_function(gan_train.epoch_of(parts, 4, "shuffle")))
    start = loop.Carry(gan_train.init(KEY, parts, (28, 28, 1)), {name: jnp.zeros(()) for name in gan_step.METRICS})
    whole = run((start, inputs), (shared, loop.span(0, 3, 3, 3)))
    part = run((start, inputs), (shared, loop.span(0, 1, 3, 3)))
    part = run((part, inputs), (shared, loop.span(1, 3, 3, 3)))
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(part), strict=True):
        np.testing.assert_array_equal(a, b)


def history(d, g, **more):
    pairs = zip(d, g, strict=True)
    return [{"epoch": i + 1, "d_loss": a, "g_loss": b, "loss_name": "bce", **more} for i, (a, b) in enumerate(pairs)]


def test_failure_signs():
    assert monitor.signs(history([0.6, 0.6], [0.8, 0.8])) == []
    assert "the discriminator has won" in monitor.signs(history([0.6, 1e-5], [0.8, 9.0]))[0]
    assert "NaN" in monitor.signs(history([0.6, None], [0.8, 0.8]))[0]
    falling = history([0.6] * 7, [0.9, 0.8, 0.7, 0.6, 0.5, 0.3, 0.2])
    assert "fell 5 epochs in a row" in monitor.signs(falling)[0]
    assert monitor.signs(history([-5.0], [3.0], loss_name="wgan-gp")) == []
    start = [0.1, 0.05, 0.0, -0.05, -0.1, -0.15]  # a hinge loss about 0 is a discriminator that cannot tell yet
    assert monitor.signs(history([1.9] * 6, start, loss_name="hinge")) == []
    assert "may accept garbage" in monitor.signs(history([1.9] * 6, [g - 1 for g in start], loss_name="hinge"))[0]
    least_squares = [0.2, 0.15, 0.12, 0.1, 0.08, 0.06]  # the last is an output of 0.65, below odds of two
    assert monitor.signs(history([0.2] * 6, least_squares, loss_name="lsgan")) == []
    assert "may accept garbage" in monitor.signs(history([0.2] * 6, [g - 0.02 for g in least_squares], loss_name="lsgan"))[0]
    swinging, level = [0.2, 1.5, 0.1, 2.0, 0.3, 1.2], [0.8] * 6
    assert "oscillates" in monitor.signs(history(swinging, level))[0] and monitor.signs(history(swinging[:5], level[:5])) == []
    assert monitor.signs(history([1.3, 0.9, 0.6, 0.45, 0.35, 0.3], level)) == []  # it falls steadily
    assert monitor.signs(history([0.02, 0.09, 0.01, 0.08, 0.02, 0.07], level)) == []  # about to have won, which is told
    assert monitor.signs(history(swinging, level, loss_name="wgan-gp")) == []
    assert monitor.broken(history([0.6], [0.8])) is None
    assert "NaN in epoch 2" in str(monitor.broken(history([0.6, None, 0.6], [0.8, 0.8, 0.8])))
    assert "collapsed" in str(monitor.broken(history([0.6, 1e-5], [0.8, 9.0])))


def test_images_that_are_all_alike_are_a_failure(tmp_path):
    labels = np.repeat([6, 8], 20)
    varied = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 1)).astype(np.uint8)
    assert monitor.collapsed(monitor.spread(varied, labels)) is None and monitor.alike(monitor.spread(varied, labels)) == []
    black = np.zeros_like(varied)
    assert "collapsed" in str(monitor.collapsed(monitor.spread(black, labels)))
    assert monitor.spread(varied[:0], labels[:0]) == {} and monitor.collapsed({}) is None
    black[:20] = varied[:20]  # one class still varies: the lane has not failed, but the other class is told
    found = monitor.spread(black, labels)
    assert monitor.collapsed(found) is None and monitor.alike(found) == [8]
    chunk = SimpleNamespace(
        task=SimpleNamespace(class_names="0123456789"), config=SimpleNamespace(gan=SimpleNamespace(epochs=7))
    )
    arm_group.warn_of_identical_rows(chunk, Curves(tmp_path / "metrics.jsonl", (3,)), 3, "gan_synth", found)
    (line,) = json_files.read(tmp_path / "metrics.jsonl")
    assert line["message"] == "mode collapse: all generated rows of class 8 are identical" and line["seed"] == 3
