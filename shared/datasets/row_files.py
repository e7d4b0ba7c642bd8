"""Read rows of a data set from a file when they are needed."""

import mmap
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

CHUNK_BYTES = 8 * 2**20
MAX_BYTES_IN_MEMORY = 512 * 2**20
"""A file up to this size is read into memory as a whole."""


class FileRows:
    """A selection of the rows of a file, in any order.

    Attributes:
        rows_in_file: number of rows in the file.
        row_indices: position in the file of each selected row, (n,) int64.
    """

    def __init__(self, rows_in_file: int, row_indices: NDArray[np.int64] | None = None) -> None:
        self.rows_in_file = rows_in_file
        self.row_indices = np.arange(rows_in_file) if row_indices is None else row_indices

    def __len__(self) -> int:
        return len(self.row_indices)


class MappedRows(FileRows):
    """Rows of a memory-mapped array in an `.npy` file. The memory of the mapping is released after each read."""

    def __init__(self, path: Path, row_indices: NDArray[np.int64] | None = None) -> None:
        self._array: np.memmap[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        super().__init__(len(self._array), row_indices)
        self.path = path
        self.shape = (len(self), *self._array.shape[1:])
        self.dtype = self._array.dtype
        self._mapped: mmap.mmap = self._array._mmap  # noqa: SLF001 - NumPy has no public access to it

    def select(self, rows: NDArray[np.int64]) -> Self:
        """Return a selection of this selection. `rows` are positions in this selection, not in the file."""
        return type(self)(self.path, self.row_indices[rows])

    def read(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return the rows at these positions of the selection, (len(rows), …), in the given order."""
        found = np.asarray(self._array[self.row_indices[rows]])
        self._mapped.madvise(mmap.MADV_DONTNEED)  # the kernel also maps pages around each row
        return found

    def iterate_chunks(self) -> Iterator[NDArray[Any]]:
        """Yield all rows of the selection, in chunks of at most CHUNK_BYTES or one row."""
        row_bytes = max(1, self.dtype.itemsize * int(np.prod(self.shape[1:])))
        step = max(1, CHUNK_BYTES // row_bytes)
        for start in range(0, len(self), step):
            yield self.read(np.arange(start, min(start + step, len(self))))


class TextRows(FileRows):
    """Rows that are texts, in UTF-8, one after another in one array of bytes.

    Attributes:
        content: the bytes of all texts, (bytes,) uint8, in memory or mapped from a file.
        offsets: position of the first byte of each text, and of the end of the last one, (rows + 1,) int64.
    """

    def __init__(
        self, content: NDArray[np.uint8], offsets: NDArray[np.int64], row_indices: NDArray[np.int64] | None = None
    ) -> None:
        super().__init__(len(offsets) - 1, row_indices)
        self.content = content
        self.offsets = offsets

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> Self:
        """Make rows in memory. Raises UnicodeEncodeError for an unpaired surrogate."""
        encoded = [text.encode() for text in texts]
        offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), offsets)

    @classmethod
    def from_file(cls, path: Path, offsets: NDArray[np.int64]) -> Self:
        """Map the texts of a file."""
        is_empty = not path.stat().st_size  # an empty file cannot be mapped
        return cls(np.zeros(0, np.uint8) if is_empty else np.memmap(path, np.uint8, "r"), offsets)

    def select(self, rows: NDArray[np.int64]) -> Self:
        """Return a selection of this selection. `rows` are positions in this selection."""
        return type(self)(self.content, self.offsets, self.row_indices[rows])

    def read_text(self, row: int) -> str:
        """Return the text at this position of the selection."""
        index = self.row_indices[row]
        return self.content[self.offsets[index] : self.offsets[index + 1]].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        """Yield the texts of the selection in its order."""
        return map(self.read_text, range(len(self)))


class EncodedImages(FileRows):
    """Rows that are encoded image files, such as PNG, one after another in one file.

    Attributes:
        offsets: position of the first byte of each image, and of the end of the last one, (rows_in_file + 1,) int64.
    """

    def __init__(self, path: Path, offsets: NDArray[np.int64], row_indices: NDArray[np.int64] | None = None) -> None:
        super().__init__(len(offsets) - 1, row_indices)
        self.path = path
        self.offsets = offsets

    def select(self, rows: NDArray[np.int64]) -> Self:
        """Return a selection of this selection. `rows` are positions in this selection, not in the file."""
        return type(self)(self.path, self.offsets, self.row_indices[rows])

    def read_encoded(self, row: int) -> bytes:
        """Return the encoded image at this position of the selection."""
        index = self.row_indices[row]
        start, end = self.offsets[index], self.offsets[index + 1]
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(int(end - start))

    def read_range(self, start: int, stop: int) -> list[bytes]:
        """Return the encoded images from `start` up to, but not including, `stop`, with one read.

        The positions are those in the file, not in the selection.
        """
        begin = int(self.offsets[start])
        with self.path.open("rb") as file:
            file.seek(begin)
            content = file.read(int(self.offsets[stop]) - begin)
        ends = (self.offsets[start : stop + 1] - begin).tolist()
        return [content[first:last] for first, last in pairwise(ends)]


def open_rows(path: Path) -> NDArray[Any] | MappedRows:
    """Open the rows of an `.npy` file. A file of at most MAX_BYTES_IN_MEMORY is read into memory."""
    if path.stat().st_size <= MAX_BYTES_IN_MEMORY:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
        return array
    return MappedRows(path)


def join_lines(texts: Iterable[str]) -> NDArray[np.uint8]:
    """Join texts by line breaks into UTF-8 bytes, (bytes,) uint8. The texts themselves must have no line breaks."""
    return np.frombuffer("\n".join(texts).encode(), np.uint8)


def split_lines(lines: NDArray[np.uint8]) -> tuple[str, ...]:
    """Split the bytes of `join_lines` into the texts. The result for no texts is one empty text."""
    return tuple(lines.tobytes().decode().split("\n"))
