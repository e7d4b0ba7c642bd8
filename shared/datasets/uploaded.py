"""Read an uploaded data set from files on this machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.datasets.info import DatasetInfo
from shared.datasets.row_files import EncodedImages, MappedRows, open_rows
from shared.datasets.weights import WEIGHTS_FILE

Rows = NDArray[Any] | MappedRows | EncodedImages


@dataclass(frozen=True)
class UploadedDataset:
    """A revision of an uploaded data set with its files on this machine. Training rows precede test rows.

    Attributes:
        info: description of the data set.
        digest: sha256 of the data that a training can use.
        files: paths by file name: x.npy and y.npy, or images.bin and index.npz; weights.npy for weighted rows.
    """

    info: DatasetInfo
    digest: str
    files: Mapping[str, Path]

    def read(self) -> tuple[Rows, NDArray[Any]]:
        """Return all rows x (n, …) and their labels y. `info.targets` determines the form of y."""
        if "images.bin" in self.files:
            with np.load(self.files["index.npz"], allow_pickle=False) as index:
                return open_x(self.files), index["y"]
        y: NDArray[Any] = np.load(self.files["y.npy"], allow_pickle=False)
        return open_x(self.files), y

    def read_weights(self) -> NDArray[np.float32] | None:
        """Return the weight of each row in the loss, (n,); None without weights."""
        if WEIGHTS_FILE not in self.files:
            return None
        weights: NDArray[np.float32] = np.load(self.files[WEIGHTS_FILE], allow_pickle=False)
        return weights

    def map(self) -> tuple[MappedRows | EncodedImages, NDArray[Any]]:
        """Return the same as `read`, without reading x into memory: for callers that need few of its rows."""
        if "images.bin" in self.files:
            with np.load(self.files["index.npz"], allow_pickle=False) as index:
                return EncodedImages(self.files["images.bin"], index["offsets"]), index["y"]
        return MappedRows(self.files["x.npy"]), np.load(self.files["y.npy"], allow_pickle=False)


def open_x(files: Mapping[str, Path]) -> Rows:
    """Open the rows x, from images.bin and index.npz or from x.npy."""
    if "images.bin" not in files:
        return open_rows(files["x.npy"])
    with np.load(files["index.npz"], allow_pickle=False) as index:
        return EncodedImages(files["images.bin"], index["offsets"])
