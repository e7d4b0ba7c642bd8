"""Define the documents about data sets."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from api.documents.base import Document
from shared.datasets.cells import DecimalMark
from shared.datasets.encodings import ColumnEncoding
from shared.datasets.info import TargetKind


class ClassRows(Document):
    """The numbers of rows of a class in each part."""

    label: str
    train_rows: int
    validation_rows: int
    test_rows: int


class RevisionDocument(Document):
    """A revision of an uploaded data set, or a built-in one. It never changes.

    `shape` is the shape of one row. For images it is height, width and channels; height and width are null if the
    images have different sizes. `columns` are the names of the input columns of a CSV, empty for other files.
    """

    name: str
    revision: int | None = Field(description="The number of the revision; null for a built-in data set.")
    reference: str = Field(description="The value of `dataset.name` for this revision.", examples=["flowers@2"])
    kind: Literal["images", "numbers"]
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


class DatasetDocument(Document):
    """A data set. The newest revision comes first; a built-in data set has one."""

    name: str
    builtin: bool = Field(description="Whether the data set belongs to Trainyard. It cannot be deleted.")
    revisions: list[RevisionDocument]


class DatasetList(Document):
    """A page of data sets. `next` is the cursor of the next page; null if no page follows."""

    datasets: list[DatasetDocument]
    next: str | None
