"""Define the tables of quotas, and of what attempts have used."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from shared.database.tables.base import Base, now


class UsageRecord(Base):
    """An attempt that has ended, with the seconds for which it held a device. It outlives its job.

    Attributes:
        device: the device that the job asked for.
        seconds: from its claim to its end; of a lost attempt to the last sign of its life.
    """

    __tablename__ = "usage_records"
    __table_args__ = (Index(None, "owner", "ended_at"), Index(None, "project", "ended_at"), Index(None, "ended_at"))

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    owner: Mapped[str] = mapped_column(String(255))
    project: Mapped[str] = mapped_column(String(100))
    device: Mapped[str] = mapped_column(String(10))
    seconds: Mapped[float]
    ended_at: Mapped[datetime] = mapped_column(default=now())


class Quota(Base):
    """A limit of a user or a project. `kind` is a QuotaKind, and `most` the largest value that is allowed."""

    __tablename__ = "quotas"

    subject_kind: Mapped[str] = mapped_column(String(10), primary_key=True)
    subject: Mapped[str] = mapped_column(String(255), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    most: Mapped[int] = mapped_column(BigInteger)
