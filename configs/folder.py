"""Compares methods on your own images, signals or vectors.

    python launch.py --config=configs/folder.py:PATH          four arms
    python launch.py --config=configs/folder.py:gan=PATH      a fifth arm: a conditional GAN (images, signals)

PATH is a folder or a zip of class folders (PATH/cat/1.jpg, or PATH/train/cat/1.jpg beside PATH/test/...), or an .npz with
arrays x and y (and group, x_test, y_test, group_test), or with the names of Keras or MedMNIST. x is images [N, H, W] or
[N, H, W, C], signals [N, T, C] or vectors [N, D] (with config.data.kind=signals, signals [N, T]). See "Your own data" in the
README.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(variant: str = "") -> ConfigDict:
    """The config for the data at 'PATH'; with 'gan=PATH' an arm with a GAN is added."""
    path = variant.removeprefix("gan=")
    if not path:
        raise ValueError("folder needs the path of the data: --config=configs/folder.py:PATH")
    config = base.get_config("folder")
    config.name = "folder"
    config.seeds = 7  # the smallest number that can decide three comparisons
    arrays = path.lower().endswith(".npz")  # may hold signals or vectors, to which affine maps do not apply
    config.baselines = ("none", "over", "smote" if arrays else "over | affine")
    config.method = "logit_adjust"
    config.data.path = path
    config.classifier.batch = 32
    if path != variant:
        _add_gan(config)
    return config


def _add_gan(config: ConfigDict) -> None:
    """A conditional GAN with networks for the kind of rows: hinge loss, balanced batches, a moving average."""
    config.name = "folder_gan"
    config.seeds = 8  # the smallest number that can decide four comparisons
    config.baselines = (*config.baselines, config.method)
    config.method = "gan_synth"
    config.gan.model = "auto"  # images: s0_cgan, best up to 64 pixels a side (data.size); signals: ecg_gan
    config.gan.latent = 64
    config.gan.epochs = 100
    config.gan.batch = 32
    config.gan.loss = "hinge"
    config.gan.batches = "balanced"
    config.gan.g_learning_rate = config.gan.d_learning_rate = 2e-4
    config.gan.beta1 = 0.5
    config.gan.ema = 0.999
    config.gan.grid_every = 20
