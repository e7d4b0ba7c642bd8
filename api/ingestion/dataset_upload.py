"""A file that a user brings, of whichever kind it is, as a data set."""

from pathlib import Path
from typing import IO

from api.ingestion.archives import open_archive
from api.ingestion.arrays import ingest_arrays, is_npz
from api.ingestion.image_folders import ingest_folders
from api.ingestion.ingested import Ingested, Limits, TableOptions
from api.ingestion.tables import ingest_table
from shared.errors import DatasetRefused, Fault


def ingest(stream: IO[bytes], options: TableOptions, limits: Limits, folder: Path) -> Ingested:
    """The files of the data set are written to the folder. Raises DatasetRefused with what is wrong and where."""
    archive = open_archive(stream, "a CSV, a zip of class folders or an npz")
    if archive is None:
        return ingest_table(stream, options, folder)
    with archive:
        _check_no_options(options)
        if is_npz(archive):
            return ingest_arrays(archive, limits, folder)
        return ingest_folders(archive, limits, folder)


def _check_no_options(options: TableOptions) -> None:
    for key, value in options.model_dump().items():
        if value not in (None, ()):
            fault = Fault(f"#/{key}", "This is for a CSV, and the file is a zip: leave it out.")
            raise DatasetRefused("The options do not fit the file.", (fault,))
