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

from shared.database.tables.base import Base, Document, now


class DatasetName(Base):
    """A data set that users brought; `last_number` only grows."""

    __tablename__ = "datasets"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    last_number: Mapped[int] = mapped_column(default=0)


class Revision(Base):
    """What was brought at one time. It never changes, and the same content twice is one revision."""

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
    __tablename__ = "dataset_files"
    __table_args__ = (Index(None, "sha256"),)

    revision_id: Mapped[int] = mapped_column(ForeignKey("dataset_revisions.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("tracked_files.sha256"))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
