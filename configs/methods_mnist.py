"""Every balancing method on MNIST with 6, 8, 9 cut to 100 images: the same split, network, optimiser and seeds for all.

    python launch.py --config=configs/methods_mnist.py             all methods but the GAN
    python launch.py --config=configs/methods_mnist.py:gan         the GAN's arms, with a generator that suits 100 images

The split and the classifier are those of mnist_cgan.py; the optimiser is Adam, 1e-3 with a cosine schedule, for all arms.
"""

from ml_collections import ConfigDict

from configs import mnist_cgan

VARIANTS = ("all", "gan")
METHODS = (
    "none",
    "posthoc_logit_adjust",  # this and the next three share the training of 'none'
    "crt",
    "lws",
    "tau_norm",
    "over",
    "under",
    "smote",
    "borderline_smote",
    "adasyn",
    "over | affine",
    "affine_over",
    "mixup",
    "balanced_mixup",
    "remix",
    "cutmix",
    "focal",
    "class_weights",
    "class_balanced",
    "ldam | drw",
    "logit_adjust",
    "balanced_softmax",
    "sampling",
    "affine | logit_adjust",
)


def get_config(variant: str = "all") -> ConfigDict:
    """The config of a variant."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r} of methods_mnist; known: {', '.join(VARIANTS)}")
    config = mnist_cgan.get_config("better" if variant == "gan" else "source")
    config.name = "methods_mnist" if variant == "all" else "methods_mnist_gan"
    config.seeds = 5
    config.baselines = METHODS if variant == "all" else ("none", "over")
    config.method = "over | affine | mixup" if variant == "all" else "gan_synth"
    config.expected = ConfigDict()
    config.classifier.epochs = 3
    config.classifier.optimizer = "adam"
    config.classifier.learning_rate = 1e-3
    config.classifier.schedule = "cosine"
    config.gan.epochs = 4
    return config
