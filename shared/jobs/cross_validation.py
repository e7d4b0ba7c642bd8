"""Spread a cross-validation over one job for each fold, and summarise what the folds have measured."""

from collections.abc import Sequence
from typing import NamedTuple, get_args

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.database.tables.jobs import Job, JobStatus
from shared.errors import EvaluationNotFound
from shared.registry.manifest import Metrics, Part
from shared.spec.dataset import ValidationFolds
from shared.spec.training import TrainingSpec


class Spread(NamedTuple):
    """The mean of a metric over the folds, and its standard deviation √(Σ(value − mean)² / n), as `numpy.std`.

    One value has no deviation: None.
    """

    mean: float
    deviation: float | None


def list_fold_specs(spec: TrainingSpec) -> list[TrainingSpec]:
    """Return one spec for each fold of a cross-validation. A spec that asks for none is returned alone."""
    folds = spec.dataset.validation
    if not isinstance(folds, ValidationFolds) or folds.fold is not None:
        return [spec]
    each = (folds.model_copy(update={"fold": number}) for number in range(1, folds.folds + 1))
    return [spec.model_copy(update={"dataset": spec.dataset.model_copy(update={"validation": fold})}) for fold in each]


def read_folds(job: Job) -> ValidationFolds:
    """Return the folds in the spec of a job. Raises EvaluationNotFound."""
    document = job.spec.get("dataset", {}).get("validation")
    if not isinstance(document, dict) or "folds" not in document:
        raise EvaluationNotFound(
            f"Job {job.id} is no fold of a cross-validation. Submit a spec with `validation: {{folds: 5}}`."
        )
    return ValidationFolds.model_validate(document)


def list_folds(session: Session, job: Job) -> dict[int, Job]:
    """Return the job of each fold of the cross-validation that a job is part of, by the number of the fold.

    Of retries, it is the newest one that has succeeded, or the newest if none has. A deleted job is left out.
    Raises EvaluationNotFound.
    """
    own = read_folds(job)
    if job.cross_validation is None:
        return {own.fold or 1: job}
    found = select(Job).where(Job.cross_validation == job.cross_validation).order_by(Job.created_at)
    by_success = sorted(session.scalars(found), key=lambda other: other.status == JobStatus.SUCCEEDED)
    chosen = {read_folds(other).fold or 1: other for other in by_success}  # the last of a fold wins
    return {number: chosen[number] for number in sorted(chosen)}


def summarise(measured: Sequence[Metrics]) -> dict[Part, dict[str, Spread]]:
    """Compute the mean and the deviation of each metric of each part over the folds.

    A metric that is not finite in a fold is left out, and so is a part without rows.
    """
    parts: tuple[Part, ...] = get_args(Part)
    return {part: spreads for part in parts if (spreads := _summarise_part([getattr(one, part) for one in measured]))}


def _summarise_part(measured: Sequence[dict[str, float | None] | None]) -> dict[str, Spread]:
    columns = {name: [(one or {}).get(name) for one in measured] for name in (measured[0] or {})} if measured else {}
    finite = {name: [value for value in values if value is not None] for name, values in columns.items()}
    return {
        name: Spread(float(np.mean(values)), float(np.std(values)) if len(values) > 1 else None)
        for name, values in finite.items()
        if len(values) == len(measured)
    }
