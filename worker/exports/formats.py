"""Write a network in the formats of other systems, and run the written files."""

import gzip
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from shared.networks.keras_json import parse_keras_json
from shared.preprocessing.contract import ImageContract
from shared.registry.manifest import INPUT_NAME, OUTPUT_NAME, ManifestFile
from shared.spec.export import FILE_NAMES, ExportFormat
from shared.spec.network import MAX_LAYERS
from shared.system import silence_openvino

SIGNATURE = "serving_default"
MAX_TRITON_BATCH = 64


@dataclass(frozen=True)
class ExportSource:
    """The version that is exported, in memory and as ONNX.

    Attributes:
        network: with the weights of the version.
        onnx_path: the file model.onnx of the version.
        folder: for the files of the export.
        inputs: the golden samples as inputs of the network, (n, *input_shape) float32.
        raw_inputs: the same before normalisation: uint8 pixels of images, else float32.
    """

    network: keras.Model
    manifest: ManifestFile
    number: int
    onnx_path: Path
    folder: Path
    inputs: NDArray[np.float32]
    raw_inputs: NDArray[np.uint8] | NDArray[np.float32]

    def get_path(self, export_format: ExportFormat) -> Path:
        """Return the path of the exported file."""
        return self.folder / FILE_NAMES[export_format]


def write_h5(source: ExportSource) -> NDArray[np.float32]:
    """Write the whole model as HDF5, and return the outputs of the file for the golden samples."""
    path = source.get_path(ExportFormat.H5)
    _omit_masks(source.network).save(path)
    loaded = keras.models.load_model(path, compile=False)
    return np.asarray(loaded(source.inputs, training=False))


def _omit_masks(network: keras.Model) -> keras.Model:
    """Return a network whose layers are a chain as a Sequential, which makes the masks of padding by itself.

    Keras saves masks of other networks as operations, which it does not read from HDF5.
    """
    if all(isinstance(operation, keras.Layer) for operation in network.operations):
        return network
    calls = parse_keras_json(json.loads(network.to_json()), MAX_LAYERS).calls
    if any(call.inputs != (index - 1,) for index, call in enumerate(calls) if index):
        return network
    return keras.Sequential([keras.Input(network.input_shape[1:]), *network.layers[1:]], name=network.name)


def write_saved_model(source: ExportSource) -> NDArray[np.float32]:
    """Write a repository of TensorFlow Serving, and return its outputs: `<model>/<number>/saved_model.pb`."""
    base = source.folder / "saved_model"
    place = base / source.manifest.model / str(source.number)
    write_saved_model_folder(source.network, place)
    _pack(base, source.get_path(ExportFormat.SAVED_MODEL))
    serve = tf.saved_model.load(str(place)).signatures[SIGNATURE]
    return np.asarray(serve(**{INPUT_NAME: tf.constant(source.inputs)})[OUTPUT_NAME])


def write_saved_model_folder(network: keras.Model, place: Path, batch_size: int | None = None) -> None:
    """Write a SavedModel with the signature that `/v1/models/<model>/metadata` describes.

    It takes any number of rows, or exactly `batch_size`.
    """
    archive = keras.export.ExportArchive()
    archive.track(network)
    tensor = tf.TensorSpec((batch_size, *network.input_shape[1:]), tf.float32, name=INPUT_NAME)

    def answer(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {OUTPUT_NAME: network(inputs, training=False)}

    named = tf.function(answer, input_signature=[tensor])
    archive.add_endpoint(SIGNATURE, named)
    archive.write_out(str(place), verbose=False)


def write_openvino(source: ExportSource) -> NDArray[np.float32]:
    """Write OpenVINO IR in float32, and return its outputs: `model.xml` and `model.bin`."""
    silence_openvino()
    import openvino.frontend  # slow to import, and needed for this format alone

    folder = source.folder / "openvino"
    folder.mkdir()
    core = openvino.Core()
    try:
        converted = core.read_model(source.onnx_path)
    except (openvino.frontend.OpConversionFailure, openvino.frontend.OpValidationFailure) as refusal:
        raise ValueError(str(refusal)) from refusal  # they are Exception, and nothing more special
    openvino.save_model(converted, str(folder / "model.xml"), compress_to_fp16=False)
    _pack(folder, source.get_path(ExportFormat.OPENVINO))
    compiled = core.compile_model(str(folder / "model.xml"), "CPU", {"INFERENCE_PRECISION_HINT": openvino.Type.f32})
    return np.asarray(compiled({INPUT_NAME: source.inputs})[OUTPUT_NAME])


def write_triton(source: ExportSource) -> NDArray[np.float32]:
    """Write a repository of Triton with the ONNX file, and return the outputs of that file."""
    base = source.folder / "triton"
    place = base / source.manifest.model
    (place / str(source.number)).mkdir(parents=True)
    (place / str(source.number) / "model.onnx").write_bytes(source.onnx_path.read_bytes())
    (place / "config.pbtxt").write_text(_describe_for_triton(source.manifest))
    if source.manifest.classes:
        (place / "labels.txt").write_text("".join(f"{' '.join(name.split())}\n" for name in source.manifest.classes))
    _pack(base, source.get_path(ExportFormat.TRITON))
    return run_onnx(place / str(source.number) / "model.onnx", source.inputs)


def write_onnx_with_preprocessing(source: ExportSource) -> NDArray[np.float32]:
    """Write the ONNX file with the normalisation in front, and return its outputs for the inputs before it."""
    model = onnx.load(str(source.onnx_path))
    graph, contract = model.graph, source.manifest.preprocessing
    inner = f"{INPUT_NAME}_normalised"
    for node in graph.node:
        node.input[:] = [inner if name == INPUT_NAME else name for name in node.input]
    is_image = isinstance(contract, ImageContract)
    shape = ["n", *contract.input_shape]
    raw = helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8 if is_image else TensorProto.FLOAT, shape)
    del graph.input[:]
    graph.input.append(raw)
    numbers = {"offset": contract.normalisation.offset, "divisor": contract.normalisation.divisor}
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(values, np.float32), f"normalisation_{name}")
        for name, values in numbers.items()
    )
    front = [
        helper.make_node("Cast", [INPUT_NAME], ["input_as_float"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["input_as_float", "normalisation_offset"], ["input_centred"]),
        helper.make_node("Div", ["input_centred", "normalisation_divisor"], [inner]),
    ]
    nodes = [*front, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    path = source.get_path(ExportFormat.ONNX_WITH_PREPROCESSING)
    path.write_bytes(model.SerializeToString())
    return run_onnx(path, source.raw_inputs)


def run_onnx(path: Path, inputs: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the outputs of an ONNX file."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run([OUTPUT_NAME], {INPUT_NAME: inputs})[0])


EXACT_FORMATS: dict[ExportFormat, Callable[[ExportSource], NDArray[np.float32]]] = {
    ExportFormat.H5: write_h5,
    ExportFormat.SAVED_MODEL: write_saved_model,
    ExportFormat.OPENVINO: write_openvino,
    ExportFormat.TRITON: write_triton,
    ExportFormat.ONNX_WITH_PREPROCESSING: write_onnx_with_preprocessing,
}
"""The function for each format that computes in float32, except for those of LiteRT."""


def _describe_for_triton(manifest: ManifestFile) -> str:
    """Return the configuration of a model for Triton. The batch is not part of its dimensions."""
    (given,), (answered,) = manifest.signature.inputs, manifest.signature.outputs
    labels = '  label_filename: "labels.txt"\n' if manifest.classes else ""
    return (
        f'name: "{manifest.model}"\nbackend: "onnxruntime"\nmax_batch_size: {MAX_TRITON_BATCH}\n'
        f'input {{\n  name: "{INPUT_NAME}"\n  data_type: TYPE_FP32\n  dims: {list(given.shape[1:])}\n}}\n'
        f'output {{\n  name: "{OUTPUT_NAME}"\n  data_type: TYPE_FP32\n  dims: {list(answered.shape[1:])}\n{labels}}}\n'
        "dynamic_batching { }\n"
    )


def _pack(folder: Path, path: Path) -> None:
    """Pack a folder as tar.gz. Equal files give equal bytes: no time and no owner is written."""
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for file in sorted(folder.rglob("*")):
            entry = tarfile.TarInfo(str(file.relative_to(folder)))
            if file.is_dir():
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(entry)
            else:
                entry.size = file.stat().st_size
                with file.open("rb") as content:
                    archive.addfile(entry, content)
