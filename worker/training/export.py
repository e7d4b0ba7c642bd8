"""Export a trained network: as a Keras file, as weights, as ONNX for serving, and with its manifest."""

import base64
import hashlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import tensorflow as tf
import tf2onnx
from numpy.typing import NDArray
from tf2onnx.handler import tf_op

from shared.datasets.encodings import decode_row
from shared.datasets.row_files import EncodedImages, TextRows
from shared.datasets.splits import Dataset, Part
from shared.preprocessing.contract import Contract, ImageContract, NumbersContract
from shared.preprocessing.decoding import read_header
from shared.preprocessing.image_decoder import ImageDecoder
from shared.preprocessing.pixels import Pixels
from shared.preprocessing.text import TextContract, encode_padded
from shared.registry.manifest import (
    INPUT_NAME,
    MANIFEST_FILE,
    ONNX_FILE,
    OUTPUT_NAME,
    GoldenSample,
    ManifestFile,
    VersionManifest,
)
from worker.training.agreement import check_agreement
from worker.training.train import TrainingResult

# Without this setting, tf2onnx copies the network before each optimizer pass: a quarter of the time of an export.
os.environ["TF2ONNX_CATCH_ERRORS"] = "FALSE"
OPSET = 18
GOLDEN_SAMPLES = 8
MAX_GOLDEN_NUMBERS = 2**18
"""Golden samples of numbers are JSON in the document of the version."""
MAX_SAMPLE_BYTES = 2**17
"""A larger image file is resized and stored as PNG, so that the manifest stays small."""
MAX_SAMPLE_CHARACTERS = 2000
"""A longer text is cut off, for the same reason."""


def export_version(
    trained: TrainingResult, manifest: VersionManifest, dataset: Dataset, decoder: ImageDecoder, folder: Path
) -> list[Path]:
    """Write the files of a version to `folder`, and return their paths.

    Raises ExportDisagrees if the ONNX file computes other outputs than Keras.
    """
    return write_version(trained.network, manifest, *_choose_golden_samples(trained.contract, dataset, decoder), folder)


def write_version(
    network: keras.Model,
    manifest: VersionManifest,
    inputs: NDArray[np.float32],
    samples: Sequence[GoldenSample],
    folder: Path,
) -> list[Path]:
    """Write the files of a version to `folder`, and return their paths.

    `inputs` are golden samples as the network takes them, (n, *input_shape), and `samples` as a client sends them.
    Raises ExportDisagrees if the ONNX file computes other outputs than Keras.
    """
    outputs = network(inputs, training=False).numpy()
    paths = [folder / name for name in ("model.keras", "model.weights.h5", ONNX_FILE, MANIFEST_FILE)]
    bare = keras.Model(network.input, network.output, name=network.name)
    bare.save(paths[0])  # without the optimizer: the state of Adam is twice as large as the weights
    bare.save_weights(paths[1])
    paths[2].write_bytes(convert_to_onnx(network))
    tolerance = check_agreement(paths[2], bare, inputs, outputs)
    file = ManifestFile(
        **dict(manifest),
        tolerance=tolerance,
        architecture=json.loads(bare.to_json()),
        golden_samples=tuple(
            sample.model_copy(update={"outputs": tuple(row.tolist())})
            for sample, row in zip(samples, outputs, strict=True)
        ),
    )
    paths[3].write_text(file.model_dump_json(indent=1))
    return paths


def compute_weights_digest(network: keras.Model) -> str:
    """Compute the sha256 of all weights, each with its dtype and shape, in the order of the layers."""
    digest = hashlib.sha256()
    for array in network.get_weights():
        digest.update(f"{array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _choose_golden_samples(
    contract: Contract, dataset: Dataset, decoder: ImageDecoder
) -> tuple[NDArray[np.float32], list[GoldenSample]]:
    """Choose up to GOLDEN_SAMPLES rows for the self-test of a loaded version.

    They come from the test part, else the validation part, else the training part. Returns the network's inputs
    (n, *input_shape), and the same rows as a client sends them, still without outputs.
    """
    part = next(part for part in (dataset.test, dataset.validation, dataset.train) if len(part))
    count = min(GOLDEN_SAMPLES, len(part))
    if isinstance(contract, NumbersContract):
        count = max(1, min(count, MAX_GOLDEN_NUMBERS // math.prod(contract.shape)))
    rows = part.select(np.linspace(0, len(part) - 1, count).astype(np.int64))
    if isinstance(contract, TextContract):
        assert isinstance(rows.x, TextRows)  # noqa: S101 - the contract is for texts
        texts = [_shorten(text, contract) for text in rows.x]
        indices = np.stack([encode_padded(contract, text) for text in texts])
        return indices.astype(np.float32), [GoldenSample(text=text, outputs=()) for text in texts]
    if isinstance(contract, NumbersContract):
        x = rows.array
        listed = [decode_row(row, contract.columns) if contract.columns else row.tolist() for row in x]
        return contract.normalisation.apply(x), [GoldenSample(numbers=row, outputs=()) for row in listed]
    encoded = list(_encode_rows(rows, contract, decoder))
    images = [_transform(data, contract, decoder) for data in encoded]
    samples = [GoldenSample(b64=base64.b64encode(data).decode(), outputs=()) for data in encoded]
    return contract.normalisation.apply(np.stack(images).astype(np.float32)), samples


def _shorten(text: str, contract: TextContract) -> str:
    """Return the beginning of a text, if it has a known word; else the whole text."""
    beginning = text[:MAX_SAMPLE_CHARACTERS]
    return beginning if encode_padded(contract, beginning).any() else text


def _encode_rows(rows: Part, contract: ImageContract, decoder: ImageDecoder) -> Iterator[bytes]:
    """Yield the images as file contents that are plainly safe: small uploaded files unchanged, all others as PNG."""
    if not isinstance(rows.x, EncodedImages):
        yield from (encode_png(image) for image in rows.array)
        return
    for row in range(len(rows)):
        data = rows.x.read_encoded(row)
        is_small = len(data) <= MAX_SAMPLE_BYTES and read_header(data, decoder.limits).is_plainly_safe
        yield data if is_small else encode_png(_transform(data, contract, decoder))


def _transform(data: bytes, contract: ImageContract, decoder: ImageDecoder) -> Pixels:
    return decoder.transform(data, read_header(data, decoder.limits), contract).pixels


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Encode an image, (height, width, 1 or 3) uint8 in gray or RGB, as PNG."""
    _, data = cv2.imencode(".png", image[..., ::-1])
    return data.tobytes()


def convert_to_onnx(network: keras.Model) -> bytes:
    signature = [tf.TensorSpec(network.input_shape, tf.float32, name=INPUT_NAME)]

    normalizations = list(_find_normalizations(network))

    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
    def answer(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        for layer in normalizations:
            layer.finalize_state()  # its statistics outside of this function would be inputs of the ONNX file
        return {OUTPUT_NAME: network(inputs, training=False)}

    try:
        with _inline_functions():
            model, _ = tf2onnx.convert.from_function(answer, input_signature=signature, opset=OPSET)
    finally:
        for layer in normalizations:
            layer.finalize_state()
    return bytes(model.SerializeToString())


def _find_normalizations(model: keras.Model) -> Iterator[keras.layers.Normalization]:
    """Yield the Normalization layers of a model and of the models inside."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            yield layer
        elif isinstance(layer, keras.Model):
            yield from _find_normalizations(layer)


@contextmanager
def _inline_functions() -> Iterator[None]:
    """Expand all calls of TensorFlow functions inline, inside a `with` block.

    Keras makes a function for some layers, such as grouped convolutions, and ONNX cannot represent its call.
    """
    tf.config.run_functions_eagerly(True)  # noqa: FBT003 - the signature of TensorFlow
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)  # noqa: FBT003


# tf2onnx converts Erf and Exp, but not Erfc = 1 - Erf and Expm1 = Exp - 1. gelu, celu and other activations use these.
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
    """Replace a node of the ONNX graph by the first operand minus the second."""
    shapes, dtypes = node.output_shapes, node.output_dtypes
    graph.remove_node(node.name)
    graph.make_node("Sub", operands, name=node.name, outputs=node.output, shapes=shapes, dtypes=dtypes)
