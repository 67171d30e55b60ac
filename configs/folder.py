"""Your own images (or signals, or vectors): which cure works on them?

    python launch.py --config=configs/folder.py:PATH          four arms
    python launch.py --config=configs/folder.py:gan=PATH      a fifth: rows that a conditional GAN makes (images, signals)

PATH is a folder or a zip of class folders (PATH/cat/1.jpg, or PATH/train/cat/1.jpg beside PATH/test/...), or an .npz with
arrays x and y (and group, x_test, y_test, group_test), or named as Keras and MedMNIST name theirs. x is images [N, H, W] or
[N, H, W, C], signals [N, T, C] or vectors [N, D] (with config.data.kind=signals, signals [N, T]). See "Your own data" in the
README.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(variant: str = "") -> ConfigDict:
    """The config for the data at 'PATH'; with 'gan=PATH' an arm with a GAN is added."""
    path = variant.removeprefix("gan=")
    if not path:
        raise ValueError("folder needs the place of the data: --config=configs/folder.py:PATH")
    config = base.get_config("folder")
    config.name = "folder"
    config.seeds = 7  # the fewest with which three comparisons can be decided
    arrays = path.lower().endswith(".npz")  # which may hold signals or vectors, that no affine map applies to
    config.baselines = ("none", "over", "smote" if arrays else "over | affine")
    config.method = "logit_adjust"
    config.data.path = path
    config.classifier.batch = 32
    if path != variant:
        _add_gan(config)
    return config


def _add_gan(config: ConfigDict) -> None:
    """A conditional GAN with the networks that suit the rows: hinge loss, balanced batches, a moving average."""
    config.name = "folder_gan"
    config.seeds = 8  # the fewest with which four comparisons can be decided
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
