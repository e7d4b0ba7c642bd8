"""Choose how TensorFlow and Keras start. Both read the environment when they are imported."""

import os


def set_tensorflow_environment() -> None:
    """Set the environment variables for the import of Keras and TensorFlow in this process.

    TensorFlow uses the convolutions of oneDNN by itself only on processors with AVX-512 VNNI or newer instructions.
    They are faster with AVX2 too: docs/performance.md. A variable `TF_ENABLE_ONEDNN_OPTS` that is set already stays.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
