"""The data a spec names: what it holds, how many rows each part gets, and the parts themselves."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from shared.built_in_data import BUILT_IN, Arrays
from shared.dataset_facts import DatasetFacts, TargetKind
from shared.errors import DatasetDoesNotFit, Fault, InvalidRequest
from shared.inline_data import read_inline
from shared.training_spec import DatasetChoice


class PartSizes(BaseModel):
    """Rows."""

    model_config = ConfigDict(frozen=True)

    train: int
    validation: int
    test: int


@dataclass(frozen=True)
class Part:
    """x: (n, *shape), uint8 for images, float32 otherwise; y: (n,) int64, or (n, k) float32, as the facts say."""

    x: NDArray[Any]
    y: NDArray[Any]

    def __len__(self) -> int:
        return len(self.x)

    def at(self, rows: NDArray[np.int64]) -> "Part":
        return Part(self.x[rows], self.y[rows])


@dataclass(frozen=True)
class Dataset:
    """`digest` is the sha256 of all that was read, before `limit` and the split."""

    facts: DatasetFacts
    train: Part
    validation: Part
    test: Part
    digest: str


def facts_of(choice: DatasetChoice) -> DatasetFacts:
    """Opens no file. Raises InvalidRequest for a name nobody knows, or inline data that cannot be read."""
    if choice.inline is not None:
        facts, _, _ = read_inline(choice.inline)
        return facts
    if choice.name not in BUILT_IN:
        detail = f"There is no data set {choice.name!r}; there are {', '.join(BUILT_IN)}."
        raise InvalidRequest("The data set is not known.", (Fault("#/dataset/name", detail),))
    return BUILT_IN[choice.name].facts


def part_sizes(choice: DatasetChoice, facts: DatasetFacts) -> PartSizes:
    """Raises InvalidRequest where no row would be left to train on, or nothing to stratify by."""
    rows = min(choice.limit or facts.train_rows, facts.train_rows)
    wanted = choice.validation
    validation = wanted.rows if wanted.rows is not None else round(rows * (wanted.split or 0))
    if validation >= rows:
        detail = f"{validation} of {rows} rows for validation leave none to train on: take fewer."
        raise InvalidRequest("The data cannot be split so.", (Fault("#/dataset/validation", detail),))
    if wanted.stratify and facts.targets not in (TargetKind.CLASSES, TargetKind.INTEGERS):
        fault = Fault("#/dataset/validation/stratify", "Only rows with one class each can be stratified.")
        raise InvalidRequest("The data cannot be split so.", (fault,))
    return PartSizes(train=rows - validation, validation=validation, test=facts.test_rows)


def load(choice: DatasetChoice, seed: int, folder: Path) -> Dataset:
    """The parts as arrays, drawn by the seed; `folder` is where the larger built-in sets lie, or are put once fetched.

    Raises DatasetUnavailable when it is neither there nor to be had, DatasetDoesNotFit when it cannot be split.
    """
    facts = facts_of(choice)
    arrays = _read(choice, folder)
    whole = Part(arrays["x_train"], arrays["y_train"])
    if choice.limit is not None:
        whole = whole.at(np.random.default_rng(seed).permutation(len(whole))[: choice.limit])
    train, validation = _split(whole, choice, part_sizes(choice, facts), seed)
    return Dataset(facts, train, validation, Part(arrays["x_test"], arrays["y_test"]), _digest(arrays))


def _read(choice: DatasetChoice, folder: Path) -> Arrays:
    if choice.inline is not None:
        _, x, y = read_inline(choice.inline)
        return {"x_train": x, "y_train": y, "x_test": x[:0], "y_test": y[:0]}
    name = str(choice.name)
    return BUILT_IN[name].read(name, BUILT_IN[name].facts, folder)


def _split(whole: Part, choice: DatasetChoice, sizes: PartSizes, seed: int) -> tuple[Part, Part]:
    rows = np.arange(len(whole))
    wanted = choice.validation
    if sizes.validation == 0:
        train, validation = rows, rows[:0]
    elif wanted.from_ == "start":
        validation, train = np.split(rows, [sizes.validation])
    elif wanted.rows is not None:
        train, validation = np.split(rows, [sizes.train])
    else:
        train, validation = _draw(rows, sizes.validation, seed, whole.y if wanted.stratify else None)
    return whole.at(train), whole.at(validation)


def _draw(
    rows: NDArray[np.int64], count: int, seed: int, classes: NDArray[Any] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    from sklearn.model_selection import train_test_split  # the API reads facts alone

    try:
        train, drawn = train_test_split(rows, test_size=count, random_state=seed, stratify=classes)
    except ValueError as error:  # a class with a single row, or more classes than rows to draw
        raise DatasetDoesNotFit(f"The rows cannot be stratified: {error}") from error
    return train, drawn


def _digest(arrays: Arrays) -> str:
    """sha256 over name, type, shape and content of every array."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
