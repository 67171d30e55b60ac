"""Keras's random_rotation, random_shear and random_zoom, image by image."""

import numpy as np
from keras.src.legacy.preprocessing import image as functions


def transform(x: np.ndarray, rotation: float, shear: float, zoom: tuple[float, float]) -> list[np.ndarray]:
    """Each of the images [B, H, W, C] put through the three functions, one after the other."""
    axes = {"row_axis": 0, "col_axis": 1, "channel_axis": 2, "fill_mode": "constant"}

    def one(image: np.ndarray) -> np.ndarray:
        image = functions.random_rotation(image, rotation, **axes)
        image = functions.random_shear(image, shear, **axes)
        return functions.random_zoom(image, zoom, **axes)

    return [one(image) for image in x]
