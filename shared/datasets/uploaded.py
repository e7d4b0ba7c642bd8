"""Read an uploaded data set from files on this machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.datasets.info import DatasetInfo
from shared.datasets.row_files import EncodedImages, MappedRows, TextRows, open_rows
from shared.datasets.weights import WEIGHTS_FILE

Rows = NDArray[Any] | MappedRows | EncodedImages | TextRows
IMAGES_FILE, TEXTS_FILE, INDEX_FILE = "images.bin", "texts.bin", "index.npz"
"""The images or texts of a data set, one after another; and their offsets and labels."""


@dataclass(frozen=True)
class UploadedDataset:
    """A revision of an uploaded data set with its files on this machine. Training rows precede test rows.

    Attributes:
        info: description of the data set.
        digest: sha256 of the data that a training can use.
        files: paths by file name: x.npy and y.npy, or index.npz with images.bin or texts.bin; weights.npy for weighted
            rows.
    """

    info: DatasetInfo
    digest: str
    files: Mapping[str, Path]

    def read(self) -> tuple[Rows, NDArray[Any]]:
        """Return all rows x (n, …) and their labels y. `info.targets` determines the form of y."""
        return open_x(self.files), self._read_y()

    def read_weights(self) -> NDArray[np.float32] | None:
        """Return the weight of each row in the loss, (n,); None without weights."""
        if WEIGHTS_FILE not in self.files:
            return None
        weights: NDArray[np.float32] = np.load(self.files[WEIGHTS_FILE], allow_pickle=False)
        return weights

    def map(self) -> tuple[MappedRows | EncodedImages | TextRows, NDArray[Any]]:
        """Return the same as `read`, without reading x into memory: for callers that need few of its rows."""
        x = _open_indexed(self.files)
        return MappedRows(self.files["x.npy"]) if x is None else x, self._read_y()

    def _read_y(self) -> NDArray[Any]:
        if INDEX_FILE in self.files:
            with np.load(self.files[INDEX_FILE], allow_pickle=False) as index:
                indexed: NDArray[Any] = index["y"]
                return indexed
        y: NDArray[Any] = np.load(self.files["y.npy"], allow_pickle=False)
        return y


def open_x(files: Mapping[str, Path]) -> Rows:
    """Open the rows x, from images.bin or texts.bin with index.npz, or from x.npy."""
    x = _open_indexed(files)
    return open_rows(files["x.npy"]) if x is None else x


def _open_indexed(files: Mapping[str, Path]) -> EncodedImages | TextRows | None:
    """Open images or texts. Returns None for other rows."""
    if INDEX_FILE not in files:
        return None
    with np.load(files[INDEX_FILE], allow_pickle=False) as index:
        offsets = index["offsets"]
    if TEXTS_FILE in files:
        return TextRows.from_file(files[TEXTS_FILE], offsets)
    return EncodedImages(files[IMAGES_FILE], offsets)
