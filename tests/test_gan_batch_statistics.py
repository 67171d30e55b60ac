"""GANs with batch normalisation: drawn from by statistics of their weights, and without penalties on an example's slope."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import ecg_gan as heartbeats
from configs import mnist_cgan
from imbal_jax import methods
from imbal_jax.artifacts import checkpoint
from imbal_jax.data import batches
from imbal_jax.data.storage_types import floats
from imbal_jax.errors import UserError
from imbal_jax.gan import losses
from imbal_jax.gan import step as gan_step
from imbal_jax.gan import train as gan_train
from imbal_jax.models import ecg_gan, s0_cgan, s1_gan
from imbal_jax.models.layers import BatchNorm
from imbal_jax.report.curves import Curves
from imbal_jax.stages import gan_training
from imbal_jax.stages.training_set import prepare
from imbal_jax.train import loop
from tests import small


class G(nn.Module):
    @nn.compact
    def __call__(self, z, label, *, train=False):
        x = BatchNorm(activation="relu")(nn.Dense(9)(jnp.concatenate([z, label], axis=-1)), train)
        return nn.sigmoid(nn.Dense(784)(x)).reshape(-1, 28, 28, 1)


class D(nn.Module):
    @nn.compact
    def __call__(self, x, label, *, train=False):
        x = jnp.concatenate([x.reshape(x.shape[0], -1), label], axis=-1)
        return nn.Dense(1)(BatchNorm(activation="relu")(nn.Dense(9)(x), train))[:, 0]


KEY, B, K, LATENT = jax.random.key(0), 8, 2, 12
SHAPE = (LATENT + s1_gan.GROWTH, 1)


def nets(**options):
    sizes, adam = {"classes": K, "width": 0.1}, optax.adam(1e-3)
    fixed = {"loss": losses.make("bce"), "latent": LATENT, "classes": K}
    pair = (s1_gan.Generator(latent=LATENT, **sizes), s1_gan.Discriminator(**sizes))
    return gan_step.Nets(*pair, adam, adam, **{**fixed, **options})


def problem():
    x = jax.random.randint(KEY, (24, *SHAPE), -(2**15), 2**15).astype(jnp.int16)
    pool = batches.Pool(jnp.arange(24), jnp.zeros((0, *SHAPE), jnp.int16), jnp.zeros(0, jnp.int32))
    return batches.Inputs(KEY, pool, jnp.full(K, 12)), batches.Shared(x, jnp.arange(24) % K)


@pytest.fixture(scope="module", params=[False, pytest.param(True, marks=pytest.mark.slow)], ids=["together", "separate"])
def drawn(request):
    """A GAN after three steps with a moving average of its weights: before and after new statistics."""
    parts, (inputs, shared) = nets(ema=0.9, separate=request.param), problem()
    carry = loop.Carry(gan_train.init(KEY, parts, SHAPE), {name: jnp.zeros(()) for name in gan_step.METRICS})
    run = jax.jit(loop.span_function(gan_train.epoch_of(parts, B, "shuffle")))
    state = run((carry, inputs), (shared, loop.span(0, 3, 3, 3))).state
    held = (gan_step.sampler(state), state.discriminator)
    anew = jax.jit(lambda held: gan_train.with_statistics(parts, held, inputs, shared, batch=B, order="shuffle", count=40))
    return parts, held, anew(held), shared


def test_a_generator_draws_as_it_was_trained(drawn):
    """The spread of what it makes with a batch's own moments is what it makes when it is drawn from."""
    parts, before, after, _ = drawn
    z, label = jax.random.normal(jax.random.key(7), (64, LATENT)), jnp.zeros((64, K))
    train = parts.generator.apply(before[0], z, label, train=True, mutable=["batch_stats"])[0]
    stale, now = (parts.generator.apply(held[0], z, label) for held in (before, after))
    np.testing.assert_allclose(jnp.std(now), jnp.std(train), rtol=0.1)
    np.testing.assert_allclose(now, train, atol=0.15)
    assert float(jnp.abs(stale - train).max()) > 2 * float(jnp.abs(now - train).max()), "the case that this is for"
    jax.tree.map(np.testing.assert_array_equal, before[0]["params"], after[0]["params"])


def test_a_discriminators_first_moments_are_those_of_real_and_generated_rows(drawn):
    """Of what its first convolution makes of both, in equal parts, by numpy."""
    parts, before, after, shared = drawn
    conv = before[1]["params"]["Conv_0"]
    z, label = jax.random.normal(jax.random.key(7), (600, LATENT)), jnp.zeros((600, K))
    fake = parts.generator.apply(before[0], z, label, train=True, mutable=["batch_stats"])[0]
    kernel = np.asarray(conv["kernel"], np.float64)[:, 0]  # [32, F]

    def seen(x):
        padded = np.pad(np.asarray(x, np.float64)[..., 0], [(0, 0), (15, 16)])
        windows = np.lib.stride_tricks.sliding_window_view(padded, len(kernel), axis=1)
        return windows @ kernel + np.asarray(conv["bias"])

    real, false = seen(floats(shared.x)), seen(fake)
    mean = (real.mean((0, 1)) + false.mean((0, 1))) / 2
    variance = ((real**2).mean((0, 1)) + (false**2).mean((0, 1))) / 2 - mean**2
    found = after[1]["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(found["mean"], mean, atol=0.02 * np.sqrt(variance.max()))
    np.testing.assert_allclose(found["var"], variance, rtol=0.05)


def test_networks_without_batch_norm_stay_as_they_are():
    image = (28, 28, 1)
    plain = nets()._replace(generator=s0_cgan.Generator(classes=K, width=0.1), discriminator=s0_cgan.Discriminator(classes=K))
    assert gan_train.has_batch_norm(plain._replace(latent=128), image) == (False, False)
    assert gan_train.has_batch_norm(nets(), SHAPE) == (True, True)
    own = ecg_gan.Generator(classes=K, width=0.1, latent=LATENT), ecg_gan.Discriminator(classes=K, width=0.1)
    assert gan_train.has_batch_norm(nets()._replace(generator=own[0], discriminator=own[1]), (300, 1)) == (True, False)


@pytest.mark.parametrize(("classes", "select"), [("8, 9", "last"), pytest.param("", "frechet", marks=pytest.mark.slow)])
def test_a_training_gives_new_statistics(tmp_path, monkeypatch, classes, select):
    """The stage, one GAN or one for each class: what is drawn from has them, and so has what is kept on disk."""
    made = gan_training.nets_of
    monkeypatch.setattr(gan_training, "nets_of", lambda *given: made(*given)._replace(generator=G(), discriminator=D()))
    config = small.get_config()
    config.gan.update({"classes": classes, "select": select, "epochs": 2, "grid_every": 1, "ema": 0.9})
    config.data.validation, config.classifier.epochs = 0.2, 1
    chunk = prepare(config, tmp_path)
    (tmp_path / "plots").mkdir()
    trained = gan_training.fit(chunk, Curves(tmp_path / "metrics.jsonl", chunk.seeds))[0]
    parts = gan_training._parts(chunk)
    anew, each = gan_training._recompute(chunk, parts), len(chunk.seeds)
    for lane in range(parts.inputs.key.shape[0]):
        place = (lane % each, lane // each) if classes else (lane,)
        held = jax.tree.map(lambda leaf, place=place: leaf[place], (trained.generator, trained.discriminator))
        own = jax.tree.map(lambda leaf, lane=lane: leaf[lane], parts.inputs)
        expected = jax.jit(anew)(held, own, chunk.shared)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), held, expected)
    folder = chunk.folder / ("chosen" if select == "frechet" else "generator")
    saved = checkpoint.restore_step(folder, {"generator": trained.generator}, 2).state["generator"]
    jax.tree.map(np.testing.assert_array_equal, saved, trained.generator)


@pytest.mark.parametrize(("field", "value", "said"), [("loss", "wgan-gp", "gan.loss='wgan-gp'"), ("r1", 10.0, "gan.r1=10")])
def test_penalties_on_a_slope_need_examples_that_are_on_their_own(field, value, said):
    config = heartbeats.get_config()
    config.gan[field] = value
    task = methods.Task((50, 9), 1.0, ("N", "S"), (300, 1), (1,))
    config.gan.classes = ""
    config.gan.model, config.gan.latent = "s1_gan", 112
    made = gan_training.nets_of(config, task, "gemm")
    with pytest.raises(UserError, match=rf"config.{said} penalises .* gradient.*normalisation of s1_gan couples"):
        gan_training.check_penalty(made, config, task.shape)
    config.gan.model, config.gan.latent = "ecg_gan", 128  # spectral norms
    gan_training.check_penalty(gan_training.nets_of(config, task, "gemm"), config, task.shape)
    other = mnist_cgan.get_config()
    other.gan[field] = value
    image = task._replace(shape=(28, 28, 1))
    gan_training.check_penalty(gan_training.nets_of(other, image, "gemm"), other, image.shape)


@pytest.mark.slow
def test_why_that_is_refused():
    """With the batch's moments the slope of the sum is not the slope of each example: by one Jacobian of all pairs."""
    parts, x = nets(), jax.random.normal(KEY, (3, *SHAPE))
    held = jax.jit(parts.discriminator.init)(KEY, x, jnp.zeros((3, K)))

    def critic(net, variables, rows):
        with_key = {"train": True, "rngs": {"dropout": KEY}, "mutable": ["batch_stats"]}
        return net.apply(variables, rows, jnp.zeros((3, K)), **with_key)[0]

    def gap(net, variables):
        """The relative difference between what is penalised and each example's own squared slope."""
        jacobian = jax.jacobian(lambda rows: critic(net, variables, rows))(x).reshape(3, 3, -1)
        own = (jnp.stack([jacobian[i, i] for i in range(3)]) ** 2).sum(-1)
        used = (jacobian.sum(0) ** 2).sum(-1)
        return float(jnp.abs(used / own - 1).max())

    assert gap(parts.discriminator, held) > 0.01
    spectral, beats = ecg_gan.Discriminator(classes=K, width=0.1), jnp.zeros((3, *SHAPE))
    assert gap(spectral, jax.jit(spectral.init)(KEY, beats, jnp.zeros((3, K)))) < 1e-4
