"""Format the network's outputs as predictions: classes or labels with probabilities, or numbers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.registry.manifest import VersionManifest

LOW_CONFIDENCE_WARNING = (
    "The probability is below {:.2g}: predictions with a lower probability are wrong more often than right."
)
LABEL_THRESHOLD = 0.5
"""An input has the labels with at least this probability, if it can have several."""
PredictionDict = dict[str, Any]
"""A Prediction, LabelsPrediction, NumericPrediction or FailedPrediction of api/documents/predictions.py.

It is a dict because pydantic would take longer to build it than the network takes to run.
"""


def format_prediction(
    outputs: NDArray[np.float32], warnings: list[str], manifest: VersionManifest, top: int
) -> PredictionDict:
    """Format the outputs of one input, (k,), with the `top` most probable classes, or with all labels.

    A single output of a classifier is the probability of the second of two classes.
    """
    classes = manifest.classes
    if manifest.labels:
        ranked = [
            {"label": manifest.labels[index], "probability": outputs[index]}
            for index in np.argsort(-outputs, kind="stable").tolist()
        ]
        found = [one["label"] for one in ranked if one["probability"] >= LABEL_THRESHOLD]
        return {"labels": found, "probabilities": ranked, "warnings": warnings}
    if not classes:
        values = list(outputs)
        return {"value": values[0] if len(values) == 1 else values, "warnings": warnings}
    probabilities = np.array([1 - outputs[0], outputs[0]], np.float32) if len(outputs) == 1 else outputs
    best = [int(probabilities.argmax())] if top == 1 else np.argsort(-probabilities, kind="stable")[:top].tolist()
    ranked = [{"label": classes[index], "class": index, "probability": probabilities[index]} for index in best]
    threshold = manifest.confidence_threshold
    if threshold is not None and ranked[0]["probability"] < threshold:
        warnings = [*warnings, LOW_CONFIDENCE_WARNING.format(threshold)]
    return {**ranked[0], "top": ranked, "warnings": warnings}
