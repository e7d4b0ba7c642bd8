"""Convert an uploaded file to the inputs of a batch prediction: a zip of images or texts, a CSV, or an npz.

An input that cannot be read becomes a fault of its row. The whole file is refused only if its inputs cannot be
determined.
"""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from api.ingestion.archives.members import is_junk, read_members
from api.ingestion.archives.parts import TEXTS
from api.ingestion.file_types import open_archive
from api.ingestion.images.image_files import read_content
from api.ingestion.npz_files import IMAGE_RANKS, is_npz, map_array, read_headers, to_image_shape
from api.ingestion.result import MAX_FAULTS, UploadLimits, dataset_error
from api.ingestion.row_writer import RowWriter
from api.ingestion.tables.csv_reader import Line, TableText, count_chunk_rows, open_table, read_sample
from api.ingestion.text_encoding import check_encoding
from api.ingestion.texts.text_folders import read_text_file
from api.ingestion.texts.text_writer import TextWriter
from shared.datasets.cells import NumberFormat, is_header
from shared.datasets.columns import find_positions
from shared.datasets.encodings import ColumnEncoding, count_width, encode_row, read_cell
from shared.datasets.row_files import CHUNK_BYTES, join_lines
from shared.datasets.texts import TEXT_COLUMN, describe_unknown_name, find_text_fault, names_texts
from shared.preprocessing.contract import Contract, ImageContract, NumbersContract
from shared.preprocessing.text import TextContract


@dataclass(frozen=True)
class PredictionInputs:
    """The files with the inputs of a batch prediction.

    Attributes:
        files: index.npz with images.bin or texts.bin, or x.npy. If inputs could not be read, also faults.json, which
            maps the number of the row, from 0, to a sentence.
        rows: number of inputs, including those that could not be read.
    """

    files: tuple[Path, ...]
    rows: int


def ingest_prediction_inputs(
    stream: IO[bytes],
    contract: Contract,
    columns: Sequence[str],
    encoding: str | None,
    limits: UploadLimits,
    folder: Path,
) -> PredictionInputs:
    """Convert a zip, a CSV or an npz file, and write the files of the inputs to the folder.

    `columns` are the names of the columns that the version was trained on, or empty if they have none. `encoding` is
    that of the text; None to tell it.
    Raises DatasetRefused for a file that does not fit the version or whose inputs cannot be determined.
    """
    archive = open_archive(stream, "a zip of images or texts, a CSV, or an npz")
    if archive is not None:
        with archive:
            if is_npz(archive):
                return _ingest_array(archive, contract, limits, folder)
            if isinstance(contract, TextContract):
                return _ingest_text_files(archive, encoding, limits, folder)
            if not isinstance(contract, ImageContract):
                raise dataset_error(
                    f"The version takes {list(contract.shape)} numbers per row, and the file is a zip. Send a CSV, "
                    "or an npz with the array `x`."
                )
            return _ingest_images(archive, encoding, limits, folder)
    if isinstance(contract, ImageContract):
        raise dataset_error("The version takes images. Send a zip of image files, or an npz with the array `x`.")
    table = open_table(stream, encoding)
    if isinstance(contract, TextContract):
        return _ingest_text_column(table, columns, limits, folder)
    return _ingest_csv(table, contract, columns, limits, folder)


def _ingest_text_files(
    archive: zipfile.ZipFile, encoding: str | None, limits: UploadLimits, folder: Path
) -> PredictionInputs:
    """Write the text files of the zip, in its order. Raises DatasetRefused."""
    members = [
        member
        for member in read_members(archive, limits, encoding).members
        if not (member.is_folder or is_junk(member.path)) and TEXTS.matches(member.path[-1])
    ]
    if not members:
        raise dataset_error("The zip contains no text file. Add files whose names end in `.txt`.")
    faults: dict[int, str] = {}
    with TextWriter(folder, limits) as writer:
        for row, member in enumerate(members):
            text, fault = read_text_file(archive, member.info, check_encoding(encoding))
            writer.write("" if fault else text)
            if fault:
                faults[row] = f"{'/'.join(member.path)}: {fault}."
    files = writer.finish(names=join_lines("/".join(member.path) for member in members))
    return PredictionInputs((*files, *_write_faults(faults, folder)), writer.rows)


def _ingest_text_column(
    table: TableText, columns: Sequence[str], limits: UploadLimits, folder: Path
) -> PredictionInputs:
    """Write the texts of a table: those of the column that the version was trained on, or of the only one.

    Raises DatasetRefused.
    """
    sample = read_sample(table.read_rows(keeps_empty=True))
    if not sample:
        raise dataset_error("The file contains no rows. Send a CSV with texts.")
    first = sample[0][1]
    columns = columns or (TEXT_COLUMN,)
    has_names = set(columns) <= set(first)
    if not has_names and len(first) == 1 and names_texts(first, [cells for _, cells in sample[1:]]):
        raise dataset_error(describe_unknown_name(first[0], columns[0]))
    (index,) = _find_columns(first, columns if has_names else (), 1)
    faults: dict[int, str] = {}
    with TextWriter(folder, limits) as writer:
        for row, (number, cells) in enumerate(islice(table.read_rows(keeps_empty=True), has_names, None)):
            fault = None
            if len(cells) != len(first):
                fault = f"has {len(cells)} cells; the first row has {len(first)}. Put a text with commas into quotes"
            fault = fault or find_text_fault(cells[index])
            writer.write("" if fault else cells[index])
            if fault:
                faults[row] = f"Line {number}: the row {fault}."
    if not writer.rows:
        raise dataset_error("The file contains a header and no rows. Add rows below the header.")
    return PredictionInputs((*writer.finish(), *_write_faults(faults, folder)), writer.rows)


def _ingest_images(
    archive: zipfile.ZipFile, encoding: str | None, limits: UploadLimits, folder: Path
) -> PredictionInputs:
    """Write the files of the zip, in its order, except hidden files and files that operating systems add.

    The files are not decoded here. Raises DatasetRefused.
    """
    files = [member for member in read_members(archive, limits, encoding).members if not member.is_folder]
    images = [member for member in files if not is_junk(member.path)]
    if not images:
        raise dataset_error(
            "The zip contains no file. Hidden files and files such as `Thumbs.db` are ignored. Add images."
        )
    offsets, faults = [0], {}
    with (folder / "images.bin").open("wb") as file:
        for row, member in enumerate(images):
            content = read_content(archive, member.info, limits.images)
            if isinstance(content, str):
                faults[row] = f"{'/'.join(member.path)}: {content}."
            else:
                file.write(content)
            offsets.append(file.tell())
    names = join_lines("/".join(member.path) for member in images)
    np.savez(folder / "index.npz", allow_pickle=False, offsets=np.asarray(offsets, np.int64), names=names)
    return PredictionInputs((folder / "images.bin", folder / "index.npz", *_write_faults(faults, folder)), len(images))


def _ingest_array(archive: zipfile.ZipFile, contract: Contract, limits: UploadLimits, folder: Path) -> PredictionInputs:
    """Write the array `x`, or the only array of the file, to x.npy. Raises DatasetRefused."""
    headers = read_headers(archive, limits)
    name = "x" if "x" in headers else next(iter(headers)) if len(headers) == 1 else None
    if name is None:
        raise dataset_error(
            f"There is no array 'x'; the file contains {', '.join(sorted(headers))}. Save the inputs as `x`."
        )
    x = map_array(archive, name, folder)
    if x.ndim == 0 or x.size == 0:
        raise dataset_error(f"The array {name!r} has the shape {x.shape}; at least one row is needed.")
    if isinstance(contract, TextContract):
        return _ingest_text_array(x, name, limits, folder)
    if not isinstance(contract, ImageContract):
        shape, dtype = contract.shape, np.dtype(np.float32)
        if x.dtype.kind not in "biuf" or (x.shape[1:] or (1,)) != shape:
            raise dataset_error(
                f"The version takes {list(shape)} numbers per row; the array {name!r} is {x.dtype} {x.shape}. Its "
                "first dimension must be the rows."
            )
    elif x.dtype != np.uint8 or x.ndim not in IMAGE_RANKS:
        raise dataset_error(
            f"The version takes images; the array {name!r} is {x.dtype} {x.shape}. Save uint8 of the shape "
            "(n, height, width) or (n, height, width, channels)."
        )
    else:
        shape, dtype = to_image_shape(x.shape[1:]), x.dtype
    with RowWriter(folder / "x.npy", shape, dtype, limits) as writer:
        step = max(1, CHUNK_BYTES // max(1, x[:1].nbytes))
        for start in range(0, len(x), step):
            writer.write(x[start : start + step])  # the job reports infinite values
    return PredictionInputs((folder / "x.npy",), len(x))


def _ingest_text_array(x: NDArray[Any], name: str, limits: UploadLimits, folder: Path) -> PredictionInputs:
    if x.dtype.kind != "U" or x.size != len(x):
        raise dataset_error(
            f"The version takes texts; the array {name!r} is {x.dtype} {x.shape}. Save one Unicode string for each row."
        )
    faults: dict[int, str] = {}
    with TextWriter(folder, limits) as writer:
        for row, text in enumerate(x.reshape(-1)):
            fault = find_text_fault(str(text))
            writer.write("" if fault else str(text))
            if fault:
                faults[row] = f"x, row {row}: the text {fault}."
    return PredictionInputs((*writer.finish(), *_write_faults(faults, folder)), writer.rows)


def _ingest_csv(
    table: TableText, contract: NumbersContract, columns: Sequence[str], limits: UploadLimits, folder: Path
) -> PredictionInputs:
    """Write the rows that the version takes to x.npy, (n, numbers) float32. Raises DatasetRefused."""
    if len(contract.shape) != 1:
        raise dataset_error(
            f"The version takes {list(contract.shape)} numbers per row, more dimensions than a CSV has. Send an "
            "npz with `x`."
        )
    lines = table.read_rows()
    sample = read_sample(lines)
    if not sample:
        raise dataset_error("The file contains no rows: all cells are empty. Send a CSV with numbers.")
    first, rest = sample[0][1], [cells for _, cells in sample[1:]]
    names_first = bool(columns and set(columns) <= set(first)) or is_header(first, rest)
    width = len(contract.columns) or contract.shape[0]
    indices = _find_columns(first, columns if names_first else (), width)
    names = first if names_first else [f"column {index}" for index in range(len(first))]
    encodings = contract.columns or [ColumnEncoding(names[index]) for index in indices]
    number_format, _ = table.detect_number_format(names, contract.number_format)
    faults: dict[int, str] = {}
    rows = _RowParser(indices, names, encodings, number_format, faults)
    values = map(rows.parse, count(), islice(table.read_rows(), names_first, None))
    with RowWriter(folder / "x.npy", contract.shape, np.dtype(np.float32), limits) as writer:
        while chunk := list(islice(values, count_chunk_rows(contract.shape[0]))):
            writer.write(np.asarray(chunk, np.float64))
    if not writer.rows:
        raise dataset_error("The file contains a header and no rows. Add rows below the header.")
    return PredictionInputs((folder / "x.npy", *_write_faults(faults, folder)), writer.rows)


def _find_columns(first: Sequence[str], columns: Sequence[str], width: int) -> list[int]:
    """Return the indices of the cells that the version takes.

    They are found by name if the first row contains all names of the training. A row with none of the names must have
    exactly `width` cells. Raises DatasetRefused.
    """
    positions = find_positions(first)
    missing = [name for name in columns if name not in positions]
    if columns and not missing:
        return [positions[name] for name in columns]
    if len(missing) < len(columns):
        raise dataset_error(
            f"The header lacks {', '.join(map(repr, missing[:MAX_FAULTS]))}. It must name all columns of the version, "
            "or none of them."
        )
    if len(first) == width:
        return list(range(width))
    wanted = f"{width} column{'s' if width > 1 else ''}" + (f" ({', '.join(columns)})" if columns else "")
    raise dataset_error(
        f"The first row has {len(first)} cells; the version takes {wanted}. Send exactly these columns, "
        "or a header row that names all of them."
    )


@dataclass(frozen=True)
class _RowParser:
    """Parses the rows of a CSV.

    Attributes:
        indices: positions of the input columns.
        names: names of all columns, for messages.
        encodings: how the cells of the input columns become numbers.
        faults: a sentence for each row that cannot be read, which `parse` adds.
    """

    indices: Sequence[int]
    names: Sequence[str]
    encodings: Sequence[ColumnEncoding]
    number_format: NumberFormat
    faults: dict[int, str]

    def parse(self, row: int, line: Line) -> list[float]:
        """Return the numbers of a row, zeros if it has a fault. `row` counts from 0."""
        number, cells = line
        if len(cells) != len(self.names):
            self.faults[row] = f"Line {number} has {len(cells)} cells; the first row has {len(self.names)}."
        else:
            try:
                taken = [
                    read_cell(cells[index], column, self.number_format)
                    for index, column in zip(self.indices, self.encodings, strict=True)
                ]
                return encode_row(taken, self.encodings)
            except ValueError as error:
                self.faults[row] = f"Line {number}, {error}."
        return [0.0] * count_width(self.encodings)


def _write_faults(faults: dict[int, str], folder: Path) -> tuple[Path, ...]:
    """Write faults.json, and return its path. Without faults, write nothing and return ()."""
    if not faults:
        return ()
    path = folder / "faults.json"
    path.write_text(json.dumps(faults))
    return (path,)
