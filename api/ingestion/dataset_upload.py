"""Convert an uploaded file to a data set."""

from pathlib import Path
from typing import IO

from api.ingestion.csv_files import ingest_csv
from api.ingestion.file_types import open_archive
from api.ingestion.image_folders import ingest_folders
from api.ingestion.npz_files import ingest_npz, is_npz
from api.ingestion.result import ParsedDataset, TableOptions, UploadLimits
from shared.errors import DatasetRefused, Fault
from shared.preprocessing.image_decoder import ImageDecoder


def ingest_dataset(
    stream: IO[bytes], options: TableOptions, limits: UploadLimits, decoder: ImageDecoder, folder: Path
) -> ParsedDataset:
    """Convert a CSV, a zip of images or an npz file, and write the files of the data set to the folder.

    Raises DatasetRefused, with the rows or members at fault, or Overloaded.
    """
    archive = open_archive(stream, "a CSV, a zip of class folders or an npz")
    if archive is None:
        return ingest_csv(stream, options, limits, folder)
    with archive:
        _check_no_options(options)
        if is_npz(archive):
            return ingest_npz(archive, limits, folder)
        return ingest_folders(archive, limits, decoder, folder)


def _check_no_options(options: TableOptions) -> None:
    """Check that no option for a CSV is given. Raises DatasetRefused."""
    for key, value in options.model_dump().items():
        if value not in (None, ()):
            fault = Fault(f"#/{key}", f"`{key}` is an option for a CSV, and the file is a zip or npz. Remove `{key}`.")
            raise DatasetRefused("The options do not fit the file.", (fault,))
