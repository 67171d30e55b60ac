"""Every balancing method on MNIST with 6, 8, 9 reduced to 100 images: the same split, network, optimiser and seeds for all.

    python launch.py --config=configs/methods_mnist.py
    python launch.py --config=configs/methods_mnist.py:best          the best combination, with and without its last method
    python launch.py --config=configs/methods_mnist.py --config.seeds=8 --config.classifier.epochs=10

Five seeds allow a comparison of means but no verdict: with all methods at least --config.seeds=11 are needed.

The split and the classifier are those of mnist_cgan.py, the GAN is its variant 'better'; the optimiser is Adam, 1e-3 with a
cosine schedule, for all arms.
"""

from ml_collections import ConfigDict

from configs import base, mnist_cgan

VARIANTS = ("every", "best")
# A share of the images is not transformed: transformed images are less sharp than the test images.
BEST = "over | affine(rotation=20, shear=15, zoom=0.2, translation=0.1, p=0.7) | elastic(strength=20, p=0.5) | mixup"
METHODS = (
    "none",
    "posthoc_logit_adjust",  # this method and the next three share the training of 'none'
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


def get_config(variant: str = "every") -> ConfigDict:
    """The config of a variant; any selection of methods with --config.baselines."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r} of methods_mnist; known: {', '.join(VARIANTS)}")
    config = base.get_config("mnist")
    config.name = "methods_mnist"
    config.seeds = 5
    config.baselines = METHODS
    config.method = "gan_synth"
    config.cut.profile = "{6: 100, 8: 100, 9: 100}"
    config.classifier.model = "s0_cnn"
    config.classifier.init = "glorot_uniform"
    config.classifier.epochs = 3
    mnist_cgan.better_gan(config)
    config.gan.epochs = 3
    if variant == "best":
        config.name = "methods_mnist_best"
        config.seeds = 6
        config.baselines = (BEST,)
        config.method = f"{BEST} | posthoc_logit_adjust(tau=0.25, counts=real)"
        config.classifier.epochs = 10
        config.classifier.ema = 0.999
    return config
