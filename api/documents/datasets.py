"""Define the documents about data sets."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from api.documents.base import Document
from shared.datasets.info import TargetKind


class ClassRows(Document):
    label: str
    train_rows: int
    test_rows: int


class RevisionDocument(Document):
    """`shape` is that of one row, its sides null where every image has a size of its own; `columns` are a table's."""

    name: str
    revision: int
    reference: str = Field(description="What a spec's `dataset.name` may be", examples=["flowers@2"])
    kind: Literal["images", "numbers"]
    targets: TargetKind
    shape: tuple[int | None, ...]
    train_rows: int
    test_rows: int
    classes: list[ClassRows] = Field(description="Or the whole numbers that occur; none for other numbers")
    columns: list[str]
    label: str | None = Field(description="The column of the labels")
    ignored: list[str] = Field(description="Members of the archive that are no data, 100 at the most")
    digest: str = Field(description="sha256 of all that a training could see")
    created_at: datetime


class DatasetDocument(Document):
    """Revisions never change; the newest comes first."""

    name: str
    revisions: list[RevisionDocument]


class DatasetList(Document):
    datasets: list[DatasetDocument]
    next: str | None
