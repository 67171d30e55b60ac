"""A tiny experiment for the tests, all stages in a few seconds: python launch.py --config=tests/small.py."""

from ml_collections import ConfigDict

from configs import mnist_cgan


def get_config() -> ConfigDict:
    """Two lanes on 20 embedded images of each digit (5 of 6, 8, 9), networks a tenth as wide."""
    config = mnist_cgan.get_config("better")
    config.name = "small"
    config.seeds = 2
    config.baselines = ("none", "over")
    config.method = "gan_synth"
    config.data.source = "embedded"
    config.data.per_class = 20
    config.cut.profile = "{6: 1500, 8: 1500, 9: 1500}"  # of the published set; a 300th of it on this many
    config.gan.g_width = config.gan.d_width = config.classifier.width = 0.1
    config.gan.latent = 8
    config.gan.batch = config.classifier.batch = 32
    config.gan.epochs = config.classifier.epochs = 3
    config.gan.grid_every = 2
    config.quality.samples = 10
    config.quality.epochs = 1
    return config
