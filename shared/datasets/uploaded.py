"""A revision of a data set that users brought, as this machine's files hold it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.datasets.info import DatasetInfo
from shared.datasets.row_files import EncodedImages, MappedRows, open_rows

Rows = NDArray[Any] | MappedRows | EncodedImages


@dataclass(frozen=True)
class UploadedDataset:
    """`files` by name: x.npy and y.npy, or images.bin and index.npz. Training rows come before those of the test."""

    info: DatasetInfo
    digest: str
    files: Mapping[str, Path]

    def read(self) -> tuple[Rows, NDArray[Any]]:
        """x (n, …) and y, as the facts say."""
        if "images.bin" in self.files:
            with np.load(self.files["index.npz"], allow_pickle=False) as index:
                return open_x(self.files), index["y"]
        y: NDArray[Any] = np.load(self.files["y.npy"], allow_pickle=False)
        return open_x(self.files), y


def open_x(files: Mapping[str, Path]) -> Rows:
    """images.bin with index.npz, or x.npy."""
    if "images.bin" not in files:
        return open_rows(files["x.npy"])
    with np.load(files["index.npz"], allow_pickle=False) as index:
        return EncodedImages(files["images.bin"], index["offsets"])
