"""Define the tables of models, versions and aliases."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shared.database.tables.base import Base, Document, now

PROJECT, PUBLIC = "project", "public"


class Model(Base):
    """A registered name that has versions.

    Attributes:
        last_number: number of the newest version so far. It never decreases, so no number is used twice. A name that is
            only reserved has 0.
        created_by: the user who used the name first; None if nobody signed in then.
        project: the project whose members see it.
        predictions: who may ask it: PROJECT, or PUBLIC for everybody without a key.
    """

    __tablename__ = "models"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    last_number: Mapped[int] = mapped_column(default=0)
    description: Mapped[str] = mapped_column(Text, default="", server_default="")
    created_by: Mapped[str | None] = mapped_column(String(255))
    project: Mapped[str] = mapped_column(String(100), default="default", server_default="default")
    predictions: Mapped[str] = mapped_column(String(20), default=PROJECT, server_default=PROJECT)
    created_at: Mapped[datetime] = mapped_column(default=now())


class Version(Base):
    """What a job has trained for a model. A unique constraint allows at most one version for each job.

    Attributes:
        number: None for a candidate, which is not published: nothing serves it, and only its job names it.
        manifest: the fields of `VersionManifest`. It can be large, so it is loaded when it is read in the session.
    """

    __tablename__ = "versions"
    __table_args__ = (UniqueConstraint("model", "number"), UniqueConstraint("job_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"))
    number: Mapped[int | None]
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"))
    manifest: Mapped[Document] = mapped_column(deferred=True)
    created_at: Mapped[datetime] = mapped_column(default=now())
    files: Mapped[list["VersionFile"]] = relationship(lazy="selectin", order_by="VersionFile.name")

    @property
    def reference(self) -> str:
        """Return what names the version in its model: its number, or the id of the job of a candidate."""
        return str(self.number) if self.number is not None else str(self.job_id)


class VersionFile(Base):
    """A file of a version. The artifact store contains it under its sha256."""

    __tablename__ = "version_files"
    __table_args__ = (Index(None, "sha256"),)

    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("tracked_files.sha256"))
    size_bytes: Mapped[int] = mapped_column(BigInteger)


class Alias(Base):
    """A name for one version of a model. A foreign key prevents the deletion of this version."""

    __tablename__ = "aliases"
    __table_args__ = (ForeignKeyConstraint(["model", "number"], ["versions.model", "versions.number"]),)

    model: Mapped[str] = mapped_column(ForeignKey("models.name"), primary_key=True)
    alias: Mapped[str] = mapped_column(String(100), primary_key=True)
    number: Mapped[int]
