"""Tiny experiments for the tests: python launch.py --config=tests/small.py, or tests/small.py:whole for every stage."""

from ml_collections import ConfigDict

from configs import mnist_cgan


def get_config(variant: str = "least") -> ConfigDict:
    """Two lanes on 10 embedded images of each digit (2 of 6, 8, 9), networks a tenth as wide.

    'least' is a GAN and a classifier, with as little to compile as can be; 'whole' has three arms and judges the GAN.
    """
    whole = variant == "whole"
    config = mnist_cgan.get_config("better" if whole else "source")
    config.name = "small"
    config.seeds = 2
    config.baselines = ("none", "over") if whole else ()
    config.method = "gan_synth"
    config.data.source = "embedded"
    config.data.per_class = 10
    config.cut.profile = "{6: 1500, 8: 1500, 9: 1500}"  # of the published set; a 600th of it on this many
    config.gan.g_width = config.gan.d_width = config.classifier.width = 0.1
    config.gan.latent = 4
    config.gan.batch = config.classifier.batch = 16
    config.gan.epochs = config.classifier.epochs = 3
    config.gan.grid_every = 2 if whole else 3
    config.quality.samples = 10 if whole else 0
    config.quality.epochs = 1
    config.conv, config.lanes = "gemm", "loop"  # not measured
    return config
