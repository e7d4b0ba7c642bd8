"""Check that a version can predict the rows of a data set, and that their labels are those of the version."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.datasets.columns import find_positions
from shared.datasets.encodings import ColumnEncoding
from shared.datasets.info import DatasetInfo, TargetKind
from shared.errors import Fault, InvalidRequest, list_names
from shared.preprocessing.contract import NumbersContract
from shared.registry.manifest import VersionManifest


def check_inputs(manifest: VersionManifest, info: DatasetInfo, columns: tuple[str, ...]) -> None:
    """Check that a version can predict the rows of a data set. `columns` are the names of its columns.

    Raises InvalidRequest.
    """
    contract = manifest.preprocessing
    has_shape = not isinstance(contract, NumbersContract) or info.shape == contract.shape
    if info.kind != contract.kind or not has_shape:
        actual = f"numbers of shape {list(info.shape)}" if info.kind == "numbers" else info.kind
        expected = (
            f"numbers of shape {list(contract.shape)}" if isinstance(contract, NumbersContract) else contract.kind
        )
        raise _build_error(f"The data set contains {actual}. This version takes {expected}.")
    if isinstance(contract, NumbersContract):
        _check_columns(columns, info.encodings, manifest.columns, contract.columns)


def check_labels(manifest: VersionManifest, info: DatasetInfo) -> None:
    """Check that the labels of a data set have the form of those of a version. Raises InvalidRequest."""
    if manifest.labels:
        if info.targets not in (TargetKind.ONE_HOT, TargetKind.MULTI_LABEL) or info.target_width != len(
            manifest.labels
        ):
            raise _build_error(f"A row can have several of the labels {list_names(manifest.labels)}, and not here.")
    elif manifest.classes:
        known = set(manifest.classes)
        if info.targets is TargetKind.NUMBERS or not info.classes:
            raise _build_error("The data set has no classes, and the version predicts some.")
        if unknown := [name for name in info.classes if name not in known]:
            raise _build_error(
                f"The data set has the classes {list_names(unknown)}, which the version does not know. It predicts "
                f"{list_names(manifest.classes)}."
            )
    elif info.targets is TargetKind.CLASSES or info.target_width != manifest.signature.outputs[0].shape[-1]:
        raise _build_error("The version predicts numbers, and the labels of the data set are others.")


def convert_to_version(y: NDArray[Any], info: DatasetInfo, manifest: VersionManifest) -> NDArray[Any]:
    """Convert the labels of a data set that `check_labels` accepts to those of a version.

    Classes become their indices (n,) int64 in the version. Several labels get the order of its outputs, (n, k).
    """
    if manifest.labels:
        if set(info.classes) != set(manifest.labels):
            return y
        positions = find_positions(info.classes)
        ordered: NDArray[Any] = y[:, [positions[label] for label in manifest.labels]]
        return ordered
    if not manifest.classes:
        return y.reshape(len(y), -1).astype(np.float32)
    positions = find_positions(manifest.classes)
    if info.targets is TargetKind.INTEGERS:
        return np.fromiter((positions[str(int(label))] for label in y), np.int64, len(y))
    own = y.argmax(axis=1) if y.ndim > 1 else y
    indices: NDArray[np.int64] = np.array([positions[name] for name in info.classes], np.int64)[own]
    return indices


def _check_columns(
    names: tuple[str, ...],
    encodings: Sequence[ColumnEncoding],
    wanted_names: tuple[str, ...],
    wanted_encodings: Sequence[ColumnEncoding],
) -> None:
    """Check that a table has the columns of the version, in their order. Raises InvalidRequest."""
    width = len(names) or len(encodings) or len(wanted_encodings)
    kinds, wanted_kinds = (
        [(column.categories, column.words) for column in table] or [((), ())] * width
        for table in (encodings, wanted_encodings)
    )
    if kinds == wanted_kinds and (names == wanted_names or not names or not wanted_names):
        return
    detail = "The data set has other columns than those that this version was trained on, or other categories in them."
    if names != wanted_names:
        detail = f"The data set has the columns {list(names[:20])}; this version takes {list(wanted_names[:20])}."
    raise _build_error(f"{detail} Send the rows as a file.")


def _build_error(detail: str) -> InvalidRequest:
    return InvalidRequest("The data set does not fit the version.", (Fault("#/dataset", detail),))
