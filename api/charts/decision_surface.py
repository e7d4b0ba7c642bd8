"""What a version of two inputs answers all over their plane."""

import numpy as np
from numpy.typing import NDArray

from api.charts.drawings import Surface
from shared.datasets.inline import read_inline
from shared.errors import PictureNotFound
from shared.inference.servable import Servable
from shared.preprocessing.contract import NumbersContract
from shared.spec.training import TrainingSpec

STEPS = 200
MARGIN = 0.25
"""Of the range that the data cover, on each side."""


def compute_surface(servable: Servable, columns: tuple[str, ...]) -> Surface:
    """Raises PictureNotFound for a network that takes anything but two numbers, or answers more than one."""
    manifest = servable.manifest
    contract = manifest.preprocessing
    if not isinstance(contract, NumbersContract) or contract.shape != (2,):
        raise PictureNotFound(f"A plane has two inputs, and {servable.name} takes {list(contract.input_shape)}.")
    points, values = _collect_points(servable)
    low, high = points.min(axis=0), points.max(axis=0)
    room = np.where(high > low, high - low, 1) * MARGIN
    first, second = (np.linspace(start, end, STEPS) for start, end in zip(low - room, high + room, strict=True))
    plane = np.stack(np.meshgrid(first, second), axis=-1).reshape(-1, 2).astype(np.float32)
    answers = servable.run(contract.normalisation.apply(plane))
    height, meaning = _reduce_outputs(answers, manifest.classes)
    return Surface(
        first=first,
        second=second,
        values=height.reshape(STEPS, STEPS),
        meaning=meaning,
        classes=manifest.classes,
        axis_names=(columns[0], columns[1]) if columns else ("input 0", "input 1"),
        points=points if len(values) else points[:0],
        point_values=values,
    )


def _reduce_outputs(answers: NDArray[np.float32], classes: tuple[str, ...]) -> tuple[NDArray[np.float64], str]:
    """One number for each row, and what it means."""
    if not classes:
        if answers.shape[1] > 1:
            raise PictureNotFound(f"The version answers {answers.shape[1]} numbers, and a surface shows one.")
        return answers[:, 0].astype(np.float64), "answer"
    if len(classes) > 2:  # noqa: PLR2004 - more than yes and no
        return answers.argmax(axis=1).astype(np.float64), "predicted class"
    return answers[:, -1].astype(np.float64), f"probability of {classes[1]}"


def _collect_points(servable: Servable) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The rows that stood in the spec with their labels, or else those of the golden samples, without."""
    spec = TrainingSpec.model_validate(servable.manifest.lineage.spec)
    if spec.dataset.inline is not None and spec.dataset.classes is None:
        _, x, y = read_inline(spec.dataset.inline)
        if y.ndim == 1 or y.shape[1] == 1:
            return x.astype(np.float64), y.reshape(-1).astype(np.float64)
    samples = [sample.numbers for sample in servable.manifest.golden_samples]
    return np.asarray(samples, np.float64), np.zeros(0)
