"""Decode and resize the images of a data set, and cache the result on disk for each data set and contract."""

import hashlib
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.lib import format as npy
from numpy.typing import NDArray

from shared.datasets.row_files import MAX_BYTES_IN_MEMORY, EncodedImages, MappedRows, open_rows
from shared.errors import DatasetUnavailable, ImageTooLarge, InvalidImage
from shared.preprocessing.contract import ImageContract
from shared.preprocessing.decoding import read_header
from shared.preprocessing.image_decoder import ImageDecoder
from shared.preprocessing.pixels import Pixels
from shared.preprocessing.transforms import transform_image, transform_images

THREADS = 4
"""Threads that decode images: OpenCV and Pillow release the GIL while they decode."""
BATCH = 256
"""Images between two calls of `check`."""


def load_prepared(
    x: NDArray[Any] | MappedRows | EncodedImages,
    contract: ImageContract,
    digest: str,
    decoder: ImageDecoder,
    folder: Path,
    check: Callable[[], None],
) -> NDArray[Any] | MappedRows:
    """Return the images of a part, decoded and resized.

    Args:
        x: the rows of the part.
        digest: sha256 of the data set.
        decoder: decodes the images that are encoded.
        folder: cache folder for images of a file that had to be decoded or resized.
        check: called every BATCH images. It may raise to end the preparation.

    Returns:
        (n, *contract.input_shape) uint8. Large arrays stay in their file.

    Raises DatasetUnavailable for an image that cannot be decoded.
    """
    if not isinstance(x, EncodedImages) and contract.is_identity_for(x.shape[1:]):
        return x
    if isinstance(x, np.ndarray):
        return _prepare_array(x, contract, check)
    path = folder / f"{digest}-{_compute_key(contract)}.npy"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not path.exists():
            _write_images(x, contract, path, decoder, check)
        os.utime(path)  # `clean_caches` deletes what was not used for long
        rows = open_rows(path)
    return rows[x.row_indices] if isinstance(rows, np.ndarray) else rows.select(x.row_indices)


def _prepare_array(x: NDArray[Any], contract: ImageContract, check: Callable[[], None]) -> NDArray[Any] | MappedRows:
    """Transform images that are in memory. A result above MAX_BYTES_IN_MEMORY is written to a temporary file.

    The file has no name: its space is free when the rows are no longer used.
    """
    with NamedTemporaryFile(suffix=".npy") as file:
        if len(x) * math.prod(contract.input_shape) <= MAX_BYTES_IN_MEMORY:
            prepared = np.empty((len(x), *contract.input_shape), np.uint8)
        else:
            shape = (len(x), *contract.input_shape)
            prepared = npy.open_memmap(file.name, mode="w+", dtype=np.uint8, shape=shape)
        for start in range(0, len(x), BATCH):
            check()
            prepared[start : start + BATCH] = transform_images(x[start : start + BATCH], contract)
        if not isinstance(prepared, np.memmap):
            return prepared
        prepared.flush()
        return MappedRows(Path(file.name))


def _compute_key(contract: ImageContract) -> str:
    """Compute a key from all fields of the contract that change the pixels."""
    content = contract.model_dump_json(exclude={"scale", "normalisation"})
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _write_images(
    x: EncodedImages | MappedRows,
    contract: ImageContract,
    path: Path,
    decoder: ImageDecoder,
    check: Callable[[], None],
) -> None:
    """Write all images of the data set to an `.npy` file. The file appears only when it is complete."""
    unfinished = path.with_suffix(".partial")
    with unfinished.open("wb") as file, ThreadPoolExecutor(THREADS) as threads:
        descr = npy.dtype_to_descr(np.dtype(np.uint8))
        header = {"descr": descr, "fortran_order": False, "shape": (x.rows_in_file, *contract.input_shape)}
        npy.write_array_header_2_0(file, header)
        images = _iterate_images(x, contract, decoder)
        while batch := list(islice(images, BATCH)):
            check()
            for image in threads.map(lambda transform: transform(), batch):
                file.write(image.tobytes())
    unfinished.replace(path)


def _iterate_images(
    x: EncodedImages | MappedRows, contract: ImageContract, decoder: ImageDecoder
) -> Iterator[Callable[[], Pixels]]:
    """Yield a function for each image of the data set. It returns its transformed pixels, and a thread can call it."""
    if isinstance(x, EncodedImages):
        whole = EncodedImages(x.path, x.offsets)
        for row in range(len(whole)):
            yield partial(_decode, whole, row, contract, decoder)
        return
    for chunk in MappedRows(x.path).iterate_chunks():
        for image in chunk:
            yield partial(_transform, image, contract)


def _transform(image: Pixels, contract: ImageContract) -> Pixels:
    return transform_image(image, contract).pixels


def _decode(images: EncodedImages, row: int, contract: ImageContract, decoder: ImageDecoder) -> Pixels:
    """Decode and transform an image. Raises DatasetUnavailable."""
    data = images.read_encoded(row)
    try:
        return decoder.transform(data, read_header(data, decoder.limits), contract).pixels
    except (InvalidImage, ImageTooLarge) as error:
        raise DatasetUnavailable(f"Image {row} of the data set, from 0, is {error.detail}.") from error
