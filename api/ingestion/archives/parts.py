"""Tell the part and the class of each image or text by the folders of a zip."""

import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from api.ingestion.archives.members import IMAGE_ENDINGS, Member, is_junk
from api.ingestion.result import dataset_error
from shared.datasets.info import DatasetInfo, TargetKind
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


@dataclass(frozen=True)
class FileKind:
    """The kind of the files that are rows.

    Attributes:
        noun: the word for one of them in messages.
        endings: the endings of their names, in lower case.
        example: two such files in class folders.
        remedy: what else a zip without class folders can have.
        may_be_loose: whether such a file outside of the class folders can be something else, such as a README.
    """

    noun: str
    endings: tuple[str, ...]
    example: str
    remedy: str
    may_be_loose: bool

    def matches(self, name: str) -> bool:
        """Return whether a name is that of such a file."""
        return name.lower().endswith(self.endings)


IMAGES = FileKind(
    "image",
    IMAGE_ENDINGS,
    "`cat/1.png` and `dog/1.png`",
    ", or add a CSV with the names of the images and their labels",
    may_be_loose=False,
)
TEXTS = FileKind("text", (".txt",), "`good/1.txt` and `bad/1.txt`", "", may_be_loose=True)


class ClassFile(NamedTuple):
    """A file that is a row of the data set.

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


class SortedFiles(NamedTuple):
    """The files in the order of their rows, the paths of the ignored files, and warnings for the sender."""

    files: list[ClassFile]
    ignored: tuple[str, ...]
    warnings: list[str]


def find_part(folder: str) -> str | None:
    """Return the part whose files a folder has by its name, such as `training_set`, `seg_train` or `val`.

    Returns UNLABELED for a folder such as `seg_pred`, whose files have no class; None for any other name.
    """
    words = [word for word in _SEPARATORS.split(folder.lower()) if word]
    cores = [word for word in words if not _NOISE.fullmatch(word)]
    if len(cores) != 1:
        return None
    return PART_NAMES.get(cores[0]) or PART_NAMES.get(_NOISE.sub("", cores[0]))


def sort_members(members: Sequence[Member], kind: FileKind = IMAGES) -> SortedFiles:
    """Tell part and class of each file of a kind by its folders.

    The files are sorted by part, class and name. Raises DatasetRefused if the folders do not determine part and class
    of every file.
    """
    files = [member for member in members if not member.is_folder]
    kept = [member for member in files if not is_junk(member.path)]
    ignored = ["/".join(member.path) for member in files if is_junk(member.path)]
    prefix = _count_common_folders([member.path for member in kept], kind, stops_at_parts=True)
    parts, faults = _find_parts([member.path[prefix:] for member in kept], kind)
    inner_prefixes = _count_inner_folders([member.path[prefix:] for member in kept], parts, kind)
    rows, warnings, unlabeled = [], [], 0
    for member in kept:
        part, inner = _split_part(member.path[prefix:], parts, inner_prefixes)
        name = "/".join(member.path)
        if part == UNLABELED:
            ignored.append(name)
            unlabeled += kind.matches(name)
        elif len(inner) > 1:
            rows.append(ClassFile(part, inner[0], name, "/".join(member.path[prefix:]), member.info))
        elif kind.matches(name) and not kind.may_be_loose:
            faults.append(f"{name!r} is in no class folder. Move it into the folder of its class.")
        else:
            ignored.append(name)
    if unlabeled:
        warnings.append(
            f"{unlabeled:,} {kind.noun}s lie in a folder whose {kind.noun}s have no class. They were left out."
        )
    folders = {
        inner[0]
        for member in members
        if not is_junk(member.path[:-1] or member.path) and member.path[prefix:]
        for part, inner in [_split_part(member.path[prefix:], parts, inner_prefixes)]
        if part != UNLABELED and (len(inner) > 1 or (inner and member.is_folder))
    }
    faults += _find_class_faults(rows, folders, kind)
    if faults:
        raise dataset_error(*faults)
    rows.sort(key=lambda row: (PARTS.index(row.part), row.label, row.name))
    return SortedFiles(rows, tuple(ignored), warnings)


def describe_files(
    rows: Sequence[ClassFile], kind: FileKind, shape: tuple[int, ...], classes: tuple[str, ...], y: NDArray[np.int64]
) -> DatasetInfo:
    """Describe the data set of the files. `shape` is that of a row, and `y` are their class indices."""
    train, validation = (sum(row.part == part for row in rows) for part in (TRAIN, VALIDATION))
    counts = [np.bincount(part, minlength=len(classes)).tolist() for part in np.split(y, [train, train + validation])]
    test = len(y) - train - validation
    return DatasetInfo(
        shape,
        images=kind is IMAGES,
        texts=kind is TEXTS,
        targets=TargetKind.CLASSES,
        train_rows=train,
        validation_rows=validation,
        test_rows=test,
        classes=classes,
        class_rows=tuple(zip(counts[0], counts[2], strict=True)),
        validation_class_rows=tuple(counts[1]) if validation else (),
        own_test=test > 0,
    )


def _find_parts(paths: Sequence[tuple[str, ...]], kind: FileKind) -> tuple[dict[str, str], list[str]]:
    """Return the part of each folder that has one, and faults. Without parts, the folders are classes.

    A folder such as `train` has a part if class folders lie in it. If files lie directly in it, it is a class beside
    others: a data set of vehicles has trains. Raises DatasetRefused if there is no training part.
    """
    tops = {path[0] for path in paths if len(path) > 1 and kind.matches(path[-1])}
    deep = {path[0] for path in paths if len(path) > 2 and kind.matches(path[-1])}  # noqa: PLR2004 - part, class, file
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
        f"`train`, `validation` and `test`. Move its {kind.noun}s into one of them. If these are classes, rename them."
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


def _count_inner_folders(paths: Sequence[tuple[str, ...]], parts: dict[str, str], kind: FileKind) -> dict[str, int]:
    """Return for each folder of a part the number of folders around its classes: `seg_train/seg_train/class` has 1."""
    return {
        top: _count_common_folders([path[1:] for path in paths if path[:1] == (top,)], kind, stops_at_parts=False)
        for top in parts
    }


def _split_part(
    path: tuple[str, ...], parts: dict[str, str], inner_prefixes: dict[str, int]
) -> tuple[str, tuple[str, ...]]:
    """Split a path into the part and the path from the class folder on."""
    if not path or path[0] not in parts:  # a file beside the common folders has no path of its own
        return TRAIN, path
    return parts[path[0]], path[1 + inner_prefixes[path[0]] :]


def _find_class_faults(rows: Sequence[ClassFile], folders: Iterable[str], kind: FileKind) -> list[str]:
    """Return a sentence for each class without training rows, and one if there are fewer than MIN_CLASSES classes."""
    noun = kind.noun
    classes = {row.label for row in rows if row.part == TRAIN}
    faults = []
    for part in (VALIDATION, TEST):
        other = {row.label for row in rows if row.part == part}
        faults += [
            f"The class {label!r} has {noun}s under `{part}` and none under `train`. Add training {noun}s or remove "
            "the class."
            for label in sorted(other - classes)
        ]
    faults += [
        f"The class {label!r} has no {noun}. Add {noun}s to its folder or remove the folder."
        for label in sorted(set(folders) - {row.label for row in rows})
    ]
    faults += find_class_name_faults(sorted(classes))
    if len(classes) < MIN_CLASSES and not faults:
        names = f"only the class folder {next(iter(classes))!r}" if classes else f"no class folder with {noun}s"
        faults.append(
            f"The zip contains {names}; at least two are needed. Put each {noun} into the folder of its class, "
            f"for example {kind.example}{kind.remedy}."
        )
    return faults


def _count_common_folders(paths: Sequence[tuple[str, ...]], kind: FileKind, *, stops_at_parts: bool) -> int:
    """Return the number of folders around all classes, or around all parts with `stops_at_parts`.

    Such a folder contains a single folder, and directly below it are no files of the kind, but for loose ones beside
    folders with files, such as a README.
    """
    depth = 0
    while True:
        inner = [path for path in paths if len(path) > depth + 1]
        tops = {path[depth] for path in inner}
        deep = [len(path) > depth + 2 for path in inner if kind.matches(path[-1])]
        deep_enough = all(deep) or (kind.may_be_loose and any(deep))
        if len(tops) != 1 or not deep_enough or (stops_at_parts and find_part(next(iter(tops))) in PARTS):
            return depth
        depth += 1
