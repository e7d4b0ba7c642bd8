"""Load the data set of a spec and split it into training, validation and test rows."""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from shared.datasets.builtin import BUILTIN_DATASETS, Arrays, select_rows
from shared.datasets.columns import find_positions
from shared.datasets.info import DatasetInfo, TargetKind
from shared.datasets.inline import read_inline, read_inline_weights
from shared.datasets.row_files import MappedRows, TextRows
from shared.datasets.uploaded import Rows, UploadedDataset
from shared.datasets.validation import check_validation_inputs, convert_labels
from shared.errors import DatasetDoesNotFit, Fault, InvalidRequest
from shared.spec.dataset import DatasetSpec, ValidationDataset, ValidationFolds, ValidationSplit

DEFAULT_VALIDATION = ValidationSplit(split=0.1)


class PartSizes(BaseModel):
    """Number of rows in each part of a data set."""

    model_config = ConfigDict(frozen=True)

    train: int
    validation: int
    test: int


@dataclass(frozen=True)
class Part:
    """Rows of a data set.

    Attributes:
        x: (n, *shape), uint8 for images, float32 for numbers; or texts. The rows of an upload can stay in their file
            until they are needed.
        y: labels, (n,) int64 or (n, k) float32. `DatasetInfo.targets` tells which.
        weights: the weight of each row in the loss, (n,) float32; None if all weigh the same.
    """

    x: Rows
    y: NDArray[Any]
    weights: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def array(self) -> NDArray[Any]:
        """Return x as an array in memory. Use it only if the rows are few or are in memory already."""
        if isinstance(self.x, MappedRows):
            return self.x.read(np.arange(len(self.x)))
        assert isinstance(self.x, np.ndarray), "encoded images and texts must be converted first"  # noqa: S101
        return self.x

    def select(self, rows: NDArray[np.int64]) -> "Part":
        return Part(select_rows(self.x, rows), self.y[rows], None if self.weights is None else self.weights[rows])


@dataclass(frozen=True)
class Dataset:
    """A data set that is split into its parts.

    Attributes:
        info: its row numbers are those after `classes` and `test`, before `limit` and `validation`.
        digest: sha256 of the whole source, before `classes`, `limit` and the split.
        validation_digest: that of the source of the validation rows, which can be another one.
    """

    info: DatasetInfo
    train: Part
    validation: Part
    test: Part
    digest: str
    validation_digest: str


def describe_dataset(spec: DatasetSpec, uploaded: DatasetInfo | None = None) -> DatasetInfo:
    """Describe the data that a spec selects, without opening a file.

    The numbers of rows are those after `classes` and `test`, and before `limit` and `validation`.

    Args:
        spec: the `dataset` part of a spec.
        uploaded: the `DatasetInfo` of the revision, if the spec selects an upload; else None.

    Raises:
        InvalidRequest: the name or a class is unknown, the inline data is invalid, or `test` does not fit the data.
    """
    info, y = _describe_source(spec, uploaded)
    if spec.classes is not None:
        info = _describe_classes(info, spec.classes, y)
    if spec.test is None:
        return info
    if info.own_test:
        detail = f"{spec.name} has its own test part of {info.test_rows:,} rows. Remove `test`."
        raise InvalidRequest("The data cannot be split as requested.", (Fault("#/dataset/test", detail),))
    rows = info.train_rows + info.test_rows
    test = max(1, round(rows * spec.test.split))
    if test >= rows:
        detail = f"With {test} of {rows} rows for the test, no row is left for training. Lower `split`."
        raise InvalidRequest("The data cannot be split as requested.", (Fault("#/dataset/test/split", detail),))
    if spec.test.stratify:
        _check_stratifiable(info, "#/dataset/test/stratify")
    return replace(info, train_rows=rows - test, test_rows=test)


def compute_part_sizes(spec: DatasetSpec, info: DatasetInfo, other: DatasetInfo | None = None) -> PartSizes:
    """Compute the number of rows in each part, after `limit` and `validation`.

    `other` describes the data set that `validation` names; None if it names none, or an unknown one.
    Raises InvalidRequest if no row is left for training, if the labels do not allow stratification, or if the data set
    that `validation` names does not fit.
    """
    rows = min(spec.limit or info.train_rows, info.train_rows)
    validation_spec = choose_validation(spec, info)
    if isinstance(validation_spec, ValidationDataset):
        if other is None:
            detail = f"There is no uploaded data set {validation_spec.dataset!r}."
            raise InvalidRequest("The data set is unknown.", (Fault("#/dataset/validation/dataset", detail),))
        check_validation_inputs(info, other, validation_spec.dataset)
        return PartSizes(train=rows, validation=other.rows, test=info.test_rows)
    if isinstance(validation_spec, ValidationFolds):
        return _compute_fold_sizes(validation_spec, rows, info)
    if not isinstance(validation_spec, ValidationSplit):
        held_out = info.validation_rows if validation_spec == "part" else info.test_rows
        if not held_out:
            detail = f"The data has no {'validation' if validation_spec == 'part' else 'test'} part. Give `split`."
            raise InvalidRequest("The data cannot be split as requested.", (Fault("#/dataset/validation", detail),))
        return PartSizes(train=rows, validation=held_out, test=info.test_rows)
    validation = (
        validation_spec.rows if validation_spec.rows is not None else round(rows * (validation_spec.split or 0))
    )
    if validation >= rows:
        detail = (
            f"With {validation} of {rows} rows for validation, no row is left for training. Lower `split` or `rows`."
        )
        raise InvalidRequest("The data cannot be split as requested.", (Fault("#/dataset/validation", detail),))
    if validation_spec.stratify:
        _check_stratifiable(info, "#/dataset/validation/stratify")
    return PartSizes(train=rows - validation, validation=validation, test=info.test_rows)


def _compute_fold_sizes(folds: ValidationFolds, rows: int, info: DatasetInfo) -> PartSizes:
    if rows < folds.folds:
        detail = f"The training part has {rows} rows, which is too few for {folds.folds} folds. Lower `folds`."
        raise InvalidRequest("The data cannot be split as requested.", (Fault("#/dataset/validation/folds", detail),))
    if folds.stratify:
        _check_stratifiable(info, "#/dataset/validation/stratify")
        available = [train if info.own_test else train + test for train, test in info.class_rows]
        rarest = min((number for number in available if number), default=folds.folds)
        if rarest < folds.folds:
            detail = (
                f"The rarest class has {rarest} rows, and each of {folds.folds} folds needs one of them. "
                "Lower `folds`, or remove `stratify`."
            )
            raise InvalidRequest(
                "The data cannot be split as requested.", (Fault("#/dataset/validation/folds", detail),)
            )
    validation = len(range((folds.fold or 1) - 1, rows, folds.folds))
    return PartSizes(train=rows - validation, validation=validation, test=info.test_rows)


def choose_validation(
    spec: DatasetSpec, info: DatasetInfo | None
) -> ValidationSplit | ValidationFolds | ValidationDataset | str:
    """Return the validation of the spec, or the default one if it gives none: `part`, or a split of the training rows.

    `info` describes an upload; None for other data, which never has a validation part.
    """
    if spec.validation is not None:
        return spec.validation
    return "part" if info is not None and info.validation_rows else DEFAULT_VALIDATION


def load_dataset(
    spec: DatasetSpec,
    seed: int,
    folder: Path,
    uploaded: UploadedDataset | None = None,
    other: UploadedDataset | None = None,
) -> Dataset:
    """Load the data that a spec selects, and split it with the random seed.

    Args:
        spec: the `dataset` part of a spec.
        seed: random seed. It determines the rows that `test`, `limit` and `validation` draw.
        folder: folder of the `.npz` files of built-in data sets. Downloads are written there.
        uploaded: the revision, if the spec selects an upload; else None.
        other: the revision that `validation` names; None if it names none.

    Raises:
        InvalidRequest: as in `describe_dataset` and `compute_part_sizes`.
        DatasetUnavailable: the data can neither be read nor downloaded.
        DatasetDoesNotFit: a class has too few rows to stratify, or no training row has a weight.
    """
    source = uploaded.info if uploaded is not None else None
    info = describe_dataset(spec, source)
    all_rows, own_validation, test, digest = _read_source(spec, folder, uploaded)
    if spec.classes is not None:
        class_labels = _find_class_labels(_describe_source(spec, source)[0], spec.classes)
        all_rows, own_validation, test = (
            _select_classes(part, class_labels) for part in (all_rows, own_validation, test)
        )
    if spec.test is not None:
        classes = all_rows.y if spec.test.stratify else None
        train_rows, test_rows = _draw_split(np.arange(len(all_rows)), info.test_rows, seed, classes)
        all_rows, test = all_rows.select(train_rows), all_rows.select(test_rows)
    if spec.limit is not None:
        all_rows = all_rows.select(np.random.default_rng(seed).permutation(len(all_rows))[: spec.limit])
    sizes = compute_part_sizes(spec, info, other.info if other is not None else None)
    chosen = choose_validation(spec, info)
    validation_digest = digest
    if other is not None:
        x, y = other.read()
        train, validation = all_rows, Part(x, convert_labels(y, info, other.info))
        validation_digest = other.digest
    elif isinstance(chosen, ValidationSplit):
        train, validation = _split(all_rows, chosen, sizes, seed)
    elif isinstance(chosen, ValidationFolds):
        train, validation = _leave_fold_out(all_rows, chosen, seed)
    else:
        train, validation = all_rows, own_validation if chosen == "part" else test
    if train.weights is not None and not train.weights.any():
        raise DatasetDoesNotFit(
            "The weights of all training rows are 0, after the split, so that nothing is learned. Change the split, or "
            "the weights."
        )
    return Dataset(info, train, validation, test, digest, validation_digest)


def _read_source(spec: DatasetSpec, folder: Path, uploaded: UploadedDataset | None) -> tuple[Part, Part, Part, str]:
    """Return the training part, the validation part that the data has, the test part and the digest.

    With `test`, all rows but those of the validation part are in the first.
    """
    if uploaded is not None:
        all_rows, info = Part(*uploaded.read(), uploaded.read_weights()), uploaded.info
        places = np.split(np.arange(len(all_rows)), [info.train_rows, info.train_rows + info.validation_rows])
        train, validation, test = map(all_rows.select, places)
        return train, validation, test, uploaded.digest
    arrays = _read_arrays(spec, folder)
    if spec.test is not None:
        all_rows = _join_parts(arrays) if spec.inline is None else _make_part(arrays, "train")
        nothing = all_rows.select(np.arange(0))
        return all_rows, nothing, nothing, _compute_digest(arrays)
    train, test = _make_part(arrays, "train"), _make_part(arrays, "test")
    return train, test.select(np.arange(0)), test, _compute_digest(arrays)


def _make_part(arrays: Arrays, name: str) -> Part:
    return Part(arrays[f"x_{name}"], arrays[f"y_{name}"], arrays.get(f"weights_{name}"))


def _join_parts(arrays: Arrays) -> Part:
    """Join all rows in the order of their source, so that users can repeat the split with scikit-learn and the seed."""
    x_train, x_test = arrays["x_train"], arrays["x_test"]
    if isinstance(x_train, TextRows):
        x: Rows = TextRows.from_texts([*x_train, *x_test])
    else:
        x = np.concatenate([x_train, x_test])
    all_rows = Part(x, np.concatenate([arrays["y_train"], arrays["y_test"]]))
    return all_rows.select(np.argsort(arrays["place"])) if "place" in arrays else all_rows


def _describe_source(spec: DatasetSpec, uploaded: DatasetInfo | None) -> tuple[DatasetInfo, NDArray[Any] | None]:
    """Describe the source before `classes` and `test`. Also return y for inline data; None for other data."""
    if uploaded is not None:
        return uploaded, None
    if spec.inline is not None:
        info, _, y = read_inline(spec.inline)
        return info, y
    if spec.name not in BUILTIN_DATASETS:
        detail = (
            f"There is no data set {spec.name!r}. Upload it, or use one of the built-in data sets: "
            f"{', '.join(BUILTIN_DATASETS)}."
        )
        raise InvalidRequest("The data set is unknown.", (Fault("#/dataset/name", detail),))
    return BUILTIN_DATASETS[spec.name].info, None


def _describe_classes(info: DatasetInfo, classes: Sequence[int | str], y: NDArray[Any] | None) -> DatasetInfo:
    class_labels = _find_class_labels(info, classes)
    if y is not None:
        class_rows = tuple((int((y == label).sum()), 0) for label in class_labels)
    else:
        rows = dict(zip(info.classes, info.class_rows, strict=True))
        class_rows = tuple(rows.get(str(name), (0, 0)) for name in classes)
    held_out = dict(zip(info.classes, info.validation_class_rows, strict=False))
    validation_class_rows = tuple(held_out.get(str(name), 0) for name in classes) if held_out else ()
    for index, (train, _) in enumerate(class_rows):
        if train == 0:
            raise _build_class_error(index, f"No training row has the class {classes[index]!r}.")
    return replace(
        info,
        targets=TargetKind.CLASSES,
        classes=tuple(str(name) for name in classes),
        class_rows=class_rows,
        train_rows=sum(train for train, _ in class_rows),
        test_rows=sum(test for _, test in class_rows),
        validation_rows=sum(validation_class_rows),
        validation_class_rows=validation_class_rows,
    )


def _find_class_labels(info: DatasetInfo, classes: Sequence[int | str]) -> list[int]:
    """Return the label that each of these classes has in the data. Raises InvalidRequest for an unknown class."""
    if info.targets is TargetKind.CLASSES:
        labels = find_positions(info.classes)
        for index, name in enumerate(classes):
            if str(name) not in labels:
                raise _build_class_error(index, f"There is no class {name!r}. Classes: {', '.join(info.classes)}.")
        return [labels[str(name)] for name in classes]
    if info.targets is TargetKind.INTEGERS:
        for index, name in enumerate(classes):
            if not isinstance(name, int):
                raise _build_class_error(index, f"The labels are integers, and {name!r} is not an integer.")
        return [int(name) for name in classes]
    raise InvalidRequest("The classes cannot be selected.", (Fault("#/dataset/classes", "The rows have no classes."),))


def _build_class_error(index: int, detail: str) -> InvalidRequest:
    return InvalidRequest("The classes cannot be selected.", (Fault(f"#/dataset/classes/{index}", detail),))


def _select_classes(part: Part, class_labels: Sequence[int]) -> Part:
    """Return the rows with these labels. The new label of a row is the index of its old label in `class_labels`."""
    chosen = part.select(np.flatnonzero(np.isin(part.y, class_labels)))
    order = np.argsort(class_labels)
    indices = order[np.searchsorted(class_labels, chosen.y, sorter=order)].astype(np.int64)
    return Part(chosen.x, indices, chosen.weights)


def _check_stratifiable(info: DatasetInfo, pointer: str) -> None:
    if info.targets not in (TargetKind.CLASSES, TargetKind.INTEGERS):
        fault = Fault(pointer, "Only rows with one class each can be stratified.")
        raise InvalidRequest("The data cannot be split as requested.", (fault,))


def _read_arrays(spec: DatasetSpec, folder: Path) -> Arrays:
    if spec.inline is not None:
        _, x, y = read_inline(spec.inline)
        weights = read_inline_weights(spec.inline)
        arrays = {"x_train": x, "y_train": y, "x_test": select_rows(x, np.arange(0)), "y_test": y[:0]}
        return arrays if weights is None else {**arrays, "weights_train": weights}
    name = str(spec.name)
    return BUILTIN_DATASETS[name].read(name, BUILTIN_DATASETS[name].info, folder)


def _split(all_rows: Part, validation_spec: ValidationSplit, sizes: PartSizes, seed: int) -> tuple[Part, Part]:
    rows = np.arange(len(all_rows))
    if sizes.validation == 0:
        train, validation = rows, rows[:0]
    elif validation_spec.from_ == "start":
        validation, train = np.split(rows, [sizes.validation])
    elif validation_spec.rows is not None:
        train, validation = np.split(rows, [sizes.train])
    else:
        train, validation = _draw_split(rows, sizes.validation, seed, all_rows.y if validation_spec.stratify else None)
    return all_rows.select(train), all_rows.select(validation)


def _leave_fold_out(all_rows: Part, folds: ValidationFolds, seed: int) -> tuple[Part, Part]:
    """Return the rows outside of a fold and those of the fold, as scikit-learn's KFold or StratifiedKFold draws it."""
    from sklearn.model_selection import KFold, StratifiedKFold  # heavy, as below

    splitter = (StratifiedKFold if folds.stratify else KFold)(folds.folds, shuffle=True, random_state=seed)
    try:
        with warnings.catch_warnings(action="error", category=UserWarning):
            drawn = list(splitter.split(np.zeros(len(all_rows)), all_rows.y))
    except (ValueError, UserWarning) as error:  # a class has fewer rows than there are folds
        raise DatasetDoesNotFit(
            f"The rows cannot be stratified ({error}). Lower `folds`, or remove `stratify`."
        ) from error
    train, validation = drawn[(folds.fold or 1) - 1]
    return all_rows.select(train), all_rows.select(validation)


def _draw_split(
    rows: NDArray[np.int64], count: int, seed: int, classes: NDArray[Any] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    from sklearn.model_selection import train_test_split  # heavy, and the API never splits data

    try:
        train, held_out = train_test_split(rows, test_size=count, random_state=seed, stratify=classes)
    except ValueError as error:  # a class has a single row, or there are more classes than rows to draw
        raise DatasetDoesNotFit(
            f"The rows cannot be stratified ({error}). Change `split`, or remove `stratify`."
        ) from error
    return train, held_out


def _compute_digest(arrays: Arrays) -> str:
    """Compute the sha256 of the names, types, shapes and contents of all arrays."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        for content in _list_contents(array):
            digest.update(f"{name} {content.dtype.str} {content.shape}\n".encode())
            digest.update(np.ascontiguousarray(content).data)
    return digest.hexdigest()


def _list_contents(rows: Rows) -> list[NDArray[Any]]:
    """Return the arrays that a digest covers: the rows themselves, or the lengths and the bytes of texts."""
    if not isinstance(rows, TextRows):
        assert isinstance(rows, np.ndarray)  # noqa: S101 - inline and built-in data are in memory
        return [rows]
    encoded = [text.encode() for text in rows]
    return [np.asarray([len(text) for text in encoded]), np.frombuffer(b"".join(encoded), np.uint8)]
