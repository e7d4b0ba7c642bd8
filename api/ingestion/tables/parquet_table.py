"""Read a parquet file as a table of text, so that it means the same as the CSV of its rows."""

from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING

from api.ingestion.result import dataset_error
from api.ingestion.tables.csv_reader import Line, count_chunk_rows
from shared.datasets.cells import POINT, NumberFormat
from shared.datasets.columns import MAX_COLUMNS
from shared.errors import ServiceError

if TYPE_CHECKING:
    from arro3.core import RecordBatchReader

MARK = b"PAR1"


class ParquetTable:
    """The rows of a parquet file. The first one has the names of the columns."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    @property
    def warnings(self) -> list[str]:
        """Return no warnings: the file tells its types."""
        return []

    def read_rows(self) -> Iterator[Line]:
        """Yield each row, from the beginning. The names are line 1. Raises DatasetRefused."""
        from arro3.io import read_parquet  # imported here: few uploads are parquet

        try:
            self._stream.seek(0)
            yield from enumerate(_read_cells(read_parquet(self._stream)), 1)
        except BaseException as error:
            # arro3 raises exceptions of its own for damaged files, and some are no Exception.
            is_own = isinstance(error, ServiceError | MemoryError)
            if is_own or not (isinstance(error, Exception) or type(error).__name__ == "PanicException"):
                raise
            raise dataset_error(f"The parquet file cannot be read ({str(error)[:200]}). Create it again.") from None

    def detect_number_format(self, names: Sequence[str]) -> tuple[NumberFormat, list[str]]:  # noqa: ARG002 - of Table
        """Return the format of Python's `repr`."""
        return POINT, []


def _read_cells(reader: "RecordBatchReader") -> Iterator[list[str]]:
    names = [str(name).strip() for name in reader.schema.names]
    if len(names) > MAX_COLUMNS:
        raise dataset_error(f"The file has {len(names):,} columns; the limit is {MAX_COLUMNS:,}. Leave out columns.")
    yield names
    step = count_chunk_rows(len(names))
    for batch in reader:
        for start in range(0, batch.num_rows, step):
            part = batch.slice(start, min(step, batch.num_rows - start))
            columns = [part.column(index).to_pylist() for index in range(len(names))]
            for cells in zip(*columns, strict=True):
                yield list(map(_to_text, cells))


def _to_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace").strip()
    return value.strip() if isinstance(value, str) else str(value)
