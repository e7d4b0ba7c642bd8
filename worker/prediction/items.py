"""Read the inputs of a batch prediction, from an uploaded data set or from the files of the job."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from shared.datasets.row_files import EncodedImages, MappedRows, TextRows, split_lines
from shared.datasets.uploaded import open_x
from shared.errors import InvalidRequest, ServiceError
from shared.inference.inputs import ImageInput, Input, NumbersInput, TextInput

INDEX, FAULTS = "index.npz", "faults.json"


class PredictionItems:
    """The inputs of a batch prediction. Several threads can read at the same time.

    Args:
        files: paths by name: `index.npz` with `images.bin` for images or `texts.bin` for texts, or `x.npy` for numbers.
            `faults.json` has the errors of inputs that could not be read at the upload, by row.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._x = open_x(files)
        self._names: tuple[str, ...] | None = None
        self._faults: dict[str, str] = json.loads(files[FAULTS].read_text()) if FAULTS in files else {}
        if INDEX in files:
            with np.load(files[INDEX], allow_pickle=False) as index:
                names = index.get("names")  # the texts of a table have none
            if names is not None:
                self._names = tuple(names.tolist()) if names.dtype.kind == "U" else split_lines(names)  # an old index

    def name(self, row: int) -> str | None:
        """Return the file name of the image or text in this row, from 0; None for rows of a table."""
        return self._names[row] if self._names is not None else None

    def read(self, start: int, stop: int) -> list[Input | ServiceError]:
        """Read the inputs of the rows from `start` to before `stop`, from 0.

        An input that could not be read at the upload is replaced by its error.
        """
        return [
            InvalidRequest(self._faults[str(row)]) if str(row) in self._faults else given
            for row, given in enumerate(self._read(start, stop), start)
        ]

    def _read(self, start: int, stop: int) -> list[Input]:
        if isinstance(self._x, EncodedImages):
            images = enumerate(self._x.read_range(start, stop), start)
            return [ImageInput(self.name(row) or f"row {row}", image) for row, image in images]
        if isinstance(self._x, TextRows):
            texts = self._x.select(np.arange(start, stop))
            return [TextInput(self.name(row) or f"row {row}", text) for row, text in enumerate(texts, start)]
        rows = self._x.read(np.arange(start, stop)) if isinstance(self._x, MappedRows) else self._x[start:stop]
        return [NumbersInput(f"row {row}", values) for row, values in enumerate(rows, start)]
