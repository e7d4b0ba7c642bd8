"""The data a spec names: what it holds, how many rows each part gets, and the parts themselves."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from shared.datasets.builtin import BUILTIN_DATASETS, Arrays
from shared.datasets.info import DatasetInfo, TargetKind
from shared.datasets.inline import read_inline
from shared.datasets.row_files import MappedRows
from shared.datasets.uploaded import Rows, UploadedDataset
from shared.errors import DatasetDoesNotFit, Fault, InvalidRequest
from shared.spec.dataset import DatasetSpec


class PartSizes(BaseModel):
    """Rows."""

    model_config = ConfigDict(frozen=True)

    train: int
    validation: int
    test: int


@dataclass(frozen=True)
class Part:
    """x: (n, *shape), uint8 for images, float32 otherwise; y: (n,) int64, or (n, k) float32, as the facts say.

    What users brought may stay in its file until it is needed.
    """

    x: Rows
    y: NDArray[Any]

    def __len__(self) -> int:
        return len(self.x)

    @property
    def array(self) -> NDArray[Any]:
        """x in memory; for a few rows, or for data that is never left in a file."""
        if isinstance(self.x, MappedRows):
            return self.x.read(np.arange(len(self.x)))
        assert isinstance(self.x, np.ndarray), "encoded images have no array before they are prepared"  # noqa: S101
        return self.x

    def select(self, rows: NDArray[np.int64]) -> "Part":
        return Part(self.x[rows] if isinstance(self.x, np.ndarray) else self.x.select(rows), self.y[rows])


@dataclass(frozen=True)
class Dataset:
    """`digest` is the sha256 of all that was read, before `limit` and the split."""

    info: DatasetInfo
    train: Part
    validation: Part
    test: Part
    digest: str


def describe_dataset(choice: DatasetSpec, uploaded: DatasetInfo | None = None) -> DatasetInfo:
    """Opens no file. Raises InvalidRequest for a name or a class that nobody knows, or inline data that cannot be read.

    `uploaded` are those of the set that users brought, if the choice names one. Of the classes chosen and the parts as
    `test` makes them, but before `limit` and the validation rows are taken.
    """
    info, y = _describe_source(choice, uploaded)
    if choice.classes is not None:
        info = _describe_classes(info, choice.classes, y)
    if choice.test is None:
        return info
    if info.own_test:
        detail = f"{choice.name} comes with a test part of {info.test_rows:,} rows, which is used: leave this out."
        raise InvalidRequest("The data cannot be split so.", (Fault("#/dataset/test", detail),))
    rows = info.train_rows + info.test_rows
    test = max(1, round(rows * choice.test.split))
    if test >= rows:
        detail = f"{test} of {rows} rows for the test leave none to train on: take fewer."
        raise InvalidRequest("The data cannot be split so.", (Fault("#/dataset/test/split", detail),))
    if choice.test.stratify:
        _check_stratifiable(info, "#/dataset/test/stratify")
    return replace(info, train_rows=rows - test, test_rows=test)


def compute_part_sizes(choice: DatasetSpec, info: DatasetInfo) -> PartSizes:
    """Raises InvalidRequest where no row would be left to train on, or nothing to stratify by."""
    rows = min(choice.limit or info.train_rows, info.train_rows)
    wanted = choice.validation
    validation = wanted.rows if wanted.rows is not None else round(rows * (wanted.split or 0))
    if validation >= rows:
        detail = f"{validation} of {rows} rows for validation leave none to train on: take fewer."
        raise InvalidRequest("The data cannot be split so.", (Fault("#/dataset/validation", detail),))
    if wanted.stratify:
        _check_stratifiable(info, "#/dataset/validation/stratify")
    return PartSizes(train=rows - validation, validation=validation, test=info.test_rows)


def load_dataset(choice: DatasetSpec, seed: int, folder: Path, uploaded: UploadedDataset | None = None) -> Dataset:
    """The parts, drawn by the seed; `folder` is where the larger built-in sets lie, or are put once fetched.

    Raises DatasetUnavailable when it is neither there nor to be had, DatasetDoesNotFit when it cannot be split.
    """
    source = uploaded.info if uploaded is not None else None
    info = describe_dataset(choice, source)
    whole, test, digest = _read_source(choice, folder, uploaded)
    if choice.classes is not None:
        selection = _find_class_labels(_describe_source(choice, source)[0], choice.classes)
        whole, test = _select_classes(whole, selection), _select_classes(test, selection)
    if choice.test is not None:
        classes = whole.y if choice.test.stratify else None
        train_rows, test_rows = _draw_split(np.arange(len(whole)), info.test_rows, seed, classes)
        whole, test = whole.select(train_rows), whole.select(test_rows)
    if choice.limit is not None:
        whole = whole.select(np.random.default_rng(seed).permutation(len(whole))[: choice.limit])
    train, validation = _split(whole, choice, compute_part_sizes(choice, info), seed)
    return Dataset(info, train, validation, test, digest)


def _read_source(choice: DatasetSpec, folder: Path, uploaded: UploadedDataset | None) -> tuple[Part, Part, str]:
    """The training and the test part, or all rows and none where `test` is to draw them; and the digest."""
    if uploaded is not None:
        whole = Part(*uploaded.read())
        train_rows, test_rows = np.split(np.arange(len(whole)), [uploaded.info.train_rows])
        return whole.select(train_rows), whole.select(test_rows), uploaded.digest
    arrays = _read_arrays(choice, folder)
    if choice.test is not None:
        whole = _join_parts(arrays)
        return whole, whole.select(np.arange(0)), _compute_digest(arrays)
    train, test = Part(arrays["x_train"], arrays["y_train"]), Part(arrays["x_test"], arrays["y_test"])
    return train, test, _compute_digest(arrays)


def _join_parts(arrays: Arrays) -> Part:
    """All rows in the order of their source: what the seed draws from it, anyone can draw with scikit-learn."""
    whole = Part(
        np.concatenate([arrays["x_train"], arrays["x_test"]]), np.concatenate([arrays["y_train"], arrays["y_test"]])
    )
    return whole.select(np.argsort(arrays["place"])) if "place" in arrays else whole


def _describe_source(choice: DatasetSpec, uploaded: DatasetInfo | None) -> tuple[DatasetInfo, NDArray[Any] | None]:
    """What the source holds, before anything is chosen from it; y where it is at hand."""
    if uploaded is not None:
        return uploaded, None
    if choice.inline is not None:
        info, _, y = read_inline(choice.inline)
        return info, y
    if choice.name not in BUILTIN_DATASETS:
        detail = (
            f"There is no data set {choice.name!r}; built in are {', '.join(BUILTIN_DATASETS)}, others can be uploaded."
        )
        raise InvalidRequest("The data set is not known.", (Fault("#/dataset/name", detail),))
    return BUILTIN_DATASETS[choice.name].info, None


def _describe_classes(info: DatasetInfo, classes: Sequence[int | str], y: NDArray[Any] | None) -> DatasetInfo:
    selection = _find_class_labels(info, classes)
    if y is not None:
        class_rows = tuple((int((y == label).sum()), 0) for label in selection)
    else:
        rows = dict(zip(info.classes, info.class_rows, strict=True))
        class_rows = tuple(rows.get(str(name), (0, 0)) for name in classes)
    for index, (train, _) in enumerate(class_rows):
        if train == 0:
            raise _build_class_error(index, f"No row is of class {classes[index]!r}.")
    return replace(
        info,
        targets=TargetKind.CLASSES,
        classes=tuple(str(name) for name in classes),
        class_rows=class_rows,
        train_rows=sum(train for train, _ in class_rows),
        test_rows=sum(test for _, test in class_rows),
    )


def _find_class_labels(info: DatasetInfo, classes: Sequence[int | str]) -> list[int]:
    """The labels in the data of the classes named, in their order."""
    if info.targets is TargetKind.CLASSES:
        for index, name in enumerate(classes):
            if str(name) not in info.classes:
                raise _build_class_error(index, f"There is no class {name!r}; there are {', '.join(info.classes)}.")
        return [info.classes.index(str(name)) for name in classes]
    if info.targets is TargetKind.INTEGERS:
        for index, name in enumerate(classes):
            if not isinstance(name, int):
                raise _build_class_error(index, f"The labels are whole numbers, and {name!r} is none.")
        return [int(name) for name in classes]
    raise InvalidRequest("The classes cannot be chosen.", (Fault("#/dataset/classes", "The rows have no classes."),))


def _build_class_error(index: int, detail: str) -> InvalidRequest:
    return InvalidRequest("The classes cannot be chosen.", (Fault(f"#/dataset/classes/{index}", detail),))


def _select_classes(part: Part, selection: Sequence[int]) -> Part:
    """The rows with these labels, numbered anew in this order."""
    chosen = part.select(np.flatnonzero(np.isin(part.y, selection)))
    order = np.argsort(selection)
    return Part(chosen.x, order[np.searchsorted(selection, chosen.y, sorter=order)].astype(np.int64))


def _check_stratifiable(info: DatasetInfo, pointer: str) -> None:
    if info.targets not in (TargetKind.CLASSES, TargetKind.INTEGERS):
        fault = Fault(pointer, "Only rows with one class each can be stratified.")
        raise InvalidRequest("The data cannot be split so.", (fault,))


def _read_arrays(choice: DatasetSpec, folder: Path) -> Arrays:
    if choice.inline is not None:
        _, x, y = read_inline(choice.inline)
        return {"x_train": x, "y_train": y, "x_test": x[:0], "y_test": y[:0]}
    name = str(choice.name)
    return BUILTIN_DATASETS[name].read(name, BUILTIN_DATASETS[name].info, folder)


def _split(whole: Part, choice: DatasetSpec, sizes: PartSizes, seed: int) -> tuple[Part, Part]:
    rows = np.arange(len(whole))
    wanted = choice.validation
    if sizes.validation == 0:
        train, validation = rows, rows[:0]
    elif wanted.from_ == "start":
        validation, train = np.split(rows, [sizes.validation])
    elif wanted.rows is not None:
        train, validation = np.split(rows, [sizes.train])
    else:
        train, validation = _draw_split(rows, sizes.validation, seed, whole.y if wanted.stratify else None)
    return whole.select(train), whole.select(validation)


def _draw_split(
    rows: NDArray[np.int64], count: int, seed: int, classes: NDArray[Any] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    from sklearn.model_selection import train_test_split  # the API reads facts alone

    try:
        train, drawn = train_test_split(rows, test_size=count, random_state=seed, stratify=classes)
    except ValueError as error:  # a class with a single row, or more classes than rows to draw
        raise DatasetDoesNotFit(f"The rows cannot be stratified: {error}") from error
    return train, drawn


def _compute_digest(arrays: Arrays) -> str:
    """sha256 over name, type, shape and content of every array."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
