"""What a data set looks like."""

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from api.charts import drawings
from api.charts.drawings import Tile
from api.charts.kinds import Drawing
from shared.database.tables.datasets import Revision
from shared.datasets.info import DatasetFacts
from shared.datasets.revisions import facts_of_revision
from shared.datasets.row_files import EncodedImages, MappedRows
from shared.datasets.uploaded import Rows, UploadedData
from shared.errors import PictureNotFound
from shared.preprocessing.contract import ImageContract, contract_of
from shared.preprocessing.decoding import ImageLimits, decode
from shared.preprocessing.transforms import prepare
from shared.spec.preprocessing import Fit, Preprocessing
from shared.storage.artifacts import ArtifactStore

MOST_CLASSES = 8
IMAGES_OF_CLASS = 6
MOST_COLUMNS = 16
SIDE = 96
_OWN_IMAGE = ImageLimits(max_bytes=2**31, max_pixels=2**31)


def preview_of(reference: str, revision: Revision, artifacts: ArtifactStore) -> Drawing:
    """Raises PictureNotFound for rows that are neither images nor a table; ArtifactDamaged."""
    facts = facts_of_revision(revision)
    with tempfile.TemporaryDirectory(prefix="trainyard-") as folder:
        files = {file.name: artifacts.local_path(file.sha256, Path(folder)) for file in revision.files}
        x, y = UploadedData(facts, revision.digest, files).read()
        if facts.images:
            return drawings.gallery(f"{reference}: {len(y):,} images", _tiles(x, y, facts), IMAGES_OF_CLASS)
        columns = revision.description["columns"] or [f"column {place}" for place in range(facts.shape[0])]
        if len(facts.shape) != 1:
            raise PictureNotFound(f"Rows of {list(facts.shape)} numbers are no table, and no images.")
        rows = np.concatenate(list(x.chunks())) if isinstance(x, MappedRows) else np.asarray(x)
        return drawings.histograms(f"{reference}: {len(y):,} rows", columns[:MOST_COLUMNS], rows[:, :MOST_COLUMNS])


def _tiles(x: Rows, y: NDArray[np.int64], facts: DatasetFacts) -> list[Tile]:
    preprocessing = Preprocessing(size=(SIDE, SIDE), fit=Fit.PAD, background=128)
    contract = contract_of(preprocessing, facts)
    assert isinstance(contract, ImageContract)  # noqa: S101 - they are images
    places = y if y.ndim == 1 else y.argmax(axis=1)
    tiles = []
    for label in np.unique(places)[:MOST_CLASSES]:
        rows = np.flatnonzero(places == label)
        chosen = rows[np.linspace(0, len(rows) - 1, min(IMAGES_OF_CLASS, len(rows))).astype(np.int64)]
        name = facts.classes[label] if label < len(facts.classes) else str(label)
        tiles += [Tile(prepare(image, contract), name) for image in _images(x, chosen)]
    return tiles


def _images(x: Rows, rows: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
    if isinstance(x, EncodedImages):
        return [decode(x.encoded(row), _OWN_IMAGE) for row in rows]
    return list(x.read(rows) if isinstance(x, MappedRows) else x[rows])
