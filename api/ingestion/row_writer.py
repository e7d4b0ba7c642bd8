"""Write rows to an `.npy` file in chunks, within the limits of an upload."""

from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from api.ingestion.result import UploadLimits, dataset_error

MAX_ROW_VALUES = 4_000_000
"""The most numbers in one row."""


class RowWriter:
    """Writes rows to an `.npy` file. As a context manager, it completes the file at the end of the `with` block.

    Args:
        path: the file, which `numpy.save` would write equally.
        shape: shape of a row.
        dtype: dtype of the file.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], limits: UploadLimits) -> None:
        self.rows = 0
        self._shape = shape
        self._dtype = dtype
        self._limits = limits
        self._path = path
        self._file: IO[bytes] | None = None
        values = int(np.prod(shape))
        if values > MAX_ROW_VALUES:
            raise dataset_error(f"A row has {values:,} numbers; the limit is {MAX_ROW_VALUES:,}. Send smaller rows.")
        self._row_bytes = values * dtype.itemsize

    def __enter__(self) -> Self:
        self._file = self._path.open("wb")
        self._write_header()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._file is not None  # noqa: S101 - opened in __enter__
        if error is None:
            self._file.seek(0)
            self._write_header()  # as long as the first one: NumPy leaves space for any number of rows
        self._file.close()

    def write(self, rows: NDArray[Any]) -> None:
        """Write rows (n, *shape), converted to the dtype. Raises DatasetRefused above the limits."""
        assert self._file is not None  # noqa: S101 - used inside of a `with` block
        self.rows += len(rows)
        self._check_size()
        with np.errstate(over="ignore"):  # the caller reports numbers that become infinite
            self._file.write(np.ascontiguousarray(rows.reshape(len(rows), *self._shape), self._dtype).data)

    def _write_header(self) -> None:
        assert self._file is not None  # noqa: S101 - opened in __enter__
        header = {
            "descr": npy.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self.rows, *self._shape),
        }
        npy.write_array_header_1_0(self._file, header)

    def _check_size(self) -> None:
        """Check the number of rows, and of their bytes as they are stored. Raises DatasetRefused."""
        if self.rows > self._limits.rows:
            raise dataset_error(
                f"The file has more than {self._limits.rows:,} rows, the limit (TRAINYARD_MAX_DATASET_ROWS). "
                "Send fewer rows."
            )
        if self.rows * self._row_bytes > self._limits.bytes:
            raise dataset_error(
                f"As stored, the rows take more than {self._limits.bytes:,} bytes, the limit "
                "(TRAINYARD_MAX_DATASET_BYTES). Send fewer rows or columns. A number takes 1 byte in images of uint8, "
                "and else 4."
            )
