"""Many seeds of a small classifier in minutes on two cores: how much a result depends on the seed.

    python launch.py --config=configs/seed_sweep.py

400 images of each digit (7 of 6, 8, 9), drawn for each seed; a classifier of a quarter of the width, five epochs.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """64 seeds of the baseline without balancing, random over-sampling and logit adjustment."""
    config = base.get_config("mnist")
    config.name = "seed_sweep"
    config.seeds = 64
    config.baselines = ("none", "over")
    config.method = "logit_adjust"
    config.data.per_class = 400
    config.cut.profile = "{6: 100, 8: 100, 9: 100}"
    config.cut.draw = "random"
    config.classifier.model = "s0_cnn"
    config.classifier.init = "glorot_uniform"
    config.classifier.width = 0.25
    config.classifier.epochs = 5
    config.classifier.batch = 64
    config.classifier.learning_rate = 2e-3
    return config
