"""Detect the type of an uploaded file by its first bytes. The file name is ignored."""

import zipfile
from typing import IO

from api.ingestion.result import UNREADABLE, dataset_error

ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
BINARY_STARTS = {
    b"\x1f\x8b": "a gzip file",
    b"\x89HDF": "an HDF5 file",
    b"\x89PNG": "a PNG image",
    b"\x93NUMPY": "a single `.npy` array",
    b"\xff\xd8": "a JPEG image",
    b"%PDF": "a PDF document",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
}


def open_archive(stream: IO[bytes], wanted: str) -> zipfile.ZipFile | None:
    """Open a zip or npz file. Returns None for a file that can be a CSV.

    `wanted` is the list of supported files, for the error messages. Raises DatasetRefused for an empty file, a damaged
    zip and the types of BINARY_STARTS.
    """
    start = stream.read(6)
    stream.seek(0)
    if not start:
        raise dataset_error(f"The file is empty. Send {wanted}.")
    for mark, what in BINARY_STARTS.items():
        if start.startswith(mark):
            raise dataset_error(f"The file is {what}. Send {wanted}.")
    if not start.startswith(ZIP_STARTS):
        return None
    try:
        return zipfile.ZipFile(stream)
    except UNREADABLE as error:
        raise dataset_error(f"The zip cannot be read ({error}). Create it again.") from None
