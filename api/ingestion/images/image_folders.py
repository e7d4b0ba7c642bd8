"""Convert a zip of images to a data set."""

import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from api.ingestion.archives.members import Member
from api.ingestion.archives.parts import IMAGES, ClassFile, describe_files, sort_members
from api.ingestion.images.image_files import measure_image, unpack_image
from api.ingestion.images.labels import find_label_table, sort_by_table
from api.ingestion.result import ParsedDataset, TableOptions, UploadLimits, dataset_error
from shared.datasets.labels import encode_labels
from shared.datasets.row_files import join_lines
from shared.errors import DatasetRefused, Fault
from shared.preprocessing.decoding import PixelBudget
from shared.preprocessing.image_decoder import ImageDecoder

THREADS = 4
BATCH = 64
BATCH_BYTES = 32 * 2**20
"""A batch of images has at most BATCH images, and at most these bytes or one image."""
TOO_MANY_PIXELS = "the images of the zip exceed the limit TRAINYARD_MAX_DATASET_PIXELS; scale them down, or send fewer"


def ingest_image_folders(
    archive: zipfile.ZipFile,
    members: Sequence[Member],
    options: TableOptions,
    limits: UploadLimits,
    decoder: ImageDecoder,
    folder: Path,
) -> ParsedDataset:
    """Check every image, and write images.bin, the image files unchanged, and index.npz to the folder.

    The classes are those of the folders, or of a CSV if all images lie in one folder.
    index.npz contains `offsets` (n + 1,), the class indices `y` (n,) and the `names` of the images.
    Raises DatasetRefused with the members at fault, or Overloaded.
    """
    table = find_label_table(members)
    sorted_images = sort_by_table(archive, members, table, options) if table is not None else sort_members(members)
    if table is None and options.label is not None:
        fault = Fault("#/label", "`label` is a column of a table, and the zip has class folders. Remove `label`.")
        raise DatasetRefused("The options do not fit the file.", (fault,))
    images = sorted_images.files
    shapes, all_gray, offsets = _write_images(archive, images, limits, decoder, folder / "images.bin")
    classes, y = encode_labels([image.label for image in images])
    names = join_lines(image.name for image in images)
    np.savez(folder / "index.npz", allow_pickle=False, offsets=offsets, y=y, names=names)
    size = next(iter(shapes)) if len(shapes) == 1 else (0, 0)
    info = describe_files(images, IMAGES, (*size, 1 if all_gray else 3), classes, y)
    files = folder / "images.bin", folder / "index.npz"
    return ParsedDataset(info, files, ignored=sorted_images.ignored, warnings=tuple(sorted_images.warnings))


def _write_images(
    archive: zipfile.ZipFile, images: Sequence[ClassFile], limits: UploadLimits, decoder: ImageDecoder, path: Path
) -> tuple[set[tuple[int, int]], bool, NDArray[np.int64]]:
    """Check every image and write the image files to `path`, one after another.

    Returns the sizes that occur as (height, width), whether all images are gray, and the offsets of the images,
    (n + 1,) int64. Raises DatasetRefused with the images at fault, or Overloaded.
    """
    budget = PixelBudget(limits.pixels, TOO_MANY_PIXELS)
    shapes: set[tuple[int, int]] = set()
    offsets = [0]
    faults: list[str] = []
    all_gray = True
    with path.open("wb") as file, ThreadPoolExecutor(THREADS) as threads:
        for batch in _iterate_batches(images):
            unpacked = [unpack_image(archive, image.info, limits.images, budget) for image in batch]
            measured = threads.map(lambda one: measure_image(one, decoder), unpacked)
            for image, one, shape in zip(batch, unpacked, measured, strict=True):
                if isinstance(one, str) or isinstance(shape, str):
                    faults.append(f"{image.path}: {shape}.")
                    continue
                shapes.add(shape)
                all_gray = all_gray and one.header.gray
                file.write(one.data)
                offsets.append(file.tell())
    if faults:
        raise dataset_error(*faults)
    return shapes, all_gray, np.asarray(offsets, np.int64)


def _iterate_batches(images: Sequence[ClassFile]) -> Iterator[list[ClassFile]]:
    """Yield the images in batches of at most BATCH images and BATCH_BYTES, or of one image."""
    batch: list[ClassFile] = []
    batch_bytes = 0
    for image in images:
        if batch and (len(batch) == BATCH or batch_bytes + image.info.file_size > BATCH_BYTES):
            yield batch
            batch, batch_bytes = [], 0
        batch.append(image)
        batch_bytes += image.info.file_size
    if batch:
        yield batch
