"""Your own images (or signals, or vectors): which cure works on them?

    python launch.py --config=configs/folder.py:PATH

PATH is a folder or a zip of class folders (PATH/cat/1.jpg, or PATH/train/cat/1.jpg beside PATH/test/...), or an .npz with
arrays x and y (and group, x_test, y_test, group_test), or named as Keras and MedMNIST name theirs. x is images [N, H, W] or
[N, H, W, C], signals [N, T, C] or vectors [N, D] (with config.data.kind=signals, signals [N, T]). See "Your own data" in the
README.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(path: str = "") -> ConfigDict:
    """The config for the data at `path`."""
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
    return config
