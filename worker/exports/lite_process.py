"""Convert networks for LiteRT, and run the files. Usage: `python -m worker.exports.lite_process`.

The process answers a LiteRequest with a LiteAnswer.
"""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.processes.child import serve_messages
from shared.processes.messages import Message
from shared.registry.manifest import INPUT_NAME, OUTPUT_NAME
from worker.exports.formats import SIGNATURE
from worker.exports.lite import LiteAnswer, LiteRequest

MAX_BATCH_SIZE = 64
MAX_REASON = 300


def prepare() -> Callable[[Message], Message]:
    """Import TensorFlow, and return the function that answers a message."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    warnings.simplefilter("ignore")  # TensorFlow's interpreter is about to move to a package of its own

    def respond(message: Message) -> Message:
        request = LiteRequest.model_validate_json(message.head)
        inputs = np.load(request.inputs, allow_pickle=False) if request.inputs is not None else None
        try:
            if request.saved_model is not None:
                request.path.write_bytes(_convert(request.saved_model, inputs))
            elif request.outputs is not None and inputs is not None:
                np.save(request.outputs, _run(request.path, inputs))
            answer = LiteAnswer()
        except Exception as refusal:  # noqa: BLE001 - the kinds of the converter are not public
            reason = (str(refusal).strip() or type(refusal).__name__).splitlines()[0][:MAX_REASON]
            answer = LiteAnswer(refusal=f"{reason.rstrip(' .')}.")
        return Message(answer.model_dump_json().encode())

    return respond


def _convert(folder: Path, calibration: NDArray[np.float32] | None) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=[SIGNATURE])
    if calibration is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ({INPUT_NAME: row[np.newaxis]} for row in calibration)
    return bytes(converter.convert())


def _run(path: Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(model_path=str(path))
    run: Any = interpreter.get_signature_runner(SIGNATURE)
    (given,) = interpreter.get_input_details()
    step = 1 if given["shape_signature"][0] == 1 else MAX_BATCH_SIZE
    parts = [run(**{INPUT_NAME: inputs[start : start + step]})[OUTPUT_NAME] for start in range(0, len(inputs), step)]
    return np.concatenate(parts)


if __name__ == "__main__":
    serve_messages(prepare)
