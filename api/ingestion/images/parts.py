"""Tell the part and the class of each image by the folders of a zip."""

import re
import zipfile
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from api.ingestion.images.members import Member, is_image_name, is_junk
from api.ingestion.result import dataset_error
from shared.datasets.labels import find_class_name_faults

TRAIN, VALIDATION, TEST, UNLABELED = "train", "validation", "test", "unlabeled"
PARTS = (TRAIN, VALIDATION, TEST)
"""The parts, in the order of their rows."""
PART_NAMES = {
    TRAIN: TRAIN,
    "training": TRAIN,
    "학습": TRAIN,
    "훈련": TRAIN,
    VALIDATION: VALIDATION,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validate": VALIDATION,
    "validating": VALIDATION,
    "검증": VALIDATION,
    TEST: TEST,
    "testing": TEST,
    "시험": TEST,
    "평가": TEST,
    "테스트": TEST,
    "pred": UNLABELED,
    "predict": UNLABELED,
    "prediction": UNLABELED,
    "unlabeled": UNLABELED,
    "unlabelled": UNLABELED,
}
MIN_CLASSES = 2
_NOISE = re.compile(r"(data|dataset|set|split|folder|images?|imgs?|seg|files?|데이터|세트|셋|용|이미지)")
_SEPARATORS = re.compile(r"[\s_\-.()\d]+")


class ClassImage(NamedTuple):
    """An image of the data set.

    Attributes:
        part: one of PARTS.
        label: name of the class.
        path: path in the zip.
        name: path without the folders around all classes.
    """

    part: str
    label: str
    path: str
    name: str
    info: zipfile.ZipInfo


class SortedImages(NamedTuple):
    """The images in the order of their rows, the paths of the ignored files, and warnings for the sender."""

    images: list[ClassImage]
    ignored: tuple[str, ...]
    warnings: list[str]


def find_part(folder: str) -> str | None:
    """Return the part whose images a folder has by its name, such as `training_set`, `seg_train` or `val`.

    Returns UNLABELED for a folder such as `seg_pred`, whose images have no class; None for any other name.
    """
    words = [word for word in _SEPARATORS.split(folder.lower()) if word]
    cores = [word for word in words if not _NOISE.fullmatch(word)]
    if len(cores) != 1:
        return None
    return PART_NAMES.get(cores[0]) or PART_NAMES.get(_NOISE.sub("", cores[0]))


def sort_members(members: Sequence[Member]) -> SortedImages:
    """Tell part and class of each image by its folders.

    The images are sorted by part, class and name. Raises DatasetRefused if the folders do not determine part and class
    of every image.
    """
    files = [member for member in members if not member.is_folder]
    kept = [member for member in files if not is_junk(member.path)]
    ignored = ["/".join(member.path) for member in files if is_junk(member.path)]
    prefix = _count_common_folders([member.path for member in kept], stops_at_parts=True)
    parts, faults = _find_parts([member.path[prefix:] for member in kept])
    inner_prefixes = _count_inner_folders([member.path[prefix:] for member in kept], parts)
    images, warnings, unlabeled = [], [], 0
    for member in kept:
        part, inner = _split_part(member.path[prefix:], parts, inner_prefixes)
        name = "/".join(member.path)
        if part == UNLABELED:
            ignored.append(name)
            unlabeled += is_image_name(name)
        elif len(inner) > 1:
            images.append(ClassImage(part, inner[0], name, "/".join(member.path[prefix:]), member.info))
        elif is_image_name(name):
            faults.append(f"{name!r} is in no class folder. Move it into the folder of its class.")
        else:
            ignored.append(name)
    if unlabeled:
        warnings.append(f"{unlabeled:,} images lie in a folder whose images have no class. They were left out.")
    folders = {
        inner[0]
        for member in members
        if not is_junk(member.path[:-1] or member.path) and member.path[prefix:]
        for part, inner in [_split_part(member.path[prefix:], parts, inner_prefixes)]
        if part != UNLABELED and (len(inner) > 1 or (inner and member.is_folder))
    }
    faults += _find_class_faults(images, folders)
    if faults:
        raise dataset_error(*faults)
    images.sort(key=lambda image: (PARTS.index(image.part), image.label, image.name))
    return SortedImages(images, tuple(ignored), warnings)


def _find_parts(paths: Sequence[tuple[str, ...]]) -> tuple[dict[str, str], list[str]]:
    """Return the part of each folder that has one, and faults. Without parts, the folders are classes.

    A folder such as `train` has a part if class folders lie in it. If images lie directly in it, it is a class beside
    others: a data set of vehicles has trains. Raises DatasetRefused if there is no training part.
    """
    tops = {path[0] for path in paths if len(path) > 1 and is_image_name(path[-1])}
    deep = {path[0] for path in paths if len(path) > 2 and is_image_name(path[-1])}  # noqa: PLR2004 - part, class, file
    parts = {top: part for top in tops if (part := find_part(top)) is not None}
    holding = {top for top, part in parts.items() if part != UNLABELED and top in deep}
    if not holding:
        named = {top: part for top, part in parts.items() if part != UNLABELED}
        if named and named.keys() == tops:
            names = ", ".join(map(repr, sorted(named)))
            return {}, [
                f"The folders {names} are parts, and there are no class folders in them. Add one for each class."
            ]
        return {}, []
    parts = {top: part for top, part in parts.items() if top in holding or part == UNLABELED}
    faults = [
        f"The folder {other!r} is next to {', '.join(map(repr, sorted(holding)))}, where only parts are allowed: "
        "`train`, `validation` and `test`. Move its images into one of them. If these are classes, rename them."
        for other in sorted(tops - parts.keys())
    ]
    for part in PARTS:
        same = sorted(top for top in holding if parts[top] == part)
        if len(same) > 1:
            faults.append(f"The folders {', '.join(map(repr, same))} are all the part `{part}`. Keep one of them.")
    if TRAIN not in parts.values():
        raise dataset_error(
            f"There are the parts {', '.join(map(repr, sorted(holding)))}, and no training part. Add a folder `train`."
        )
    return parts, faults


def _count_inner_folders(paths: Sequence[tuple[str, ...]], parts: dict[str, str]) -> dict[str, int]:
    """Return for each folder of a part the number of folders around its classes: `seg_train/seg_train/class` has 1."""
    return {
        top: _count_common_folders([path[1:] for path in paths if path[:1] == (top,)], stops_at_parts=False)
        for top in parts
    }


def _split_part(
    path: tuple[str, ...], parts: dict[str, str], inner_prefixes: dict[str, int]
) -> tuple[str, tuple[str, ...]]:
    """Split a path into the part and the path from the class folder on."""
    if not path or path[0] not in parts:  # a file beside the common folders has no path of its own
        return TRAIN, path
    return parts[path[0]], path[1 + inner_prefixes[path[0]] :]


def _find_class_faults(images: Sequence[ClassImage], folders: Iterable[str]) -> list[str]:
    """Return a sentence for each class without training images, and one if there are fewer than MIN_CLASSES classes."""
    classes = {image.label for image in images if image.part == TRAIN}
    faults = []
    for part in (VALIDATION, TEST):
        other = {image.label for image in images if image.part == part}
        faults += [
            f"The class {label!r} has images under `{part}` and none under `train`. Add training images or remove the "
            "class."
            for label in sorted(other - classes)
        ]
    faults += [
        f"The class {label!r} has no image. Add images to its folder or remove the folder."
        for label in sorted(set(folders) - {image.label for image in images})
    ]
    faults += find_class_name_faults(sorted(classes))
    if len(classes) < MIN_CLASSES and not faults:
        names = f"only the class folder {next(iter(classes))!r}" if classes else "no class folder with images"
        faults.append(
            f"The zip contains {names}; at least two are needed. Put each image into the folder of its class, "
            "for example `cat/1.png` and `dog/1.png`, or add a CSV with the names of the images and their labels."
        )
    return faults


def _count_common_folders(paths: Sequence[tuple[str, ...]], *, stops_at_parts: bool) -> int:
    """Return the number of folders around all classes, or around all parts with `stops_at_parts`.

    Such a folder contains a single folder, and directly below it are no images.
    """
    depth = 0
    while True:
        inner = [path for path in paths if len(path) > depth + 1]
        tops = {path[depth] for path in inner}
        deep_enough = all(len(path) > depth + 2 or not is_image_name(path[-1]) for path in inner)
        if len(tops) != 1 or not deep_enough or (stops_at_parts and find_part(next(iter(tops))) in PARTS):
            return depth
        depth += 1
