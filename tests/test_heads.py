"""Last layers and inputs that are normalised: what networks see and say, in training, evaluation and features."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imbal_jax import experiment
from imbal_jax.errors import UserError
from imbal_jax.models import head, s0_cnn, standardized
from imbal_jax.models.inference import apply_in_batches
from imbal_jax.stages import classifier_network, classifier_training
from imbal_jax.stages.training_set import prepare
from tests import small

X = np.random.default_rng(0).integers(0, 256, (6, 28, 28, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def cosine():
    model = head.Cosine(s0_cnn.Model(3, width=0.1))
    return model, model.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))


def test_logits_are_cosines_of_the_features(cosine):
    model, variables = cosine
    kernel, bias = head.read(variables)
    np.testing.assert_allclose(np.linalg.norm(kernel, axis=0), 1, rtol=1e-5)
    assert not bias.any()
    scaled = head.replace(variables, 7 * kernel, bias + 5)  # neither lengths nor the bias matter
    for given in (variables, scaled):
        z, features = apply_in_batches(model, given, X)
        features = np.asarray(features, np.float64)
        expected = features @ np.asarray(kernel) / np.linalg.norm(features, axis=1, keepdims=True)
        np.testing.assert_allclose(z, expected, atol=1e-5)
    assert np.isfinite(head.unit(jnp.zeros((2, 4)), 1)).all()
    assert np.isfinite(jax.grad(lambda x: head.unit(x, 1).sum())(jnp.zeros((2, 4)))).all()


def test_gradients_reach_the_last_layer_and_what_is_below(cosine):
    model, variables = cosine
    x, direction = jnp.asarray(X / 255.0), jnp.asarray(np.random.default_rng(1).normal(size=(6, 3)))

    def by_hand(kernel, features):
        lengths = jnp.linalg.norm(features, axis=1, keepdims=True) * jnp.linalg.norm(kernel, axis=0, keepdims=True)
        return jnp.sum(direction * (features @ kernel) / lengths)

    ours = jax.grad(lambda v: jnp.sum(direction * model.apply(v, x)[0]))(variables)["params"]
    features = model.apply(variables, x)[1]
    np.testing.assert_allclose(
        ours["head"]["kernel"], jax.grad(by_hand)(variables["params"]["head"]["kernel"], features), rtol=1e-3, atol=1e-5
    )
    assert not ours["head"]["bias"].any()
    below = jax.tree.leaves({name: leaf for name, leaf in ours.items() if name != "head"})
    assert all(np.abs(leaf).max() > 0 for leaf in below)


def test_dropout_comes_before_the_cosines(cosine):
    model, variables = cosine
    z, _ = model.apply(variables, jnp.asarray(X / 255.0), train=True, rngs={"dropout": jax.random.key(1)})
    plain, _ = model.apply(variables, jnp.asarray(X / 255.0))
    assert (np.abs(z) <= 1 + 1e-5).all() and not np.allclose(z, plain, atol=1e-3)


def test_inputs_are_standardised_for_logits_and_features():
    plain = s0_cnn.Model(3, width=0.1)
    model = standardized.Standardized(plain, (0.3,), (0.2,))
    variables = model.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    by_hand = plain.apply(variables, jnp.asarray((X / 255.0 - 0.3) / 0.2, jnp.float32))
    for ours, theirs in zip(apply_in_batches(model, variables, X), by_hand, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_as_many_numbers_as_channels():
    for mean in ((), (0.5,)):
        standardized.check_channels(mean, (28, 28, 1))
    standardized.check_channels((0.5, 0.4, 0.3), (32, 32, 3))
    with pytest.raises(UserError, match="have 2 numbers: give one, or one for each of the 1 channels"):
        standardized.check_channels((0.5, 0.5), (28, 28, 1))


def test_the_trained_network_is_the_one_that_is_asked_for(tmp_path):
    config = small.get_config()
    config.method, config.seeds = "ldam | drw", 1
    config.classifier.mean, config.classifier.std = (0.1,), (0.3,)
    chunk = prepare(config, tmp_path)
    job = classifier_training.baseline_job(chunk)
    plain = classifier_network.model_of(config, 10, "gemm", (28, 28, 1))
    assert classifier_training._parts(chunk, job).model == standardized.Standardized(plain, (0.1,), (0.3,))
    model = classifier_training._parts(chunk, job._replace(steps=("ldam | drw",))).model
    assert isinstance(model.model, head.Cosine) and model.std == (0.3,)


def test_a_network_without_a_head_is_refused_before_the_training(tmp_path, monkeypatch):
    class Headless(nn.Module):
        classes: int

        @nn.compact
        def __call__(self, x, *, train=False):
            features = x.reshape(x.shape[0], -1)
            return nn.Dense(self.classes)(features), features

    monkeypatch.setattr(classifier_network, "model_of", lambda config, classes, form, shape: Headless(classes))
    config = small.get_config()
    for method in ("crt", "ldam"):
        config.method = method
        with pytest.raises(UserError, match=f"method '{method}' works on a last layer, the dense layer named 'head', and"):
            experiment.checked_arms(prepare(config, tmp_path))
    config.method = "none"
    experiment.checked_arms(prepare(config, tmp_path))
