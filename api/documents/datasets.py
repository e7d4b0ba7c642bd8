"""Define the documents about data sets."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from api.documents.base import Document
from shared.database.tables.base import Visibility
from shared.database.tables.datasets import DatasetName, Revision
from shared.datasets import revisions
from shared.datasets.builtin import BUILTIN_DATASETS
from shared.datasets.cells import DecimalMark
from shared.datasets.encodings import ColumnEncoding
from shared.datasets.info import DatasetInfo, TargetKind
from shared.registry.manifest import Part

MAX_CERTAIN_CLASSES = 20
MIN_CLASS_ROWS = 10
"""More integer labels with fewer rows each are probably quantities: they are not listed as classes."""


class ClassRows(Document):
    """The numbers of rows of a class in each part."""

    label: str
    train_rows: int
    validation_rows: int
    test_rows: int


class RevisionDocument(Document):
    """A revision of an uploaded data set, or a built-in one. It never changes.

    `shape` is the shape of one row. For images it is height, width and channels; height and width are null if the
    images have different sizes. It is empty for texts. `columns` are the names of the input columns of a CSV, empty for
    other files.
    """

    name: str
    revision: int | None = Field(description="The number of the revision; null for a built-in data set.")
    reference: str = Field(description="The value of `dataset.name` for this revision.", examples=["flowers@2"])
    kind: Literal["images", "numbers", "texts"]
    targets: TargetKind
    shape: tuple[int | None, ...]
    train_rows: int
    test_rows: int
    validation_rows: int = Field(
        description="The rows of the validation part that the file has, which a training uses by default."
    )
    classes: list[ClassRows] = Field(
        description="The classes. For integer labels, the integers that occur; empty for other numbers."
    )
    columns: list[str]
    label: str | None = Field(description="The name of the label column of a CSV; null for other files.")
    encodings: list[ColumnEncoding] = Field(
        description="The columns whose cells are not only numbers, and how they become numbers."
    )
    weighted: bool = Field(description="Whether each row has a weight in the loss.")
    decimal: DecimalMark = Field(description="The decimal mark of a CSV.")
    ignored: list[str] = Field(description="Members of the archive that are not data, at most 100.")
    warnings: list[str] = Field(description="What the sender may not have meant.")
    digest: str | None = Field(description="sha256 of the data that a training can use; null for a built-in data set.")
    created_at: datetime | None

    def list_columns(self) -> list[str]:
        """Return the names of the input columns, or `column 0`, `column 1`, … for a table without names."""
        if self.columns or self.kind != "numbers":
            return self.columns
        return [f"column {index}" for index in range(self.shape[0] or 0)]


class DatasetDocument(Document):
    """A data set. The newest revision comes first; a built-in data set has one."""

    name: str
    builtin: bool = Field(description="Whether the data set belongs to Trainyard. It cannot be deleted.")
    project: str | None = Field(description="Null for a built-in data set.")
    visibility: Visibility = Field(description="Who sees the data set: who uploaded it, its project, or every user.")
    revisions: list[RevisionDocument]


class DatasetList(Document):
    """A page of data sets. `next` is the cursor of the next page; null if no page follows."""

    datasets: list[DatasetDocument]
    next: str | None


def format_dataset(dataset: DatasetName, found: Sequence[Revision]) -> DatasetDocument:
    """Build the document of an uploaded data set with some of its revisions."""
    return DatasetDocument(
        name=dataset.name,
        builtin=False,
        project=dataset.project,
        visibility=Visibility(dataset.visibility),
        revisions=[format_revision(revision) for revision in found],
    )


def format_builtin(name: str) -> DatasetDocument:
    """Build the document of a built-in data set."""
    known: dict[str, Any] = {"columns": [], "label": None, "ignored": [], "warnings": []}
    document = _format_info(name, BUILTIN_DATASETS[name].info, known, reference=name)
    return DatasetDocument(name=name, builtin=True, project=None, visibility=Visibility.EVERYONE, revisions=[document])


def format_revision(revision: Revision) -> RevisionDocument:
    """Build the document of a revision."""
    return _format_info(
        revision.dataset,
        revisions.to_dataset_info(revision),
        revision.description,
        reference=f"{revision.dataset}@{revision.number}",
        revision=revision.number,
        digest=revision.digest,
        created_at=revision.created_at,
    )


def _format_info(
    name: str,
    info: DatasetInfo,
    description: dict[str, Any],
    *,
    reference: str,
    revision: int | None = None,
    digest: str | None = None,
    created_at: datetime | None = None,
) -> RevisionDocument:
    """Format a revision, or a built-in data set. `description` is that of the row in the database."""
    many = len(info.classes) > MAX_CERTAIN_CLASSES and info.rows < MIN_CLASS_ROWS * len(info.classes)
    is_regression = info.targets is TargetKind.INTEGERS and many
    validation = info.validation_class_rows or (0,) * len(info.classes)
    rows = zip(info.classes, info.class_rows, validation, strict=True)
    return RevisionDocument(
        name=name,
        revision=revision,
        reference=reference,
        kind=info.kind,
        targets=info.targets,
        shape=info.shape if 0 not in info.shape else (None, None, info.shape[-1]),
        train_rows=info.train_rows,
        test_rows=info.test_rows,
        validation_rows=info.validation_rows,
        classes=[
            ClassRows(label=label, train_rows=train, validation_rows=held_out, test_rows=test)
            for label, (train, test), held_out in rows
            if not is_regression
        ],
        columns=description["columns"],
        label=description["label"],
        encodings=[encoding for encoding in info.encodings if not encoding.is_plain],
        weighted=info.weighted,
        decimal=info.decimal,
        ignored=description["ignored"],
        warnings=description.get("warnings", []),
        digest=digest,
        created_at=created_at,
    )


class DatasetRow(Document):
    """A row of a data set. `index` is its position, from 0."""

    index: int
    part: Part
    label: str = Field(description="The label as text; several labels are separated by commas.")
    image: str | None = Field(description="The path of its picture; null for a row of a table and for a text.")
    values: list[float | str] | None = Field(description="The cells of a row of a table; null for others.")
    text: str | None = Field(description="The text, of a long one the beginning in lists; null for others.")


class DatasetRowDetail(DatasetRow):
    """A row of a data set, with its pixels or its whole text."""

    shape: list[int]
    pixels: list[list[list[int]]] | None = Field(
        description="Numbers from 0 to 255: height × width × channels. Null for a row of a table, and for more than "
        "100,000 numbers."
    )


class DatasetRowList(Document):
    """A page of rows, of `total` that match. `next` is the cursor of the next page; null if no page follows."""

    rows: list[DatasetRow]
    total: int
    next: str | None
