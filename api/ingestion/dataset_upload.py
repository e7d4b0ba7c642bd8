"""Convert an uploaded file to a data set."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

from api.ingestion.archives.members import read_members
from api.ingestion.file_types import open_archive
from api.ingestion.images.image_folders import ingest_image_folders
from api.ingestion.npz_files import ingest_npz, is_npz
from api.ingestion.result import ParsedDataset, TableOptions, UploadLimits
from api.ingestion.tables.csv_files import ingest_csv, ingest_table
from api.ingestion.tables.parquet_table import MARK, ParquetTable
from api.ingestion.texts.text_folders import has_text_files, ingest_text_folders
from shared.errors import DatasetRefused, Fault
from shared.preprocessing.image_decoder import ImageDecoder


def ingest_dataset(
    stream: IO[bytes], options: TableOptions, limits: UploadLimits, decoder: ImageDecoder, folder: Path
) -> ParsedDataset:
    """Convert a CSV, a zip of images or texts, or an npz file, and write the files of the data set to the folder.

    Raises DatasetRefused, with the rows or members at fault, or Overloaded.
    """
    archive = open_archive(stream, "a CSV, a parquet file, a zip of class folders or an npz")
    if archive is None:
        is_parquet = stream.read(len(MARK)) == MARK
        stream.seek(0)
        if not is_parquet:
            return ingest_csv(stream, options, limits, folder)
        _refuse_options(options, ("header", "encoding"), "parquet")
        return ingest_table(ParquetTable(stream), options.model_copy(update={"header": True}), limits, folder)
    with archive:
        if is_npz(archive):
            _refuse_options(options, tuple(TableOptions.model_fields), "an npz")
            return ingest_npz(archive, limits, folder)
        _refuse_options(options, ("task", "header", "leave_out", "columns", "weight", "text"), "a zip")
        members, warnings = read_members(archive, limits, options.encoding)
        if has_text_files(members):
            _refuse_options(options, ("label",), "a zip of texts")
            parsed = ingest_text_folders(archive, members, options, limits, folder)
        else:
            parsed = ingest_image_folders(archive, members, options, limits, decoder, folder)
        return replace(parsed, warnings=(*warnings, *parsed.warnings))


def _refuse_options(options: TableOptions, keys: Sequence[str], kind: str) -> None:
    """Check that none of these options is given for this kind of file. Raises DatasetRefused."""
    for key in keys:
        if getattr(options, key) not in (None, (), {}):
            fault = Fault(f"#/{key}", f"`{key}` is an option for a CSV, and the file is {kind}. Remove `{key}`.")
            raise DatasetRefused("The options do not fit the file.", (fault,))
