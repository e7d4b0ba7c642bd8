"""Detect the type of an uploaded file by its first bytes. The file name is ignored."""

import zipfile
from typing import IO

from api.ingestion.result import UNREADABLE, dataset_error

ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
START_BYTES = 512
TAR_MARK = 257, b"ustar"
"""Position and bytes of the mark of a tar archive."""
BINARY_STARTS = {
    b"\x1f\x8b": "a gzip file: unpack it first",
    b"BZh": "a bzip2 file: unpack it first",
    b"\xfd7zXZ": "an xz file: unpack it first",
    b"\x28\xb5\x2f\xfd": "a Zstandard file: unpack it first",
    b"\x89HDF": "an HDF5 file: save its arrays as npz",
    b"\x89PNG": "a PNG image",
    b"GIF8": "a GIF image",
    b"RIFF": "a WebP image or another RIFF file",
    b"BM": "a BMP image",
    b"\x93NUMPY": "a single `.npy` array: save x and y with `numpy.savez`",
    b"\xff\xd8": "a JPEG image",
    b"%PDF": "a PDF document",
    b"7z\xbc\xaf": "a 7z archive: pack a zip",
    b"Rar!": "a RAR archive: pack a zip",
    b"\xd0\xcf\x11\xe0": "an Excel workbook of the old kind (.xls), or another document of Office: save it as CSV",
    b"SQLite format 3": "a SQLite database: save a table as CSV",
    b"MATLAB 5.0": "a MATLAB file: save its arrays as npz",
    b"ARROW1": "an Arrow file: save it as parquet or CSV",
    b"Obj\x01": "an Avro file: save it as CSV",
}
TEXT_STARTS = {
    b"{": "JSON: send small data as `dataset.inline` of a job, or save a CSV",
    b"[{": "JSON: save it as CSV",
    b"@relation": "an ARFF file of Weka: save it as CSV",
    b"%": "an ARFF file of Weka, or text with a comment: save it as CSV",
    b"<": "HTML or XML: save a CSV",
}
"""Beginnings of text that is no CSV, in lower case and without white space before."""
OFFICE_MEMBERS = {
    "xl/": "an Excel workbook (.xlsx): save it as CSV in UTF-8",
    "word/": "a Word document",
    "ppt/": "a PowerPoint presentation",
    "content.xml": "a document of OpenOffice: save a table as CSV",
}
MODEL_MEMBERS = {"config.json", "model.weights.h5"}
_IDX_TYPES = frozenset({0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E})
_IDX_DIMENSIONS = range(1, 5)
_PICKLE_PROTOCOLS = range(2, 6)


def open_archive(stream: IO[bytes], wanted: str) -> zipfile.ZipFile | None:
    """Open a zip or npz file. Returns None for a file that can be a table.

    `wanted` is the list of supported files, for the error messages. Raises DatasetRefused for an empty file, a damaged
    zip and every kind of file that is known and not read.
    """
    start = stream.read(START_BYTES)
    stream.seek(0)
    if not start:
        raise dataset_error(f"The file is empty. Send {wanted}.")
    if (what := _name_file(start)) is not None:
        raise dataset_error(f"The file is {what}. Send {wanted}.")
    if not start.startswith(ZIP_STARTS):
        return None
    try:
        archive = zipfile.ZipFile(stream)
    except UNREADABLE as error:
        raise dataset_error(f"The zip cannot be read ({error}). Create it again.") from None
    if (what := _name_archive(archive.namelist())) is not None:
        raise dataset_error(f"The file is {what}. Send {wanted}.")
    return archive


def _name_file(start: bytes) -> str | None:
    """Name a file that is neither a zip nor a table by its first bytes; None for any other."""
    for mark, what in BINARY_STARTS.items():
        if start.startswith(mark):
            return what
    place, mark = TAR_MARK
    if start[place:].startswith(mark):
        return "a tar archive: pack a zip"
    is_idx = start[:2] == b"\0\0" and len(start) > 4 and start[2] in _IDX_TYPES and start[3] in _IDX_DIMENSIONS  # noqa: PLR2004
    if is_idx:
        return "an IDX file, as MNIST has: save x and y with `numpy.savez`"
    if start[0] == 0x80 and len(start) > 1 and start[1] in _PICKLE_PROTOCOLS:  # noqa: PLR2004 - the first byte of pickle
        return "a pickle, which can run code when it is read: save x and y with `numpy.savez`"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return next((what for mark, what in TEXT_STARTS.items() if text.startswith(mark)), None)


def _name_archive(names: list[str]) -> str | None:
    """Name a zip that holds neither arrays nor images by its members; None for any other."""
    for mark, what in OFFICE_MEMBERS.items():
        if any(name.startswith(mark) for name in names):
            return what
    if set(names) >= MODEL_MEMBERS:
        return "a model of Keras (.keras), and no data"
    files = [name for name in names if not name.endswith("/") and not name.startswith("__MACOSX/")]
    if files and all(name.lower().endswith((".csv", ".tsv", ".xlsx", ".parquet")) for name in files):
        return f"a zip with a table, {files[0][:100]!r}: unpack it and send the table alone"
    return None
