"""What kind of file a user brings: told by its content, whatever its name."""

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
    b"%PDF": "a PDF",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
}


def open_archive(stream: IO[bytes], wanted: str) -> zipfile.ZipFile | None:
    """None where it may be a table. Raises DatasetRefused, which says what is wanted, where it is neither."""
    start = stream.read(6)
    stream.seek(0)
    if not start:
        raise dataset_error(["The file is empty."])
    for mark, what in BINARY_STARTS.items():
        if start.startswith(mark):
            raise dataset_error([f"This is {what}: send {wanted}."])
    if not start.startswith(ZIP_STARTS):
        return None
    try:
        return zipfile.ZipFile(stream)
    except UNREADABLE as error:
        raise dataset_error([f"The zip cannot be read: {error}"]) from None
