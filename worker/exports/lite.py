"""Write a network for LiteRT, in float32 or with 8 bits, and run the file."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from shared.errors import ExportNotPossible
from shared.registry.manifest import INPUT_NAME, OUTPUT_NAME
from shared.spec.export import ExportFormat
from worker.exports.formats import SIGNATURE, ExportSource, write_saved_model_folder

MAX_BATCH_SIZE = 64


def write_tflite(source: ExportSource, calibration: NDArray[np.float32] | None = None) -> Path:
    """Write the network for LiteRT, and return the path.

    `calibration` are inputs of the network, (n, *input_shape): from their values, the ranges of 8 bits are chosen.
    Without them, the file computes in float32. Inputs and outputs are float32 in both. Raises ExportNotPossible.
    """
    folder = source.folder / "for_lite"
    write_saved_model_folder(source.network, folder)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=[SIGNATURE])
    if calibration is not None:
        rows = calibration

        def represent() -> Iterator[dict[str, NDArray[np.float32]]]:
            for row in rows:
                yield {INPUT_NAME: row[np.newaxis]}

        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = represent
    try:
        with _without_warnings():
            content = converter.convert()
    except Exception as error:  # its kinds are not public
        reason = str(error).strip().splitlines()[0][:300]
        raise ExportNotPossible(
            f"LiteRT cannot compute this network: {reason} Export it to another format, such as `saved_model`."
        ) from error
    name = ExportFormat.TFLITE if calibration is None else ExportFormat.TFLITE_INT8
    path = source.get_path(name)
    path.write_bytes(content)
    return path


def run_tflite(path: Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the outputs of a LiteRT file, (n, outputs) float32."""
    with _without_warnings():
        interpreter = tf.lite.Interpreter(model_path=str(path))
    run: Any = interpreter.get_signature_runner(SIGNATURE)
    parts = [
        run(**{INPUT_NAME: inputs[start : start + MAX_BATCH_SIZE]})[OUTPUT_NAME]
        for start in range(0, len(inputs), MAX_BATCH_SIZE)
    ]
    return np.concatenate(parts)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Hide that the interpreter in TensorFlow moves to a package of its own, inside a `with` block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
