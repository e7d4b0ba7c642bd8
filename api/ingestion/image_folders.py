"""A zip of `class/image` folders as a data set of images. Nothing is unpacked onto the disk under a name of its own."""

import contextlib
import re
import stat
import unicodedata
import zipfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from api.ingestion.result import UNREADABLE, ParsedDataset, UploadLimits, dataset_error
from api.ingestion.targets import Targets
from shared.datasets.info import DatasetInfo, TargetKind
from shared.datasets.labels import encode_labels, find_class_name_faults
from shared.datasets.row_files import join_lines
from shared.errors import ServiceError
from shared.preprocessing.decoding import ImageLimits, decode_image, read_header

JUNK_FOLDERS = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"})
JUNK_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
PARTS = ("train", "test")
UTF8_NAME = 0x800
ENCRYPTED = 0x1
UNIX_MODE_SHIFT = 16
MIN_CLASSES = 2
THREADS = 4
BATCH = 64


class Member(NamedTuple):
    info: zipfile.ZipInfo
    path: tuple[str, ...]


class _Image(NamedTuple):
    """`path` is where it stood in the archive, `name` the same without the folders around all classes."""

    part: str
    label: str
    path: str
    name: str
    info: zipfile.ZipInfo


class _CheckedImage(NamedTuple):
    data: bytes
    shape: tuple[int, int]
    gray: bool


def ingest_folders(archive: zipfile.ZipFile, limits: UploadLimits, folder: Path) -> ParsedDataset:
    """Writes images.bin, the files as they came, and index.npz. Raises DatasetRefused with the members at fault."""
    images, ignored = _sort_members(read_members(archive, limits))
    train_rows = sum(image.part == "train" for image in images)
    shapes, all_gray, offsets = _write_images(archive, images, limits, folder / "images.bin")
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
    """Each with its name as it was meant. Raises DatasetRefused."""
    infos = archive.infolist()
    if len(infos) > limits.files:
        raise dataset_error([f"{len(infos):,} members, where {limits.files:,} are the limit."])
    unpacked = sum(info.file_size for info in infos)
    if unpacked > limits.bytes:
        raise dataset_error([f"The members unpack to {unpacked:,} bytes, where {limits.bytes:,} are the limit."])
    members = [Member(info, path) for info in infos if (path := _parse_path(info))]  # `./` is the folder itself
    faults = [
        f"{'/'.join(member.path)[:200]!r}: {fault}" for member in members if (fault := _find_fault(member)) is not None
    ]
    seen: dict[tuple[str, ...], int] = {}
    for member in members:
        seen[member.path] = seen.get(member.path, 0) + 1
    faults += [f"{'/'.join(path)!r} stands {times} times in the zip." for path, times in seen.items() if times > 1]
    if faults:
        raise dataset_error(faults)
    return members


def _parse_path(info: zipfile.ZipInfo) -> tuple[str, ...]:
    """Windows wrote backslashes, and macOS UTF-8 without saying so, with accents apart from their letters."""
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
    info, path = member
    mode = info.external_attr >> UNIX_MODE_SHIFT
    if ".." in path or "" in path or re.match(r"[A-Za-z]:", path[0]):
        return "a path that leads out of the folder: give every member a name inside of it."
    if any(ord(character) < ord(" ") for part in path for character in part) and path[-1].lower() not in JUNK_FILES:
        return "a name with control characters."
    if stat.S_ISLNK(mode):
        return "a link: put the file itself into the zip."
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "neither a file nor a folder."
    if info.flag_bits & ENCRYPTED:
        return "encrypted: send the zip without a password."
    return None


def _sort_members(members: Sequence[Member]) -> tuple[list[_Image], tuple[str, ...]]:
    """Every image with its part and class, and the other files. Raises DatasetRefused where folders do not say it."""
    files = [member for member in members if not is_folder(member.info)]
    kept = [member for member in files if not is_junk(member.path)]
    ignored = ["/".join(member.path) for member in files if is_junk(member.path)]
    prefix = _count_common_folders([member.path for member in kept])
    tops = {member.path[prefix] for member in kept if len(member.path) > prefix + 1}
    has_parts = "train" in {top.lower() for top in tops}
    faults, images = [], []
    if has_parts:
        others = sorted(top for top in tops if top.lower() not in PARTS)
        faults = [f"The folder {other!r} stands beside `train`: only `test` may." for other in others]
    for member in kept:
        part, inner = _split_part(member.path[prefix:], has_parts=has_parts)
        name = "/".join(member.path)
        if len(inner) > 1:
            images.append(_Image(part, inner[0], name, "/".join(member.path[prefix:]), member.info))
        elif _is_image_name(name):
            faults.append(f"{name!r} lies in no class folder.")
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
        raise dataset_error(faults)
    images.sort(key=lambda image: (image.part != "train", image.label, image.name))
    return images, tuple(ignored)


def _split_part(path: tuple[str, ...], *, has_parts: bool) -> tuple[str, tuple[str, ...]]:
    """The part, and the path inside of it."""
    return (path[0].lower(), path[1:]) if has_parts else ("train", path)


def _find_class_faults(images: Sequence[_Image], folders: Iterable[str]) -> list[str]:
    """A class that the training part does not show cannot be learnt."""
    classes = {image.label for image in images if image.part == "train"}
    tested = {image.label for image in images if image.part == "test"}
    faults = [f"The class {label!r} has images under `test` and none under `train`." for label in tested - classes]
    faults += [f"The class {label!r} has no image." for label in sorted(set(folders) - classes - tested)]
    faults += find_class_name_faults(classes)
    if len(classes) < MIN_CLASSES and not faults:
        names = f"only {next(iter(classes))!r}" if classes else "none"
        faults.append(f"Two class folders at least are needed, each with images; there is {names}.")
    return faults


def is_junk(path: tuple[str, ...]) -> bool:
    """What operating systems leave behind, and hidden files."""
    return (
        bool(JUNK_FOLDERS & set(path)) or path[-1].lower() in JUNK_FILES or any(part.startswith(".") for part in path)
    )


def _is_image_name(name: str) -> bool:
    return name.lower().endswith((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"))


def _count_common_folders(paths: Sequence[tuple[str, ...]]) -> int:
    """How many folders stand around all classes: those that hold a single folder and no image of their own."""
    depth = 0
    while True:
        inner = [path for path in paths if len(path) > depth + 1]
        tops = {path[depth] for path in inner}
        deep_enough = all(len(path) > depth + 2 or not _is_image_name(path[-1]) for path in inner)
        if len(tops) != 1 or not deep_enough or {top.lower() for top in tops} & set(PARTS):
            return depth
        depth += 1


def _write_images(
    archive: zipfile.ZipFile, images: Sequence[_Image], limits: UploadLimits, path: Path
) -> tuple[set[tuple[int, int]], bool, NDArray[np.int64]]:
    """The sizes that occur, whether all are gray, and offsets (n + 1,). Raises DatasetRefused with all that fail."""
    image_limits = ImageLimits(limits.image_bytes, limits.image_pixels)
    shapes: set[tuple[int, int]] = set()
    offsets = [0]
    faults: list[str] = []
    all_gray = True
    with path.open("wb") as file, ThreadPoolExecutor(THREADS) as threads:
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            contents = [read_content(archive, image.info, limits) for image in batch]
            decoded = threads.map(lambda data: _check_image(data, image_limits), contents)
            for image, one in zip(batch, decoded, strict=True):
                if isinstance(one, str):
                    faults.append(f"{image.path}: {one}")
                    continue
                shapes.add(one.shape)
                all_gray = all_gray and one.gray
                file.write(one.data)
                offsets.append(file.tell())
    if faults:
        raise dataset_error(faults)
    return shapes, all_gray, np.asarray(offsets, np.int64)


def read_content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limits: UploadLimits) -> bytes | str:
    """The bytes, or what is wrong; a member that holds more than it says is no further read."""
    if info.file_size > limits.image_bytes:
        return f"an image of {info.file_size:,} bytes, where {limits.image_bytes:,} are the limit"
    try:
        with archive.open(info) as member:
            return member.read(limits.image_bytes)
    except UNREADABLE as error:
        return f"a member that cannot be unpacked: {error}"


def _check_image(content: bytes | str, limits: ImageLimits) -> _CheckedImage | str:
    if isinstance(content, str):
        return content
    try:
        pixels = decode_image(content, limits)
    except ServiceError as error:
        return error.detail
    height, width, _ = pixels.shape
    return _CheckedImage(content, (height, width), read_header(content, limits).gray)
