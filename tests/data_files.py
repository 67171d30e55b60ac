"""What the tests of the data sources share: expected messages, image files, image folders and zips."""

import contextlib
import io
import zipfile

import numpy as np
import pytest

from imbal_jax.errors import UserError


@contextlib.contextmanager
def fails(*words):
    """Expect a UserError of one line that says all the words."""
    with pytest.raises(UserError) as caught:
        yield
    message = str(caught.value)
    assert "\n" not in message and all(str(word) in message for word in words), message


def encoded(array, form="PNG", **options):
    """The bytes of an image file that shows the array: uint8 [H, W] or [H, W, 3], or uint16 [H, W]."""
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(array).save(content, form, **options)
    return content.getvalue()


def noise(seed, *shape):
    """Random bytes."""
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def write(path, files):
    """Write files {name: bytes} into a zip if the path ends so, else below a folder; gives the path."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path
