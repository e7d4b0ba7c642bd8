"""Read single rows of data sets, which stay open between requests."""

import shutil
import tempfile
import threading
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from api.charts.evaluation_tiles import encode_tile
from shared.database.tables.datasets import Revision
from shared.datasets.builtin import BUILTIN_DATASETS, read_samples
from shared.datasets.encodings import decode_cells
from shared.datasets.info import DatasetInfo, TargetKind
from shared.datasets.revisions import to_dataset_info
from shared.datasets.row_files import EncodedImages, MappedRows, TextRows
from shared.datasets.uploaded import Rows, UploadedDataset
from shared.preprocessing.contract import ImageContract, build_contract
from shared.preprocessing.decoding import read_header
from shared.preprocessing.image_decoder import ImageDecoder
from shared.registry.manifest import Part
from shared.spec.preprocessing import Fit, Preprocessing
from shared.storage.artifacts import ArtifactStore

MAX_OPEN = 16
GROUND = 128
"""The level of gray beside an image that is not square."""


@dataclass(frozen=True)
class OpenDataset:
    """A data set whose rows can be read one by one.

    Attributes:
        x: the rows; those of a built-in data set are samples.
        y: their labels, as `info.targets` says.
        ends: the number of rows up to the end of the training, validation and test part.
    """

    info: DatasetInfo
    x: Rows
    y: NDArray[Any]
    ends: tuple[int, int, int]

    def find_rows(self, label: str | None, part: Part | None) -> NDArray[np.int64]:
        """Return the numbers of the rows of a class and a part, (n,) int64. None does not restrict them."""
        starts = dict(zip(("train", "validation", "test"), (0, *self.ends[:2]), strict=True))
        ends = dict(zip(("train", "validation", "test"), self.ends, strict=True))
        rows = np.arange(len(self.y)) if part is None else np.arange(starts[part], ends[part])
        return rows if label is None else rows[self._has_label(rows, label)]

    def get_part(self, row: int) -> Part:
        """Return the part of a row."""
        return "train" if row < self.ends[0] else "validation" if row < self.ends[1] else "test"

    def get_label(self, row: int) -> str:
        """Return the label of a row as text. Several labels are separated by commas."""
        value = self.y[row]
        if self.info.targets is TargetKind.CLASSES:
            return self.info.classes[int(value)]
        if self.info.targets in (TargetKind.ONE_HOT, TargetKind.MULTI_LABEL):
            names = self.info.classes or tuple(map(str, range(len(value))))
            return ", ".join(names[index] for index in np.flatnonzero(value))
        return ", ".join(f"{number:g}" for number in np.atleast_1d(value).tolist())

    def get_values(self, row: int) -> list[float | str]:
        """Return the cells of a row of a table, as they were sent."""
        return decode_cells(self._read(row).reshape(-1), self.info.encodings)

    def get_text(self, row: int) -> str:
        """Return the text of a row."""
        assert isinstance(self.x, TextRows)  # noqa: S101 - the rows are texts
        return self.x.read_text(row)

    def encode_image(self, row: int, side: int, decoder: ImageDecoder) -> bytes:
        """Encode the image of a row as PNG, its longer side `side` pixels long.

        Raises InvalidImage, ImageTooLarge or Overloaded.
        """
        if not isinstance(self.x, EncodedImages):
            return encode_tile(self._read(row), side)
        contract = build_contract(Preprocessing(size=(side, side), fit=Fit.PAD, background=GROUND), self.info)
        assert isinstance(contract, ImageContract)  # noqa: S101 - the rows are images
        data = self.x.read_encoded(row)
        return encode_tile(decoder.transform(data, read_header(data, decoder.limits), contract).pixels, None)

    def read_rows(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Read rows of a table, (n, width)."""
        assert isinstance(self.x, np.ndarray | MappedRows)  # noqa: S101 - its callers ask before
        return self.x.read(rows) if isinstance(self.x, MappedRows) else np.asarray(self.x)[rows]

    def get_pixels(self, row: int, decoder: ImageDecoder) -> NDArray[Any]:
        """Return the pixels of an image in its own size, (height, width, channels) uint8.

        Raises InvalidImage, ImageTooLarge or Overloaded.
        """
        if not isinstance(self.x, EncodedImages):
            return self._read(row)
        data = self.x.read_encoded(row)
        header = read_header(data, decoder.limits)
        contract = build_contract(Preprocessing(size=decoder.measure(data, header)), self.info)
        assert isinstance(contract, ImageContract)  # noqa: S101 - the rows are images
        return decoder.transform(data, header, contract).pixels

    def _has_label(self, rows: NDArray[np.int64], label: str) -> NDArray[np.bool_]:
        y = self.y[rows]
        if self.info.targets in (TargetKind.ONE_HOT, TargetKind.MULTI_LABEL):
            names = list(self.info.classes or map(str, range(y.shape[1])))
            return y[:, names.index(label)] == 1 if label in names else np.zeros(len(y), bool)
        if self.info.targets is TargetKind.CLASSES:
            known = self.info.classes.index(label) if label in self.info.classes else -1
            return np.asarray(y == known)
        try:
            number = np.float32(label)
        except ValueError:
            return np.zeros(len(y), bool)
        return np.asarray((y.reshape(len(y), -1).astype(np.float32) == number).all(axis=1))

    def _read(self, row: int) -> NDArray[Any]:
        return np.asarray(self.read_rows(np.array([row]))[0])


class OpenDatasets:
    """The data sets whose rows were read most recently. Safe for threads.

    Each file is checked against its digest when its data set is opened, and not for each row.
    """

    def __init__(self, artifacts: ArtifactStore, max_open: int = MAX_OPEN) -> None:
        self._artifacts = artifacts
        self._open: LRUCache[str, OpenDataset] = LRUCache(max_open)
        self._lock = threading.Lock()

    def open_builtin(self, name: str) -> OpenDataset:
        """Open the samples of a built-in data set."""
        with self._lock:
            if name not in self._open:
                found = read_samples(name)
                ends = (found.train_rows, found.train_rows, len(found.y))
                self._open[name] = OpenDataset(BUILTIN_DATASETS[name].info, found.x, found.y, ends)
            return self._open[name]

    def open_revision(self, revision: Revision) -> OpenDataset:
        """Open a revision of an uploaded data set. Raises ArtifactDamaged."""
        with self._lock:
            if revision.digest not in self._open:
                self._open[revision.digest] = self._read(revision)
            return self._open[revision.digest]

    def _read(self, revision: Revision) -> OpenDataset:
        info, folder = to_dataset_info(revision), tempfile.mkdtemp(prefix="trainyard-")
        files = {file.name: self._artifacts.get_local_path(file.sha256, Path(folder)) for file in revision.files}
        x, y = UploadedDataset(info, revision.digest, files).map()
        train = info.train_rows
        opened = OpenDataset(info, x, y, (train, train + info.validation_rows, info.rows))
        weakref.finalize(opened, shutil.rmtree, folder, ignore_errors=True)
        return opened
