"""An `.npz` with x and y, or x_train, y_train, x_test and y_test, as a data set. Objects are never unpickled."""

import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from api.ingestion.result import UNREADABLE, ParsedDataset, UploadLimits, dataset_error
from api.ingestion.targets import Targets, encode_class_names, infer_numeric_targets
from shared.datasets.info import DatasetInfo, TargetKind
from shared.datasets.labels import find_class_name_faults
from shared.datasets.row_files import CHUNK_BYTES

ONE_PART = ("x", "y")
TWO_PARTS = ("x_train", "y_train", "x_test", "y_test")
CLASS_NAMES = ("classes", "class_names")
IMAGE_CHANNELS = (1, 3)
IMAGE_RANKS = (3, 4)
MAX_FLOAT32 = float(np.finfo(np.float32).max)


class _Header(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def is_npz(archive: zipfile.ZipFile) -> bool:
    names = archive.namelist()
    return bool(names) and all(name.endswith(".npy") for name in names)


def ingest_npz(archive: zipfile.ZipFile, limits: UploadLimits, folder: Path) -> ParsedDataset:
    """Writes x.npy, uint8 for images and float32 otherwise, and y.npy. Raises DatasetRefused."""
    headers = read_headers(archive, limits)
    names = TWO_PARTS if "x_train" in headers else ONE_PART
    wanted = [name for name in names if name in headers or not name.endswith("_test")]
    if missing := [name for name in wanted if name not in headers]:
        raise dataset_error([f"There is no array {missing[0]!r}; there are {', '.join(sorted(headers)) or 'none'}."])
    if ("x_test" in headers) != ("y_test" in headers):
        raise dataset_error(["x_test and y_test go together."])
    arrays = {name: map_array(archive, name, folder) for name in wanted}
    xs = [array for name, array in arrays.items() if name.startswith("x")]
    ys = [array for name, array in arrays.items() if name.startswith("y")]
    _check_rows(arrays, xs, ys)
    images = xs[0].dtype == np.uint8 and xs[0].ndim in IMAGE_RANKS
    shape = to_image_shape(xs[0].shape[1:]) if images else (xs[0].shape[1:] or (1,))
    _write_x(xs, shape, folder / "x.npy", images=images)
    targets = _name_classes(_build_targets(ys), archive, headers)
    np.save(folder / "y.npy", targets.y)
    for name in wanted:
        (folder / f"{name}.part").unlink()
    train_rows = len(xs[0])
    info = DatasetInfo(
        shape,
        images=images,
        targets=targets.kind,
        train_rows=train_rows,
        test_rows=len(targets.y) - train_rows,
        classes=targets.classes,
        target_width=1 if targets.y.ndim == 1 else targets.y.shape[1],
        class_rows=targets.count_class_rows(train_rows),
        own_test=len(targets.y) > train_rows,
    )
    ignored = tuple(sorted(set(headers) - set(wanted) - set(CLASS_NAMES)))
    return ParsedDataset(info, (folder / "x.npy", folder / "y.npy"), ignored=ignored)


def read_headers(archive: zipfile.ZipFile, limits: UploadLimits) -> dict[str, _Header]:
    unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > limits.bytes:
        raise dataset_error([f"The arrays unpack to {unpacked:,} bytes, where {limits.bytes:,} are the limit."])
    headers: dict[str, _Header] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name in headers:
            raise dataset_error([f"The array {name!r} stands twice in the file."])
        try:
            with archive.open(info) as member:
                headers[name] = _read_header(member)
        except UNREADABLE as error:
            raise dataset_error([f"The array {name!r} cannot be read: {error}"]) from None
        dtype = headers[name].dtype
        if dtype.hasobject:
            raise dataset_error(
                [f"The array {name!r} holds Python objects, which are never loaded: save plain numbers."]
            )
        if dtype.kind not in "biufU":
            raise dataset_error([f"The array {name!r} holds {dtype}: numbers are needed, or names as labels."])
    return headers


def _read_header(member: IO[bytes]) -> _Header:
    version = npy.read_magic(member)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(member)
    return _Header(shape, dtype)


def map_array(archive: zipfile.ZipFile, name: str, folder: Path) -> NDArray[Any]:
    """Unpacked beside, and mapped: it may be larger than the memory."""
    path = folder / f"{name}.part"
    try:
        with archive.open(f"{name}.npy") as member, path.open("wb") as file:
            shutil.copyfileobj(member, file, 2**20)
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except UNREADABLE as error:
        raise dataset_error([f"The array {name!r} cannot be read: {error}"]) from None
    return array


def _check_rows(arrays: Mapping[str, NDArray[Any]], xs: Sequence[NDArray[Any]], ys: Sequence[NDArray[Any]]) -> None:
    for name, array in arrays.items():
        if array.ndim == 0 or array.size == 0:
            raise dataset_error([f"The array {name!r} is empty."])
        if array.dtype.kind == "U" and name.startswith("x"):
            raise dataset_error([f"The array {name!r} holds text: numbers are needed."])
    for x, y in zip(xs, ys, strict=True):
        if len(x) != len(y):
            raise dataset_error([f"x has {len(x):,} rows and y has {len(y):,}: one of each for every row."])
        if x.shape[1:] != xs[0].shape[1:] or y.shape[1:] != ys[0].shape[1:] or x.dtype.kind != xs[0].dtype.kind:
            raise dataset_error(["The training and the test arrays have rows of different shapes or types."])
        if y.ndim > 2:  # noqa: PLR2004 - rows, and the numbers of a row
            raise dataset_error([f"y has the shape {y.shape}: (n,) or (n, k) is needed."])


def to_image_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """(height, width) or (height, width, channels) → (height, width, channels)"""
    if len(shape) == 2:  # noqa: PLR2004 - height and width
        return (*shape, 1)
    if shape[2] not in IMAGE_CHANNELS:
        raise dataset_error([f"Images of {shape[2]} channels, in the shape {shape}: 1, or 3 for RGB, come last."])
    return shape


def _write_x(xs: Sequence[NDArray[Any]], shape: tuple[int, ...], path: Path, *, images: bool) -> None:
    dtype = np.dtype(np.uint8 if images else np.float32)
    rows = sum(len(x) for x in xs)
    with path.open("wb") as file:
        header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": (rows, *shape)}
        npy.write_array_header_2_0(file, header)
        for x in xs:
            step = max(1, CHUNK_BYTES // max(1, x[:1].nbytes))
            for start in range(0, len(x), step):
                chunk = np.ascontiguousarray(x[start : start + step])
                if not images:
                    _check_finite(chunk, start)
                file.write(chunk.astype(dtype).tobytes())


def _check_finite(chunk: NDArray[Any], start: int) -> None:
    bad = ~(np.abs(chunk.reshape(len(chunk), -1).astype(np.float64)) <= MAX_FLOAT32)
    if bad.any():
        row = start + int(np.flatnonzero(bad.any(axis=1))[0])
        raise dataset_error(
            [f"x, row {row}: a value is missing or not a finite 32-bit number, {int(bad.sum()):,} in all."]
        )


def _build_targets(ys: Sequence[NDArray[Any]]) -> Targets:
    y = np.concatenate([np.asarray(part) for part in ys])
    if y.dtype.kind == "U":
        return encode_class_names(y.reshape(-1).tolist())
    bad = np.flatnonzero(~(np.abs(y.astype(np.float64)).reshape(len(y), -1) <= MAX_FLOAT32).all(axis=1))
    if len(bad):
        raise dataset_error(
            [f"y, row {bad[0]}: a label is missing or not a finite 32-bit number, {len(bad):,} in all."]
        )
    return infer_numeric_targets(y.astype(np.float64), None)


def _name_classes(targets: Targets, archive: zipfile.ZipFile, headers: Mapping[str, _Header]) -> Targets:
    """With the names that the file gives to the classes 0, 1, …"""
    key = next((key for key in CLASS_NAMES if key in headers), None)
    if key is None or targets.kind is not TargetKind.INTEGERS:
        return targets
    with archive.open(f"{key}.npy") as member:
        names = tuple(str(name) for name in npy.read_array(member, allow_pickle=False).reshape(-1))
    if faults := find_class_name_faults(names):
        raise dataset_error(faults)
    if targets.y.min() < 0 or targets.y.max() >= len(names) or len(set(names)) < len(names):
        raise dataset_error(
            [f"`{key}` has {len(names)} names, each for one of the labels 0 to {len(names) - 1} and no other."]
        )
    return Targets(TargetKind.CLASSES, targets.y, names)
