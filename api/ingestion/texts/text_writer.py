"""Write the texts of a data set to one file, within the limits of an upload."""

from array import array
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from api.ingestion.result import UploadLimits, dataset_error
from shared.datasets.uploaded import INDEX_FILE, TEXTS_FILE


class TextWriter:
    """Writes texts to texts.bin in a folder, one after another. As a context manager, it closes the file.

    Attributes:
        rows: number of texts so far.
    """

    def __init__(self, folder: Path, limits: UploadLimits) -> None:
        self._folder = folder
        self._limits = limits
        self._offsets = array("q", [0])
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        self._file = (self._folder / TEXTS_FILE).open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._file is not None  # noqa: S101 - opened in __enter__
        self._file.close()

    @property
    def rows(self) -> int:
        return len(self._offsets) - 1

    def write(self, text: str) -> None:
        """Write a text in UTF-8. Raises DatasetRefused above the limits, and UnicodeEncodeError."""
        assert self._file is not None  # noqa: S101 - used inside of a `with` block
        content = text.encode()
        self._file.write(content)
        self._offsets.append(self._offsets[-1] + len(content))
        if self.rows > self._limits.rows:
            raise dataset_error(
                f"The file has more than {self._limits.rows:,} texts, the limit (TRAINYARD_MAX_DATASET_ROWS). Send "
                "fewer."
            )
        if self._offsets[-1] > self._limits.bytes:
            raise dataset_error(
                f"The texts take more than {self._limits.bytes:,} bytes, the limit (TRAINYARD_MAX_DATASET_BYTES). Send "
                "fewer."
            )

    def finish(self, **arrays: NDArray[Any]) -> tuple[Path, Path]:
        """Write index.npz with the offsets and these arrays, such as the labels `y`. Returns the paths of the files."""
        offsets = np.asarray(self._offsets, np.int64)
        np.savez(self._folder / INDEX_FILE, allow_pickle=False, offsets=offsets, **arrays)
        return self._folder / TEXTS_FILE, self._folder / INDEX_FILE
