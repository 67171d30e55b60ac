"""Methods on MNIST with 6, 8, 9 reduced to 100 images, compared with the baseline (no balancing) in pairs of equal seeds.

    python launch.py --config=configs/compare_mnist.py --config.seeds=32
    python launch.py --config=configs/compare_mnist.py --config.seeds=100 --config.stop='decided(margin=0.002)'
    python launch.py --config=configs/compare_mnist.py --config.grid="{'mixup.alpha': (0.1, 0.2, 0.4, 0.8)}"

The split and the classifier are those of mnist_cgan.py; Adam, 1e-3 with a cosine schedule, two epochs, for all arms.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The config; more methods with --config.baselines."""
    config = base.get_config("mnist")
    config.name = "compare_mnist"
    config.seeds = 8  # the smallest number that can decide six comparisons
    config.baselines = ("none", "over", "smote", "mixup", "logit_adjust", "over | affine")
    config.method = "affine | logit_adjust"
    config.cut.profile = "{6: 100, 8: 100, 9: 100}"
    config.classifier.model = "s0_cnn"
    config.classifier.init = "glorot_uniform"
    config.classifier.epochs = 2
    return config
