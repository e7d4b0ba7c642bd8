"""Define the document about a cross-validation, and load it."""

from typing import Self
from uuid import UUID

from pydantic import Field
from sqlalchemy.orm import Session

from api.documents.base import Document
from shared.database.tables.jobs import Job, JobStatus
from shared.jobs import cross_validation
from shared.registry.manifest import Metrics, Part


class SpreadDocument(Document):
    """The mean of a metric over the folds, and its standard deviation √(Σ(value − mean)² / n).

    The deviation is null while only one fold has succeeded.
    """

    mean: float
    deviation: float | None


class FoldDocument(Document):
    """A fold, the newest job that trains without it, and what this job has measured; null until it has succeeded."""

    fold: int
    job: UUID
    status: JobStatus
    metrics: Metrics | None


class CrossValidationDocument(Document):
    """A cross-validation: its folds, and the mean and the deviation over those that have succeeded."""

    folds: int
    succeeded: int
    jobs: list[FoldDocument] = Field(description="In the order of the folds. Deleted jobs are left out.")
    metrics: dict[Part, dict[str, SpreadDocument]] = Field(
        description="By part and name. `validation` is measured on the rows that a fold leaves out. A metric that is "
        "not finite in a fold is left out."
    )

    @classmethod
    def load(cls, session: Session, job: Job) -> Self:
        """Load the cross-validation that a job is part of. Raises EvaluationNotFound."""
        jobs = [
            FoldDocument.model_validate(
                {"fold": number, "job": fold.id, "status": fold.status, "metrics": fold.metrics}
            )
            for number, fold in cross_validation.list_folds(session, job).items()
        ]
        measured = [fold.metrics for fold in jobs if fold.metrics is not None]
        spreads = cross_validation.summarise(measured)
        return cls(
            folds=cross_validation.read_folds(job).folds,
            succeeded=len(measured),
            jobs=jobs,
            metrics={
                part: {
                    name: SpreadDocument(mean=mean, deviation=deviation) for name, (mean, deviation) in found.items()
                }
                for part, found in spreads.items()
            },
        )
