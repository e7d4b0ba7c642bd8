"""A trained network as files: Keras's own, the weights alone, ONNX for serving, and what explains them."""

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import onnxruntime
import tensorflow as tf
import tf2onnx
from numpy.typing import NDArray
from tf2onnx.handler import tf_op

from shared.datasets.row_files import EncodedImages
from shared.datasets.splits import Dataset, Part
from shared.errors import ExportDisagrees
from shared.inference.parity import TOLERANCE, compute_max_difference
from shared.preprocessing.contract import ImageContract, NumbersContract
from shared.preprocessing.decoding import decode_image
from shared.preprocessing.transforms import transform_image
from shared.registry.manifest import (
    INPUT_NAME,
    MANIFEST_FILE,
    ONNX_FILE,
    OUTPUT_NAME,
    GoldenSample,
    ManifestFile,
    VersionManifest,
)
from worker.training.input.image_cache import NO_LIMITS
from worker.training.train import TrainingResult

# Or else tf2onnx copies the whole network before each of its passes, which is a quarter of the export.
os.environ["TF2ONNX_CATCH_ERRORS"] = "FALSE"
OPSET = 18
GOLDEN_SAMPLES = 8
MAX_SAMPLE_BYTES = 2**17


def export_version(trained: TrainingResult, manifest: VersionManifest, dataset: Dataset, folder: Path) -> list[Path]:
    """Writes the files of a version. Raises ExportDisagrees when ONNX does not compute what Keras does."""
    inputs, samples = _choose_golden_samples(trained.contract, dataset)
    outputs = trained.network(inputs, training=False).numpy()
    paths = [folder / name for name in ("model.keras", "model.weights.h5", ONNX_FILE, MANIFEST_FILE)]
    bare = keras.Model(trained.network.input, trained.network.output, name=trained.network.name)
    bare.save(paths[0])  # without the optimizer, which weighs twice as much as the network
    bare.save_weights(paths[1])
    paths[2].write_bytes(_convert_to_onnx(trained.network))
    _check_agreement(paths[2], inputs, outputs)
    file = ManifestFile(
        **dict(manifest),
        architecture=json.loads(bare.to_json()),
        golden_samples=tuple(
            sample.model_copy(update={"outputs": tuple(row.tolist())})
            for sample, row in zip(samples, outputs, strict=True)
        ),
    )
    paths[3].write_text(file.model_dump_json(indent=1))
    return paths


def compute_weights_digest(network: keras.Model) -> str:
    """sha256 of every array, with its type and shape, in the order of the layers."""
    digest = hashlib.sha256()
    for array in network.get_weights():
        digest.update(f"{array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _choose_golden_samples(
    contract: ImageContract | NumbersContract, dataset: Dataset
) -> tuple[NDArray[np.float32], list[GoldenSample]]:
    """A few rows that the network was not trained on, where there are such, as a client would send them."""
    part = next(part for part in (dataset.test, dataset.validation, dataset.train) if len(part))
    rows = part.select(np.linspace(0, len(part) - 1, min(GOLDEN_SAMPLES, len(part))).astype(np.int64))
    if isinstance(contract, NumbersContract):
        x = rows.array
        return contract.normalisation.apply(x), [GoldenSample(numbers=row.tolist(), outputs=()) for row in x]
    encoded = list(_encode_rows(rows, contract))
    images = [transform_image(decode_image(data, NO_LIMITS, contract), contract).pixels for data in encoded]
    samples = [GoldenSample(b64=base64.b64encode(data).decode(), outputs=()) for data in encoded]
    return contract.normalisation.apply(np.stack(images).astype(np.float32)), samples


def _encode_rows(rows: Part, contract: ImageContract) -> Iterator[bytes]:
    """Files as they came, unless they are large."""
    if not isinstance(rows.x, EncodedImages):
        yield from (_encode_png(image) for image in rows.array)
        return
    for row in range(len(rows)):
        data = rows.x.read_encoded(row)
        is_small = len(data) <= MAX_SAMPLE_BYTES
        yield (
            data if is_small else _encode_png(transform_image(decode_image(data, NO_LIMITS, contract), contract).pixels)
        )


def _encode_png(image: NDArray[np.uint8]) -> bytes:
    """(height, width, 1 or 3) RGB → PNG."""
    _, data = cv2.imencode(".png", image[..., ::-1])
    return data.tobytes()


def _convert_to_onnx(network: keras.Model) -> bytes:
    signature = [tf.TensorSpec(network.input_shape, tf.float32, name=INPUT_NAME)]

    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
    def answer(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {OUTPUT_NAME: network(inputs, training=False)}

    with _inline_functions():
        model, _ = tf2onnx.convert.from_function(answer, input_signature=signature, opset=OPSET)
    return bytes(model.SerializeToString())


@contextmanager
def _inline_functions() -> Iterator[None]:
    """Keras makes some layers, grouped convolutions among them, functions of their own, which ONNX cannot hold."""
    tf.config.run_functions_eagerly(True)  # noqa: FBT003 - TensorFlow's own signature
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)  # noqa: FBT003


def _check_agreement(path: Path, inputs: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (answered,) = session.run([OUTPUT_NAME], {INPUT_NAME: inputs})
    difference = compute_max_difference(answered, expected)
    if difference > TOLERANCE:
        raise ExportDisagrees(
            f"The ONNX file answers differently from Keras, by {difference:.2g} where {TOLERANCE:g} are allowed: "
            "the version would not serve what was trained. Replace the layers that are out of the common one by one."
        )


# tf2onnx knows erf and exp, but not these two, which gelu, celu and the like are made of.
@tf_op("Erfc")
class _Erfc:
    @classmethod
    def version_9(cls, graph: Any, node: Any, **_: object) -> None:  # noqa: ANN401 - tf2onnx is untyped
        _replace_by_difference(graph, node, [_make_one(graph, node), graph.make_node("Erf", node.input).output[0]])


@tf_op("Expm1")
class _Expm1:
    @classmethod
    def version_9(cls, graph: Any, node: Any, **_: object) -> None:  # noqa: ANN401
        _replace_by_difference(graph, node, [graph.make_node("Exp", node.input).output[0], _make_one(graph, node)])


def _make_one(graph: Any, node: Any) -> str:  # noqa: ANN401
    return str(graph.make_const(f"{node.name}_one", np.array(1, np.float32)).output[0])


def _replace_by_difference(graph: Any, node: Any, operands: list[str]) -> None:  # noqa: ANN401
    shapes, dtypes = node.output_shapes, node.output_dtypes
    graph.remove_node(node.name)
    graph.make_node("Sub", operands, name=node.name, outputs=node.output, shapes=shapes, dtypes=dtypes)
