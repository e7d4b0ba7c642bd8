"""Define the table of the files in the artifact store."""

from datetime import datetime

from sqlalchemy import (
    String,
)
from sqlalchemy.orm import Mapped, mapped_column

from shared.database.tables.base import Base, now


class TrackedFile(Base):
    """A file in the artifact store.

    The row is inserted before the file is written. The transaction that deletes the row also deletes the file. Foreign
    keys prevent the deletion while a version, a data set or a job references the file.

    Attributes:
        touched_at: time of the registration, or of the last transaction that referenced the file. Garbage collection
            deletes only files whose time is old enough.
    """

    __tablename__ = "tracked_files"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    touched_at: Mapped[datetime] = mapped_column(default=now())
