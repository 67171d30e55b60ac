"""Your own images (or signals, or vectors): which cure works on them?

    python launch.py --config=configs/folder.py:PATH          four arms
    python launch.py --config=configs/folder.py:gan=PATH      a fifth: rows that a conditional GAN makes (images, signals)

PATH is a folder or a zip of class folders (PATH/cat/1.jpg, or PATH/train/cat/1.jpg beside PATH/test/...), or an .npz with
arrays x and y (and group, x_test, y_test, group_test), or named as Keras and MedMNIST name theirs. x is images [N, H, W] or
[N, H, W, C], signals [N, T, C] or vectors [N, D] (with config.data.kind=signals, signals [N, T]). See "Your own data" in the
README.
"""

from ml_collections import ConfigDict

from configs import mnist_cgan


def get_config(variant: str = "") -> ConfigDict:
    """The config for the data at 'PATH'; with 'gan=PATH' an arm with a GAN is added."""
    path = variant.removeprefix("gan=")
    if not path:
        raise ValueError("folder needs the place of the data: --config=configs/folder.py:PATH")
    config = mnist_cgan.get_config("source")
    config.name = "folder"
    config.seeds = 7  # the fewest with which three comparisons can be decided
    arrays = path.lower().endswith(".npz")  # which may hold signals or vectors, that no affine map applies to
    config.baselines = ("none", "over", "smote" if arrays else "over | affine")
    config.method = "logit_adjust"
    config.expected = ConfigDict()
    config.data.name = "folder"
    config.data.path = path
    config.data.size = 0  # height and width in pixels; 0: the median of the images, at most 128
    config.data.channels = 0  # 1: grey, 3: colours; 0: colours if any image has them
    config.data.labels = ""  # a CSV of file,label, FILE or FILE:COLUMN; empty: labels.csv, metadata.csv or the folders
    config.data.class_level = 0  # which folder names the class, from 1 on, splits not counted; 0: as the names tell
    config.data.groups = ""  # a CSV of file,group (a patient, say): no group is on both sides of the split
    config.data.group_copies = False  # equal vectors or signals stay together, as equal images always do
    config.data.test_share = 0.2  # of the groups, where there is no test folder
    config.data.folds = 0  # K: instead of a share, one of K folds is the test set
    config.data.fold = 0  # which one, from 0 to K - 1
    config.data.split_seed = 0
    # How values are scaled. '': bytes of images as they are; other images, each channel of signals, each column of vectors by
    # limits of the training rows that one outlier does not move. 'LOW,HIGH': these become black and white, or -1 and 1, in
    # all channels alike ('0,4095' for 12 bits). 'none': as in the file.
    config.data.range = ""
    config.data.kind = ""  # of the arrays in an .npz: 'images', 'signals' or 'vectors'; '': by their shape
    config.cut.profile = "none"
    config.classifier.model = "auto"  # vectors: mlp; signals: ecg_cnn; images: efficientnet_small
    config.classifier.init = "he_fan_out"
    config.classifier.epochs = 20
    config.classifier.batch = 32
    config.classifier.optimizer = "adam"
    config.classifier.learning_rate = 1e-3
    config.classifier.schedule = "cosine"
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
