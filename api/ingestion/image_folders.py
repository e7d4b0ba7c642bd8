"""Convert a zip of `class/image` folders to a data set of images.

No member is extracted under its own path, so that a path from a zip cannot select a file on the server.
"""

import contextlib
import re
import stat
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from api.ingestion.image_files import measure_image, unpack_image
from api.ingestion.result import ParsedDataset, UploadLimits, dataset_error
from api.ingestion.targets import Targets
from shared.datasets.info import DatasetInfo, TargetKind
from shared.datasets.labels import encode_labels, find_class_name_faults
from shared.datasets.row_files import join_lines
from shared.preprocessing.decoding import PixelBudget
from shared.preprocessing.image_decoder import ImageDecoder

JUNK_FOLDERS = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"})
JUNK_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
PARTS = ("train", "test")
UTF8_NAME = 0x800
"""Bit 11 of the general purpose flags of a member (APPNOTE.TXT 4.4.4): the name is UTF-8."""
ENCRYPTED = 0x1
"""Bit 0 of the general purpose flags: the member is encrypted."""
UNIX_MODE_SHIFT = 16
"""The upper 16 bits of the external attributes are the Unix file mode."""
MIN_CLASSES = 2
THREADS = 4
BATCH = 64
BATCH_BYTES = 32 * 2**20
"""A batch of images has at most BATCH images, and at most these bytes or one image."""
TOO_MANY_PIXELS = "the images of the zip exceed the limit TRAINYARD_MAX_DATASET_PIXELS; scale them down, or send fewer"


class Member(NamedTuple):
    """A member of a zip, and the parts of its normalised path."""

    info: zipfile.ZipInfo
    path: tuple[str, ...]


class _Image(NamedTuple):
    """An image of the data set.

    Attributes:
        part: `train` or `test`.
        label: name of the class.
        path: path in the zip.
        name: path without the folders around all classes.
    """

    part: str
    label: str
    path: str
    name: str
    info: zipfile.ZipInfo


def ingest_folders(
    archive: zipfile.ZipFile, limits: UploadLimits, decoder: ImageDecoder, folder: Path
) -> ParsedDataset:
    """Check every image, and write images.bin, the image files unchanged, and index.npz to the folder.

    index.npz contains `offsets` (n + 1,), the class indices `y` (n,) and the `names` of the images.
    Raises DatasetRefused with the members at fault, or Overloaded.
    """
    images, ignored = _sort_members(read_members(archive, limits))
    train_rows = sum(image.part == "train" for image in images)
    shapes, all_gray, offsets = _write_images(archive, images, limits, decoder, folder / "images.bin")
    classes, y = encode_labels([image.label for image in images])
    names = join_lines(image.name for image in images)
    np.savez(folder / "index.npz", allow_pickle=False, offsets=offsets, y=y, names=names)
    size = next(iter(shapes)) if len(shapes) == 1 else (0, 0)
    info = DatasetInfo(
        (*size, 1 if all_gray else 3),
        images=True,
        targets=TargetKind.CLASSES,
        train_rows=train_rows,
        test_rows=len(y) - train_rows,
        classes=classes,
        class_rows=Targets(TargetKind.CLASSES, y, classes).count_class_rows(train_rows),
        own_test=train_rows < len(y),
    )
    return ParsedDataset(info, (folder / "images.bin", folder / "index.npz"), ignored=ignored)


def read_members(archive: zipfile.ZipFile, limits: UploadLimits) -> list[Member]:
    """Return the members with their normalised paths.

    Raises DatasetRefused for a zip over the limits, and for members that are unsafe, encrypted or duplicates.
    """
    infos = archive.infolist()
    if len(infos) > limits.files:
        raise dataset_error(
            f"The zip contains {len(infos):,} members; the limit is {limits.files:,} "
            "(TRAINYARD_MAX_DATASET_FILES). Send fewer files."
        )
    unpacked = sum(info.file_size for info in infos)
    if unpacked > limits.bytes:
        raise dataset_error(
            f"The members unpack to {unpacked:,} bytes; the limit is {limits.bytes:,} "
            "(TRAINYARD_MAX_DATASET_BYTES). Send fewer or smaller images."
        )
    members = [Member(info, path) for info in infos if (path := _parse_path(info))]  # the path of `./` is empty
    faults = [
        f"{'/'.join(member.path)[:200]!r}: {fault}" for member in members if (fault := _find_fault(member)) is not None
    ]
    seen: dict[tuple[str, ...], int] = {}
    for member in members:
        seen[member.path] = seen.get(member.path, 0) + 1
    faults += [
        f"{'/'.join(path)!r} occurs {times} times in the zip. Give each file a different path."
        for path, times in seen.items()
        if times > 1
    ]
    if faults:
        raise dataset_error(*faults)
    return members


def _parse_path(info: zipfile.ZipInfo) -> tuple[str, ...]:
    """Return the parts of the path of a member, in Unicode normalisation form C.

    Some Windows programs write backslashes. macOS writes UTF-8 in form D without the flag UTF8_NAME.
    The first part of an absolute path is empty.
    """
    name = info.filename
    if not info.flag_bits & UTF8_NAME:
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    name = unicodedata.normalize("NFC", name.replace("\\", "/"))
    if name.startswith("/"):
        return ("", *name.strip("/").split("/"))
    return tuple(part for part in name.rstrip("/").split("/") if part != ".")


def is_folder(info: zipfile.ZipInfo) -> bool:
    return info.filename.endswith(("/", "\\"))


def _find_fault(member: Member) -> str | None:
    """Return why a member is refused, or None if it is not."""
    info, path = member
    mode = info.external_attr >> UNIX_MODE_SHIFT
    if ".." in path or "" in path or re.match(r"[A-Za-z]:", path[0]):
        return "the path leads out of the folder. Use a relative path without `..`, `//` and drive letters."
    if any(ord(character) < ord(" ") for part in path for character in part) and path[-1].lower() not in JUNK_FILES:
        return "the name contains control characters, such as a line break. Rename the file."
    if stat.S_ISLNK(mode):
        return "the member is a symbolic link. Put the file itself into the zip."
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "the member is neither a file nor a folder. Remove it from the zip."
    if info.flag_bits & ENCRYPTED:
        return "the member is encrypted. Create the zip without a password."
    return None


def _sort_members(members: Sequence[Member]) -> tuple[list[_Image], tuple[str, ...]]:
    """Return the images, sorted by part (`train` first), class and name, and the paths of the ignored files.

    Raises DatasetRefused if the folders do not determine the part and the class of every image.
    """
    files = [member for member in members if not is_folder(member.info)]
    kept = [member for member in files if not is_junk(member.path)]
    ignored = ["/".join(member.path) for member in files if is_junk(member.path)]
    prefix = _count_common_folders([member.path for member in kept])
    top_folders = {member.path[prefix] for member in kept if len(member.path) > prefix + 1}
    has_parts = "train" in {top.lower() for top in top_folders}
    faults, images = [], []
    if has_parts:
        others = sorted(top for top in top_folders if top.lower() not in PARTS)
        faults = [
            f"The folder {other!r} is next to the folder `train`, where only `test` is allowed. Move its images into "
            "`train` or `test`. If `train` is a class, rename it."
            for other in others
        ]
    for member in kept:
        part, inner = _split_part(member.path[prefix:], has_parts=has_parts)
        name = "/".join(member.path)
        if len(inner) > 1:
            images.append(_Image(part, inner[0], name, "/".join(member.path[prefix:]), member.info))
        elif _is_image_name(name):
            faults.append(f"{name!r} is in no class folder. Move it into the folder of its class.")
        else:
            ignored.append(name)
    folders = {
        inner[0]
        for member in members
        if not is_junk(member.path[:-1] or member.path) and member.path[prefix:]
        for _, inner in [_split_part(member.path[prefix:], has_parts=has_parts)]
        if len(inner) > 1 or (inner and is_folder(member.info))
    }
    faults += _find_class_faults(images, folders)
    if faults:
        raise dataset_error(*faults)
    images.sort(key=lambda image: (image.part != "train", image.label, image.name))
    return images, tuple(ignored)


def _split_part(path: tuple[str, ...], *, has_parts: bool) -> tuple[str, tuple[str, ...]]:
    """Split a path into the part, `train` or `test`, and the path inside the part."""
    return (path[0].lower(), path[1:]) if has_parts else ("train", path)


def _find_class_faults(images: Sequence[_Image], folders: Iterable[str]) -> list[str]:
    """Return a sentence for each class without training images, and one if there are fewer than MIN_CLASSES classes."""
    classes = {image.label for image in images if image.part == "train"}
    tested = {image.label for image in images if image.part == "test"}
    faults = [
        f"The class {label!r} has images under `test` and none under `train`. Add training images or remove the class."
        for label in tested - classes
    ]
    faults += [
        f"The class {label!r} has no image. Add images to its folder or remove the folder."
        for label in sorted(set(folders) - classes - tested)
    ]
    faults += find_class_name_faults(classes)
    if len(classes) < MIN_CLASSES and not faults:
        names = f"only the class folder {next(iter(classes))!r}" if classes else "no class folder with images"
        faults.append(
            f"The zip contains {names}; at least two are needed. Put each image into the folder of its class, "
            "for example `cat/1.png` and `dog/1.png`."
        )
    return faults


def is_junk(path: tuple[str, ...]) -> bool:
    """Return whether a file is hidden, or is one that operating systems add, such as `Thumbs.db`."""
    return (
        bool(JUNK_FOLDERS & set(path)) or path[-1].lower() in JUNK_FILES or any(part.startswith(".") for part in path)
    )


def _is_image_name(name: str) -> bool:
    return name.lower().endswith((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"))


def _count_common_folders(paths: Sequence[tuple[str, ...]]) -> int:
    """Return the number of folders around all classes.

    Such a folder contains a single folder, which is not `train` or `test`, and directly below it are no images.
    """
    depth = 0
    while True:
        inner = [path for path in paths if len(path) > depth + 1]
        top_folders = {path[depth] for path in inner}
        deep_enough = all(len(path) > depth + 2 or not _is_image_name(path[-1]) for path in inner)
        if len(top_folders) != 1 or not deep_enough or {top.lower() for top in top_folders} & set(PARTS):
            return depth
        depth += 1


def _write_images(
    archive: zipfile.ZipFile, images: Sequence[_Image], limits: UploadLimits, decoder: ImageDecoder, path: Path
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


def _iterate_batches(images: Sequence[_Image]) -> Iterator[list[_Image]]:
    """Yield the images in batches of at most BATCH images and BATCH_BYTES, or of one image."""
    batch: list[_Image] = []
    batch_bytes = 0
    for image in images:
        if batch and (len(batch) == BATCH or batch_bytes + image.info.file_size > BATCH_BYTES):
            yield batch
            batch, batch_bytes = [], 0
        batch.append(image)
        batch_bytes += image.info.file_size
    if batch:
        yield batch
