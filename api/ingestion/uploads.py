"""A file that a user brings, of whichever kind it is, as a data set."""

import zipfile
from pathlib import Path
from typing import IO

from api.ingestion.arrays import ingest_arrays, is_npz
from api.ingestion.image_folders import ingest_folders
from api.ingestion.ingested import UNREADABLE, Ingested, Limits, TableOptions, refused
from api.ingestion.tables import ingest_table
from shared.errors import DatasetRefused, Fault

ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
BINARY_STARTS = {
    b"\x1f\x8b": "a gzip file",
    b"\x89HDF": "an HDF5 file",
    b"\x89PNG": "a PNG image",
    b"\x93NUMPY": "a single `.npy` array",
    b"\xff\xd8": "a JPEG image",
    b"%PDF": "a PDF",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
}


def ingest(stream: IO[bytes], options: TableOptions, limits: Limits, folder: Path) -> Ingested:
    """Told apart by content, whatever its name; the files of the data set are written to the folder.

    Raises DatasetRefused with what is wrong and where.
    """
    start = stream.read(6)
    stream.seek(0)
    if not start:
        raise refused(["The file is empty."])
    if start.startswith(ZIP_STARTS):
        _check_no_options(options)
        return _ingest_archive(stream, limits, folder)
    for mark, what in BINARY_STARTS.items():
        if start.startswith(mark):
            raise refused([f"This is {what}: send a CSV, a zip of class folders or an npz."])
    return ingest_table(stream, options, folder)


def _ingest_archive(stream: IO[bytes], limits: Limits, folder: Path) -> Ingested:
    try:
        archive = zipfile.ZipFile(stream)
    except UNREADABLE as error:
        raise refused([f"The zip cannot be read: {error}"]) from None
    with archive:
        if is_npz(archive):
            return ingest_arrays(archive, limits, folder)
        return ingest_folders(archive, limits, folder)


def _check_no_options(options: TableOptions) -> None:
    for key, value in options.model_dump().items():
        if value not in (None, ()):
            fault = Fault(f"#/{key}", "This is for a CSV, and the file is a zip: leave it out.")
            raise DatasetRefused("The options do not fit the file.", (fault,))
