"""Compute the outputs of a version with two inputs on a grid over the plane of its inputs."""

import numpy as np
from numpy.typing import NDArray

from api.charts.drawings import Surface
from shared.datasets.encodings import encode_rows, expand_names
from shared.datasets.inline import read_inline
from shared.errors import PictureNotFound
from shared.inference.servable import Servable
from shared.preprocessing.contract import NumbersContract
from shared.spec.dataset import DatasetSpec

STEPS = 200
"""Number of grid points along each axis."""
MARGIN = 0.25
"""Margin around the data on each side, as a fraction of their range."""


def compute_surface(servable: Servable, dataset: DatasetSpec, columns: tuple[str, ...]) -> Surface:
    """Predict STEPS × STEPS points around the data.

    Args:
        dataset: the data of the training, with the inline data.
        columns: the names of the two inputs, or empty.

    Raises PictureNotFound for a version that does not take two numbers, or that returns several numbers and no classes.
    """
    manifest = servable.manifest
    contract = manifest.preprocessing
    if not isinstance(contract, NumbersContract) or contract.shape != (2,):
        raise PictureNotFound(
            f"A decision surface needs a version that takes 2 numbers; {servable.name} takes inputs of the shape "
            f"{list(contract.input_shape)}."
        )
    points, values = _collect_points(servable, dataset)
    low, high = points.min(axis=0), points.max(axis=0)
    room = np.where(high > low, high - low, 1) * MARGIN
    first, second = (np.linspace(start, end, STEPS) for start, end in zip(low - room, high + room, strict=True))
    plane = np.stack(np.meshgrid(first, second), axis=-1).reshape(-1, 2).astype(np.float32)
    answers = servable.run(contract.normalisation.apply(plane))
    names = expand_names(columns, contract.columns)
    height, meaning = _reduce_outputs(answers, manifest.classes)
    return Surface(
        first=first,
        second=second,
        values=height.reshape(STEPS, STEPS),
        meaning=meaning,
        classes=manifest.classes,
        axis_names=(names[0], names[1]) if names else ("input 0", "input 1"),
        points=points if len(values) else points[:0],
        point_values=values,
    )


def _reduce_outputs(answers: NDArray[np.float32], classes: tuple[str, ...]) -> tuple[NDArray[np.float64], str]:
    """Return one number per row, (n,), and its meaning: a number, a class index, or the probability of the last class.

    Raises PictureNotFound.
    """
    if not classes:
        if answers.shape[1] > 1:
            raise PictureNotFound(
                f"The version returns {answers.shape[1]} numbers per input; a decision surface can show only 1."
            )
        return answers[:, 0].astype(np.float64), "predicted value"
    if len(classes) > 2:  # noqa: PLR2004 - not binary
        return answers.argmax(axis=1).astype(np.float64), "predicted class"
    return answers[:, -1].astype(np.float64), f"probability of {classes[1]}"


def _collect_points(servable: Servable, dataset: DatasetSpec) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the inline rows of the spec, (n, 2), and their labels, (n,).

    Without inline rows, or with several labels per row, return the golden samples and no labels, (0,).
    """
    if dataset.inline is not None and dataset.classes is None:
        _, x, y = read_inline(dataset.inline)
        if isinstance(x, np.ndarray) and (y.ndim == 1 or y.shape[1] == 1):
            return x.astype(np.float64), y.reshape(-1).astype(np.float64)
    samples = [sample.numbers for sample in servable.manifest.golden_samples]
    contract = servable.manifest.preprocessing
    if isinstance(contract, NumbersContract) and contract.columns:
        return encode_rows(samples, contract.columns), np.zeros(0)
    return np.asarray(samples, np.float64), np.zeros(0)
