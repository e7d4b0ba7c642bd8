"""Define the tables of uploaded data sets and their revisions."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shared.database.tables.base import Base, Document, Visibility, now


class DatasetName(Base):
    """The name of an uploaded data set.

    Attributes:
        last_number: number of the newest revision. It never decreases.
        created_by: the user who used the name first; None if nobody signed in then.
        project: the project whose members see it, as far as `visibility` says so.
    """

    __tablename__ = "datasets"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    last_number: Mapped[int] = mapped_column(default=0)
    created_by: Mapped[str | None] = mapped_column(String(255))
    project: Mapped[str] = mapped_column(String(100), default="default", server_default="default")
    visibility: Mapped[str] = mapped_column(
        String(20), default=Visibility.PROJECT, server_default=Visibility.PROJECT.value
    )


class Revision(Base):
    """A revision of an uploaded data set. It never changes. Two uploads of the same content share one revision.

    Attributes:
        digest: sha256 of the data that a training can use, as hexadecimal digits.
        info: the fields of `DatasetInfo`.
        description: further fields that the API shows, such as the columns of a table.
    """

    __tablename__ = "dataset_revisions"
    __table_args__ = (UniqueConstraint("dataset", "number"), UniqueConstraint("dataset", "digest"))

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset: Mapped[str] = mapped_column(ForeignKey("datasets.name"))
    number: Mapped[int]
    digest: Mapped[str] = mapped_column(String(64))
    info: Mapped[Document]
    description: Mapped[Document]
    created_at: Mapped[datetime] = mapped_column(default=now())
    files: Mapped[list["RevisionFile"]] = relationship(lazy="selectin", order_by="RevisionFile.name")


class RevisionFile(Base):
    """A file of a revision. The artifact store contains it under its sha256."""

    __tablename__ = "dataset_files"
    __table_args__ = (Index(None, "sha256"),)

    revision_id: Mapped[int] = mapped_column(ForeignKey("dataset_revisions.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("tracked_files.sha256"))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
