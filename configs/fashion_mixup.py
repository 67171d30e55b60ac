"""Fashion-MNIST with and without mixup, over many seeds; the source compared one run of each.

    python launch.py --config=configs/fashion_mixup.py                    20 pairs of seeds, the source's training
    python launch.py --config=configs/fashion_mixup.py:alpha              mixup's alpha from 0.05 to 1, one compilation
    python launch.py --config=configs/fashion_mixup.py:longtail           classes from 6,000 images down to 60
    python launch.py --config=configs/fashion_mixup.py --config.seeds=100

Published by the source, one run each, test accuracy after the last epoch: 85.82 % with mixup, 86.92 % without; another run of
the same script: 86.80 % and 86.45 %. Both arms of a seed start from the same weights. 2,000 training images are held out, as
in the source; nothing is chosen by them.

The same as in the source: lambda from Beta(.2, .2) for each example, the same lambda for images and one-hot labels; the
network with Keras's unpadded convolutions and Glorot's initial weights; batch 64, 10 epochs, Adam 1e-3.
Different: the second image of a pair is drawn with replacement, where the source shuffles the set a second time; the last,
smaller batch of an epoch is left out; Adam's epsilon is 1e-8, Keras's 1e-7.
"""

from ml_collections import ConfigDict

from configs import base

VARIANTS = ("source", "alpha", "longtail")
MIXUP = "mixup(alpha=0.2)"


def get_config(variant: str = "source") -> ConfigDict:
    """The config of a variant."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r} of fashion_mixup; known: {', '.join(VARIANTS)}")
    config = base.get_config("fashion_mnist")
    config.name = "fashion_mixup" if variant == "source" else f"fashion_mixup_{variant}"
    config.seeds = 20
    config.baselines = ("none",)
    config.method = MIXUP
    config.expected = ConfigDict({
        "source, first run, mixup": ConfigDict({"accuracy": 0.8582, "arm": MIXUP}),
        "source, first run, without": ConfigDict({"accuracy": 0.8692, "arm": "none"}),
        "source, second run, mixup": ConfigDict({"accuracy": 0.8680, "arm": MIXUP}),
        "source, second run, without": ConfigDict({"accuracy": 0.8645, "arm": "none"}),
    })  # fmt: skip
    config.metric = "accuracy"
    config.data.validation = 2000.0  # the first rows of the training set
    config.classifier.model = "s4_cnn"
    config.classifier.init = "glorot_uniform"
    config.classifier.epochs = 10
    config.classifier.batch = 64
    config.classifier.schedule = "constant"
    if variant == "alpha":
        config.seeds = 5
        config.grid = "{'mixup.alpha': (0.05, 0.1, 0.2, 0.4, 1.0)}"
        config.method = "mixup"
        config.expected = ConfigDict()
    elif variant == "longtail":
        _longtail(config)
    return config


def _longtail(config: ConfigDict) -> None:
    """A long tail, on which the ways of mixing should differ: the rarest class has a hundredth of the largest one's images."""
    config.seeds = 6
    config.baselines = ("none", MIXUP, "remix", "over", "over | mixup", "logit_adjust")
    config.method = "balanced_mixup"
    config.expected = ConfigDict()
    config.metric = "balanced_accuracy"
    config.cut.profile = "exponential(factor=100)"
    config.cut.draw = "random"
