"""Read rows that stay in their file until they are needed."""

import mmap
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

CHUNK_BYTES = 8 * 2**20
MAX_BYTES_IN_MEMORY = 512 * 2**20
"""Bytes of an array that is read whole."""


class FileRows:
    """Some rows, in some order, of a file that holds `rows_in_file`."""

    def __init__(self, rows_in_file: int, row_indices: NDArray[np.int64] | None = None) -> None:
        self.rows_in_file = rows_in_file
        self.row_indices = np.arange(rows_in_file) if row_indices is None else row_indices

    def __len__(self) -> int:
        return len(self.row_indices)


class MappedRows(FileRows):
    """Of an array in an `.npy` file. What was read is let go of again: the process stays as small as it was."""

    def __init__(self, path: Path, row_indices: NDArray[np.int64] | None = None) -> None:
        self._array: np.memmap[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        super().__init__(len(self._array), row_indices)
        self.path = path
        self.shape = (len(self), *self._array.shape[1:])
        self.dtype = self._array.dtype
        self._mapped: mmap.mmap = self._array._mmap  # noqa: SLF001 - NumPy hands it out nowhere else

    def select(self, rows: NDArray[np.int64]) -> Self:
        return type(self)(self.path, self.row_indices[rows])

    def read(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """(len(rows), …), in the order asked for."""
        found = np.asarray(self._array[self.row_indices[rows]])
        self._mapped.madvise(mmap.MADV_DONTNEED)  # with each row the system maps what lies around it, too
        return found

    def iterate_chunks(self) -> Iterator[NDArray[Any]]:
        """All of them, some at a time."""
        row_bytes = max(1, self.dtype.itemsize * int(np.prod(self.shape[1:])))
        step = max(1, CHUNK_BYTES // row_bytes)
        for start in range(0, len(self), step):
            yield self.read(np.arange(start, min(start + step, len(self))))


class EncodedImages(FileRows):
    """Image files, as they came, one after the other in one file; `offsets` (n + 1,) says where each begins."""

    def __init__(self, path: Path, offsets: NDArray[np.int64], row_indices: NDArray[np.int64] | None = None) -> None:
        super().__init__(len(offsets) - 1, row_indices)
        self.path = path
        self.offsets = offsets

    def select(self, rows: NDArray[np.int64]) -> Self:
        return type(self)(self.path, self.offsets, self.row_indices[rows])

    def read_encoded(self, row: int) -> bytes:
        index = self.row_indices[row]
        start, end = self.offsets[index], self.offsets[index + 1]
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(int(end - start))

    def read_range(self, start: int, stop: int) -> list[bytes]:
        """Images as they follow each other in the file, in one reading."""
        begin = int(self.offsets[start])
        with self.path.open("rb") as file:
            file.seek(begin)
            content = file.read(int(self.offsets[stop]) - begin)
        ends = (self.offsets[start : stop + 1] - begin).tolist()
        return [content[first:last] for first, last in pairwise(ends)]


def open_rows(path: Path) -> NDArray[Any] | MappedRows:
    """In memory, where it fits comfortably."""
    if path.stat().st_size <= MAX_BYTES_IN_MEMORY:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
        return array
    return MappedRows(path)


def join_lines(texts: Iterable[str]) -> NDArray[np.uint8]:
    """UTF-8, one behind the other. They have no line breaks."""
    return np.frombuffer("\n".join(texts).encode(), np.uint8)


def split_lines(lines: NDArray[np.uint8]) -> tuple[str, ...]:
    """What was joined, if it was anything."""
    return tuple(lines.tobytes().decode().split("\n"))
