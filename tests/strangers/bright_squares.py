"""A data set: grey images with noise and a bright square, whose size is the class."""

import numpy as np

from imbal_jax.data.dataset import Dataset, Rows, digest, first_rows
from imbal_jax.fields import Field

FIELDS = (Field("data.noise", 20.0, "Standard deviation of the noise, in grey levels.", 0, 255),)
ROWS, CLASSES, SIDE = 120, 3, 8


def load(directory: str | None, source: str, per_class: int | None, *, noise: float) -> Dataset:
    random = np.random.default_rng(0)
    y = np.arange(2 * ROWS, dtype=np.int32) % CLASSES
    x = random.normal(60, noise, (2 * ROWS, SIDE, SIDE, 1))
    for image, label in zip(x, y, strict=True):
        image[2 : 4 + label, 2 : 4 + label] += 120
    ids = np.arange(2 * ROWS)
    rows = Rows(x.clip(0, 255).astype(np.uint8), y, ids, groups=ids)
    train, test = (Rows(*(column[part] for column in rows)) for part in (slice(ROWS), slice(ROWS, None)))
    whole = Dataset("bright_squares", "made", digest(train, test), ("small", "middle", "large"), train, test, 1.0, "")
    return first_rows(whole, per_class)
