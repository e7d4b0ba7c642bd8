"""Define the spec of an export, which writes a version in the format of another system."""

from enum import StrEnum

from shared.spec.fields import ModelName, Notes, Priority, SpecPart, Tags


class ExportFormat(StrEnum):
    """A format of another system.

    `h5`: a whole model of Keras 2 and 3. `saved_model`: a repository of TensorFlow Serving. `tflite`: LiteRT, float32.
    `tflite-int8`: LiteRT with weights and activations of 8 bits. `openvino`: OpenVINO IR. `triton`: a repository of
    Triton. `onnx-with-preprocessing`: ONNX whose input is not normalised yet, uint8 pixels for images.
    """

    H5 = "h5"
    SAVED_MODEL = "saved_model"
    TFLITE = "tflite"
    TFLITE_INT8 = "tflite-int8"
    OPENVINO = "openvino"
    TRITON = "triton"
    ONNX_WITH_PREPROCESSING = "onnx-with-preprocessing"


FILE_NAMES = {
    ExportFormat.H5: "model.h5",
    ExportFormat.SAVED_MODEL: "saved_model.tar.gz",
    ExportFormat.TFLITE: "model.tflite",
    ExportFormat.TFLITE_INT8: "model-int8.tflite",
    ExportFormat.OPENVINO: "openvino.tar.gz",
    ExportFormat.TRITON: "triton.tar.gz",
    ExportFormat.ONNX_WITH_PREPROCESSING: "model.with-preprocessing.onnx",
}
"""The file of the version that an export adds."""


NOT_FOR_TEXTS = frozenset({ExportFormat.TFLITE_INT8, ExportFormat.ONNX_WITH_PREPROCESSING})
"""Formats whose inputs are scaled. The inputs of a version of texts are word indices, which are never scaled."""


class ExportSpec(SpecPart):
    """The request for an export of a version."""

    model: ModelName
    version: int
    format: ExportFormat
    priority: Priority
    tags: Tags
    notes: Notes
