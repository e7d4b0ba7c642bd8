"""Define the table of the files in the artifact store."""

from datetime import datetime

from sqlalchemy import (
    String,
)
from sqlalchemy.orm import Mapped, mapped_column

from shared.database.tables.base import Base, now


class TrackedFile(Base):
    """A file in the artifact store, announced here before it is written there, and forgotten here before it is removed.

    What a version, a data set or a job names cannot be forgotten: the database sees to it.
    """

    __tablename__ = "tracked_files"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    touched_at: Mapped[datetime] = mapped_column(default=now())
