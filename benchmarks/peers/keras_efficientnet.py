"""The train step of Keras's own EfficientNetB0 on small images."""

import keras

from benchmarks.harness import Steps
from benchmarks.peers.keras_s0 import batches, train_steps

SHAPE, CLASSES = (48, 48, 3), 7


def b0(form: str, batch: int) -> Steps:
    """Train steps with Adam on images that lie ready as tensors."""
    model = keras.applications.EfficientNetB0(
        weights=None, classes=CLASSES, input_shape=SHAPE, classifier_activation=None
    )  # fmt: skip
    return train_steps(model, keras.optimizers.Adam(1e-3), form, batches(batch, SHAPE, CLASSES))
