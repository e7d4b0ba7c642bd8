"""Convert an `.npz` file to a data set. Pickled objects are never loaded.

The arrays are x and y, or x_train, y_train, x_test and y_test, and sample_weight for the training rows.
"""

import math
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from api.ingestion.result import UNREADABLE, ParsedDataset, UploadLimits, dataset_error
from api.ingestion.row_writer import RowWriter
from api.ingestion.targets import ClassNames, Targets, infer_numeric_targets
from api.ingestion.texts.text_writer import TextWriter
from shared.datasets.cells import MAX_FLOAT32
from shared.datasets.info import DatasetInfo, TargetKind
from shared.datasets.labels import find_class_name_faults
from shared.datasets.row_files import CHUNK_BYTES
from shared.datasets.texts import find_text_fault
from shared.datasets.weights import WEIGHTS_FILE, find_weight_fault

ONE_PART = ("x", "y")
TWO_PARTS = ("x_train", "y_train", "x_test", "y_test")
SAMPLE_WEIGHT = "sample_weight"
CLASS_NAMES = ("classes", "class_names")
IMAGE_CHANNELS = (1, 3)
IMAGE_RANKS = (3, 4)


class _Header(NamedTuple):
    """The shape and the dtype of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def is_npz(archive: zipfile.ZipFile) -> bool:
    """Return whether all members are `.npy` files."""
    names = archive.namelist()
    return bool(names) and all(name.endswith(".npy") for name in names)


def ingest_npz(archive: zipfile.ZipFile, limits: UploadLimits, folder: Path) -> ParsedDataset:
    """Convert the arrays, and write x.npy, uint8 for images and float32 otherwise, and y.npy to the folder.

    An array of uint8 with 3 or 4 dimensions contains images. Strings are written to texts.bin and index.npz. Test rows
    follow the training rows. Raises DatasetRefused.
    """
    headers = read_headers(archive, limits)
    names = TWO_PARTS if "x_train" in headers else ONE_PART
    wanted = [name for name in names if name in headers or not name.endswith("_test")]
    if missing := [name for name in wanted if name not in headers]:
        raise dataset_error(
            f"There is no array {missing[0]!r}; the file contains {', '.join(sorted(headers)) or 'no arrays'}. "
            "Save x and y, or x_train, y_train, x_test and y_test."
        )
    if ("x_test" in headers) != ("y_test" in headers):
        raise dataset_error("Only one of x_test and y_test is in the file. Save both, or neither.")
    for name in wanted:
        _check_size(name, headers[name].shape, limits)
    arrays = {name: map_array(archive, name, folder) for name in wanted}
    xs = [array for name, array in arrays.items() if name.startswith("x")]
    ys = [array for name, array in arrays.items() if name.startswith("y")]
    _check_rows(arrays, xs, ys)
    texts = xs[0].dtype.kind == "U"
    images = xs[0].dtype == np.uint8 and xs[0].ndim in IMAGE_RANKS
    shape: tuple[int, ...] = ()
    if not texts:
        shape = to_image_shape(xs[0].shape[1:]) if images else (xs[0].shape[1:] or (1,))
    targets = _name_classes(_build_targets(ys), archive, headers, folder)
    if texts:
        files = _write_texts(xs, targets, limits, folder)
    else:
        _write_x(xs, shape, folder / "x.npy", limits, images=images)
        np.save(folder / "y.npy", targets.y)
        files = [folder / "x.npy", folder / "y.npy"]
    train_rows = len(xs[0])
    if SAMPLE_WEIGHT in headers:
        weights = _read_weights(archive, headers[SAMPLE_WEIGHT], train_rows, folder)
        files.append(folder / WEIGHTS_FILE)
        np.save(files[-1], np.concatenate([weights, np.ones(len(targets.y) - train_rows, np.float32)]))
    info = DatasetInfo(
        shape,
        images=images,
        texts=texts,
        targets=targets.kind,
        train_rows=train_rows,
        test_rows=len(targets.y) - train_rows,
        classes=targets.classes,
        target_width=1 if targets.y.ndim == 1 else targets.y.shape[1],
        class_rows=targets.count_class_rows(train_rows),
        own_test=len(targets.y) > train_rows,
        weighted=SAMPLE_WEIGHT in headers,
    )
    ignored = tuple(sorted(set(headers) - set(wanted) - {*CLASS_NAMES, SAMPLE_WEIGHT}))
    return ParsedDataset(info, tuple(files), ignored=ignored)


def _write_texts(xs: Sequence[NDArray[Any]], targets: Targets, limits: UploadLimits, folder: Path) -> list[Path]:
    """Write texts.bin and index.npz, and return their paths. Raises DatasetRefused."""
    with TextWriter(folder, limits) as writer:
        for x in xs:
            step = max(1, CHUNK_BYTES // max(1, x.itemsize))
            for start in range(0, len(x), step):
                for text in x[start : start + step].reshape(-1).tolist():
                    if fault := find_text_fault(text):
                        raise dataset_error(f"x, row {writer.rows} (from 0; x_test follows x_train): the text {fault}.")
                    writer.write(text)
        return list(writer.finish(y=targets.y))


def _read_weights(archive: zipfile.ZipFile, header: _Header, rows: int, folder: Path) -> NDArray[np.float32]:
    """Read the weight of each training row, (rows,). Raises DatasetRefused."""
    if header.dtype.kind not in "biuf" or header.shape not in ((rows,), (rows, 1)):
        raise dataset_error(
            f"`{SAMPLE_WEIGHT}` has the dtype {header.dtype} and the shape {header.shape}. Save one number for each of "
            f"the {rows:,} training rows."
        )
    weights = np.asarray(map_array(archive, SAMPLE_WEIGHT, folder), np.float32).reshape(-1)
    if fault := find_weight_fault(weights):
        raise dataset_error(f"`{SAMPLE_WEIGHT}`: {fault}")
    return weights


def read_headers(archive: zipfile.ZipFile, limits: UploadLimits) -> dict[str, _Header]:
    """Read the shape and the dtype of every array, by name, without the values.

    Raises DatasetRefused for a file over the limit, duplicate or damaged arrays, and unsupported dtypes.
    """
    unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > limits.bytes:
        raise dataset_error(
            f"The arrays unpack to {unpacked:,} bytes; the limit is {limits.bytes:,} "
            "(TRAINYARD_MAX_DATASET_BYTES). Send fewer rows, or a smaller dtype."
        )
    headers: dict[str, _Header] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name in headers:
            raise dataset_error(f"The array {name!r} occurs more than once in the file. Save each array once.")
        try:
            with archive.open(info) as member:
                headers[name] = _read_header(member)
        except UNREADABLE as error:
            raise dataset_error(
                f"The array {name!r} cannot be read ({error}). Save the file again with `numpy.savez`."
            ) from None
        dtype = headers[name].dtype
        if dtype.hasobject:
            raise dataset_error(
                f"The array {name!r} contains Python objects, which are never loaded. Save it with a numeric dtype."
            )
        if dtype.kind not in "biufU":
            raise dataset_error(
                f"The array {name!r} has the dtype {dtype}. Save booleans, integers or floating-point numbers, or "
                "class names as Unicode strings."
            )
    return headers


def _read_header(member: IO[bytes]) -> _Header:
    version = npy.read_magic(member)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(member)
    return _Header(shape, dtype)


def map_array(archive: zipfile.ZipFile, name: str, folder: Path) -> NDArray[Any]:
    """Extract an array to a file without a name in the folder, and map it into memory. Raises DatasetRefused.

    The array can be larger than the memory. The space on the disk is free again when the array is.
    """
    try:
        with archive.open(f"{name}.npy") as member, NamedTemporaryFile(dir=folder) as file:
            shutil.copyfileobj(member, file, 2**20)
            file.flush()
            array: NDArray[Any] = np.load(file.name, mmap_mode="r", allow_pickle=False)
    except UNREADABLE as error:
        raise dataset_error(
            f"The array {name!r} cannot be read ({error}). Save the file again with `numpy.savez`."
        ) from None
    return array


def _check_rows(arrays: Mapping[str, NDArray[Any]], xs: Sequence[NDArray[Any]], ys: Sequence[NDArray[Any]]) -> None:
    """Check that the arrays have rows, that x is numeric, and that all shapes match. Raises DatasetRefused."""
    for name, array in arrays.items():
        if array.ndim == 0 or array.size == 0:
            raise dataset_error(f"The array {name!r} has the shape {array.shape}; at least one row is needed.")
        if array.dtype.kind == "U" and name.startswith("x") and array.size != len(array):
            raise dataset_error(f"The array {name!r} has the shape {array.shape}. Save one text for each row.")
    for x, y in zip(xs, ys, strict=True):
        if len(x) != len(y):
            raise dataset_error(f"x has {len(x):,} rows and y has {len(y):,}. Each row of x needs one label in y.")
        if x.shape[1:] != xs[0].shape[1:] or y.shape[1:] != ys[0].shape[1:] or x.dtype.kind != xs[0].dtype.kind:
            raise dataset_error(
                "The training rows and the test rows have different shapes or types: "
                f"x {xs[0].dtype} {xs[0].shape[1:]} and {x.dtype} {x.shape[1:]}, y {ys[0].shape[1:]} and "
                f"{y.shape[1:]}. Save both in the same form."
            )
        if y.dtype.kind == "U" and y.size != len(y):
            raise dataset_error(f"y has the shape {y.shape}. Save one text for each row.")
        if y.ndim > 2:  # noqa: PLR2004 - (n, k)
            raise dataset_error(
                f"y has the shape {y.shape}. Save (n,) for one label per row, or (n, k) for k numbers per row."
            )


def to_image_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Convert the shape (height, width) or (height, width, channels) of a row to (height, width, channels).

    Raises DatasetRefused for other numbers of channels than IMAGE_CHANNELS.
    """
    if len(shape) == 2:  # noqa: PLR2004 - height and width
        return (*shape, 1)
    if shape[2] not in IMAGE_CHANNELS:
        raise dataset_error(
            f"Images of {shape[2]} channels are not supported; a row has the shape {shape}. The last dimension "
            "must be 1 for gray or 3 for RGB."
        )
    return shape


def _check_size(name: str, shape: tuple[int, ...], limits: UploadLimits) -> None:
    """Check the number of rows, or of labels, before the array is extracted. Raises DatasetRefused."""
    number = math.prod(shape if name.startswith("y") else shape[:1])
    if number > limits.rows:
        what = "numbers" if name.startswith("y") else "rows"
        raise dataset_error(
            f"The array {name!r} has {number:,} {what}; the limit is {limits.rows:,} (TRAINYARD_MAX_DATASET_ROWS). "
            "Send fewer rows."
        )


def _write_x(
    xs: Sequence[NDArray[Any]], shape: tuple[int, ...], path: Path, limits: UploadLimits, *, images: bool
) -> None:
    """Write the rows of all arrays to one `.npy` file, in chunks.

    Raises DatasetRefused for values that are not finite, and for more rows or bytes than the limits.
    """
    with RowWriter(path, shape, np.dtype(np.uint8 if images else np.float32), limits) as writer:
        for x in xs:
            step = max(1, CHUNK_BYTES // max(1, x[:1].nbytes))
            for start in range(0, len(x), step):
                chunk = np.ascontiguousarray(x[start : start + step])
                if not images:
                    _check_finite(chunk, start)
                writer.write(chunk)


def _check_finite(chunk: NDArray[Any], start: int) -> None:
    bad = ~(np.abs(chunk.reshape(len(chunk), -1).astype(np.float64)) <= MAX_FLOAT32)
    if bad.any():
        row = start + int(np.flatnonzero(bad.any(axis=1))[0])
        raise dataset_error(
            f"x, row {row} (from 0 in its array): a value is not a finite 32-bit number (NaN, infinite or beyond "
            f"±3.4e38). Number of such values found so far: {int(bad.sum()):,}. Replace them or remove the rows."
        )


def _build_targets(ys: Sequence[NDArray[Any]]) -> Targets:
    """Convert the training and the test labels to targets. Raises DatasetRefused."""
    if ys[0].dtype.kind == "U":
        names = ClassNames()
        for part in ys:
            step = max(1, CHUNK_BYTES // max(1, part.itemsize))
            for start in range(0, len(part), step):
                for text in part[start : start + step].reshape(-1).tolist():
                    names.add(str(text))
        return names.encode("y")
    y = np.concatenate([np.asarray(part) for part in ys])
    bad = np.flatnonzero(~(np.abs(y.astype(np.float64)).reshape(len(y), -1) <= MAX_FLOAT32).all(axis=1))
    if len(bad):
        raise dataset_error(
            f"y, row {bad[0]} (from 0; y_test follows y_train): a label is not a finite 32-bit number (NaN, "
            f"infinite or beyond ±3.4e38). Number of such rows: {len(bad):,}. Correct or remove them."
        )
    return infer_numeric_targets(y.astype(np.float64), None)


def _name_classes(targets: Targets, archive: zipfile.ZipFile, headers: Mapping[str, _Header], folder: Path) -> Targets:
    """Return the targets with the names of the classes 0, 1, … from the array `classes` or `class_names`.

    One-hot labels, and several labels in a row, have a name for each column. Without such an array, or with labels that
    have names already or are numbers, the targets are unchanged. Raises DatasetRefused.
    """
    key = next((key for key in CLASS_NAMES if key in headers), None)
    is_named = targets.kind in (TargetKind.INTEGERS, TargetKind.ONE_HOT, TargetKind.MULTI_LABEL)
    if key is None or not is_named:
        return targets
    names = tuple(str(name) for name in map_array(archive, key, folder).reshape(-1))
    if faults := find_class_name_faults(names):
        raise dataset_error(*faults)
    if targets.kind is not TargetKind.INTEGERS:
        if len(names) != targets.y.shape[1]:
            raise dataset_error(
                f"`{key}` has {len(names)} names, and a label has {targets.y.shape[1]} columns. Save one name for each "
                "column."
            )
        return Targets(targets.kind, targets.y, names)
    if targets.y.min() < 0 or targets.y.max() >= len(names):
        raise dataset_error(
            f"`{key}` has {len(names)} names, so the labels must be 0 to {len(names) - 1}. They are {targets.y.min()} "
            f"to {targets.y.max()}."
        )
    return Targets(TargetKind.CLASSES, targets.y, names)
