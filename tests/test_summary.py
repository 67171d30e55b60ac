"""--summary: the networks as text."""

import pytest

from imbal_jax import experiment
from imbal_jax.errors import UserError
from tests import small


def test_every_network_is_shown_with_its_shapes_and_parameters():
    text = experiment.describe_networks(small.get_config())
    for word in (
        "generator (s0_cgan)",
        "discriminator (s0_cgan)",
        "classifier (s0_cnn)",
        "float32[1,28,28,1]",
        "float32[1,10]",
    ):
        assert word in text
    assert text.count("Total Parameters") == 3 and "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 128


def test_without_a_gan_only_the_classifier_is_shown():
    config = small.get_config()
    config.method = "over"
    text = experiment.describe_networks(config)
    assert "classifier (s0_cnn)" in text and "generator" not in text


def test_a_mistake_in_the_config_is_told():
    config = small.get_config()
    config.classifier.model = "s0_cn"
    with pytest.raises(UserError, match="did you mean 's0_cnn'"):
        experiment.describe_networks(config)
