"""Every balancing method on MNIST with 6, 8, 9 cut to 100 images: the same split, network, optimiser and seeds for all.

    python launch.py --config=configs/methods_mnist.py
    python launch.py --config=configs/methods_mnist.py --config.seeds=8 --config.classifier.epochs=10

The split and the classifier are those of mnist_cgan.py, the GAN is its variant 'better'; the optimiser is Adam, 1e-3 with
a cosine schedule, for all arms.
"""

from ml_collections import ConfigDict

from configs import mnist_cgan

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
    "over | affine | mixup",
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


def get_config() -> ConfigDict:
    """The config; any selection of methods with --config.baselines."""
    config = mnist_cgan.get_config("better")
    config.name = "methods_mnist"
    config.seeds = 5
    config.baselines = METHODS
    config.method = "gan_synth"
    config.classifier.epochs = 3
    config.classifier.optimizer = "adam"
    config.classifier.learning_rate = 1e-3
    config.classifier.schedule = "cosine"
    config.gan.epochs = 3
    return config
