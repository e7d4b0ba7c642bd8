"""A file that a user brings to be predicted on: images in a zip, numbers in a CSV, or either in an npz.

What cannot be read of a single input stands in its place; the file as a whole is refused only where nobody could say
which inputs it holds.
"""

import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from api.ingestion.csv_files import (
    CHUNK_ROWS,
    MISSING_VALUES,
    SAMPLE_ROWS,
    decode_text,
    detect_delimiter,
    has_header,
    parse_number,
    read_rows,
)
from api.ingestion.file_types import open_archive
from api.ingestion.image_folders import is_folder, is_junk, read_content, read_members
from api.ingestion.npz_files import IMAGE_RANKS, is_npz, map_array, read_headers, to_image_shape
from api.ingestion.result import TableOptions, UploadLimits, dataset_error
from shared.datasets.row_files import CHUNK_BYTES, join_lines
from shared.preprocessing.contract import Contract, ImageContract

Line = tuple[int, list[str]]
"""Its number, and its cells."""


@dataclass(frozen=True)
class PredictionInputs:
    """images.bin and index.npz, or x.npy; faults.json has the rows, by their number from 0, that could not be read."""

    files: tuple[Path, ...]
    rows: int


def ingest_prediction_inputs(
    stream: IO[bytes], contract: Contract, columns: Sequence[str], limits: UploadLimits, folder: Path
) -> PredictionInputs:
    """`columns` are those that the version was trained on, where they have names.

    Raises DatasetRefused.
    """
    archive = open_archive(stream, "a zip of images, a CSV of numbers, or an npz")
    if archive is not None:
        with archive:
            if is_npz(archive):
                return _ingest_array(archive, contract, limits, folder)
            if not isinstance(contract, ImageContract):
                raise dataset_error(
                    [f"This version takes {list(contract.shape)} numbers: send a CSV, or an npz with `x`."]
                )
            return _ingest_images(archive, limits, folder)
    if isinstance(contract, ImageContract):
        raise dataset_error(["This version takes images: send a zip of them, or an npz with `x`."])
    return _ingest_csv(stream, contract.shape, columns, folder)


def _ingest_images(archive: zipfile.ZipFile, limits: UploadLimits, folder: Path) -> PredictionInputs:
    """Every file of the zip but those that operating systems leave behind, in its order."""
    files = [member for member in read_members(archive, limits) if not is_folder(member.info)]
    images = [member for member in files if not is_junk(member.path)]
    if not images:
        raise dataset_error(["The zip holds no file."])
    offsets, faults = [0], {}
    with (folder / "images.bin").open("wb") as file:
        for row, member in enumerate(images):
            content = read_content(archive, member.info, limits)
            if isinstance(content, str):
                faults[row] = f"{'/'.join(member.path)}: {content}."
            else:
                file.write(content)
            offsets.append(file.tell())
    names = join_lines("/".join(member.path) for member in images)
    np.savez(folder / "index.npz", allow_pickle=False, offsets=np.asarray(offsets, np.int64), names=names)
    return PredictionInputs((folder / "images.bin", folder / "index.npz", *_write_faults(faults, folder)), len(images))


def _ingest_array(archive: zipfile.ZipFile, contract: Contract, limits: UploadLimits, folder: Path) -> PredictionInputs:
    headers = read_headers(archive, limits)
    name = "x" if "x" in headers else next(iter(headers)) if len(headers) == 1 else None
    if name is None:
        raise dataset_error([f"There is no array 'x'; there are {', '.join(sorted(headers))}."])
    x = map_array(archive, name, folder)
    if x.ndim == 0 or x.size == 0:
        raise dataset_error([f"The array {name!r} is empty."])
    if not isinstance(contract, ImageContract):
        shape, dtype = contract.shape, np.dtype(np.float32)
        if x.dtype.kind not in "biuf" or (x.shape[1:] or (1,)) != shape:
            raise dataset_error([f"This version takes {list(shape)} numbers a row: {name!r} is {x.dtype} {x.shape}."])
    elif x.dtype != np.uint8 or x.ndim not in IMAGE_RANKS:
        raise dataset_error(
            [f"This version takes uint8 images (n, height, width[, channels]): {name!r} is {x.dtype} {x.shape}."]
        )
    else:
        shape, dtype = to_image_shape(x.shape[1:]), x.dtype
    path = _write_rows(x, shape, folder / "x.npy", dtype)
    (folder / f"{name}.part").unlink()
    return PredictionInputs((path,), len(x))


def _write_rows(x: NDArray[np.generic], shape: tuple[int, ...], path: Path, dtype: np.dtype[np.generic]) -> Path:
    with path.open("wb") as file:
        header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": (len(x), *shape)}
        npy.write_array_header_2_0(file, header)
        step = max(1, CHUNK_BYTES // max(1, x[:1].nbytes))
        for start in range(0, len(x), step):
            with np.errstate(over="ignore"):  # what is too large becomes infinite, and is said of its row
                file.write(np.ascontiguousarray(x[start : start + step]).astype(dtype).tobytes())
    return path


def _ingest_csv(stream: IO[bytes], shape: tuple[int, ...], columns: Sequence[str], folder: Path) -> PredictionInputs:
    if len(shape) != 1:
        raise dataset_error([f"This version takes {list(shape)} numbers a row: send an npz with `x`."])
    text = decode_text(stream)
    delimiter = detect_delimiter(text)
    lines = read_rows(text, delimiter)
    sample = list(islice(lines, SAMPLE_ROWS))
    if not sample:
        raise dataset_error(["The file holds no rows."])
    first = sample[0][1]
    names_first = bool(columns and set(columns) <= set(first)) or has_header(sample, TableOptions())
    indices = _find_columns(first, columns if names_first else (), shape[0])
    names = first if names_first else [f"column {index}" for index in range(len(first))]
    faults: dict[int, str] = {}
    values = _parse_rows(chain(sample[names_first:], lines), indices, names, faults, decimal_comma=delimiter != ",")
    chunks = []
    while chunk := list(islice(values, CHUNK_ROWS)):
        chunks.append(np.asarray(chunk, np.float64))
    if not chunks:
        raise dataset_error(["The file holds a header and no rows."])
    with np.errstate(over="ignore"):
        x = np.concatenate(chunks).astype(np.float32)
    np.save(folder / "x.npy", x)
    return PredictionInputs((folder / "x.npy", *_write_faults(faults, folder)), len(x))


def _find_columns(first: Sequence[str], columns: Sequence[str], width: int) -> list[int]:
    """Of the cells that the network takes, by name where the training knew names and the file has them."""
    if columns and set(columns) <= set(first):
        return [first.index(name) for name in columns]
    if len(first) == width:
        return list(range(width))
    wanted = f"{width} columns" + (f" ({', '.join(columns)})" if columns else "")
    raise dataset_error(
        [f"The first row has {len(first)} cells, and this version takes {wanted}: leave out what is no input."]
    )


def _parse_rows(
    lines: Iterable[Line], indices: Sequence[int], names: Sequence[str], faults: dict[int, str], *, decimal_comma: bool
) -> Iterator[list[float]]:
    """The inputs of each line; those of a line with a fault are not looked at."""
    for row, (line, cells) in enumerate(lines):
        taken = [cells[index] if index < len(cells) else "" for index in indices]
        values = [parse_number(cell, decimal_comma=decimal_comma) for cell in taken]
        numbers = [value for value in values if value is not None]
        if len(cells) != len(names):
            faults[row] = f"Line {line} has {len(cells)} cells, where {len(names)} are in the first."
        elif len(numbers) < len(values):
            bad = values.index(None)
            what = (
                "a value is missing" if taken[bad].lower() in MISSING_VALUES else f"{taken[bad][:40]!r} is not a number"
            )
            faults[row] = f"Line {line}, column {names[indices[bad]]!r}: {what}."
        yield numbers if row not in faults else [0.0] * len(indices)


def _write_faults(faults: dict[int, str], folder: Path) -> tuple[Path, ...]:
    if not faults:
        return ()
    path = folder / "faults.json"
    path.write_text(json.dumps(faults))
    return (path,)
