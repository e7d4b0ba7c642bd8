"""Draw a preview of a data set."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.charts import drawings
from api.charts.drawings import Tile, shorten
from api.charts.kinds import Drawing
from shared.database.tables.datasets import Revision
from shared.datasets.builtin import BUILTIN_DATASETS, read_samples, select_rows
from shared.datasets.encodings import expand_names
from shared.datasets.info import DatasetInfo, TargetKind
from shared.datasets.revisions import to_dataset_info
from shared.datasets.row_files import EncodedImages, MappedRows, TextRows
from shared.datasets.uploaded import Rows, UploadedDataset
from shared.errors import PictureNotFound
from shared.preprocessing.contract import ImageContract, build_contract
from shared.preprocessing.decoding import read_header
from shared.preprocessing.image_decoder import ImageDecoder
from shared.preprocessing.pixels import Pixels
from shared.preprocessing.transforms import transform_image
from shared.spec.preprocessing import Fit, Preprocessing
from shared.storage.artifacts import ArtifactStore

MAX_CLASSES = 8
IMAGES_PER_CLASS = 6
MAX_COLUMNS = 16
MAX_SAMPLE_ROWS = 100_000
"""A histogram of a larger table shows this many rows, evenly spaced."""
MAX_SAMPLE_TEXTS = 10_000
TILE_SIDE = 96
"""Width and height of an image in the preview, in pixels."""


def make_preview(reference: str, revision: Revision, artifacts: ArtifactStore, decoder: ImageDecoder) -> Drawing:
    """Draw images of the first MAX_CLASSES classes, or a histogram of each of the first MAX_COLUMNS columns.

    Of texts, draw histograms of their numbers of words and characters. Raises PictureNotFound for rows that are
    neither images nor a table, ArtifactDamaged, InvalidImage, ImageTooLarge or Overloaded.
    """
    info = to_dataset_info(revision)
    if info.kind == "numbers" and len(info.shape) != 1:
        raise PictureNotFound(
            f"{reference} has rows of the shape {list(info.shape)}. A preview shows only images and tables."
        )
    with tempfile.TemporaryDirectory(prefix="trainyard-") as folder:
        files = {file.name: artifacts.get_local_path(file.sha256, Path(folder)) for file in revision.files}
        x, y = UploadedDataset(info, revision.digest, files).map()
        if info.images:
            return drawings.draw_gallery(
                f"{reference}: {len(y):,} images", _make_tiles(x, y, info, decoder), IMAGES_PER_CLASS
            )
        if isinstance(x, TextRows):
            return _draw_texts(reference, x)
        names = revision.description["columns"] or [f"column {index}" for index in range(info.shape[0])]
        columns = expand_names(names, info.encodings)
        sample = np.linspace(0, len(x) - 1, min(len(x), MAX_SAMPLE_ROWS)).astype(np.int64)
        rows = x.read(sample) if isinstance(x, MappedRows) else np.asarray(x)[sample]
        return _draw_table(f"{reference}: {len(y):,} rows", columns, rows)


def make_builtin_preview(name: str, decoder: ImageDecoder) -> Drawing:
    """Draw images of the first MAX_CLASSES classes of a built-in data set, or the histograms of its columns."""
    info, samples = BUILTIN_DATASETS[name].info, read_samples(name)
    train = np.arange(samples.train_rows)
    x, y = select_rows(samples.x, train), samples.y[train]
    if info.images:
        title = f"{name}: {info.rows:,} images"
        return drawings.draw_gallery(title, _make_tiles(x, y, info, decoder), IMAGES_PER_CLASS)
    if isinstance(x, TextRows):
        return _draw_texts(name, x)
    return _draw_table(f"{name}: {info.rows:,} rows", [f"column {index}" for index in range(x.shape[1])], x)


def _draw_texts(reference: str, texts: TextRows) -> Drawing:
    """Draw how many words and characters the texts have, at most MAX_SAMPLE_TEXTS of them."""
    sample = np.linspace(0, len(texts) - 1, min(len(texts), MAX_SAMPLE_TEXTS)).astype(np.int64)
    lengths = [(len(text.split()), len(text)) for text in texts.select(sample)]
    title = f"{reference}: {len(texts):,} texts"
    return drawings.draw_histograms(title, ["words", "characters"], np.asarray(lengths, np.float32))


def _draw_table(title: str, columns: list[str], rows: NDArray[Any]) -> Drawing:
    return drawings.draw_histograms(title, columns[:MAX_COLUMNS], rows[:, :MAX_COLUMNS])


def _make_tiles(x: Rows, y: NDArray[np.int64], info: DatasetInfo, decoder: ImageDecoder) -> list[Tile]:
    """Choose IMAGES_PER_CLASS images of each class, evenly spaced over its rows, with the class as caption."""
    preprocessing = Preprocessing(size=(TILE_SIDE, TILE_SIDE), fit=Fit.PAD, background=128)
    contract = build_contract(preprocessing, info)
    assert isinstance(contract, ImageContract)  # noqa: S101 - the rows are images
    indices = y if y.ndim == 1 else y.argmax(axis=1)
    tiles = []
    for label in np.unique(indices)[:MAX_CLASSES]:
        rows = np.flatnonzero(indices == label)
        chosen = rows[np.linspace(0, len(rows) - 1, min(IMAGES_PER_CLASS, len(rows))).astype(np.int64)]
        name = info.classes[label] if info.targets is TargetKind.CLASSES else str(label)
        tiles += [Tile(pixels, shorten(name)) for pixels in _read_images(x, chosen, contract, decoder)]
    return tiles


def _read_images(x: Rows, rows: NDArray[np.int64], contract: ImageContract, decoder: ImageDecoder) -> Iterator[Pixels]:
    if isinstance(x, EncodedImages):
        for data in map(x.read_encoded, rows):
            yield decoder.transform(data, read_header(data, decoder.limits), contract).pixels
        return
    assert isinstance(x, np.ndarray | MappedRows)  # noqa: S101 - the rows are images
    for image in x.read(rows) if isinstance(x, MappedRows) else x[rows]:
        yield transform_image(image, contract).pixels
