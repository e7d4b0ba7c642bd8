"""Choose how TensorFlow and Keras start. Both read the environment when they are imported."""

import os


def set_tensorflow_environment(*, onednn: bool) -> None:
    """Set the environment variables for the import of Keras and TensorFlow in this process.

    By itself, TensorFlow uses the operations of oneDNN only on processors with AVX-512 VNNI or newer instructions. Its
    convolutions are faster with AVX2 too: docs/performance.md.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = str(int(onednn))
