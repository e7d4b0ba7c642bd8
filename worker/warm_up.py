"""Warm up a training process before its first job."""

import keras
import numpy as np
import sklearn.model_selection  # noqa: F401 - the first job then need not wait for the imports

import worker.training.evaluation  # noqa: F401
from worker.training.export import convert_to_onnx


def warm_up() -> None:
    """Train and convert a network of three weights: TensorFlow, Keras and the exporter load much at their first use."""
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    network.compile("adam", "mse")
    rows = np.zeros((4, 2), np.float32)
    network.fit(rows, rows[:, :1], validation_data=(rows, rows[:, :1]), verbose=0)
    network.predict(rows, verbose=0)
    convert_to_onnx(network)
    keras.utils.clear_session()
