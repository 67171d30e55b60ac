"""MNIST with 6, 8, 9 reduced to 100 images, a conditional GAN that fills up these classes, a classifier on the result.

    python launch.py --config=configs/mnist_cgan.py                experiment 1: the GAN is trained on the imbalanced set
    python launch.py --config=configs/mnist_cgan.py:oversampled    experiment 2: it is trained on 5,000 images of every digit
    python launch.py --config=configs/mnist_cgan.py:better         a better GAN for 100 images
    python launch.py --config=configs/mnist_cgan.py:demo           a small version of `:better`: narrow networks, few images

Published by the source, one run each: experiment 1 84.87%, experiment 2 84.53% test accuracy. Its latent vectors for synthesis
are uniform, though the GAN was trained with normal ones: `latent=uniform` reproduces that, `latent=normal` draws from the
training distribution.

The same as in the source (experiments 1 and 2): the first 100 images of 6, 8 and 9, all of the others, the whole test set;
both networks of the GAN and the classifier; Adam 3e-4 for both (Keras's other defaults), binary cross-entropy from logits,
batch 128, 30 and 40 epochs, Glorot's initial weights; 4,900 images each for 6, 8 and 9; 60 epochs of SGD on the cross-entropy.
Different, or not published: the classifier's learning rate (.01, Keras's default) and batch (128) are not published; Adam's
epsilon is 1e-8, Keras's 1e-7; the last, smaller batch of an epoch is left out; the epoch of the source's figures is not
published: ours are of the last one.
"""

from ml_collections import ConfigDict

from configs import base

VARIANTS = ("source", "oversampled", "better", "demo")


def get_config(variant: str = "source") -> ConfigDict:
    """The config of a variant."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r} of mnist_cgan; known: {', '.join(VARIANTS)}")
    config = _source()
    if variant == "oversampled":
        _oversampled(config)
    elif variant == "better":
        _better(config)
    elif variant == "demo":
        _demo(config)
    return config


def _source() -> ConfigDict:
    config = base.get_config("mnist")
    config.name = "mnist_cgan"
    config.baselines = ("none", "over(to=5000)", "gan_synth(to=5000, latent=normal)")
    config.method = "gan_synth(to=5000, latent=uniform)"
    config.expected = ConfigDict({"source, experiment 1 (60 classifier epochs)": 0.8487})
    config.cut.profile = "{6: 100, 8: 100, 9: 100}"
    config.classifier.model = "s0_cnn"
    config.classifier.init = "glorot_uniform"
    config.classifier.epochs = 60
    config.classifier.optimizer = "sgd"
    config.classifier.learning_rate = 0.01
    config.classifier.schedule = "constant"
    return config


def _oversampled(config: ConfigDict) -> None:
    config.name = "mnist_cgan_oversampled"
    config.gan.per_class = 5000
    config.gan.epochs = 40
    config.expected = ConfigDict({"source, experiment 2 (60 classifier epochs)": 0.8453})


def _better(config: ConfigDict) -> None:
    """A better GAN; its filters against a control that drops the same number of rows at random."""
    config.name = "mnist_cgan_better"
    better_gan(config)
    config.method = "gan_synth(to=5000, filter=classifier)"
    config.baselines = (
        "none",
        "over(to=5000)",
        "gan_synth(to=5000, filter=random)",
        "gan_synth(to=5000, filter=discriminator)",
    )
    config.expected = ConfigDict()


def better_gan(config: ConfigDict) -> None:
    """Balanced batches, DiffAugment by translation, a moving average of the generator's weights, higher learning rates."""
    config.gan.g_width = 0.5
    config.gan.init = "lecun_normal"
    config.gan.batch = 64
    config.gan.g_learning_rate = 1e-3
    config.gan.d_learning_rate = 1e-3
    config.gan.batches = "balanced"
    config.gan.augment = "translation"
    config.gan.ema = 0.999
    config.gan.beta1 = 0.5


def _demo(config: ConfigDict) -> None:
    """A few minutes on two cores: 400 images of each digit (7 of 6, 8, 9: the same ratio), networks a quarter as wide."""
    _better(config)
    config.name = "mnist_cgan_demo"
    config.seeds = 2
    config.data.per_class = 400
    config.method = "gan_synth(to=5000)"
    config.baselines = ("none", "over(to=5000)")
    config.gan.g_width = 0.25
    config.gan.d_width = 0.5
    config.gan.epochs = 20
    config.gan.grid_every = 5
    config.classifier.width = 0.5
    config.classifier.epochs = 20
    config.classifier.learning_rate = 0.05
    config.quality.samples = 200
