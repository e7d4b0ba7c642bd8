"""Prepare the rows of a data set for the network, except for the normalisation."""

from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import keras
import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from shared.datasets.row_files import MAX_BYTES_IN_MEMORY, MappedRows, TextRows
from shared.datasets.uploaded import Rows
from shared.preprocessing.contract import Contract, ImageContract
from shared.preprocessing.image_decoder import ImageDecoder
from shared.preprocessing.text import TextContract, encode_texts
from worker.training.input.image_cache import load_prepared

BATCH = 256
"""Texts between two calls of `check`."""
INDEX_BYTES = 4


def prepare_rows(
    x: Rows,
    contract: Contract,
    digest: str,
    decoder: ImageDecoder,
    folder: Path,
    check: Callable[[], None],
) -> NDArray[Any] | MappedRows:
    """Return x of a part, preprocessed except for the normalisation.

    Args:
        x: the rows of the part.
        digest: sha256 of the data set.
        decoder: decodes the images that are encoded.
        folder: cache folder for images of a file that had to be decoded or resized.
        check: called between batches of images or texts. It may raise to end the preparation.

    Returns:
        (n, *contract.input_shape), uint8 for images, int32 for texts, else float32. Large arrays stay in a file.

    Raises DatasetUnavailable for an image that cannot be decoded.
    """
    if isinstance(contract, ImageContract):
        assert not isinstance(x, TextRows)  # noqa: S101 - texts have a contract for texts
        return load_prepared(x, contract, digest, decoder, folder, check)
    if isinstance(contract, TextContract):
        assert isinstance(x, TextRows)  # noqa: S101
        return _encode(x, contract, check)
    assert isinstance(x, np.ndarray | MappedRows)  # noqa: S101 - images and texts have contracts of their own
    return x


def answers_empty_texts(network: keras.Model, contract: TextContract) -> bool:
    """Return whether a network has an output for a text without a known word."""
    nothing = np.zeros((1, contract.length), np.float32)
    return bool(np.isfinite(network(nothing, training=False).numpy()).all())


def _encode(x: TextRows, contract: TextContract, check: Callable[[], None]) -> NDArray[Any] | MappedRows:
    """Convert texts to indices. A result above MAX_BYTES_IN_MEMORY is written to a file without a name."""
    shape = (len(x), contract.length)
    with NamedTemporaryFile(suffix=".npy") as file:
        if len(x) * contract.length * INDEX_BYTES <= MAX_BYTES_IN_MEMORY:
            indices = np.empty(shape, np.int32)
        else:
            indices = npy.open_memmap(file.name, mode="w+", dtype=np.int32, shape=shape)
        for start in range(0, len(x), BATCH):
            check()
            rows = np.arange(start, min(start + BATCH, len(x)))
            encode_texts(contract, x.select(rows), indices[start : start + BATCH])
        if not isinstance(indices, np.memmap):
            return indices
        indices.flush()
        return MappedRows(Path(file.name))
