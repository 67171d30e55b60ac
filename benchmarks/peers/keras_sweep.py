"""Seeds of the classifier with and without over-sampling, one after the other, in Keras: model.fit and model.predict."""

import keras
import numpy as np
import tensorflow as tf

from benchmarks.peers import sweep
from benchmarks.peers.keras_s0 import classifier_network


def train(plan: sweep.Plan, data: sweep.Data, seed: int, rows: np.ndarray) -> np.ndarray:
    """Trains one classifier; its answers on the test set."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    model = classifier_network()
    model.compile(keras.optimizers.SGD(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x = data.train_x[rows].astype(np.float32) / 255
    model.fit(x, data.train_y[rows], batch_size=plan.batch, epochs=plan.epochs, verbose=0)
    return model.predict(data.test_x.astype(np.float32) / 255, batch_size=1000, verbose=0).argmax(1)


def device() -> str:
    """GPU or CPU."""
    return "GPU" if tf.config.list_physical_devices("GPU") else "CPU"


if __name__ == "__main__":
    sweep.main(train, device)
