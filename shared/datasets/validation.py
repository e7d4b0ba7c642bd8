"""Check that the rows of another data set can monitor a training, and give their labels the indices of its classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.datasets.columns import find_positions
from shared.datasets.info import DatasetInfo, TargetKind
from shared.errors import Fault, InvalidRequest, list_names


def check_validation_inputs(info: DatasetInfo, other: DatasetInfo, name: str) -> None:
    """Check that rows of the data set `other` have the form of those of the training data `info`.

    Raises InvalidRequest, which names the difference.
    """
    for one, another in zip(info.encodings, other.encodings, strict=False):
        if (one.categories, one.words) != (another.categories, another.words):
            raise _build_error(
                f"The column {another.name!r} of {name} has the categories {list_names(another.categories)}, and that "
                f"of the training data {list_names(one.categories)}."
            )
        if one.fill != another.fill:
            raise _build_error(
                f"Missing values of the column {another.name!r} were filled with {another.fill!r} in {name}, and with "
                f"{one.fill!r} in the training data: send `columns` with this value as `fill`."
            )
    ours, theirs = _describe_inputs(info), _describe_inputs(other)
    if ours != theirs:
        raise _build_error(f"{name} has {theirs}, and the training data has {ours}.")


def check_validation_labels(
    classes: Sequence[str], labels: Sequence[str], info: DatasetInfo, other: DatasetInfo, name: str
) -> None:
    """Check that the labels of the data set `other` have the form that the training takes.

    Args:
        classes: the classes of the training, empty without classes.
        labels: the labels of which a row can have several; else empty.

    Raises InvalidRequest, which names the difference.
    """
    if other.target_width != info.target_width:
        raise _build_error(
            f"A label of {name} has {other.target_width} columns, and one of the training data {info.target_width}."
        )
    if classes:
        fits = other.targets is info.targets
    elif labels:
        fits = other.targets in (TargetKind.ONE_HOT, TargetKind.MULTI_LABEL)
    else:
        fits = other.targets is not TargetKind.CLASSES
    if not fits:
        kinds = f"{other.targets.value}, and the training takes {info.targets.value}"
        raise _build_error(f"The labels of {name} are {kinds}.")
    known = set(classes or labels)
    if known and (unknown := [label for label in other.classes if label not in known]):
        raise _build_error(f"{name} has the class {unknown[0]!r}, which the training does not use.")


def convert_labels(y: NDArray[Any], info: DatasetInfo, other: DatasetInfo) -> NDArray[Any]:
    """Convert class indices of the data set `other`, (n,), to those of the training data `info`.

    Columns of labels, (n, k), get the order of the training data, if both have names.
    """
    positions = find_positions(info.classes)
    if y.ndim > 1 and set(other.classes) == set(info.classes) and info.classes:
        ordered: NDArray[Any] = y[:, np.argsort([positions[label] for label in other.classes])]
        return ordered
    if info.targets is not TargetKind.CLASSES:
        return y
    indices: NDArray[np.int64] = np.array([positions[label] for label in other.classes], np.int64)[y]
    return indices


def _describe_inputs(info: DatasetInfo) -> str:
    if info.images:
        return f"images with {info.shape[-1]} channels"  # of any size: they are resized alike
    if info.texts:
        return "texts"
    if len(info.shape) > 1:
        return f"rows of shape {info.shape}"
    return f"rows of {len(info.encodings) or info.shape[0]} columns"


def _build_error(detail: str) -> InvalidRequest:
    fault = Fault("#/dataset/validation/dataset", f"{detail} Upload it in the form of the training data.")
    return InvalidRequest("The validation data does not fit.", (fault,))
